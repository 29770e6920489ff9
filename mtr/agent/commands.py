"""What there is of commands on one machine, whichever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.agent.model import Listed, Look, Order


class Commands(Protocol):
    """What there is of commands on one machine; errors as those of :class:`Agent`."""

    def start(self, order: Order) -> str:
        """Begin to start what is ordered; return its token at once."""

    def look(
        self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float, until_end: bool = False
    ) -> Look:
        """Tell how it stands, and what it has printed behind ``offsets``."""

    def send(self, token: str, data: bytes, *, end: bool) -> None:
        """Let it read ``data``; with ``end`` there will be no more."""

    def terminate(self, token: str) -> None:
        """End it with all that it has started."""

    def list(self) -> Sequence[Listed]:
        """Return all of them, the oldest first."""
