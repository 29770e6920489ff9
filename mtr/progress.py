"""What mtr draws on a terminal and takes away again: the progress bar, and what a wait is for.

One thing at a time is drawn, in the last lines of the screen; whatever else is written to stderr goes through
:func:`write_over`, which takes it away first. Loaded only when something is drawn. No colour with ``NO_COLOR``, nothing
at all on a terminal that cannot erase (``TERM=dumb``), no character that the locale does not have.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from mtr.voice import render_bytes, wants_colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REDRAW_S = 0.1
RATE_WINDOW_S = 5.0
"""The rate is that of the last seconds: what a line gave a minute ago does not tell when it will be over."""

WIDEST_BAR, NARROWEST_BAR = 24, 8
ERASE_LINE, ERASE_BELOW = "\r\x1b[K", "\r\x1b[J"
DOWN_SAVE, RESTORE_UP = "\x1bD\x1b7", "\x1b8\x1b[A"
"""To the next line, in the same column, which is the place to come back from: a position kept before would be another
one where that scrolls the screen. IND, DECSC, DECRC, CUU: xterm's ctlseqs."""

_lock = threading.RLock()
"""A transfer draws from a thread of its own."""


class _Drawn:
    """What stands on the screen: how wide, and whether below the line with the cursor; and the pace so far."""

    width = 0
    is_below = False
    drawn_s = 0.0
    looks: tuple[tuple[float, int], ...] = ()


def draw_bar(label: str, bytes_done: int, bytes_total: int) -> None:
    """Draw how far a transfer is; seldom enough to cost nothing."""
    now_s = time.monotonic()
    if now_s - _Drawn.drawn_s < REDRAW_S or not can_erase():
        return
    rate = _find_rate(now_s, bytes_done)
    columns = find_columns()
    with _lock:
        line, width = render_bar(
            label,
            bytes_done,
            bytes_total,
            rate,
            columns - 1,
            is_unicode=is_unicode(os.environ),
            has_colour=wants_colour(),
        )
        sys.stderr.write(f"{_build_erasing(columns)}{line}")
        sys.stderr.flush()
        _Drawn.drawn_s, _Drawn.width, _Drawn.is_below = now_s, width, False


def _find_rate(now_s: float, bytes_done: int) -> float:
    """Return the bytes per second of the last seconds, 0 where that is not known yet."""
    looks = _Drawn.looks
    if looks and looks[-1][1] > bytes_done:
        looks = ()  # another transfer has begun
    recent = tuple(look for look in looks if look[0] > now_s - RATE_WINDOW_S)
    _Drawn.looks = (*(recent or looks[-1:]), (now_s, bytes_done))
    first_s, first = _Drawn.looks[0]
    return (bytes_done - first) / (now_s - first_s) if now_s > first_s else 0.0


def render_bar(
    label: str, bytes_done: int, bytes_total: int, rate: float, width: int, *, is_unicode: bool, has_colour: bool
) -> tuple[str, int]:
    """Return the line, at most ``width`` columns, and how many it takes.

    What does not fit goes, the least needed first: the time left, the rate, the bar, the bytes.
    """
    done = min(bytes_done, bytes_total)
    fraction = done / bytes_total if bytes_total else 0.0
    begin, percent = f"mtr: {label}", f"{int(fraction * 100):3d}%"
    parts = [f"{render_bytes(done)} of {render_bytes(bytes_total)}"]
    if rate > 0:
        parts += [f"{render_bytes(int(rate))}/s", f"{render_left((bytes_total - done) / rate)} left"]
    while True:
        end = "  ".join([percent, *parts])
        room = width - len(begin) - len(end) - 2
        if room >= NARROWEST_BAR:
            bar = min(room, WIDEST_BAR)
            drawn = _render_blocks(fraction, bar, is_unicode=is_unicode, has_colour=has_colour)
            return f"{begin} {drawn} {end}", len(begin) + bar + len(end) + 2
        if len(parts) <= 1:
            break
        parts.pop()
    for line in (f"{begin} {percent}  {parts[0]}", f"{begin} {percent}", f"mtr:{percent}", percent):
        if len(line) <= width:
            return line, len(line)
    return "", 0


def _render_blocks(fraction: float, width: int, *, is_unicode: bool, has_colour: bool) -> str:
    full = int(fraction * width)
    done, left = ("━", "─") if is_unicode else ("#", "-")
    if has_colour:
        return f"\x1b[36m{done * full}\x1b[0;2m{left * (width - full)}\x1b[0m"
    return done * full + left * (width - full)


def render_left(seconds: float) -> str:
    """Return e.g. ``0:07``, ``12:30``, ``3:05:00``."""
    whole = min(int(seconds + 0.99), 359_999)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def tell_later(text: str, delay_s: float) -> Callable[[], None]:
    """Show ``text`` after ``delay_s``, below the line with the cursor; return what ends that, and takes it away.

    Below, and the cursor stays, because ssh may ask for something: before, then its answer is typed where it was; or
    meanwhile, then nothing of ours is in the line of its question.
    """
    if not can_erase():
        return lambda: None

    def show() -> None:
        with _lock:
            if _is_asked():
                return
            dots = "…" if is_unicode(os.environ) else "..."
            line = f"mtr: {text} {dots}"[: find_columns() - 1]
            sys.stderr.write(f"{DOWN_SAVE}\r{line}{RESTORE_UP}")
            sys.stderr.flush()
            _Drawn.width, _Drawn.is_below = len(line), True

    timer = threading.Timer(delay_s, show)
    timer.daemon = True
    timer.start()

    def end() -> None:
        timer.cancel()
        timer.join()
        write_over("")

    return end


def _is_asked() -> bool:
    """Tell whether somebody is asked for a password just now: nothing shows of what is typed."""
    import termios

    try:
        return not termios.tcgetattr(2)[3] & termios.ECHO
    except termios.error:
        return False


def write_over(text: str) -> None:
    """Take away what is drawn, and write ``text``."""
    with _lock:
        if _Drawn.width:
            text = f"{_build_erasing(find_columns())}{text}"
            _Drawn.width, _Drawn.drawn_s, _Drawn.is_below = 0, 0.0, False
        if text:
            sys.stderr.write(text)
            sys.stderr.flush()


def _build_erasing(columns: int) -> str:
    """Return what takes away the drawn line; a terminal that became narrower has folded it into several."""
    if _Drawn.is_below:
        return ERASE_BELOW
    folds = (_Drawn.width - 1) // columns if _Drawn.width and folds_lines(os.environ) else 0
    return f"\x1b[{folds}A{ERASE_BELOW}" if folds else ERASE_LINE


def find_line() -> None:
    """See that the cursor stands at the beginning of a line: a command may have ended in the middle of one.

    As many spaces as there are columns: from the first one they end at the edge of the same line, where the cursor
    waits; from any other they reach the next line.
    """
    if can_erase():
        sys.stderr.write(f"{' ' * find_columns()}{ERASE_LINE}")


def find_columns() -> int:
    """Return the width of the terminal now."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def can_erase() -> bool:
    """Tell whether what is drawn on the terminal can be taken away again."""
    return os.environ.get("TERM", "dumb") != "dumb"


def folds_lines(environ: Mapping[str, str]) -> bool:
    """Tell whether the terminal folds its lines anew when its width changes: all do but xterm."""
    return "XTERM_VERSION" not in environ


def is_unicode(environ: Mapping[str, str]) -> bool:
    """Tell whether the locale has characters beyond ASCII.

    Python sets LC_CTYPE to C.UTF-8 for itself where the user's locale is C (PEP 538): that says nothing of theirs.
    """
    coerced = environ.get("LC_CTYPE", "")
    named = environ.get("LC_ALL") or ("" if coerced == "C.UTF-8" else coerced) or environ.get("LANG", "")
    return named.lower().replace("-", "").endswith("utf8")
