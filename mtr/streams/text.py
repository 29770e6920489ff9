"""Cutting bytes to text, so that a character of UTF-8 is never split between two reads. Pure.

A read may end within a character: its first bytes are left for the next read, unless nothing more comes. A read may
also begin within one, whose first bytes a full buffer has dropped: :func:`count_torn` tells how many bytes of it to
skip, so that what is gone anyway does not look like binary data. Everything else that is no UTF-8 becomes U+FFFD.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

MAX_CHARACTER_BYTES = 4
"""The longest character of UTF-8 (RFC 3629)."""


@dataclass(frozen=True, slots=True)
class Text:
    """What could be cut from some bytes."""

    text: str
    used_bytes: int
    """How many bytes ``text`` stands for; the next read begins behind them."""
    is_exact: bool
    """Whether they were UTF-8 throughout: only then does ``text`` say what the bytes were."""


def cut_text(data: bytes, *, is_end: bool) -> Text:
    """Return the whole characters at the beginning of ``data``; with ``is_end``, of all of it."""
    try:
        text, used_bytes = codecs.utf_8_decode(data, "strict", is_end)
    except UnicodeDecodeError:
        text, used_bytes = codecs.utf_8_decode(data, "replace", is_end)
        return Text(text, used_bytes, is_exact=False)
    return Text(text, used_bytes, is_exact=True)


def count_torn(data: bytes) -> int:
    """Return how many bytes at the beginning of ``data`` continue a character that began before it."""
    head = data[: MAX_CHARACTER_BYTES - 1]
    return len(head) - len(head.lstrip(_CONTINUATION))


def count_unfinished(data: bytes) -> int:
    """Return how many bytes at the end of ``data`` begin a character that is not all there."""
    for size in range(1, min(MAX_CHARACTER_BYTES, len(data) + 1)):
        tail = data[-size:]
        if tail[0] not in _CONTINUATION:
            return size - cut_text(tail, is_end=False).used_bytes
    return 0


_CONTINUATION = bytes(range(0x80, 0xC0))
