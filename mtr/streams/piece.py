"""A piece of a stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a stream; offsets count from its beginning, and never move back.

    ``start`` is the offset of the first byte of ``data``; ``length`` is how much the stream has had in all, and
    ``first`` where what is kept of it begins.
    """

    start: int
    data: bytes
    length: int
    first: int
