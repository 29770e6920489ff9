"""The newest bytes of one stream, in memory that is bounded.

A ring in anonymous memory: a write copies its bytes once and moves nothing else, however long the stream is and however
small the writes are. The system gives such memory page by page as it is written to, so a command that says little
costs little, and what a command says at most is ``max_buffer_size``, exactly.

Offsets are absolute: they count bytes from the beginning of the stream and stay valid when older bytes are dropped. An
offset below what is kept reads from the oldest byte that is; one beyond the end reads nothing, from the end, so that
``next_offset`` is right again; a negative one is an error.
"""

from __future__ import annotations

import mmap
import threading

from mtr.errors import MtrError
from mtr.streams.piece import Piece, TextPiece
from mtr.streams.text import MAX_CHARACTER_BYTES, count_torn, count_unfinished, cut_text

DEFAULT_BYTES = 10 << 20
MAX_BYTES = 1 << 30


class InvalidRequest(MtrError):
    """What was asked of a stream or a command makes no sense; nothing was done."""

    code = "invalid-request"


class StreamingBuffer:
    """One stream: written as it comes, read by any number of threads at offsets of their own."""

    def __init__(self, max_buffer_size: int = DEFAULT_BYTES, *, changed: threading.Condition | None = None) -> None:
        """Keep the newest ``max_buffer_size`` bytes. Buffers that share ``changed`` can be waited for together."""
        if not 0 < max_buffer_size <= MAX_BYTES:
            raise InvalidRequest(f"max_buffer_size is {max_buffer_size}: it goes from 1 to {MAX_BYTES} (1 GiB)")
        self.max_buffer_size = max_buffer_size
        self.changed = changed or threading.Condition()
        self._ring: mmap.mmap | None = _reserve(max_buffer_size)
        self._length = 0
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Append ``data``; of more than fits, the newest bytes stay.

        Raises:
            ValueError: the buffer was closed.
        """
        with self.changed:
            if self._is_closed or self._ring is None:
                raise ValueError("write to a stream that is closed")
            self._length += len(data)
            self._copy(self._ring, memoryview(data)[-self.max_buffer_size :])
            self.changed.notify_all()

    def _copy(self, ring: mmap.mmap, data: memoryview) -> None:
        """Put ``data`` into the ring so that it ends where the stream does."""
        at = (self._length - len(data)) % self.max_buffer_size
        head = min(len(data), self.max_buffer_size - at)
        ring[at : at + head] = data[:head]
        if head < len(data):
            ring[: len(data) - head] = data[head:]

    def read(self, offset: int, limit_bytes: int | None = None) -> Piece:
        """Return what is kept from ``offset`` on, at most ``limit_bytes``."""
        if offset < 0 or (limit_bytes is not None and limit_bytes < 0):
            raise InvalidRequest(f"offset {offset}, limit {limit_bytes}: neither can be negative")
        with self.changed:
            first = self._first
            start = min(max(offset, first), self._length)
            size = self._length - start if limit_bytes is None else min(limit_bytes, self._length - start)
            return Piece(start, self._cut(start, size), self._length, first, self._is_closed)

    def _cut(self, start: int, size: int) -> bytes:
        if self._ring is None or not size:
            return b""
        at = start % self.max_buffer_size
        head = self._ring[at : min(at + size, self.max_buffer_size)]
        return head + self._ring[: size - len(head)] if len(head) < size else head

    def read_text(self, offset: int, limit_bytes: int | None = None) -> TextPiece:
        """Return what :meth:`read` does, as whole characters; where the front of one is gone, begin behind it."""
        piece = self.read(offset, limit_bytes)
        torn = count_torn(piece.data) if piece.start > offset else 0
        cut = cut_text(piece.data[torn:], is_end=piece.is_last)
        start = piece.start + torn
        return TextPiece(start, cut.text, start + cut.used_bytes, piece.length, piece.first, cut.is_exact)

    def get_output(self, offset: int = 0) -> dict[str, object]:
        """Return what is kept from ``offset`` on, as text.

        ``length`` counts all bytes written; ``truncated_bytes`` of them are gone. ``data`` begins at ``offset`` and
        ends before ``next_offset``: before ``length`` only where a character is not all there yet.
        """
        piece = self.read_text(offset)
        return {
            "data": piece.text,
            "length": piece.length,
            "truncated": piece.first > 0,
            "truncated_bytes": piece.first,
            "offset": piece.start,
            "next_offset": piece.next_offset,
        }

    def get_all(self) -> str:
        """Return all that is kept, as text."""
        return self.read_text(0).text

    @property
    def length(self) -> int:
        """How many bytes have been written, dropped ones included."""
        with self.changed:
            return self._length

    @property
    def whole_length(self) -> int:
        """How many bytes have been written, less those of a character at the end that is not all there yet."""
        with self.changed:
            tail = self.read(max(0, self._length - MAX_CHARACTER_BYTES)).data
            return self._length - (0 if self._is_closed else count_unfinished(tail))

    @property
    def kept_bytes(self) -> int:
        """How many bytes can still be read."""
        with self.changed:
            return self._length - self._first if self._ring is not None else 0

    @property
    def _first(self) -> int:
        return self._length if self._ring is None else max(0, self._length - self.max_buffer_size)

    @property
    def is_closed(self) -> bool:
        """Whether no more will come."""
        with self.changed:
            return self._is_closed

    def close(self) -> None:
        """Say that no more will come; what there is can still be read."""
        with self.changed:
            self._is_closed = True
            self.changed.notify_all()

    def discard(self) -> None:
        """Close, and give the memory back: every byte counts as gone."""
        with self.changed:
            self._ring = None
            self._is_closed = True
            self.changed.notify_all()

    def wait(self, offset: int, timeout_s: float | None = None) -> bool:
        """Wait until there is something behind ``offset`` or the stream is closed; tell whether that is so."""
        with self.changed:
            return self.changed.wait_for(lambda: self._length > offset or self._is_closed, timeout_s)

    def __repr__(self) -> str:
        return f"StreamingBuffer({self._length} bytes{', closed' if self._is_closed else ''})"


def _reserve(size_bytes: int) -> mmap.mmap:
    """Return memory that is there once it is written to; a child of a fork gets its own."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size_bytes)
