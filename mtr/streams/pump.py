"""The thread that moves the bytes of one command: what it writes into buffers, what it is sent into its input.

It goes on until every stream has ended, also when the command has ended before: what a command has left in the
background keeps somebody who reads, and is not killed by its own next line. Nothing that a buffer raises stops it,
since a command whose output nobody reads hangs. It alone closes the descriptors.
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import threading
from typing import TYPE_CHECKING

from mtr.streams.buffer import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.process.started import Started
    from mtr.streams.buffer import StreamingBuffer

CHUNK_BYTES = 65_536
PENDING_BYTES = 16 << 20
"""What may wait for a command that does not read its input."""


class Pump:
    """Between one program and its buffers, one for each of its outputs."""

    def __init__(self, started: Started, buffers: Sequence[StreamingBuffer]) -> None:
        self._started = started
        self._sources = dict(zip(started.outputs, buffers, strict=True))
        self._sink = started.sink
        self._held = started.held
        self._lock = threading.Lock()
        self._pending = bytearray()
        self._is_input_over = self._stops = self._discards = self._has_ended = False
        self._ends_line = True
        self._left: dict[int, int] | None = None
        try:
            self._woken, self._waker = os.pipe()
        except OSError:
            started.close()
            raise
        for descriptor in (self._woken, self._waker, *([self._sink] if self._sink is not None else [])):
            os.set_blocking(descriptor, False)
        self.fault = ""
        """What a buffer has raised, once."""
        self.ended = threading.Event()
        """Every stream has ended, or was given up."""
        self.has_caught_up = threading.Event()
        """All that was in the pipes when the command ended has been read."""
        self._poller = select.poll()
        for descriptor in (*self._sources, self._woken):
            self._poller.register(descriptor, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=f"pump {started.pid}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._close()
            raise

    def send(self, data: bytes) -> None:
        """Queue ``data`` as input.

        Raises:
            InvalidRequest: there is no input (any more), or the program does not read what it was sent before.
        """
        with self._lock:
            if self._sink is None or self._is_input_over or self.ended.is_set():
                raise InvalidRequest("the command takes no input: it was started without, or its input is over")
            if len(self._pending) + len(data) > PENDING_BYTES:
                raise InvalidRequest(f"the command has not read the {len(self._pending)} bytes that it was sent before")
            self._pending += data
            self._ends_line = data.endswith(b"\n") if data else self._ends_line
        self._wake()

    def end_input(self) -> None:
        """Let the input end behind what was sent: a pipe is closed, a terminal is told the end as Ctrl-D tells it."""
        with self._lock:
            if self._is_input_over or self._sink is None:
                return
            if self._started.is_terminal:
                # Behind half a line the first one only hands over the half (termios(3)).
                self._pending += _find_end_key(self._sink) * (1 if self._ends_line else 2)
                self._ends_line = True
            else:
                self._is_input_over = True
        self._wake()

    def note_end(self) -> None:
        """Hear that the program has ended: what is in the pipes now is the rest of what it wrote itself."""
        self._has_ended = True
        self._wake()

    def discard(self) -> None:
        """Go on reading, for nobody: the buffers are forgotten."""
        self._discards = True

    def stop(self) -> None:
        """Give up what has not ended, and return when the descriptors are closed."""
        self._stops = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with self._lock:
            if not self.ended.is_set():
                with contextlib.suppress(BlockingIOError):
                    os.write(self._waker, b"!")

    def _run(self) -> None:
        try:
            while self._sources and not self._stops:
                self._watch_input()
                for descriptor, events in self._poller.poll():
                    self._serve(descriptor, events)
        finally:
            self._close()

    def _serve(self, descriptor: int, events: int) -> None:
        if descriptor == self._woken:
            os.read(self._woken, 4096)
            self._note_left()
            return
        if descriptor == self._sink and (events & select.POLLOUT or descriptor not in self._sources):
            self._feed()
        if descriptor in self._sources and events & ~select.POLLOUT:
            self._move(descriptor)

    def _move(self, source: int) -> None:
        try:
            chunk = os.read(source, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the terminal open any more (Linux).
            chunk = b""
        if not chunk:
            self._end(source)
            return
        if not self._discards:
            self._keep(self._sources[source], chunk)
        if self._left is not None:
            self._left[source] -= len(chunk)
        self._check_left()

    def _keep(self, buffer: StreamingBuffer, chunk: bytes) -> None:
        try:
            buffer.write(chunk)
        except Exception as error:  # noqa: BLE001  a fault of a buffer is told, and never stops the command
            self.fault = self.fault or f"output was lost: {type(error).__name__}: {error}"

    def _end(self, source: int) -> None:
        self._poller.unregister(source)
        self._close_buffer(self._sources.pop(source))
        if source == self._sink:
            self._sink = None
        os.close(source)
        if self._left is not None:
            self._left.pop(source, None)
        self._check_left()

    def _close_buffer(self, buffer: StreamingBuffer) -> None:
        try:
            buffer.close()
        except Exception as error:  # noqa: BLE001  as above
            self.fault = self.fault or f"output was lost: {type(error).__name__}: {error}"

    def _note_left(self) -> None:
        """Measure, once, what the program has left in the pipes at its end."""
        if self._has_ended and self._left is None:
            self._let_go()
            self._left = {source: _count_readable(source) for source in self._sources}
            self._check_left()
            if not self._started.is_terminal:
                self._drop_input()

    def _let_go(self) -> None:
        """Let a terminal end when nobody else has it open."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _check_left(self) -> None:
        if self._left is not None and all(size <= 0 for size in self._left.values()):
            self.has_caught_up.set()

    def _watch_input(self) -> None:
        """Ask for room in the input while there is something to be put there: a closed one would wake for ever."""
        sink = self._sink
        if sink is None:
            return
        with self._lock:
            has_work = bool(self._pending) or self._is_input_over
        shared = select.POLLIN if sink in self._sources else 0
        if has_work or shared:
            self._poller.register(sink, shared | (select.POLLOUT if has_work else 0))
        else:
            with contextlib.suppress(KeyError):
                self._poller.unregister(sink)

    def _feed(self) -> None:
        with self._lock:
            sink = self._sink
            if sink is None:
                return
            try:
                if self._pending:
                    del self._pending[: os.write(sink, self._pending[:CHUNK_BYTES])]
            except BlockingIOError:
                return
            except OSError:  # EPIPE, EIO: nobody reads it any more.
                self._is_input_over = True
                self._pending.clear()
            is_over = self._is_input_over and not self._pending
        if is_over:
            self._drop_input()

    def _drop_input(self) -> None:
        """Close a pipe to the program."""
        with self._lock:
            sink, self._sink = self._sink, None
            self._pending.clear()
        if sink is not None and sink not in self._sources:
            with contextlib.suppress(KeyError):
                self._poller.unregister(sink)
            os.close(sink)

    def _close(self) -> None:
        self._drop_input()
        self._let_go()
        for source in list(self._sources):
            self._end(source)
        with self._lock:
            self.ended.set()
            os.close(self._woken)
            os.close(self._waker)
        self.has_caught_up.set()


def _count_readable(descriptor: int) -> int:
    """Return how many bytes wait in a pipe or a terminal (FIONREAD of ioctl(2))."""
    import fcntl
    import termios

    size = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, size)
    except OSError:
        return 0
    return size[0]


def _find_end_key(terminal: int) -> bytes:
    """Return the character that ends the input of a terminal, as it is set there (VEOF of termios(3))."""
    import termios

    try:
        key = termios.tcgetattr(terminal)[6][termios.VEOF]
    except termios.error:
        return b"\x04"
    return key if isinstance(key, bytes) else bytes([key])
