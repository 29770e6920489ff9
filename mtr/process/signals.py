"""Signals that ask mtr to end, as an exception that unwinds whatever it is doing.

So every step has one way to clean up: a half-opened login is ended, a transfer's processes are killed, a run is
ended on the server.
"""

from __future__ import annotations

import contextlib
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Interrupted(BaseException):
    """A signal asked mtr to end. Not an ``Exception``: nothing on the way may mistake it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_status(self) -> int:
        """The status that a shell reports for it: 128+n."""
        return 128 + self.signum


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Turn INT, TERM, HUP and QUIT into :class:`Interrupted`, but for those that were ignored before (nohup, ``&``)."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        raise Interrupted(signum)

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back those signals until the block is over: one between a program's start and its pid would leave it alone.

    Raises:
        Interrupted: at the end of the block, when one came.
    """
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda signum, _frame: held.append(signum))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise Interrupted(held[0])
