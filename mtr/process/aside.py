"""Holding on to something after mtr has ended, for a moment. Builtin modules only."""

from __future__ import annotations

import os
import sys
import time

from mtr.process.piped import CHUNK_BYTES, is_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

MAX_DESCRIPTORS = 1024


def hold_aside(descriptor: int, most_s: float) -> None:
    """Keep what ``descriptor`` is of open until the other end closes it, ``most_s`` seconds at most.

    In a process of its own, out of reach of the terminal, which has nothing else open: whoever waits for the end of
    mtr's output does not wait for it. Where other threads run here it is one more of these: a fork would take over
    their locks.
    """
    threading: ModuleType | None = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        held = os.dup(descriptor)
        threading.Thread(target=_hold, args=(held, most_s), daemon=True).start()
    elif child := os.fork():
        os.waitpid(child, 0)
    else:
        try:
            _leave_all_but(descriptor)
            # Nobody's child, so that a script that goes on for long has none that is dead.
            if not os.fork():
                _hold(descriptor, most_s)
        finally:
            os._exit(0)  # Nothing that this process has buffered is to be written twice.


def _leave_all_but(kept: int) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, kept)
    os.closerange(kept + 1, MAX_DESCRIPTORS)


def _hold(descriptor: int, most_s: float) -> None:
    end_s = time.monotonic() + most_s
    while is_ready(descriptor, timeout_s=max(0.0, end_s - time.monotonic())) and os.read(descriptor, CHUNK_BYTES):
        pass
    os.close(descriptor)
