"""The commands of one server process, by token: started at once, looked at while they run, ended, forgotten.

Each has threads and a lock of its own, so that one which hangs keeps nobody waiting. Ended ones are kept with their
output until there are too many or they hold too much, the oldest going first; a running one always stays. Nothing is
kept across the end of the process, and :meth:`RunCmdService.close` leaves no process behind: not of commands that have
ended, and not of those that were forgotten.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, MtrError
from mtr.process.tree import end_tree
from mtr.streams.buffer import DEFAULT_BYTES, InvalidRequest
from mtr.streams.command import COMPLETED, Command, Look, Summary
from mtr.streams.executors import (
    GRACE_S,
    Executor,
    PtyExecutor,
    PtyInitializationError,
    SubprocessExecutor,
    ensure_sound,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.streams.buffer import StreamingBuffer

MAX_RUNNING = 100
MAX_ENDED = 100
MAX_ENDED_BYTES = 256 << 20
STARTING_S = 10.0
"""How long somebody who would end a command waits for its start, which a dead file system can hold."""


class CommandNotFound(MtrError):
    """No command has this token: it never had, or it was forgotten."""

    code = "command-not-found"


class TooManyCommands(MtrError):
    """As many commands run as may at once."""

    code = "too-many-commands"


class RunCmdService:
    """Commands on this machine. Every method may be called from any thread."""

    def __init__(
        self,
        *,
        max_running: int = MAX_RUNNING,
        max_ended: int = MAX_ENDED,
        max_ended_bytes: int = MAX_ENDED_BYTES,
    ) -> None:
        self.max_running = max_running
        self.max_ended = max_ended
        self.max_ended_bytes = max_ended_bytes
        self._id = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._commands: dict[str, Command] = {}
        self._forgotten: list[Executor] = []
        """Whose background still writes, to nobody."""
        self._is_closed = False
        atexit.register(self.close)

    def __enter__(self) -> RunCmdService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the names and dictionaries of the original tools

    def run_command(
        self,
        command: str,
        timeout: float | None = 30,
        working_directory: str | None = None,
        use_pty: bool = False,
        max_buffer_size: int = DEFAULT_BYTES,
    ) -> str:
        """Start ``command`` and return its token at once. What it prints is kept up to ``max_buffer_size`` a stream."""
        return self.start(
            command,
            timeout_s=timeout,
            working_directory=working_directory,
            use_pty=use_pty,
            max_buffer_size=max_buffer_size,
        )

    def query_command_status(self, token: str, stdout_offset: int = 0, stderr_offset: int = 0) -> dict[str, object]:
        """Return how a command stands, with its output from the offsets on.

        The lengths are the offsets for the next call: all that was written, but for a character that is not all there
        yet. They never go down.
        """
        try:
            command = self._find(token)
        except CommandNotFound:
            return _render(Summary.of_nobody(token), _NOTHING, _NOTHING)
        with command.changed:
            streams = [_read(command.stdout, stdout_offset), _read(command.stderr, stderr_offset)]
            return _render(command.summarize(), *streams)

    # -- what the tools of the MCP server are made of

    def start(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float | None = None,
        working_directory: str | None = None,
        env: Mapping[str, str] | None = None,
        use_pty: bool = False,
        has_input: bool = False,
        max_buffer_size: int = DEFAULT_BYTES,
    ) -> str:
        """Start ``command`` and return its token at once; a command on a terminal can always be sent input.

        Raises:
            InvalidRequest: no command, no such directory, a time or size that is none.
            TooManyCommands: as many run as may.
        """
        ensure_sound(command, timeout_s, working_directory)
        token = secrets.token_hex(8)
        made = Command(token, command, timeout_s, working_directory, use_pty, has_input, max_buffer_size)
        with self._lock:
            if self._is_closed:
                raise InvalidRequest("the service is closed")
            running = sum(other.status != COMPLETED for other in self._commands.values())
            if running >= self.max_running:
                hint = "end one, or wait for one"
                raise TooManyCommands(f"{running} commands run, as many as may at once", hint=hint)
            self._commands[token] = made
        thread = threading.Thread(target=self._run, args=(made, dict(env or {})), name=f"command {token}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._commands.pop(token, None)
            raise TooManyCommands("this process can have no more threads", detail=str(error)) from error
        return token

    def look(
        self,
        token: str,
        stdout_offset: int = 0,
        stderr_offset: int = 0,
        limit_bytes: int | None = None,
        wait_s: float = 0,
    ) -> Look:
        """Return how a command stands, and at most ``limit_bytes`` of each stream from the offsets on.

        Where there is nothing behind either offset yet, wait for it or for the end of the command, at most ``wait_s``.

        Raises:
            CommandNotFound: nobody has this token.
            InvalidRequest: an offset or the limit is negative.
        """
        command = self._find(token)
        with command.changed:
            if wait_s > 0:
                command.changed.wait_for(lambda: command.has_news(stdout_offset, stderr_offset), wait_s)
            return command.look(stdout_offset, stderr_offset, limit_bytes)

    def send_input(self, token: str, data: bytes, end: bool = False) -> None:
        """Send ``data`` to a command's input, and with ``end`` let the input end behind it.

        Raises:
            CommandNotFound: nobody has this token.
            InvalidRequest: the command takes no input, has ended, or does not read.
        """
        command = self._find(token)
        executor = self._await_start(command)
        if executor is None or command.status == COMPLETED:
            raise InvalidRequest("the command has ended: nobody reads what it is sent")
        if data or not end:
            executor.send(data)
        if end:
            executor.end_input()

    def terminate(self, token: str, grace_s: float = GRACE_S) -> Look:
        """End a command and everything that it has started: TERM, after ``grace_s`` KILL. Return when they are gone.

        Of a command that has ended, what it left in the background is ended.

        Raises:
            CommandNotFound: nobody has this token.
        """
        command = self._find(token)
        executor = self._await_start(command)
        if executor is not None:
            executor.terminate(grace_s)
            with command.changed:
                command.changed.wait_for(lambda: command.status == COMPLETED, STARTING_S)
        return command.look(command.stdout.length, command.stderr.length, 0)

    def list(self) -> tuple[Summary, ...]:
        """Return all that is known, in the order of their starts."""
        return tuple(command.summarize() for command in self._snapshot())

    def forget(self, token: str) -> None:
        """Drop a command that has ended, with its output; what it left in the background goes on.

        Raises:
            CommandNotFound: nobody has this token.
            InvalidRequest: it has not ended.
        """
        command = self._find(token)
        if command.status != COMPLETED:
            raise InvalidRequest(f"the command {token} runs", hint="terminate it first")
        self._drop(command)

    def close(self) -> None:
        """End every process of every command, forgotten ones included, and take no more."""
        with self._lock:
            self._is_closed = True
        atexit.unregister(self.close)
        executors = [*self._forgotten]
        for command in self._snapshot():
            with contextlib.suppress(MtrError):  # One whose start hangs ends itself when it has started after all.
                executors += filter(None, [self._await_start(command)])
        if not executors:
            return
        end_tree([pid for executor in executors if (pid := executor.pid)], f"{self._id}.", grace_s=GRACE_S)
        for executor in executors:
            if executor.pid is not None or not executor.is_quiet:
                executor.terminate(0)

    # -- one command

    def _run(self, command: Command, env: Mapping[str, str]) -> None:
        command.started_s, command.began_s = time.time(), time.monotonic()
        try:
            executor = self._start(command, env)
        except Exception as error:  # noqa: BLE001  whatever it is, somebody waits for its end
            self._refuse(command, error)
            return
        try:
            if self._is_closed:
                executor.terminate(0)
            end = executor.finish(command.timeout_s)
            command.note_end(end["exit_code"], is_late=end["timeout_occurred"])
        except Exception as error:  # noqa: BLE001  as above
            command.note_end(126, error=f"{type(error).__name__}: {error}")
        self._evict()

    def _start(self, command: Command, env: Mapping[str, str]) -> Executor:
        """Start it on a terminal where that is asked for and can be had, else on pipes."""
        mark, notice = f"{self._id}.{command.token}", ""
        executor: Executor
        if command.use_pty:
            try:
                executor = PtyExecutor(command.stdout, mark=mark)
                executor.start(command.command, command.working_directory, env, on_start=command.note_running)
                command.stderr.close()
                command.note_start(executor, "")
                return executor
            except PtyInitializationError as error:
                notice = f"{error.message} ({error.detail}): it runs on pipes"
        executor = SubprocessExecutor(command.stdout, command.stderr, mark=mark)
        executor.start(
            command.command,
            command.working_directory,
            env,
            has_input=command.has_input or command.use_pty,
            on_start=command.note_running,
        )
        command.note_start(executor, notice)
        return executor

    def _refuse(self, command: Command, error: Exception) -> None:
        """Note that a command could not be started, in its stderr as well, as a shell does."""
        words = "\n".join(filter(None, (str(error), getattr(error, "detail", ""))))
        with contextlib.suppress(ValueError):
            command.stderr.write(f"mtr: {words}\n".encode(errors="replace"))
        command.stdout.close()
        command.stderr.close()
        command.note_end(127 if isinstance(error, MissingProgram) else 126, error=words)
        self._evict()

    def _await_start(self, command: Command) -> Executor | None:
        """Return what runs a command; None where it could not be started."""
        if not command.tried.wait(STARTING_S):
            raise MtrError(f"the command {command.token} has not started within {STARTING_S:g} s")
        return command.executor

    # -- all of them

    def _find(self, token: str) -> Command:
        with self._lock:
            command = self._commands.get(token)
        if command is None:
            raise CommandNotFound(f"no command has the token {token!r}: it never had, or it was forgotten")
        return command

    def _snapshot(self) -> Sequence[Command]:
        with self._lock:
            return tuple(self._commands.values())

    def _evict(self) -> None:
        """Drop the oldest ended commands that are too many or hold too much; the last one to end stays."""
        ended = sorted((c for c in self._snapshot() if c.ended_s is not None), key=lambda c: c.ended_s or 0.0)
        held_bytes = sum(command.kept_bytes for command in ended)
        while len(ended) > 1 and (len(ended) > self.max_ended or held_bytes > self.max_ended_bytes):
            command = ended.pop(0)
            held_bytes -= command.kept_bytes
            self._drop(command)

    def _drop(self, command: Command) -> None:
        with self._lock:
            self._commands.pop(command.token, None)
            self._forgotten = [executor for executor in self._forgotten if not executor.is_quiet]
            if command.executor is not None:
                self._forgotten.append(command.executor)
        if command.executor is not None:
            command.executor.discard()


_NOTHING = ("", 0, False)


def _read(buffer: StreamingBuffer, offset: int) -> tuple[str, int, bool]:
    """Return the text from ``offset`` on, where the next one begins, and whether older bytes are gone."""
    length = buffer.whole_length
    piece = buffer.read_text(min(offset, length))
    return piece.text, length, piece.first > 0


def _render(summary: Summary, stdout: tuple[str, int, bool], stderr: tuple[str, int, bool]) -> dict[str, object]:
    """Return the fields of the original tool."""
    return {
        "token": summary.token,
        "status": summary.status,
        "exit_code": summary.exit_code,
        "stdout": stdout[0],
        "stderr": stderr[0],
        "stdout_length": stdout[1],
        "stderr_length": stderr[1],
        "stdout_truncated": stdout[2],
        "stderr_truncated": stderr[2],
        "execution_time": summary.execution_time_s if summary.status == COMPLETED else None,
        "timeout_occurred": summary.timeout_occurred,
    }


__all__ = ["CommandNotFound", "Look", "RunCmdService", "Summary", "TooManyCommands"]
