"""mtr's own terminal, joined to a session without ssh: raw while it lasts, its size told to the other side."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_SIZE = (80, 24)


def read_size(descriptor: int) -> tuple[int, int]:
    """Return columns and rows of the terminal on ``descriptor``."""
    try:
        found = os.get_terminal_size(descriptor)
    except OSError:
        return DEFAULT_SIZE
    return found.columns, found.lines


class raw_terminal:  # noqa: N801  read as a statement: with raw_terminal(resize)
    """Hand every key to the other side for the block, and call ``resize`` when the window changes.

    Where stdin is no terminal, or the system has no termios (Windows), it stays as it is.
    """

    def __init__(self, resize: Callable[[int, int], None]) -> None:
        self._resize = resize
        self._saved: list[object] | None = None

    def __enter__(self) -> None:
        try:
            import signal
            import termios
            import tty
        except ImportError:
            return
        if not (sys.stdin and os.isatty(0)):
            return
        self._saved = termios.tcgetattr(0)
        tty.setraw(0, termios.TCSADRAIN)
        self._before = signal.signal(signal.SIGWINCH, lambda _signum, _frame: self._resize(*read_size(0)))

    def __exit__(self, *_: object) -> None:
        if self._saved is None:
            return
        import signal
        import termios

        signal.signal(signal.SIGWINCH, self._before)
        termios.tcsetattr(0, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
