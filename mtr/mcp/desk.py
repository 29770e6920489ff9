"""Where calls wait: each in a thread, so that one that is held up holds up no other.

The agent, with all that it imports, is made by the first call: the handshake waits for nothing that it does not need.
"""

from __future__ import annotations

import functools
import threading
import traceback
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from mtr.errors import MtrError, build_internal

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.agent.agent import Agent

T = TypeVar("T")

MAX_THREADS = 400
"""Calls that wait for servers at once; more wait for one of these."""


class Desk:
    """Does what is asked of the agent that ``open_agent`` makes; every failure is an error of mtr's tree."""

    def __init__(self, open_agent: Callable[[], Agent]) -> None:
        self._open_agent = open_agent
        self._opening = threading.Lock()
        self._agent: Agent | None = None
        self._limiter: anyio.CapacityLimiter | None = None

    async def do(self, act: Callable[[Agent], T]) -> T:
        """Return what ``act`` returns; a caller that is cancelled is let go at once, and ``act`` ends when it does.

        Raises:
            MtrError: whatever went wrong.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(MAX_THREADS)
        call = functools.partial(self._act, act)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)

    def _act(self, act: Callable[[Agent], T]) -> T:
        try:
            return act(self._get_agent())
        except MtrError:
            raise
        except OSError as error:
            raise MtrError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
        except Exception as error:
            traceback.print_exception(error)
            raise build_internal(error) from error

    def _get_agent(self) -> Agent:
        with self._opening:
            if self._agent is None:
                self._agent = self._open_agent()
            return self._agent

    def close(self) -> None:
        """Let the agent let go of what it holds, if there is one."""
        if self._agent is not None:
            self._agent.close()
