"""What a job prints, from an offset on: byte for byte, across every line that breaks meanwhile.

Offsets count raw bytes from the start of the stream and never move back. What has been handed on is counted, and a
broken line is taken up at exactly that byte; nothing comes twice, nothing is left out. A signal, too, finds the count
exact: it waits for the moment between two pieces.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, TypeVar

from mtr.errors import ConnectionLost
from mtr.jobs.ask import build_job_command, ensure_quiet, ensure_there
from mtr.jobs.model import JobError
from mtr.jobs.patience import TRANSIENT, Patience
from mtr.process.passing import Passage
from mtr.process.piped import WIDE_BYTES, is_ready, open_input, widen
from mtr.ssh.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mtr.ssh.line import Line
    from mtr.ssh.outcome import Ended

    T = TypeVar("T")
    Take = Callable[["_Reading"], Generator[T, None, None]]

PIECE_BYTES = WIDE_BYTES
_FROM = re.compile(rb"(?:\A|\n)mtr-from ([0-9]+)\n")
_BEYOND = 4


class Follower:
    """Reads one stream of a job; ``offset`` is the next byte, and where to resume after an interruption."""

    def __init__(self, line: Line, job_id: str, stream: str, offset: int, *, tail: int | None = None) -> None:
        """Begin behind ``offset`` bytes; a negative one counts from the present end; or ``tail`` lines before it."""
        self._line = line
        self._tail = tail
        self._job_id = job_id
        self._stream = stream
        self._patience = Patience(line.says, resumes="")
        self.offset = offset

    def read(self, *, follow: bool) -> Iterator[bytes]:
        """Yield what is there, and with ``follow`` what comes, until the job's writer has gone; cut anywhere.

        Raises:
            JobNotFound: there is no such job there, or no more.
            JobError: the offset lies beyond the end.
            ConnectError: the server does not let us in any more.
            ConnectionLost: it could not be reached any more for an hour.
        """

        def take(reading: _Reading) -> Generator[bytes, None, None]:
            while piece := reading.read_piece():
                yield piece
                self.offset += len(piece)

        return self._go_on(take, follow=follow)

    def copy(self, descriptor: int, *, follow: bool) -> None:
        """Write the same to ``descriptor``; ``offset`` is exact even where a signal ends it. Raises as :meth:`read`."""
        passage = Passage(descriptor)
        with passage:

            def take(reading: _Reading) -> Generator[bytes, None, None]:
                while not reading.is_at_end():
                    with passage:
                        self.offset += reading.pass_on(passage)
                yield from ()

            for _ in self._go_on(take, follow=follow):
                pass

    def _go_on(self, take: Take[T], *, follow: bool) -> Generator[T, None, None]:
        """Let ``take`` have one reading after the other, each where the last one broke."""
        patience = self._patience
        while True:
            before = self.offset
            try:
                is_whole = yield from self._take_session(take, follow=follow)
            except TRANSIENT as error:
                if self.offset != before:
                    patience.renew()
                patience.resumes = f"going on at byte {max(0, self.offset):,}"
                patience.bear(error, hint=f"mtr job logs -f --offset {max(0, self.offset)} {self._job_id}")
            else:
                if is_whole:
                    return

    def _take_session(self, take: Take[T], *, follow: bool) -> Generator[T, None, bool]:
        """Yield what one session brings; tell whether it came to its end, and not to none.

        Raises:
            ConnectionLost: it broke.
        """
        failures = 0
        while True:
            begin = f"{self.offset}" if self._tail is None else f"lines{self._tail}"
            with _Reading(self._line, self._job_id, self._stream, begin, follow=follow) as reading:
                reading.read_begin()
                if reading.begin >= 0:
                    self.offset, self._tail = reading.begin, None
                    self._patience.note_session()
                yield from take(reading)
                ended = reading.end()
            if ended.arrived:
                self._ensure_well(ended.status)
                return True
            if ended.has_opened:
                raise ConnectionLost(f"the line to {self._line.label} broke")
            failures = 0 if ended.outcome is Outcome.REFUSED else failures + 1
            self._line.recover_from(ended, failures)

    def _ensure_well(self, status: int) -> None:
        ensure_there(self._line, self._job_id, status)
        if status == _BEYOND:
            message = f"job {self._job_id} has printed less than {self.offset:,} bytes to {self._stream}"
            raise JobError(message, hint=f"mtr job logs {self._job_id}")
        if status != 0:
            raise JobError(f"what job {self._job_id} prints cannot be read on {self._line.label}: status {status}")


class _Reading:
    """One session that prints a stream from an offset on; ``begin`` is what the server takes that for."""

    def __init__(self, line: Line, job_id: str, stream: str, begin: str, *, follow: bool) -> None:
        self.begin = -1
        self._line = line
        self._first = memoryview(b"")
        self._is_ended = False
        words = [job_id, stream, begin, "follow" if follow else ""]
        source, null = open_input(b""), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._out, out_end = os.pipe()
        widen(self._out)
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

    def read_begin(self) -> None:
        """Read up to the line that says where it begins; what comes behind it is kept."""
        head = b""
        while piece := self._read_some():
            head += piece
            if found := _FROM.search(head):
                self.begin, self._first = int(found[1]), memoryview(head)[found.end() :]
                return
            ensure_quiet(self._line, head)

    def read_piece(self) -> bytes:
        """Return what comes next, b"" at the end."""
        first, self._first = bytes(self._first), memoryview(b"")
        return first or self._read_some()

    def is_at_end(self) -> bool:
        """Wait for something; tell whether all that was to come has come."""
        if self.begin < 0 or self._is_ended:
            return True
        if not self._first:
            self._await()
        return False

    def pass_on(self, passage: Passage) -> int:
        """Hand on what is there, or as much as ``passage`` takes; return how many bytes that is."""
        if not self._first:
            count = passage.splice(self._out, PIECE_BYTES)
            if count is None:
                self._first = memoryview(os.read(self._out, PIECE_BYTES))
                count = len(self._first)
            self._is_ended = count == 0
            if not self._first:
                return count
        count = passage.write(self._first)
        self._first = self._first[count:]
        return count

    def _read_some(self) -> bytes:
        self._await()
        return os.read(self._out, PIECE_BYTES)

    def _await(self) -> None:
        while not is_ready(self._out, timeout_s=0.5):
            self._line.look_after(self._session, time.monotonic() - self._started_s)
