"""What a tool takes: no argument that it does not know, a schema without what a model has no use for, errors that help.

The SDK would leave out an argument that is none, and a command with ``timeout_s=3600`` would end after 30 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError

from mtr.errors import UsageError
from mtr.mcp.answers import render_failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcp.server.mcpserver.tools import Tool

MAX_SHOWN_CHARACTERS = 100


class Server(MCPServer[Any]):
    """A server that says in its own way what is wrong with the arguments of a call."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """Call the tool.

        Raises:
            ToolError: the arguments are wrong, or what was asked for has failed.
        """
        takes = {tool.name: tool.input_schema for tool in await self.list_tools()}.get(name, {})
        unknown = [f"{name} takes no {word}" for word in arguments if takes and word not in takes["properties"]]
        if unknown:
            missing = [f"{name} needs {word}" for word in takes.get("required", ()) if word not in arguments]
            raise ToolError(render_failure(_build_error(name, [*missing, *unknown], takes)))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            found = [_render(name, one) for one in error.__cause__.errors(include_url=False, include_context=False)]
            raise ToolError(render_failure(_build_error(name, found, takes))) from error


def tell_strictly(tool: Tool) -> Tool:
    """Let the schemas of ``tool`` say that it takes nothing else, and have no titles; return it."""
    tool.parameters = _drop_titles(tool.parameters) | {"additionalProperties": False}
    tool.fn_metadata.output_schema = _drop_titles(tool.fn_metadata.output_schema)
    return tool


def _drop_titles(schema: Any) -> Any:
    """Return ``schema`` without the titles, each of which is a name once more: a fifth of all that is told."""
    if isinstance(schema, list):
        return [_drop_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # The names in "properties" are names of fields, of which one may be "title": its schema is no text.
    return {key: _drop_titles(part) for key, part in schema.items() if key != "title" or not isinstance(part, str)}


def _build_error(name: str, found: Sequence[str], takes: Mapping[str, Any]) -> UsageError:
    needed = set(takes.get("required", ()))
    known = ", ".join(f"{one} (required)" if one in needed else one for one in takes["properties"])
    return UsageError("; ".join(found), hint=f"call {name} again; it takes {known or 'nothing'}")


def _render(name: str, one: Mapping[str, Any]) -> str:
    where = ".".join(map(str, one["loc"]))
    if one["type"] == "missing":
        return f"{name} needs {where}"
    shown = repr(one["input"])
    shown = shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}…"
    message = str(one["msg"])
    return f"{where}={shown}: {message[:1].lower()}{message[1:]}"
