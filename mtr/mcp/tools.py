"""The tools: their names, what a model reads of them, and how each is done. Logic lives in ``mtr/agent``."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver import Context  # noqa: TC002  the SDK reads the annotations
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from mtr.errors import MtrError, UsageError
from mtr.mcp import shapes
from mtr.mcp.answers import (
    DEFAULT_BYTES,
    DEFAULT_LISTED,
    MAX_BYTES,
    MAX_LISTED,
    MAX_SENT_BYTES,
    MAX_WAIT_S,
    MIN_BYTES,
    begin_whole,
    build_file,
    build_list,
    build_servers,
    build_started,
    build_status,
    build_unknown,
    cap_bytes,
    cap_wait,
    clean,
    render_failure,
    spare,
)
from mtr.mcp.arguments import tell_strictly
from mtr.mcp.waiting import Wait
from mtr.mcp.words import TOOLS
from mtr.streams.piece import FAR

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.agent.agent import Agent
    from mtr.agent.model import Look, Order
    from mtr.mcp.desk import Desk
    from mtr.policy import Verdict

Token = Annotated[str, Field(description="What run_command has returned.", min_length=1, max_length=200)]
Server = Annotated[
    str | None, Field(description='A name that list_servers tells, "local" for this machine; by default its default.')
]
Offset = Annotated[
    int,
    Field(
        description="Where to begin: next_…_offset of the last answer; -8000: the last 8000 bytes.",
        ge=-(2**62), le=2**62,
    ),
]  # fmt: skip
WaitS = Annotated[
    float, Field(description=f"Seconds to wait before answering, {MAX_WAIT_S:g} at most; more is cut to that.", ge=0)
]
MaxBytes = Annotated[
    int,
    Field(description=f"The most of each stream to answer, up to {MAX_BYTES}; the rest is left.", ge=MIN_BYTES),
]
Path = Annotated[
    str,
    Field(description="On the server: from the project's directory there, absolute, or ~/….", min_length=1),
]
Text = Annotated[str | None, Field(description="As UTF-8. Either this or base64.")]
Exact = Annotated[str | None, Field(description="Exact bytes. Either this or text.")]


class Tools:
    """The tools over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def run_command(  # noqa: D102, PLR0913  what a model reads stands in words.py
        self,
        command: Annotated[
            str, Field(description="A text for the server's shell: pipes, quotes and && work.", min_length=1)
        ],
        ctx: Context[Any, Any],
        *,
        timeout: Annotated[
            float, Field(description="Seconds after which it is ended with all that it has started.", gt=0, lt=1e9)
        ] = 30,
        working_directory: Annotated[
            str | None,
            Field(description="From the project's directory there, absolute, or ~/…; made on a server that lacks it."),
        ] = None,
        use_pty: Annotated[
            bool,
            Field(
                description="Give it a terminal: for progress bars, colours, send_command_input. stderr joins stdout."
            ),
        ] = False,
        keep_stdin: Annotated[
            bool, Field(description="Keep its stdin open for send_command_input; otherwise it is empty.")
        ] = False,
        max_buffer_size: Annotated[
            int,
            Field(
                description="Bytes kept of each output of a local command; on a server all is kept.", ge=1024, le=2**30
            ),
        ] = 10_485_760,
        server: Server = None,
        sync: Annotated[bool, Field(description="Bring the project's files to the server first.")] = True,
        wait_s: WaitS = 0,
    ) -> Annotated[CallToolResult, shapes.Started]:
        def judge(agent: Agent) -> tuple[Order, Verdict]:
            from mtr.agent.model import Order

            order = Order(command, timeout, working_directory, use_pty, keep_stdin, max_buffer_size, sync)
            return order, agent.judge(order, server, can_ask=_can_ask(ctx))[1]

        order, verdict = await self._do(judge, ctx)
        confirmed = await _confirm(ctx, verdict)
        token, name = await self._do(lambda agent: agent.run(order, server, verdict=confirmed), ctx)
        caps = {"timeout": timeout, "wait_s": MAX_WAIT_S, "max_buffer_size": max_buffer_size}
        started = build_started(token, name, caps)
        if not wait_s:
            return answer(started)
        limit = await self._cap(DEFAULT_BYTES)
        found = await self._wait(ctx, token, (0, 0), wait_s, limit, for_end=True)
        status = build_status(found, limit_bytes=limit)
        return answer(spare(status | {"caps": caps | status["caps"]}))

    async def query_command_status(  # noqa: D102
        self,
        token: Token,
        ctx: Context[Any, Any],
        *,
        stdout_offset: Offset = 0,
        stderr_offset: Offset = 0,
        wait_s: WaitS = 0,
        max_bytes: MaxBytes = DEFAULT_BYTES,
        wait_for: Annotated[
            Literal["output", "end"],
            Field(description="What wait_s waits for: the first output behind the offsets (or the end), or the end."),
        ] = "output",
    ) -> Annotated[CallToolResult, shapes.CommandStatus]:
        limit = await self._cap(max_bytes)
        offsets = (stdout_offset, stderr_offset)
        try:
            found = await self._wait(ctx, token, offsets, wait_s, limit, for_end=wait_for == "end")
        except _Unknown as error:
            return answer(spare(build_unknown(token, str(error), limit_bytes=limit)))
        return answer(spare(build_status(found, limit_bytes=limit)))

    async def send_command_input(  # noqa: D102
        self,
        token: Token,
        *,
        text: Text = None,
        base64: Exact = None,
        end: Annotated[bool, Field(description="Send the end of the input behind it.")] = False,
    ) -> Annotated[CallToolResult, shapes.Sent]:
        data = _take_data(text, base64, MAX_SENT_BYTES, may_lack=end)
        await self._do(lambda agent: agent.send(token, data, end=end))
        hint = f"query_command_status(token={token!r}, wait_s=5) from the last offsets on tells what it says to that"
        caps = {"bytes_at_once": MAX_SENT_BYTES}
        return answer({"token": token, "sent_bytes": len(data), "ended": end, "hint": hint, "caps": caps})

    async def terminate_command(self, token: Token) -> Annotated[CallToolResult, shapes.CommandStatus]:  # noqa: D102
        def end(agent: Agent) -> Look:
            agent.terminate(token)
            return agent.look(token, (0, 0), limit_bytes=DEFAULT_BYTES)

        return answer(spare(build_status(await self._do(end), limit_bytes=DEFAULT_BYTES)))

    async def list_commands(  # noqa: D102
        self,
        *,
        server: Server = None,
        running: Annotated[bool, Field(description="Only those that have not ended.")] = False,
        limit: Annotated[int, Field(description=f"How many, up to {MAX_LISTED}.", ge=1)] = DEFAULT_LISTED,
    ) -> Annotated[CallToolResult, shapes.CommandList]:
        found = await self._do(lambda agent: agent.list_commands(server))
        return answer(build_list(*found, limit=limit, running=running))

    async def list_servers(self) -> Annotated[CallToolResult, shapes.ServerList]:  # noqa: D102
        return answer(await self._do(load_servers))

    async def sync_files(  # noqa: D102
        self,
        ctx: Context[Any, Any],
        server: Server = None,
        *,
        full: Annotated[
            bool, Field(description="Compare everything there, and put right what others changed.")
        ] = False,
    ) -> Annotated[CallToolResult, shapes.Synced]:
        def bring(agent: Agent) -> dict[str, Any]:
            name = server or agent.default_server
            done = agent.sync(name, full=full)
            names = ("files_sent", "bytes_sent", "deleted", "files_total", "bytes_total")
            told: dict[str, Any] = {"server": name} | {field: getattr(done, field) for field in names}
            return told | {"seconds": round(done.duration_s, 3), "warnings": [*done.warnings[:100]]}

        return answer(await self._do(bring, ctx))

    async def get_file(  # noqa: D102
        self,
        path: Path,
        ctx: Context[Any, Any],
        *,
        server: Server = None,
        offset: Annotated[
            int, Field(description="Where to begin: next_offset of the last answer.", ge=0, le=2**62)
        ] = 0,
        max_bytes: MaxBytes = DEFAULT_BYTES,
        save_to: Annotated[
            str | None,
            Field(description="A path on this machine: bring the file or directory there, whatever its size."),
        ] = None,
    ) -> Annotated[CallToolResult, shapes.FilePart]:
        limit = await self._cap(max_bytes)

        def read(agent: Agent) -> dict[str, Any]:
            name = server or agent.default_server
            if save_to is None:
                return build_file(
                    path, name, agent.read_file(path, name, offset=offset, limit_bytes=limit), limit_bytes=limit
                )
            done = agent.download(path, save_to, name)
            problems = [*map(str, done.failed), *(f"{kept}: it is newer here, and stays" for kept in done.newer)]
            return {
                "path": path,
                "server": name,
                "saved_to": done.target,
                "files": done.files,
                "problems": problems[:100],
            }

        return answer(await self._do(read, ctx))

    async def put_file(  # noqa: D102
        self,
        path: Path,
        ctx: Context[Any, Any],
        *,
        text: Text = None,
        base64: Exact = None,
        server: Server = None,
        mode: Annotated[
            str, Field(description='As chmod takes it: "755"; by default as the file there has it.', max_length=4)
        ] = "",
    ) -> Annotated[CallToolResult, shapes.FileWritten]:
        data = _take_data(text, base64, MAX_BYTES)

        def write(agent: Agent) -> dict[str, Any]:
            name = server or agent.default_server
            is_new = agent.write_file(path, data, name, mode=mode)
            return {"path": path, "server": name, "bytes": len(data), "is_new": is_new, "caps": {"bytes": MAX_BYTES}}

        return answer(await self._do(write, ctx))

    async def _cap(self, max_bytes: int) -> int:
        """Return how much an answer holds of what was asked for."""
        limit: int = await self._do(lambda agent: agent.cap_output(cap_bytes(max_bytes)))
        return limit

    async def _do(self, act: Callable[[Agent], Any], ctx: Context[Any, Any] | None = None) -> Any:
        """Return what ``act`` returns; ``ctx`` tells for whom, where that is noted."""
        name = "" if ctx is None else _name_client(ctx)

        def act_for(agent: Agent) -> Any:
            agent.client = name
            return act(agent)

        try:
            return await self._desk.do(act_for)
        except MtrError as error:
            raise ToolError(render_failure(error)) from error

    async def _wait(
        self, ctx: Context[Any, Any], token: str, offsets: tuple[int, int], wait_s: float, limit: int, *, for_end: bool
    ) -> Look:
        wait = Wait(self._desk, ctx, token, limit)
        try:
            starts = offsets if min(offsets) >= 0 else await self._find_starts(token, offsets)
            found = await (wait.for_end if for_end else wait.for_news)(starts, cap_wait(wait_s))
            return begin_whole(found, offsets)
        except MtrError as error:
            if error.code == "token-unknown":
                raise _Unknown(error.message) from error
            raise ToolError(render_failure(error)) from error

    async def _find_starts(self, token: str, offsets: tuple[int, int]) -> tuple[int, int]:
        """Return the offsets, counted from the beginning where they were from the end."""
        look = await self._desk.do(lambda agent: agent.look(token, (FAR, FAR), limit_bytes=MIN_BYTES))
        ends = (look.stdout.length, look.stderr.length)
        out, err = (offset if offset >= 0 else max(0, end + offset) for offset, end in zip(offsets, ends, strict=True))
        return out, err


class _Confirmation(BaseModel):
    """What the person answers."""

    run: bool = Field(description="Run it?")


def _name_client(ctx: Context[Any, Any]) -> str:
    """Return what the client calls itself, for the audit log."""
    told = ctx.session.client_params
    return "" if told is None or told.client_info is None else f"{told.client_info.name} {told.client_info.version}"


def _can_ask(ctx: Context[Any, Any]) -> bool:
    """Tell whether the client can put a question to the person in the middle of a call."""
    capabilities = ctx.client_capabilities
    return capabilities is not None and capabilities.elicitation is not None and ctx.session.can_send_request


async def _confirm(ctx: Context[Any, Any], verdict: Verdict) -> Verdict | None:
    """Ask the person where the policy wants that; return what is left of the verdict, None where nobody was asked."""
    if not verdict.question:
        return None
    found = await ctx.elicit(verdict.question, _Confirmation)
    return verdict.settle(is_confirmed=found.action == "accept" and found.data.run)


class _Unknown(ToolError):
    """No command has that token."""


def load_servers(agent: Agent) -> dict[str, Any]:
    """Return the servers, also where the configuration is wrong."""
    statuses = agent.list_servers()
    return build_servers(statuses, "" if statuses.error is not None else agent.default_server)


def answer(values: dict[str, Any]) -> CallToolResult:
    """Return ``values`` as the protocol has them: structured, and as text for clients that read no structure."""
    values = clean(values)
    text = json.dumps(values, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=values)


def _take_data(text: str | None, exact: str | None, limit: int, *, may_lack: bool = False) -> bytes:
    try:
        return _decode(text, exact, limit, may_lack=may_lack)
    except MtrError as error:
        raise ToolError(render_failure(error)) from error


def _decode(text: str | None, exact: str | None, limit: int, *, may_lack: bool) -> bytes:
    if text is not None and exact is not None:
        raise UsageError("text and base64 exclude each other", hint="give one of them")
    if text is None and exact is None and not may_lack:
        raise UsageError("there is nothing to send", hint="give text, or base64 for exact bytes")
    try:
        data = (text or "").encode() if exact is None else base64.b64decode(exact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"that is no base64, or no text: {error}", hint="encode it again") from error
    if len(data) > limit:
        raise UsageError(
            f"{len(data)} bytes are more than {limit} at once", hint="send less at once; sync_files brings large files"
        )
    return data


READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
LOOKS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
BRINGS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
ACTS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
SETTLES = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True)

ANNOTATIONS = {
    "run_command": ACTS,
    "query_command_status": READS,
    "send_command_input": ACTS,
    "terminate_command": SETTLES,
    "list_commands": READS,
    "list_servers": LOOKS,
    "sync_files": SETTLES,
    "get_file": BRINGS,
    "put_file": SETTLES,
}


def build_tools(desk: Desk) -> list[Tool]:
    """Return the tools that a server offers."""
    tools = Tools(desk)
    return [
        tell_strictly(
            Tool.from_function(
                getattr(tools, name), name, title=title, description=words, annotations=ANNOTATIONS[name]
            )
        )
        for name, (title, words) in TOOLS.items()
    ]
