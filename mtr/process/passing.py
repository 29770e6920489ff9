"""Handing bytes from a pipe to another descriptor, with a count that stays exact when a signal asks mtr to end.

A write that a signal interrupts has written something, or not: only the kernel knows, unless no signal is taken between
the write and the count. So nothing here blocks but a wait in front of it, which a signal does end.
"""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import TYPE_CHECKING

from mtr.process.piped import widen
from mtr.process.signals import Interrupted, raise_on_signals

if TYPE_CHECKING:
    from types import FrameType


class Passage(raise_on_signals):
    """Writes to ``descriptor``. Entered again around each write and its count: a signal waits for the end of both."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._depth = 0
        self._signum = 0
        kind = os.fstat(descriptor).st_mode
        self._never_blocks = stat.S_ISREG(kind)
        self._can_splice = hasattr(os, "splice") and (self._never_blocks or stat.S_ISFIFO(kind))
        if stat.S_ISFIFO(kind):
            widen(descriptor)
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLOUT)

    def __enter__(self) -> None:
        if self._depth == 0:
            super().__enter__()
        elif not self._never_blocks:
            self._poller.poll()
        self._depth += 1

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if self._depth > 1:
            self._signum = signum
        else:
            super()._take(signum, frame)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            super().__exit__()
        elif self._signum:
            raise Interrupted(self._signum)

    def splice(self, source: int, size_bytes: int) -> int | None:
        """Move up to ``size_bytes`` from the pipe ``source``, in which there is something; return how many.

        0 at its end. None where that cannot be had (now): a terminal, a file that is appended to, no room after all.
        """
        if self._can_splice:
            try:
                return os.splice(source, self._descriptor, size_bytes, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._can_splice = False
        return None

    def write(self, data: memoryview) -> int:
        """Write as much of ``data`` as goes without waiting; return how much that is."""
        return os.write(self._descriptor, data if self._never_blocks else data[: select.PIPE_BUF])
