"""Answering a program that asks on a terminal: for an ssh that cannot be told to ask another program."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from mtr.errors import MtrError
from mtr.process import spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_QUESTION = r"[^\r\n]+[:?] ?$"


def run_prompted(
    argv: Sequence[str], environ: Mapping[str, str], answer: Callable[[str], str], *, timeout_s: float | None
) -> int | None:
    """Run ``argv`` on a terminal of its own, answering its questions; return its status, None if time was up.

    It ignores SIGHUP, so what it leaves in the background outlives the terminal. What ``answer`` raises ends it.
    """
    import pexpect

    child = pexpect.spawn(
        argv[0], list(argv[1:]), env=dict(environ), timeout=timeout_s, echo=False, ignore_sighup=True, encoding=None
    )
    key = child.pid or 0
    if spawn.listener is not None:
        spawn.listener.started(key, argv)
    try:
        while child.expect([_QUESTION.encode(), pexpect.EOF]) == 0:
            asked: Any = child.before + child.after  # type: ignore[operator]  # bytes, as encoding=None says
            child.sendline(os.fsencode(answer(asked.decode(errors="replace"))))
    except pexpect.TIMEOUT:
        return None
    finally:
        if child.isalive():
            with contextlib.suppress(pexpect.ExceptionPexpect):
                # At once: a gentler signal would have it send an empty answer, which counts as a wrong one.
                child.wait() if child.eof() else child.kill(signal.SIGKILL)
        child.close()
    if child.exitstatus is None:
        raise MtrError(f"{argv[0]} was killed by signal {child.signalstatus}")
    if spawn.listener is not None:
        spawn.listener.ended(key, int(child.exitstatus))
    return int(child.exitstatus)
