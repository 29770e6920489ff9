"""What a job prints, from an offset on: byte for byte, across every line that breaks meanwhile.

Offsets count raw bytes from the start of the stream and never move back. What has been handed on is counted, and a
broken line is taken up at exactly that byte; nothing comes twice, nothing is left out.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from mtr.errors import ConnectError, ConnectionLost
from mtr.jobs.ask import build_job_command
from mtr.jobs.model import JobError, JobNotFound
from mtr.process.piped import is_ready, open_input
from mtr.ssh.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mtr.ssh.line import Line
    from mtr.ssh.outcome import Ended

PIECE_BYTES = 1 << 18
RETRY_S = 3600.0
"""How long a server that cannot be reached is tried again before a follower gives up."""

_LONGEST_PAUSE_S = 15.0
_FROM = re.compile(rb"(?:\A|\n)mtr-from ([0-9]+)\n")
_MAX_NOISE_BYTES = 1 << 20
"""What rc files may print before the first line of ours."""

_NO_JOB, _BEYOND = 3, 4


class Follower:
    """Reads one stream of a job; ``offset`` is the next byte, and where to resume after an interruption."""

    def __init__(self, line: Line, job_id: str, stream: str, offset: int) -> None:
        """A negative ``offset`` counts from the present end."""
        self._line = line
        self._job_id = job_id
        self._stream = stream
        self.offset = offset

    def read(self, *, follow: bool) -> Iterator[bytes]:
        """Yield what is there, and with ``follow`` what comes, until the job's writer has gone; cut anywhere.

        Raises:
            JobNotFound: there is no such job there, or no more.
            JobError: the offset lies beyond the end.
            ConnectError: the server could not be reached any more for an hour.
        """
        lost_s, pause_s = 0.0, 0.0
        while True:
            before = self.offset
            words = yield from self._read_session(follow=follow)
            if not words:
                return
            if self.offset != before:
                lost_s, pause_s = 0.0, 0.0
            if not lost_s:
                self._line.says(f"{words}; going on at byte {max(0, self.offset):,}")
            elif time.monotonic() - lost_s > RETRY_S:
                raise ConnectionLost(f"{words}, for an hour now", hint=self._hint)
            lost_s = lost_s or time.monotonic()
            time.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2 or 0.25)

    @property
    def _hint(self) -> str:
        return f"mtr job logs -f --offset {max(0, self.offset)} {self._job_id}"

    def _read_session(self, *, follow: bool) -> Generator[bytes, None, str]:
        """Yield what one session brings; return why it broke, "" where it came to its end."""
        failures = 0
        while True:
            try:
                reading = _Reading(self._line, self._job_id, self._stream, self.offset, follow=follow)
            except (ConnectError, ConnectionLost) as error:
                return error.message
            with reading:
                for piece in reading.read_pieces():
                    self.offset = reading.begin if self.offset < reading.begin else self.offset
                    yield piece
                    self.offset += len(piece)
                self.offset = max(self.offset, reading.begin)
                ended = reading.end()
            if ended.arrived:
                self._ensure_well(ended.status)
                return ""
            if ended.has_opened:
                return f"the line to {self._line.label} broke"
            failures = 0 if ended.outcome is Outcome.REFUSED else failures + 1
            try:
                self._line.recover_from(ended, failures)
            except (ConnectError, ConnectionLost) as error:
                return error.message

    def _ensure_well(self, status: int) -> None:
        if status == _NO_JOB:
            raise JobNotFound(f"there is no job {self._job_id} on {self._line.label}", hint="mtr job list")
        if status == _BEYOND:
            message = f"job {self._job_id} has printed less than {self.offset:,} bytes to {self._stream}"
            raise JobError(message, hint=f"mtr job logs {self._job_id}")
        if status != 0:
            raise JobError(f"what job {self._job_id} prints cannot be read on {self._line.label}: status {status}")


class _Reading:
    """One session that prints a stream from an offset on; ``begin`` is what the server takes that for."""

    def __init__(self, line: Line, job_id: str, stream: str, offset: int, *, follow: bool) -> None:
        self.begin = -1
        self._line = line
        words = [job_id, stream, str(offset), "follow" if follow else ""]
        source, null = open_input(b""), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._out, out_end = os.pipe()
        try:
            self._session = line.open_session(build_job_command("follow", words), (source, out_end, null))
        finally:
            for descriptor in (source, null, out_end):
                os.close(descriptor)
        self._started_s = time.monotonic()

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        self._session.close()

    def end(self) -> Ended:
        """Return how the session ended."""
        return self._line.wait_for(self._session, self._started_s)

    def read_pieces(self) -> Iterator[bytes]:
        """Yield what comes behind the line that says where it begins."""
        head = b""
        while piece := self._read_some():
            if self.begin >= 0:
                yield piece
                continue
            head += piece
            if found := _FROM.search(head):
                self.begin = int(found[1])
                if rest := head[found.end() :]:
                    yield rest
            elif len(head) > _MAX_NOISE_BYTES:
                raise JobError(f"the shell on {self._line.label} prints without end", hint="mtr doctor")

    def _read_some(self) -> bytes:
        while not is_ready(self._out, timeout_s=0.5):
            self._line.look_after(self._session, time.monotonic() - self._started_s)
        return os.read(self._out, PIECE_BYTES)
