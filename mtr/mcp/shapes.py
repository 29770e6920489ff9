"""The shapes of the answers, as the tools' output schemas tell them; ``answers`` fills them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Status = Literal["pending", "running", "completed", "not_found"]
Caps = dict[str, float]

_EXACT = "The exact bytes, only where they are no UTF-8."
_CAPS = "The caps in force, by name: what is more is left for the next call."
_NEXT = "Give this as the offset of the next call: bytes of the stream from its beginning."


class CommandStatus(BaseModel):
    """How a command stands, and a piece of what it has printed."""

    token: str
    status: Status
    exit_code: int | None = Field(None, description="128+n for signal n; -1 for a timeout; null while there is none.")
    stdout: str = Field("", description="From stdout_start on, as text.")
    stderr: str = ""
    stdout_length: int = Field(0, description="Bytes that it has printed in all.")
    stderr_length: int = 0
    stdout_truncated: bool = Field(False, description="Whether its oldest bytes are kept no more.")
    stderr_truncated: bool = False
    execution_time: float | None = Field(None, description="Seconds.")
    timeout_occurred: bool = False
    server: str = ""
    next_stdout_offset: int = Field(0, description=_NEXT)
    next_stderr_offset: int = Field(0, description=_NEXT)
    stdout_start: int = Field(0, description="The offset of the first byte of stdout here.")
    stderr_start: int = 0
    stdout_truncated_bytes: int = 0
    stderr_truncated_bytes: int = 0
    stdout_base64: str | None = Field(None, description=_EXACT)
    stderr_base64: str | None = Field(None, description=_EXACT)
    more: bool = Field(False, description="Whether there is more to read right now.")
    error: str = Field("", description="Why it could not be started, or what is known of its end.")
    hint: str = Field("", description="What to do next.")
    caps: Caps = Field(default_factory=dict, description=_CAPS)


class Started(CommandStatus):
    """A command that is being started; with wait_s, how it stands then."""

    message: str = ""


class Sent(BaseModel):
    """What was sent to a command."""

    token: str
    sent_bytes: int
    ended: bool
    hint: str
    caps: Caps = Field(description=_CAPS)


class ListedCommand(BaseModel):
    """One command."""

    token: str
    server: str
    status: Status
    command: str
    exit_code: int | None
    started_at: float | None = Field(description="Seconds since 1970, by the server's clock.")
    execution_time: float | None


class NotAsked(BaseModel):
    """A server that could not be asked."""

    server: str
    error: str


class CommandList(BaseModel):
    """The newest commands first."""

    commands: list[ListedCommand]
    total: int
    not_asked: list[NotAsked]
    caps: Caps = Field(description=_CAPS)


class ListedServer(BaseModel):
    """One server."""

    name: str
    address: str
    state: str = Field(description="up where a connection is open; it is opened when it is needed.")
    is_default: bool
    remote_dir: str | None = Field(description="The project's directory there.")
    problem: str


class ServerList(BaseModel):
    """The servers of the configuration, and other open connections."""

    servers: list[ListedServer]
    default: str
    error: str = Field(description="What is wrong with the configuration.")
    hint: str = ""
    caps: Caps = Field(description=_CAPS)


class Synced(BaseModel):
    """What a sync has brought."""

    server: str
    files_sent: int
    bytes_sent: int | None
    deleted: int
    files_total: int
    bytes_total: int
    seconds: float
    warnings: list[str]


class FilePart(BaseModel):
    """A piece of a file, or where it was saved."""

    path: str
    server: str
    size: int | None = None
    mode: str = Field("", description="As chmod takes it.")
    text: str = ""
    base64: str | None = Field(None, description=_EXACT)
    offset: int = 0
    next_offset: int = 0
    more: bool = False
    saved_to: str | None = None
    files: int | None = Field(None, description="With save_to: how many came.")
    problems: list[str] = Field(default_factory=list, description="With save_to: what did not come, and why.")
    hint: str = ""
    caps: Caps = Field(default_factory=dict, description=_CAPS)


class FileWritten(BaseModel):
    """What was written."""

    path: str
    server: str
    bytes: int
    is_new: bool
    caps: Caps = Field(description=_CAPS)
