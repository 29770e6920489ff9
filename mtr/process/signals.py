"""Signals that ask mtr to end, as an exception that unwinds whatever it is doing.

So every step has one way to clean up: a half-opened login is ended, a transfer's processes are killed, a run is
ended on the server.

``_signal`` is the builtin module under ``signal``, without the enumerations, whose import alone costs 4 ms.
"""

from __future__ import annotations

import _signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_ENDING = tuple(getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(_signal, name))


class Interrupted(BaseException):
    """A signal asked mtr to end. Not an ``Exception``: nothing on the way may mistake it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    words = ""
    """What there is to say about it."""

    @property
    def exit_status(self) -> int:
        """The status that a shell reports for it: 128+n."""
        return 128 + self.signum


class Expired(Interrupted):
    """The time that a command was given, ``timeout_s``, is over."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(_signal.SIGTERM)
        self.timeout_s = timeout_s
        self.words = f"mtr: ended after {timeout_s:g} s, as --timeout says\n"

    @property
    def exit_status(self) -> int:
        """What timeout(1) exits with."""
        return 124


REPEATED_S = 1.0
"""Who presses Ctrl-C several times means one end: what it takes to end the run on the server is not cut off by that."""


class raise_on_signals:  # noqa: N801  read as a statement: with raise_on_signals()
    """Turn INT, TERM, HUP and QUIT into :class:`Interrupted`, but for those that were ignored before (nohup, ``&``).

    Further ones within ``REPEATED_S`` mean the same; one that comes later cuts off what is still being cleaned up.
    """

    raised_s = float("-inf")

    def __enter__(self) -> None:
        if type(self) is raise_on_signals:
            raise_on_signals.raised_s = float("-inf")
        self._before = {number: _signal.getsignal(number) for number in _ENDING}
        try:
            for number, handler in self._before.items():
                if handler is not _signal.SIG_IGN:
                    _signal.signal(number, self._take)
        except ValueError:
            self._before = {}  # Not the main thread: that one alone hears of signals.

    def _take(self, signum: int, _frame: FrameType | None) -> None:
        if time.monotonic() - raise_on_signals.raised_s >= REPEATED_S:
            self._raise(signum)

    @staticmethod
    def _raise(signum: int) -> None:
        raise_on_signals.raised_s = time.monotonic()
        raise Interrupted(signum)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            _signal.signal(number, handler)


class signals_held(raise_on_signals):  # noqa: N801
    """Hold back those signals until the block is over: one between a program's start and its pid would leave it alone.

    Raises:
        Interrupted: at the end of the block, when one came and nothing else was raised.
    """

    def __init__(self) -> None:
        self._held: list[int] = []

    def _take(self, signum: int, _frame: FrameType | None) -> None:
        self._held.append(signum)

    def __exit__(self, kind: object = None, *_: object) -> None:
        super().__exit__()
        if self._held and kind is None:
            self._raise(self._held[0])
