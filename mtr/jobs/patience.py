"""How long a server that cannot be reached is asked again: a laptop sleeps, a line breaks, and neither ends a job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mtr.errors import AuthenticationFailed, ConnectError, ConnectionLost, HostKeyChanged, LoginShellBroken

if TYPE_CHECKING:
    from mtr.ssh.line import Line

RETRY_S = 3600.0
"""How long a server that cannot be reached is tried again before mtr gives up."""

LONGEST_PAUSE_S = 15.0
TRANSIENT = (ConnectError, ConnectionLost)
FINAL = (AuthenticationFailed, HostKeyChanged, LoginShellBroken)
"""What no second attempt changes; and each may count against the account."""


class Patience:
    """Pauses between attempts, longer each time; ``renew`` when one has come to something."""

    def __init__(self, line: Line, *, resumes: str) -> None:
        """``resumes`` tells what the next attempt goes on with."""
        self._line = line
        self.resumes = resumes
        self.renew()

    def renew(self) -> None:
        """Forget what has failed."""
        self._since_s, self._pause_s = 0.0, 0.0

    def bear(self, error: ConnectError | ConnectionLost, *, hint: str) -> None:
        """Pause after ``error``, which is said once.

        Raises:
            ConnectionLost: there has been nothing but errors for an hour.
            ConnectError: it is one that stays.
        """
        if isinstance(error, FINAL):
            raise error
        if not self._since_s:
            self._since_s = time.monotonic()
            self._line.says(f"{error.message}; {self.resumes}")
        elif time.monotonic() - self._since_s > RETRY_S:
            raise ConnectionLost(f"{error.message}, for an hour now", hint=hint) from error
        time.sleep(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2 or 0.25)
