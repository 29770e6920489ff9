"""A stretch of a stream as values: bytes, or text, with the place where they stand. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FAR = 2**31 - 1
"""Behind all output: who looks there reads none of it. Shells count as far as that."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream, and what of it was there when they were read."""

    start: int
    """Offset of the first byte: larger than asked for where older bytes are gone."""
    data: bytes
    length: int
    """All bytes written so far, dropped ones included."""
    first: int
    """Offset of the oldest byte that is kept: how many are gone."""
    is_closed: bool = False
    """Nothing will come behind ``length``."""

    @property
    def next_offset(self) -> int:
        """Where the next read continues."""
        return self.start + len(self.data)

    @property
    def is_last(self) -> bool:
        """Whether the stream is over and this piece reaches its end."""
        return self.is_closed and self.next_offset == self.length


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A :class:`Piece` as text; what it leaves of an unfinished character comes with the next one."""

    start: int
    text: str
    next_offset: int
    length: int
    first: int
    is_exact: bool
    """Whether the text, in UTF-8, is what was written; else U+FFFD stands for what is none."""
