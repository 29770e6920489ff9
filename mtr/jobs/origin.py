"""What a job was started with: git's commit and the differences, told by a program that runs beside the start.

Its output goes straight to the server as the stdin of ``start.sh``: nobody here waits for git. What that answers is
kept, since an rc file there may print something in front of it. Builtin modules only.
"""

from __future__ import annotations

import os

from mtr.process.piped import open_input
from mtr.process.spawn import is_ended, start_piped, wait_for
from mtr.scripts import find_shipped
from mtr.ssh.gate import Feed
from mtr.state import ensure_state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TERM = 15
MAX_ANSWER_BYTES = 1 << 20


class Origin(Feed):
    """Tells of the code in ``root``, anew each time that it is opened; of what is not synced only names.

    Without a ``root``, nothing: what runs there is not what is here.
    """

    def __init__(self, root: str | None, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = environ
        self._pid = 0

    def open(self) -> int:
        """Begin to tell; return the descriptor to read from, which whoever takes it closes."""
        self.close()
        if self.out != Feed.out:
            os.close(self.out)
        self.out = self._open_nameless()
        if self._root is None:
            return open_input(b"")
        (out, out_end), source = os.pipe(), self._open_paths()
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            script = f"{find_shipped('shell')}/local/origin.sh"
            self._pid = start_piped(["/bin/sh", script, self._root], self._environ, (source, out_end, null))
        finally:
            for descriptor in (source, out_end, null):
                os.close(descriptor)
        return out

    def _open_paths(self) -> int:
        """Return a descriptor that reads the paths, in a file without a name: they may be more than a pipe holds."""
        source = self._open_nameless()
        data = memoryview(b"".join(path + b"\0" for path in self.paths))
        while data:
            data = data[os.write(source, data) :]
        os.lseek(source, 0, os.SEEK_SET)
        return source

    def _open_nameless(self) -> int:
        """Return a descriptor of a file without a name, which takes more than a pipe holds."""
        place = f"{ensure_state_dir(self._environ)}/origin.{os.getpid()}"
        found = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(place)
        return found

    def read_answer(self) -> bytes:
        """Return what has come from there to stdout."""
        return os.pread(self.out, MAX_ANSWER_BYTES, 0) if self.out != Feed.out else b""

    def close(self) -> None:
        """See that nothing of it goes on."""
        pid, self._pid = self._pid, 0
        if pid and is_ended(pid) is None:
            # It leads a session of its own, with git in it.
            os.killpg(pid, TERM)
            wait_for(pid)
