"""A session through an ``ssh``, with the face of :class:`mtr.ssh.mux.Session`: for what only ssh can do."""

from __future__ import annotations

import _signal
import os
import time

from mtr.process.spawn import is_ended, start_piped, wait_for
from mtr.state import read_log, remove_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.ssh.outcome import Ended
    from mtr.ssh.wire import Wire


class SshSession:
    """One session, from its start to its end."""

    def __init__(
        self,
        line: Wire,
        command: str,
        descriptors: Sequence[int],
        extra: Mapping[str, str],
        *,
        subsystem: bool = False,
    ) -> None:
        self._line = line
        self._log = line.new_log()
        self._status: int | None = None
        argv = [*line.build_logged_argv(self._log), "-s" if subsystem else "-T", "--", line.destination, command]
        self._pid = start_piped(argv, line.build_environ(extra), descriptors)

    @property
    def is_over(self) -> bool:
        """Whether ssh has ended."""
        return self._status is not None

    @property
    def has_opened(self) -> bool:
        """Whether the server has opened the session; an old ssh cannot tell, and counts as yes."""
        return not self._line.facts.tells_outcome or "master session id" in read_log(self._log)

    @property
    def has_drained(self) -> bool:
        """Whether output came behind the status: an ``ssh`` tells of both at once."""
        return False

    def wait_for_news(self, timeout_s: float | None) -> bool:
        """Wait for ssh's end; tell whether it came within ``timeout_s``."""
        end_s = time.monotonic() + (timeout_s or 0)
        while self._status is None:
            self._status = wait_for(self._pid) if timeout_s is None else is_ended(self._pid)
            if timeout_s is not None and time.monotonic() >= end_s:
                break
            time.sleep(0.005)
        return self._status is not None

    def resize(self, *_size: int) -> None:
        """Nothing to do: it never has a terminal."""

    def end(self) -> Ended:
        """Return how the session ended."""
        self._kill()
        try:
            return self._line.read_outcome(self._status or 0, self._log)
        finally:
            remove_file(self._log)

    def close(self) -> None:
        """End ssh where it has not ended, and forget its words."""
        self._kill()
        remove_file(self._log)

    def _kill(self) -> None:
        if self._status is None and not self.wait_for_news(0):
            os.kill(self._pid, _signal.SIGKILL)
            self.wait_for_news(None)
