"""Doing something beside mtr that goes on after it has ended, for a moment, where that can be. Builtin modules only."""

from __future__ import annotations

import _signal
import errno
import os
import sys
import time

from mtr.process import spawn
from mtr.process.piped import CHUNK_BYTES, is_ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import NoReturn

MAX_DESCRIPTORS = 1024
TERM = 15


def begin_aside(act: Callable[..., None], descriptors: Sequence[int]) -> int:
    """Do ``act``, whose arguments are copies of ``descriptors`` and which closes them, and wait for nothing of it.

    In a process of its own, out of reach of the terminal, which has nothing else open: whoever waits for the end of
    mtr's output does not wait for it. Where other threads run here it is one more of these: a fork would take over
    their locks.

    Returns the process group that ends it on TERM, 0 where it is a thread, which goes no further than this process.

    Raises:
        OSError: there is no room for one more.
    """
    threading: ModuleType | None = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        _begin_thread(threading, act, descriptors)
        return 0
    own = os.getpid()
    try:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return child
        _leave_all_but(descriptors)
        # Nobody's child, so that a script that goes on for long has none that is dead.
        if not os.fork():
            act(*descriptors)
    finally:
        if os.getpid() != own:
            os._exit(0)  # Nothing that this process has buffered is to be written twice.
    raise AssertionError("a process that has left goes no further")


def _begin_thread(threading: ModuleType, act: Callable[..., None], descriptors: Sequence[int]) -> None:
    lent = [os.dup(descriptor) for descriptor in descriptors]
    try:
        threading.Thread(target=act, args=lent, daemon=True).start()
    except RuntimeError as error:
        for descriptor in lent:
            os.close(descriptor)
        raise OSError(errno.EAGAIN, str(error)) from error


def _leave_all_but(kept: Sequence[int]) -> None:
    os.setsid()
    _signal.signal(TERM, _leave)
    spawn.listener = None
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    first = 3
    for descriptor in (*sorted(kept), MAX_DESCRIPTORS):
        os.closerange(first, descriptor)
        first = descriptor + 1


def _leave(*_: object) -> NoReturn:
    raise SystemExit


def hold(descriptor: int, most_s: float) -> None:
    """Keep what ``descriptor`` is of open until the other end closes it, ``most_s`` at most; what comes is dropped."""
    end_s = time.monotonic() + most_s
    while is_ready(descriptor, timeout_s=max(0.0, end_s - time.monotonic())) and os.read(descriptor, CHUNK_BYTES):
        pass
