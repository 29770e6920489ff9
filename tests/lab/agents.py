"""An agent: the SDK's own client, with `mtr mcp` as its server, started as a client starts it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.lab.home import MTR
from tests.lab.processes import children_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.lab.home import Home

DEADLINE_S = 90


class Agent:
    """One session of a client."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that is to succeed; return its structured answer."""
        found = await self.client.call_tool(tool, arguments)
        assert not found.is_error, found.content
        assert found.structured_content is not None
        return found.structured_content

    async def fail(self, tool: str, **arguments: Any) -> str:
        """Call a tool that is to fail; return what a model reads of it."""
        found = await self.client.call_tool(tool, arguments)
        assert found.is_error, found
        return "".join(part.text for part in found.content)  # type: ignore[union-attr]

    async def run(self, command: str, **more: Any) -> str:
        """Start a command; return its token."""
        started = await self.call("run_command", command=command, **more)
        assert started["status"] == "pending"
        return str(started["token"])

    async def ends(self, token: str, *, stdout_offset: int = 0) -> dict[str, Any]:
        """Wait for the end of a command; return how it stands."""
        while True:
            found = await self.call(
                "query_command_status", token=token, wait_s=20, wait_for="end", stdout_offset=stdout_offset
            )
            if found["status"] in {"completed", "not_found"}:
                return found

    async def prints(self, token: str, words: str) -> dict[str, Any]:
        """Wait until a command has printed ``words``; return how it stands."""
        while True:
            found = await self.call("query_command_status", token=token)
            if words in found["stdout"]:
                return found
            assert found["status"] in {"pending", "running"}, found
            await anyio.sleep(0.1)


def build_parameters(home: Home, project: Path, *options: str) -> StdioServerParameters:
    """Return how a client starts `mtr mcp` in ``project``."""
    return StdioServerParameters(command=MTR[0], args=[*MTR[1:], *options, "mcp"], env=home.environ, cwd=project)


@contextlib.asynccontextmanager
async def open_agent(home: Home, project: Path, *options: str, **more: Any) -> AsyncIterator[Agent]:
    """Connect a client to `mtr mcp` over stdio."""
    async with Client(build_parameters(home, project, *options), **more) as client:
        yield Agent(client)


def play(act: Callable[[], Awaitable[None]]) -> None:
    """Run ``act`` to its end, which it reaches in time."""

    async def run() -> None:
        with anyio.fail_after(DEADLINE_S):
            await act()

    anyio.run(run)


def find_servers() -> list[int]:
    """Return the pids of the servers that this process has started."""
    found = []
    for pid in children_of(os.getpid()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[-2:-1] == [b"mcp"]:
                found.append(pid)
    return found
