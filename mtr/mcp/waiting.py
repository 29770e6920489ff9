"""Waiting for a command on behalf of a call: in slices, with progress told between them.

A call that is cancelled stops waiting at once, and its thread is free again after the slice; the command goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import anyio

from mtr.mcp.answers import has_news, is_ended

if TYPE_CHECKING:
    from mtr.agent.model import Look
    from mtr.mcp.desk import Desk

SLICE_S = 3.0
PAUSE_S = 0.3
"""Between two looks of which the first did not wait."""


class Reporter(Protocol):
    """Who tells the client how far a call has come, if it wants to know."""

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell it; each value is more than the one before."""


class Wait:
    """One call's wait for the command ``token``."""

    def __init__(self, desk: Desk, reporter: Reporter, token: str, limit_bytes: int) -> None:
        self._desk = desk
        self._reporter = reporter
        self._token = token
        self._limit_bytes = limit_bytes
        self._told = 0

    async def for_news(self, offsets: tuple[int, int], wait_s: float) -> Look:
        """Return how the command stands once it has printed more than ``offsets`` or has ended, or time is over.

        Raises:
            MtrError: its server cannot be asked.
        """
        end_s = time.monotonic() + wait_s
        found = await self._look(offsets, 0.0)
        while not has_news(found) and (left_s := end_s - time.monotonic()) > 0:
            # Behind what is there of a character that is not whole.
            behind = tuple(piece.start + len(piece.data) for piece in (found.stdout, found.stderr))
            await self._look((behind[0], behind[1]), left_s)
            found = await self._look(offsets, 0.0)
        return found

    async def for_end(self, offsets: tuple[int, int], wait_s: float) -> Look:
        """Return how the command stands, and what is behind ``offsets``, once it has ended, or time is over."""
        end_s = time.monotonic() + wait_s
        found = await self._look(offsets, max(0.0, end_s - time.monotonic()), until_end=True)
        while not is_ended(found) and (left_s := end_s - time.monotonic()) > 0:
            found = await self._look(offsets, left_s, until_end=True)
        return found

    async def _look(self, offsets: tuple[int, int], left_s: float, *, until_end: bool = False) -> Look:
        """Look once, waiting for a slice of ``left_s`` at most."""
        wait_s, began_s = min(SLICE_S, left_s), time.monotonic()
        found = await self._desk.do(
            lambda agent: agent.look(
                self._token, offsets, limit_bytes=self._limit_bytes, wait_s=wait_s, until_end=until_end
            )
        )
        if wait_s and not is_ended(found):
            await self._tell(found)
            if time.monotonic() - began_s < min(PAUSE_S, wait_s):
                await anyio.sleep(min(PAUSE_S, left_s))
        return found

    async def _tell(self, found: Look) -> None:
        size = found.stdout.length + found.stderr.length
        # A value must be more than the one before, or it is against the protocol.
        self._told = max(size, self._told + 1)
        message = f"{found.status}, {size} bytes so far"
        await self._reporter.report_progress(self._told, message=message)
