"""How long a server that cannot be reached is asked again: a laptop sleeps, a line breaks, and neither ends a job."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from mtr.errors import AuthenticationFailed, ConnectError, ConnectionLost, HostKeyChanged, LoginShellBroken

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_S = 3600.0
"""How long a server that cannot be reached is tried again before mtr gives up."""

LONGEST_PAUSE_S = 15.0
TRANSIENT = (ConnectError, ConnectionLost)
FINAL = (AuthenticationFailed, HostKeyChanged, LoginShellBroken)
"""What no second attempt changes; and each may count against the account."""


class Patience:
    """Pauses between attempts, longer each time; ``renew`` when one has come to something.

    A session that has stood for longer than the longest pause has, too, though nothing came over it: a job that prints
    nothing for hours is followed across breaks that are hours apart. ``note_session`` says when one began.
    """

    def __init__(self, says: Callable[[str], None], *, resumes: str) -> None:
        """``says`` takes a line for the user; ``resumes`` tells what the next attempt goes on with."""
        self._says = says
        self.resumes = resumes
        self._began_s = math.inf
        self.renew()

    def renew(self) -> None:
        """Forget what has failed."""
        self._since_s, self._pause_s = 0.0, 0.0

    def note_session(self) -> None:
        """Note that the server has taken a session, which stands from now on."""
        self._began_s = time.monotonic()

    def bear(self, error: ConnectError | ConnectionLost, *, hint: str, end_s: float = math.inf) -> None:
        """Pause after ``error``, which is said once; no longer than up to ``end_s`` of the monotonic clock.

        Raises:
            ConnectionLost: there has been nothing but errors for an hour.
            ConnectError: it is one that stays.
        """
        if isinstance(error, FINAL):
            raise error
        if time.monotonic() - self._began_s > LONGEST_PAUSE_S:
            self.renew()
        self._began_s = math.inf
        if not self._since_s:
            self._since_s = time.monotonic()
            self._says(f"{error.message}; {self.resumes}")
        elif time.monotonic() - self._since_s > RETRY_S:
            raise ConnectionLost(f"{error.message}, for an hour now", hint=hint) from error
        time.sleep(max(0.0, min(self._pause_s, end_s - time.monotonic())))
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or 0.25)
