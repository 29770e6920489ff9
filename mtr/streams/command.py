"""What is known of one command: how it stands, and what one look at it shows."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtr.streams.buffer import StreamingBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.streams.executors import Executor
    from mtr.streams.piece import Piece

PENDING = "pending"
RUNNING = "running"
COMPLETED = "completed"
NOT_FOUND = "not_found"

TIMED_OUT = -1
"""The exit code of a command whose time was over."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a command stands, without its output."""

    token: str
    command: str | Sequence[str]
    working_directory: str | None
    status: str
    exit_code: int | None
    """128+n for death by signal n; −1 when its time was over; 126 or 127 when it could not be started."""
    execution_time_s: float | None
    """So far, while it runs."""
    timeout_occurred: bool
    is_pty: bool
    has_background: bool
    """It has ended, and something that it started still holds its streams: more output may come."""
    stdout_length: int
    stderr_length: int
    error: str
    """What went wrong beside the command itself: why it could not be started, output lost, processes that stay."""
    notice: str
    """What was done otherwise than asked: pipes in place of a terminal."""
    started_s: float | None = None
    """When it was begun, in seconds since 1970."""

    @classmethod
    def of_nobody(cls, token: str) -> Summary:
        """Return what there is to say of a token that no command has."""
        return cls(token, "", None, NOT_FOUND, None, None, False, False, False, 0, 0, "", "")


@dataclass(frozen=True, slots=True)
class Look:
    """A command at one moment: how it stands and what its streams hold from the offsets asked for."""

    summary: Summary
    stdout: Piece
    stderr: Piece

    @property
    def status(self) -> str:
        """``pending``, ``running`` or ``completed``."""
        return self.summary.status

    @property
    def exit_code(self) -> int | None:
        """See :class:`Summary`."""
        return self.summary.exit_code

    @property
    def execution_time_s(self) -> float | None:
        """See :class:`Summary`."""
        return self.summary.execution_time_s

    @property
    def timeout_occurred(self) -> bool:
        """Whether it was ended because its time was over."""
        return self.summary.timeout_occurred

    @property
    def error(self) -> str:
        """See :class:`Summary`."""
        return self.summary.error


@dataclass(slots=True, eq=False)
class Command:
    """One command of a service. What changes is changed, and looked at, with ``changed`` held."""

    token: str
    command: str | Sequence[str]
    timeout_s: float | None
    working_directory: str | None
    use_pty: bool
    has_input: bool
    max_buffer_size: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    stdout: StreamingBuffer = field(init=False)
    stderr: StreamingBuffer = field(init=False)
    executor: Executor | None = None
    tried: threading.Event = field(default_factory=threading.Event)
    """It was started, or could not be."""
    status: str = PENDING
    exit_code: int | None = None
    timeout_occurred: bool = False
    error: str = ""
    notice: str = ""
    started_s: float | None = None
    began_s: float | None = None
    ended_s: float | None = None

    def __post_init__(self) -> None:
        self.stdout = StreamingBuffer(self.max_buffer_size, changed=self.changed)
        self.stderr = StreamingBuffer(self.max_buffer_size, changed=self.changed)

    def note_running(self) -> None:
        """The command runs; its output may come."""
        with self.changed:
            self.status = RUNNING
            self.changed.notify_all()

    def note_start(self, executor: Executor, notice: str) -> None:
        """The command runs, and ``executor`` can be told to send it input or to end it."""
        with self.changed:
            self.executor, self.notice = executor, notice
            self.tried.set()

    def note_end(self, exit_code: int, *, is_late: bool = False, error: str = "") -> None:
        """The command has ended, or could not be started."""
        with self.changed:
            self.exit_code, self.timeout_occurred, self.error = exit_code, is_late, error
            self.status = COMPLETED
            self.ended_s = time.monotonic()
            self.tried.set()
            self.changed.notify_all()

    def look(self, stdout_offset: int, stderr_offset: int, limit_bytes: int | None) -> Look:
        """Return how it stands and what its streams hold, of one moment."""
        with self.changed:
            stdout = self.stdout.read(stdout_offset, limit_bytes)
            return Look(self.summarize(), stdout, self.stderr.read(stderr_offset, limit_bytes))

    def has_news(self, stdout_offset: int, stderr_offset: int) -> bool:
        """Tell whether there is more than was read up to those offsets, or the end."""
        is_over = self.status == COMPLETED
        return is_over or self.stdout.length > stdout_offset or self.stderr.length > stderr_offset

    def summarize(self) -> Summary:
        """Return how it stands."""
        with self.changed:
            return Summary(
                token=self.token,
                command=self.command,
                working_directory=self.working_directory,
                status=self.status,
                exit_code=self.exit_code,
                execution_time_s=self._took_s,
                timeout_occurred=self.timeout_occurred,
                is_pty=self.use_pty and not self.notice,
                has_background=self.status == COMPLETED and self.executor is not None and not self.executor.is_quiet,
                stdout_length=self.stdout.length,
                stderr_length=self.stderr.length,
                error="; ".join(filter(None, (self.error, self.executor.fault if self.executor else ""))),
                notice=self.notice,
                started_s=self.started_s,
            )

    @property
    def _took_s(self) -> float | None:
        if self.began_s is None:
            return None
        return (time.monotonic() if self.ended_s is None else self.ended_s) - self.began_s

    @property
    def kept_bytes(self) -> int:
        """How much output of it is held."""
        return self.stdout.kept_bytes + self.stderr.kept_bytes
