"""A session in the foreground: ssh on mtr's own stdio, its signals, its deadline, the terminal afterwards.

With a terminal, ssh stands in front: keys, window changes and ``~.`` are its own. In batch it gets a session
of its own, so that Ctrl-C reaches mtr alone, which ends the run on the server while ssh still delivers the
command's last words.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from mtr.process.signals import Interrupted, signals_held
from mtr.process.spawn import is_ended, start_inherited, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LAST_WORDS_S = 3.0
"""How long ssh may still deliver output after the run on the server has ended."""

# Leave the alternate screen; no mouse, focus or paste reports; cursor visible; plain colours: xterm's ctlseqs.
_RESET_MODES = "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m\r\n"


@contextlib.contextmanager
def after(delay_s: float, act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` once, ``delay_s`` from now, if the block still runs then."""
    before = signal.signal(signal.SIGALRM, lambda _signum, _frame: act())
    signal.setitimer(signal.ITIMER_REAL, delay_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_foreground(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    tty: bool,
    deadline_s: float,
    on_deadline: Callable[[int], None],
    on_interrupt: Callable[[int], None],
) -> int:
    """Run ssh on the inherited stdio and return its status.

    ``on_deadline(pid)`` is called once after ``deadline_s``, to see whether the session has opened at all.
    ``on_interrupt(signum)`` ends the run on the server; then ssh gets ``LAST_WORDS_S`` and is ended too.

    Raises:
        Interrupted: a signal reached mtr (see ``raise_on_signals``); nothing of the run goes on here.
    """
    with _stdio_restored(tty=tty):
        pid = 0
        try:
            with signals_held():
                pid = start_inherited(argv, environ, own_session=not tty)
            with after(deadline_s, lambda: on_deadline(pid)):
                return wait_for(pid)
        except Interrupted as interrupted:
            if pid:
                _end_run(pid, interrupted.signum, on_interrupt)
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
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        if is_ended(pid) is None:
            os.kill(pid, signal.SIGKILL)
            wait_for(pid)


@contextlib.contextmanager
def _stdio_restored(*, tty: bool) -> Iterator[None]:
    """Leave stdin, stdout and stderr as they were found.

    A master makes the descriptors that a session hands to it non-blocking, and they are shared with whoever
    started mtr. A terminal that ssh could not restore (killed, line lost) is restored here.
    """
    blocking = {}
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            blocking[descriptor] = os.get_blocking(descriptor)
    saved = _load_terminal() if tty else None
    try:
        yield
    finally:
        for descriptor, was in blocking.items():
            with contextlib.suppress(OSError):
                os.set_blocking(descriptor, was)
        if saved is not None:
            _restore_terminal(saved)


def _load_terminal() -> list[object] | None:
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _restore_terminal(saved: list[object]) -> None:
    import termios

    with contextlib.suppress(termios.error):
        if termios.tcgetattr(0) != saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)  # type: ignore[arg-type]


def reset_terminal() -> None:
    """Undo what a full-screen program cut off in the middle leaves behind: alternate screen, mouse reports."""
    if sys.stdout.isatty():
        sys.stdout.write(_RESET_MODES)
        sys.stdout.flush()
