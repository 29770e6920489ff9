"""What mtr itself says during a run: on stderr, prefixed ``mtr:``, and nothing in batch.

Progress and receipts are for people: they need a terminal on stderr *and* on stdout, since a command whose
output goes to a file or a program must leave nothing of mtr's beside it. Lines that say why something took
long (a reconnection) are said always.
"""

from __future__ import annotations

import os
import sys
import time

from mtr.errors import reveal_controls, sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mtr.sync.base import Progress
    from mtr.sync.result import SyncResult

_BAR_WIDTH = 24
_SHOW_AFTER_S = 0.3
"""A sync shorter than this is over before a bar could be read."""

_REDRAW_S = 0.05


class Voice:
    """Says things to the person at the terminal."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._is_terminal = os.isatty(2)
        self._interactive = not quiet and self._is_terminal and os.isatty(1)
        self._started_s = time.monotonic()
        self._drawn_s = 0.0
        self._drawn = False

    def renew(self) -> Voice:
        """Return a voice like this one for something that begins now."""
        return Voice(quiet=self._quiet, verbose=self._verbose)

    def say(self, line: str) -> None:
        """Print one line that the user must see."""
        self._clear()
        ending = "\r\n" if self._is_terminal and _is_raw() else "\n"
        sys.stderr.write(f"mtr: {reveal_controls(line)}{ending}")
        sys.stderr.flush()

    def detail(self, line: str) -> None:
        """Print one line for who asked with ``-v``."""
        if self._verbose:
            self.say(line)

    def can_ask(self) -> bool:
        """Tell whether a person can be asked: a terminal to read from, which no command has taken over."""
        return self._is_terminal and os.isatty(0) and not _is_raw()

    def ask(self, question: str) -> bool:
        """Ask the person at the terminal; anything but yes is no."""
        sys.stderr.write(f"mtr: {sanitize(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def show_progress(self, progress: Progress) -> None:
        """Draw how far a sync is, on a terminal only, over what was drawn before."""
        self._draw(progress.fraction, progress.bytes_done, progress.rate_text)

    def show_count(self, bytes_done: int, bytes_total: int) -> None:
        """Draw how far a sync is that counts what it has sent of ``bytes_total``, before compression."""
        rate = bytes_done / max(0.001, time.monotonic() - self._started_s)
        self._draw(min(1.0, bytes_done / max(1, bytes_total)), bytes_done, f"{render_bytes(int(rate))}/s")

    def _draw(self, fraction: float, bytes_done: int, rate_text: str) -> None:
        now_s = time.monotonic()
        if not self._interactive or now_s - self._started_s < _SHOW_AFTER_S or now_s - self._drawn_s < _REDRAW_S:
            return
        full = int(fraction * _BAR_WIDTH)
        bar = "━" * full + "─" * (_BAR_WIDTH - full)
        done = render_bytes(bytes_done)
        sys.stderr.write(f"\r\x1b[Kmtr: sync {bar} {fraction:4.0%}  {done}  {sanitize(rate_text)}")
        sys.stderr.flush()
        self._drawn_s, self._drawn = now_s, True

    def show_receipt(self, result: SyncResult, server_name: str) -> None:
        """Print what a sync has brought over; nothing where it had nothing to do."""
        self._clear()
        if (result.files_sent or result.deleted) and (self._interactive or self._verbose):
            self.say(render_receipt(result, server_name))

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            self._drawn = False


def _is_raw() -> bool:
    """Tell whether the terminal is in raw mode already, for the command that comes next."""
    import termios

    try:
        return not termios.tcgetattr(2)[1] & termios.OPOST
    except termios.error:
        return False


def render_receipt(result: SyncResult, server_name: str) -> str:
    """Return e.g. ``synced 3 files (12 kB) to gpu-01 in 0.21 s``."""
    files = "1 file" if result.files_sent == 1 else f"{result.files_sent:,} files"
    sent = "" if result.bytes_sent is None else f" ({render_bytes(result.bytes_sent)})"
    deleted = f", deleted {result.deleted:,} there" if result.deleted else ""
    return f"synced {files}{sent} to {server_name}{deleted} in {result.duration_s:.2f} s"


def render_bytes(count: int) -> str:
    """Return ``count`` bytes in the largest unit of 1,000 that fits, as ``df -H`` does."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
