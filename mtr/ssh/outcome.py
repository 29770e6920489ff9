"""How a session ended, as far as can be said for certain. Pure."""

from __future__ import annotations


class Outcome:
    """What is known of a session; only the first two allow another attempt."""

    NEVER_OPENED = "never opened: nothing ran, a retry is safe"
    REFUSED = "the server refused another session on this master: nothing ran"
    STATUS = "the remote status arrived"
    NO_STATUS = "opened, but no status arrived: line lost, or the gate was killed"


class Ended:
    """How a session ended: its status, what is known of it, and the words that tell why."""

    __slots__ = ("outcome", "status", "words")

    def __init__(self, status: int, outcome: str, words: str = "") -> None:
        self.status = status
        self.outcome = outcome
        self.words = words

    @property
    def arrived(self) -> bool:
        """Whether the status is the remote one."""
        return self.outcome is Outcome.STATUS

    @property
    def has_opened(self) -> bool:
        """Whether the command may have started."""
        return self.outcome in (Outcome.STATUS, Outcome.NO_STATUS)


def parse_outcome(log: str) -> str:
    """Return how the session of an ``ssh`` ended from its log.

    Source: the debug messages of ``mux_client_request_session`` in OpenSSH's mux.c, 8.5 and newer.
    """
    if "master session id" in log:
        return Outcome.STATUS if "Received exit status from master" in log else Outcome.NO_STATUS
    refused = "Session open refused by peer" in log
    return Outcome.REFUSED if refused else Outcome.NEVER_OPENED
