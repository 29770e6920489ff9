"""ssh on mtr's own terminal: its signals, its deadlines, and the terminal afterwards.

ssh stands in front: keys, window changes and ``~.`` are its own.
"""

from __future__ import annotations

import _signal
import os
import sys
import time

from mtr.process.signals import Interrupted, signals_held
from mtr.process.spawn import is_ended, start_inherited, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LAST_WORDS_S = 3.0
"""How long ssh may still deliver output after the run on the server has ended."""

# Leave the alternate screen; no mouse, focus or paste reports; cursor visible; plain colours: xterm's ctlseqs.
_RESET_MODES = "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m\r\n"


class after:  # noqa: N801  read as a statement: with after(deadlines)
    """Call each ``act`` of ``deadlines``, pairs of (seconds from now, act), if the block still runs then."""

    def __init__(self, deadlines: Sequence[tuple[float, Callable[[], None]]]) -> None:
        self._started_s = time.monotonic()
        self._deadlines = sorted(deadlines, key=lambda pair: pair[0])

    def __enter__(self) -> None:
        self._before = _signal.signal(_signal.SIGALRM, lambda _signum, _frame: self._act())
        self._arm()

    def _arm(self) -> None:
        if self._deadlines:
            left_s = self._started_s + self._deadlines[0][0] - time.monotonic()
            _signal.setitimer(_signal.ITIMER_REAL, max(0.001, left_s))

    def _act(self) -> None:
        act = self._deadlines.pop(0)[1]
        self._arm()
        act()

    def __exit__(self, *_: object) -> None:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        _signal.signal(_signal.SIGALRM, self._before)


def run_foreground(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    meanwhile: Callable[[], None],
    deadlines: Sequence[tuple[float, Callable[[int], None]]],
    on_interrupt: Callable[[int], None],
) -> int:
    """Run ssh on the inherited terminal and return its status.

    ``meanwhile`` is done once ssh has started. Each of ``deadlines`` is (seconds, act), and ``act`` is called with
    ssh's pid if it still runs then. ``on_interrupt(signum)`` ends the run on the server; then ssh gets
    ``LAST_WORDS_S`` and is ended too.

    Raises:
        Interrupted: a signal reached mtr (see ``raise_on_signals``); nothing of the run goes on here.
    """
    with stdio_restored(tty=True):
        pid = 0
        try:
            with signals_held():
                pid = start_inherited(argv, environ)
            meanwhile()
            with after([(delay_s, lambda act=act: act(pid)) for delay_s, act in deadlines]):  # type: ignore[misc]
                return wait_for(pid)
        except Interrupted as interrupted:
            if pid:
                _end_run(pid, interrupted.signum, on_interrupt)
            raise
        except BaseException:
            if pid:
                _end(pid)
            raise


def _end_run(pid: int, signum: int, on_interrupt: Callable[[int], None]) -> None:
    """End the run on the server, let ssh deliver its last words, and see that ssh ends."""
    try:
        on_interrupt(signum)
        _wait_at_most(pid, LAST_WORDS_S)
    finally:
        _end(pid)


def _wait_at_most(pid: int, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s and is_ended(pid) is None:
        time.sleep(0.01)


def _end(pid: int) -> None:
    try:
        if is_ended(pid) is None:
            os.kill(pid, _signal.SIGKILL)
            wait_for(pid)
    except (ProcessLookupError, ChildProcessError):
        pass  # it has ended meanwhile


class stdio_restored:  # noqa: N801  read as a statement: with stdio_restored(tty=…)
    """Leave stdin, stdout and stderr as they were found.

    A master makes the descriptors that a session hands to it non-blocking, and they are shared with whoever
    started mtr. A terminal that ssh could not restore (killed, line lost) is restored here.
    """

    def __init__(self, *, tty: bool) -> None:
        self._tty = tty

    def __enter__(self) -> None:
        self._blocking = [_is_blocking(descriptor) for descriptor in (0, 1, 2)]
        self._saved = _load_terminal() if self._tty else None

    def __exit__(self, *_: object) -> None:
        for descriptor, was in enumerate(self._blocking):
            if was and not _is_blocking(descriptor):
                os.set_blocking(descriptor, True)
        if self._saved is not None:
            _restore_terminal(self._saved)


def _is_blocking(descriptor: int) -> bool:
    try:
        return os.get_blocking(descriptor)
    except OSError:
        return False


def _load_terminal() -> list[object] | None:
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _restore_terminal(saved: list[object]) -> None:
    import termios

    try:
        if termios.tcgetattr(0) != saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)  # type: ignore[arg-type]
    except termios.error:
        pass  # the terminal has gone


def reset_terminal() -> None:
    """Undo what a full-screen program cut off in the middle leaves behind: alternate screen, mouse reports."""
    if sys.stdout.isatty():
        sys.stdout.write(_RESET_MODES)
        sys.stdout.flush()
