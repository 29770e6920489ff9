"""What an agent orders, and what it is told of a command. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtr.errors import MtrError
from mtr.quoting import quote_as_typed
from mtr.streams.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence


BY = "mcp"
"""What stands with a job on a server that an agent has started: how it is told from those of persons."""


class TokenUnknown(MtrError):
    """No command has that token."""

    code = "token-unknown"


@dataclass(frozen=True, slots=True)
class Order:
    """A command to start.

    ``command`` is a text for a shell, or an argv. ``timeout_s`` is after how long it is ended with all that it has
    started. ``directory`` counts from the project's there, unless it is absolute or begins with ``~/``; None is that
    itself. ``keep_stdin`` lets it read what it is sent; otherwise its stdin is empty. ``sync`` brings the project's
    files first. ``max_buffer_bytes`` bounds what is kept of each output on this machine; on a server all is kept, in
    files.
    """

    command: str | Sequence[str]
    timeout_s: float
    directory: str | None = None
    use_pty: bool = False
    keep_stdin: bool = False
    max_buffer_bytes: int = 10 << 20
    sync: bool = True
    name: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """How a command stands, and what it has printed behind the offsets that were asked for.

    ``status`` is PENDING, RUNNING or COMPLETED of :mod:`mtr.streams.command`. ``exit_code`` is 128+n for death by
    signal n, ``TIMED_OUT`` when its time was over, None while there is none and where nobody knows it; ``error`` then
    says why, and also why it could not be started. ``is_own`` tells that an agent has started it through mtr, and no
    person.
    """

    token: str
    server: str
    status: str
    exit_code: int | None = None
    timeout_occurred: bool = False
    execution_time_s: float | None = None
    stdout: Piece = field(default_factory=lambda: Piece(0, b"", 0, 0))
    stderr: Piece = field(default_factory=lambda: Piece(0, b"", 0, 0))
    error: str = ""
    hint: str = ""
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """One command of a list."""

    token: str
    server: str
    status: str
    command: str
    exit_code: int | None = None
    started_s: float | None = None
    execution_time_s: float | None = None
    is_own: bool = True


def render_command(command: str | Sequence[str]) -> str:
    """Return a command as it would be typed."""
    return command if isinstance(command, str) else quote_as_typed(command)
