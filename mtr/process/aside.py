"""Going on with something after mtr has ended, for a moment. Builtin modules only."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DESCRIPTORS = 1024


def go_on_aside(work: Callable[[], None], *, keep: int) -> None:
    """Do ``work`` in a process of its own, out of reach of the terminal; of what is open it has ``keep`` alone.

    Whoever waits for the end of mtr's output does not wait for it.
    """
    if os.fork():
        return
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.closerange(3, keep)
        os.closerange(keep + 1, MAX_DESCRIPTORS)
        work()
    finally:
        os._exit(0)  # Nothing that this process has buffered is to be written twice.
