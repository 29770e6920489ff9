"""Resources, for what a client shows beside a talk: servers, commands, and the end of what one prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mtr.errors import MtrError
from mtr.mcp.answers import build_list, clean, cut_tail, render_failure
from mtr.mcp.tools import load_servers
from mtr.streams.piece import FAR

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import MCPServer

    from mtr.agent.agent import Agent
    from mtr.mcp.desk import Desk

TAIL_BYTES = 65_536


class Reads:
    """The resources over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def read_servers(self) -> str:
        """Return the servers as JSON."""
        return _render(await self._do(load_servers))

    async def read_jobs(self) -> str:
        """Return the commands as JSON."""
        return _render(build_list(*await self._do(lambda agent: agent.list_commands())))

    async def read_stdout(self, token: str) -> str | bytes:
        """Return the end of what it has printed."""
        return await self._read(token, "stdout")

    async def read_stderr(self, token: str) -> str | bytes:
        """Return the end of what it has printed there."""
        return await self._read(token, "stderr")

    async def _read(self, token: str, name: str) -> str | bytes:
        def look(agent: Agent) -> str | bytes:
            length = getattr(agent.look(token, (FAR, FAR), limit_bytes=1), name).length
            start = max(0, length - TAIL_BYTES)
            offsets = (start, FAR) if name == "stdout" else (FAR, start)
            piece = getattr(agent.look(token, offsets, limit_bytes=TAIL_BYTES), name)
            return cut_tail(piece, f"mtr://jobs/{token}/{name}")

        found: str | bytes = await self._do(look)
        return found

    async def _do(self, act: Callable[[Agent], Any]) -> Any:
        try:
            return await self._desk.do(act)
        except MtrError as error:
            kind = ResourceNotFoundError if error.code == "token-unknown" else ResourceError
            raise kind(render_failure(error)) from error


def _render(values: dict[str, Any]) -> str:
    return json.dumps(clean(values), ensure_ascii=False, indent=1)


def add_reads(server: MCPServer[Any], desk: Desk) -> None:
    """Let ``server`` offer the resources."""
    reads, kind = Reads(desk), "application/json"
    for uri, read, title, about, mime in (
        ("mtr://servers", reads.read_servers, "Servers", "The servers, and which one is the default.", kind),
        ("mtr://jobs", reads.read_jobs, "Commands", "The commands, the newest first, with their tokens.", kind),
        ("mtr://jobs/{token}/stdout", reads.read_stdout, "Output", _about("stdout"), "text/plain"),
        ("mtr://jobs/{token}/stderr", reads.read_stderr, "Error output", _about("stderr"), "text/plain"),
    ):
        name = uri.partition("://")[2].replace("/{token}/", "-")
        server.resource(uri, name=name, title=title, description=about, mime_type=mime)(read)


def _about(name: str) -> str:
    return f"The last {TAIL_BYTES} bytes of {name} of a command; where that is not all, the first line says so."
