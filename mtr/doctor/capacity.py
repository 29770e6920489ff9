"""How many sessions a server opens at once over one connection (MaxSessions of sshd_config(5)), by opening them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtr.ssh.line import Line
    from mtr.ssh.mux import Session
    from mtr.ssh.through_ssh import SshSession

TRIES = 10
OPENING_S = 10.0
CLOSING_S = 5.0


def count_sessions(line: Line) -> int:
    """Return how many sessions open at once beside those that are open already, ``TRIES`` at most.

    All are closed before it returns, so that what comes next is not refused for them.
    """
    (source, feed), null = os.pipe(), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    sessions: list[Session | SshSession] = []
    try:
        # Each waits for the end of its input, which comes when all have opened.
        sessions += [line.open_session("exec cat", (source, null, null)) for _ in range(TRIES)]
        _wait(sessions, OPENING_S, until_over=False)
        count = sum(session.has_opened for session in sessions)
    finally:
        for descriptor in (source, feed, null):
            os.close(descriptor)
        _wait(sessions, CLOSING_S, until_over=True)
        for session in sessions:
            session.close()
    return count


def _wait(sessions: list[Session | SshSession], timeout_s: float, *, until_over: bool) -> None:
    """Wait until each session has opened or was refused; or has ended."""
    end_s = time.monotonic() + timeout_s
    for session in sessions:
        while not session.is_over and (until_over or not session.has_opened):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            session.wait_for_news(min(left_s, 0.5))
