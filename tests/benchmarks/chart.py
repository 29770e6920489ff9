"""A picture of the goals: one bar each, on one scale where 1 is the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.goals import Verdict

ROW, BAR, TOP = 26, 16, 56
LABELS, SCALE, FIGURES = 370, 320, 190
MOST = 2.0
"""Where bars end: twice the limit is far enough to see."""

INK, GRID, MET, MISSED = "#24292f", "#d0d7de", "#2a7f62", "#c8553d"


def _text(x: float, y: float, words: str, **more: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(words)}</text>'


def _bar(verdict: Verdict, y: float) -> list[str]:
    """Return the shapes of one goal."""
    middle = y + BAR / 2 + 4
    shapes = [_text(LABELS - 10, middle, verdict.goal.title, text_anchor="end")]
    if verdict.strain is None:
        return [*shapes, _text(LABELS + 6, middle, "not run", fill="#6e7781")]
    share = min(verdict.strain, MOST)
    color = MET if verdict.met else MISSED
    width = share / MOST * SCALE
    shapes.append(f'<rect x="{LABELS}" y="{y:g}" width="{width:.1f}" height="{BAR}" fill="{color}"/>')
    if verdict.strain > MOST:
        shapes.append(_text(LABELS + SCALE - 14, middle, "»", fill="white"))
    words = f"{verdict.measured_text} ({verdict.goal.limit_text})"
    return [*shapes, _text(LABELS + SCALE + 10, middle, words, fill=INK if verdict.met else MISSED)]


def render_chart(verdicts: Sequence[Verdict]) -> str:
    """Return an SVG document."""
    height = TOP + ROW * len(verdicts) + 16
    limit = LABELS + SCALE / MOST
    shapes = [
        _text(LABELS - 10, 24, "mtr against its goals", text_anchor="end", font_weight="bold"),
        _text(limit, 40, "limit", text_anchor="middle"),
        _text(LABELS, 40, "0", text_anchor="middle"),
        _text(LABELS + SCALE, 40, f"{MOST:g} × limit", text_anchor="middle"),
        f'<line x1="{LABELS}" y1="46" x2="{LABELS}" y2="{height - 10}" stroke="{GRID}"/>',
    ]
    for number, verdict in enumerate(verdicts):
        shapes += _bar(verdict, TOP + ROW * number)
    shapes.append(f'<line x1="{limit:g}" y1="46" x2="{limit:g}" y2="{height - 10}" stroke="{INK}"/>')
    width = LABELS + SCALE + FIGURES
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{INK}">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *shapes, "</svg>"]) + "\n"
