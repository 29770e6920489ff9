"""A session that mtr feeds and reads while it goes on. Builtin modules only: a run that brings files loads it."""

from __future__ import annotations

import os
import time

from mtr.errors import ConnectionLost
from mtr.process.piped import MAX_ANSWER_BYTES, TooMuchOutput, is_ready, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.ssh.outcome import Ended
    from mtr.ssh.wire import Wire

MAX_LINE_BYTES = 64 << 10

SILENCE_S = 3600.0
"""The longest that a server may work without a word, on a million files of a slow disk; a line that is dead is noticed
long before, by its keepalive."""


class Held:
    """A session that mtr feeds and reads while it goes on."""

    def __init__(self, line: Wire, command: str, *, subsystem: bool = False) -> None:
        self._line = line
        self._started_s = self._moved_s = time.monotonic()
        (source, self._in), (self._out, out_end), (self._err, err_end) = os.pipe(), os.pipe(), os.pipe()
        self._session = line.open_session(command, (source, out_end, err_end), subsystem=subsystem)
        for descriptor in (source, out_end, err_end):
            os.close(descriptor)
        os.set_blocking(self._in, False)
        self._open = [self._in, self._out, self._err]
        self._read = bytearray()
        self._said = bytearray()

    def feed(self, feed: Callable[[Callable[[bytes], None]], None]) -> None:
        """Let ``feed`` write to the session's stdin, then end it; a session that reads no more ends it early."""
        try:
            feed(self.write)
        except BrokenPipeError:
            pass  # Its status and words say why.
        self._close(self._in)

    def write(self, data: bytes) -> None:
        """Write all of ``data`` to the session's stdin."""
        while data:
            try:
                data = data[os.write(self._in, data) :]
                self._moved_s = time.monotonic()
            except BlockingIOError:
                # The far side may wait as well, for somebody to read what it says.
                self._drain()
                if not is_ready(self._in, writing=True, timeout_s=0.1):
                    self._look()

    def _drain(self) -> None:
        """Take what the session has said so far."""
        for descriptor, into in ((self._out, self._read), (self._err, self._said)):
            while is_ready(descriptor, timeout_s=0) and (chunk := os.read(descriptor, 65536)):
                into.extend(chunk)
                if len(into) > MAX_ANSWER_BYTES:
                    raise TooMuchOutput(MAX_ANSWER_BYTES)

    def read_some(self) -> bytes:
        """Return what the session has said, waiting for something; b"" at its end."""
        while not self._read:
            if not is_ready(self._out, timeout_s=0.5):
                self._look()
                continue
            self._moved_s = time.monotonic()
            return os.read(self._out, 1 << 18)
        data = bytes(self._read)
        self._read.clear()
        return data

    def read_line(self) -> str:
        """Return the next line of the session's stdout with its newline, "" at its end.

        What comes without a newline for too long counts as a line.
        """
        while b"\n" not in self._read and len(self._read) < MAX_LINE_BYTES:
            if not is_ready(self._out, timeout_s=0.5):
                self._look()
                continue
            self._moved_s = time.monotonic()
            chunk = os.read(self._out, 4096)
            if not chunk:
                return ""
            self._read += chunk
        line, newline, rest = self._read.partition(b"\n")
        self._read = rest
        return (line + newline).decode(errors="replace")

    def finish(self) -> tuple[Ended, list[bytes]]:
        """Read to the end; return how the session ended, and the rest of both streams."""
        self._open = [descriptor for descriptor in self._open if descriptor == self._in]
        streams = read_all((self._out, self._err), 0.5, self._look, MAX_ANSWER_BYTES)
        return self._line.wait_for(self._session, self._started_s), [
            bytes(self._read) + streams[0],
            bytes(self._said) + streams[1],
        ]

    def _look(self) -> None:
        now_s = time.monotonic()
        self._line.look_after(self._session, now_s - self._started_s)
        if now_s - self._moved_s > SILENCE_S:
            hint = f"mtr down {self._line.server_name}, and run it again"
            raise ConnectionLost(f"{self._line.label} has said nothing for {SILENCE_S:g} s", hint=hint)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Let go of the session: its stdin ends, whatever it was about to do."""
        for descriptor in list(self._open):
            self._close(descriptor)
        self._session.close()
