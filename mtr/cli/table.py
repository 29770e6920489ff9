"""A table for people: columns in line, as wide as the terminal, coloured where that is wanted."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING

from mtr.errors import reveal_controls

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "
_NARROWEST = 10
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "": ""}


class Cell:
    """A text and how it looks; a column gives way to others by its end, or by its beginning (``keeps_end``)."""

    __slots__ = ("keeps_end", "style", "text")

    def __init__(self, text: str, style: str = "", *, keeps_end: bool = False) -> None:
        self.text = reveal_controls(text)
        self.style = style
        self.keeps_end = keeps_end


def render_table(rows: Sequence[Sequence[Cell]], *, yields: Sequence[int], width: int | None, has_colour: bool) -> str:
    """Return ``rows`` as lines. Where they are wider than ``width``, the columns ``yields`` give way, in this order.

    None is no limit: for a file or a program, which can have all of it.
    """
    widths = [max(measure(row[index].text) for row in rows) for index in range(len(rows[0]))]
    if width is not None:
        _shrink(widths, yields, width)
    return "".join(f"{_render_row(row, widths, has_colour=has_colour)}\n" for row in rows)


def measure_narrowest(rows: Sequence[Sequence[Cell]], yields: Sequence[int]) -> int:
    """Return how wide ``rows`` are at least, when the columns ``yields`` have given way."""
    widths = [max(measure(row[index].text) for row in rows) for index in range(len(rows[0]))]
    _shrink(widths, yields, 0)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shrink(widths: list[int], yields: Sequence[int], width: int) -> None:
    """Make columns narrower until all fit, but none so narrow that nothing could be read."""
    for index in yields:
        over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
        if over > 0:
            widths[index] = min(widths[index], max(_NARROWEST, widths[index] - over))


def _render_row(row: Sequence[Cell], widths: Sequence[int], *, has_colour: bool) -> str:
    shown = []
    for cell, width in zip(row, widths, strict=True):
        text = shorten(cell.text, width, keeps_end=cell.keeps_end)
        padding = " " * (width - measure(text))
        shown.append(
            (f"\x1b[{_STYLES[cell.style]}m{text}\x1b[0m" if has_colour and cell.style and text else text) + padding
        )
    return _GAP.join(shown).rstrip()


def measure(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, width: int, *, keeps_end: bool = False) -> str:
    """Return ``text`` in at most ``width`` columns, with an ellipsis where something is missing."""
    if measure(text) <= width:
        return text
    while text and measure(text) > width - 1:
        text = text[1:] if keeps_end else text[:-1]
    return f"…{text}" if keeps_end else f"{text}…"


def find_width() -> int | None:
    """Return how wide the terminal is that stdout goes to; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
