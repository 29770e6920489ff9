"""What ``pump`` does, where the system cannot wait for several streams at once (Windows): a thread for each.

The difference that shows: a read cannot be called off, so a thread stays until whoever holds the stream has ended; and
what is in a pipe at the end of its program cannot be measured, so only the drain is waited for.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, Protocol

from mtr.streams.buffer import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtr.process.started import Started
    from mtr.streams.buffer import StreamingBuffer

CHUNK_BYTES = 65_536
STOPPING_S = 1.0
END_OF_CONSOLE = b"\x1a\r\n"
"""Ctrl-Z on a line of its own."""


class AnyPump(Protocol):
    """What an executor needs of either."""

    fault: str
    ended: threading.Event
    has_caught_up: threading.Event

    def send(self, data: bytes) -> None:
        """Queue input."""

    def end_input(self) -> None:
        """Let the input end behind it."""

    def note_end(self) -> None:
        """Hear that the program has ended."""

    def discard(self) -> None:
        """Go on reading, for nobody."""

    def stop(self) -> None:
        """Give up what has not ended."""


class ThreadedPump:
    """Between one program and its buffers."""

    def __init__(self, started: Started, buffers: Sequence[StreamingBuffer]) -> None:
        self.fault = ""
        self.ended = threading.Event()
        self.has_caught_up = threading.Event()
        self._discards = self._is_input_over = False
        self._has_input = started.sink is not None or started.console is not None
        self._is_console = started.console is not None
        self._input: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        sources: list[Callable[[], bytes]] = [lambda: started.console.read(CHUNK_BYTES)] if started.console else []
        sources += [_build_reader(descriptor) for descriptor in started.outputs]
        self._left = len(sources)
        self._threads = [
            threading.Thread(target=self._move, args=pair, name=f"pump {started.pid}", daemon=True)
            for pair in zip(sources, buffers, strict=True)
        ]
        if self._has_input:
            words = (started.console.write if started.console else _build_writer(started.sink or 0), started.sink)
            threading.Thread(target=self._feed, args=words, name=f"feed {started.pid}", daemon=True).start()
        for thread in self._threads:
            thread.start()

    def send(self, data: bytes) -> None:
        """Queue ``data`` as input.

        Raises:
            InvalidRequest: there is no input (any more).
        """
        if not self._has_input or self._is_input_over:
            raise InvalidRequest("the command takes no input: it was started without, or its input is over")
        self._input.put(data)

    def end_input(self) -> None:
        """Let the input end behind what was sent."""
        if self._is_console:
            self._input.put(END_OF_CONSOLE)
        elif not self._is_input_over:
            self._is_input_over = True
            self._input.put(None)

    def note_end(self) -> None:
        """Hear that the program has ended."""
        self._is_input_over = True
        self._input.put(None)
        self.has_caught_up.set()

    def discard(self) -> None:
        """Go on reading, for nobody."""
        self._discards = True

    def stop(self) -> None:
        """Wait a moment for the threads; who still reads goes on for nobody."""
        self._discards = True
        for thread in self._threads:
            thread.join(STOPPING_S)
        self.ended.set()

    def _move(self, read: Callable[[], bytes], buffer: StreamingBuffer) -> None:
        while chunk := read():
            try:
                if not self._discards:
                    buffer.write(chunk)
            except Exception as error:  # noqa: BLE001  a fault of a buffer is told, and never stops the command
                self.fault = self.fault or f"output was lost: {type(error).__name__}: {error}"
        buffer.close()
        with self._lock:
            self._left -= 1
            if not self._left:
                self.ended.set()

    def _feed(self, write: Callable[[bytes], None], sink: int | None) -> None:
        try:
            while (data := self._input.get()) is not None:
                write(data)
        except OSError:
            self._is_input_over = True  # Nobody reads it any more.
        if sink is not None:
            os.close(sink)


def _build_reader(descriptor: int) -> Callable[[], bytes]:
    """Return what reads a pipe and closes it at its end."""

    def read() -> bytes:
        chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            os.close(descriptor)
        return chunk

    return read


def _build_writer(descriptor: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write
