"""Running one command on this machine, its output into buffers while it runs.

``SubprocessExecutor`` gives it a pipe for stdout and one for stderr, ``PtyExecutor`` a terminal, whose one stream has
all of it exactly as a terminal gets it: escape sequences untouched, lines ended by CR LF.

When it ends: the command is over when its own process is, and all that it wrote itself is then in the buffers. What it
has left in the background may hold its streams: for that ``DRAIN_S`` is waited, no longer. It goes on, and so does the
reading, until :meth:`Executor.terminate`. What has ended by signal n has the status 128+n, what has run out of time −1.
"""

from __future__ import annotations

import math
import os
import secrets
import select
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypedDict

from mtr.errors import MtrError
from mtr.process import started as starting
from mtr.process.started import PtyInitializationError, Started, build_argv
from mtr.process.tree import MARK, end_tree
from mtr.streams.buffer import InvalidRequest
from mtr.streams.command import TIMED_OUT
from mtr.streams.pump import Pump
from mtr.streams.threaded import AnyPump, ThreadedPump

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.streams.buffer import StreamingBuffer

__all__ = ["Executor", "PtyExecutor", "PtyInitializationError", "SubprocessExecutor", "ensure_sound"]

DRAIN_S = 0.3
"""How long a command that has ended is waited for while somebody else holds its streams."""

CATCH_UP_S = 30.0
"""How long it may take at most to read what was in the pipes at its end."""

GRACE_S = 2.0
"""Between TERM and KILL."""


class Ended(TypedDict):
    """How a command ended."""

    exit_code: int
    timeout_occurred: bool


class Executor(ABC):
    """One command: started once, followed, ended. Any thread may send, wait and terminate."""

    pump: Callable[[Started, Sequence[StreamingBuffer]], AnyPump] = Pump if hasattr(select, "poll") else ThreadedPump

    def __init__(self, buffers: Sequence[StreamingBuffer], *, mark: str = "") -> None:
        """``mark`` is carried by all that the command starts; each command needs one of its own."""
        self._buffers = tuple(buffers)
        self.mark = mark or secrets.token_hex(8)
        self._started: Started | None = None
        self._pump: AnyPump | None = None
        self._exited = threading.Event()
        self._is_terminated = False
        self._status = TIMED_OUT
        self._left: list[int] = []

    def execute(
        self,
        command: str | Sequence[str],
        working_directory: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: bytes | None = None,  # noqa: A002  the name that subprocess gives it
    ) -> Ended:
        """Run ``command`` to its end; return ``exit_code`` and ``timeout_occurred``.

        A string is for bash, or sh; a list is an argv. ``env`` is added to this process's environment. ``input`` is all
        that the command can read; without it stdin is /dev/null, or a terminal where nobody types.

        Raises:
            PtyInitializationError: no terminal could be had; nothing was started.
            MtrError: the command could not be started, for the reason it gives.
        """
        ensure_sound(command, timeout, working_directory)
        deadline_s = None if timeout is None else time.monotonic() + timeout
        try:
            self.start(command, working_directory, env, has_input=input is not None)
        except PtyInitializationError:
            raise  # The buffers stay open: the same ones serve on pipes.
        except BaseException:
            self.close_buffers()
            raise
        if input is not None:
            self.send(input)
            self.end_input()
        return self.finish(None if deadline_s is None else deadline_s - time.monotonic())

    def start(
        self,
        command: str | Sequence[str],
        working_directory: str | None = None,
        env: Mapping[str, str] | None = None,
        *,
        has_input: bool = False,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        """Start ``command`` and return; raises as :meth:`execute` does. :meth:`finish` waits for its end.

        ``on_start`` is called when it runs, before the first of its output is in a buffer.
        """
        if self._started is not None:
            raise MtrError("an executor runs one command")
        environ = {**os.environ, **(env or {}), MARK: self.mark}
        self._started = self._open(build_argv(command), environ, working_directory, has_input=has_input)
        on_start()
        try:
            self._follow(self._started)
        except (OSError, RuntimeError) as error:
            self._give_up(self._started)
            raise MtrError("this process can follow no more commands", detail=str(error)) from error

    def _follow(self, started: Started) -> None:
        """Begin to read, and to wait for the end."""
        self._pump = self.pump(started, self._buffers)
        words = (started, self._pump)
        threading.Thread(target=self._await_exit, args=words, name=f"wait {started.pid}", daemon=True).start()

    def _give_up(self, started: Started) -> None:
        """End a command that nobody could follow: this process has no descriptors or threads left."""
        end_tree([started.pid], self.mark, grace_s=0)
        started.wait()
        self._exited.set()
        if self._pump is not None:
            self._pump.stop()
        self.close_buffers()

    @abstractmethod
    def _open(
        self, argv: Sequence[str], environ: Mapping[str, str], directory: str | None, *, has_input: bool
    ) -> Started:
        """Start ``argv`` on what its output is read from."""

    def close_buffers(self) -> None:
        """Say that nothing will come: the command could not be started."""
        for buffer in self._buffers:
            buffer.close()

    def _await_exit(self, started: Started, pump: AnyPump) -> None:
        self._status = started.wait()
        self._exited.set()
        pump.note_end()

    def finish(self, timeout_s: float | None = None) -> Ended:
        """Wait for the end of the command, at most ``timeout_s`` before it is ended; return as :meth:`execute` does."""
        pump = self._running
        is_late = not self._exited.wait(None if timeout_s is None else max(0.0, timeout_s))
        if is_late and not self._is_terminated:
            self.terminate()
        else:
            is_late = False
            self._exited.wait()
            if not pump.ended.wait(DRAIN_S):
                pump.has_caught_up.wait(CATCH_UP_S)
        return {"exit_code": TIMED_OUT if is_late else self._status, "timeout_occurred": is_late}

    @property
    def _running(self) -> AnyPump:
        if self._pump is None:
            raise MtrError("the command was not started")
        return self._pump

    @property
    def pid(self) -> int | None:
        """The leader of the command's session, while it is known to be it."""
        return None if self._started is None or self._exited.is_set() else self._started.pid

    @property
    def fault(self) -> str:
        """What went wrong beside the command: output lost, processes that could not be ended."""
        left = f"could not be ended: {', '.join(map(str, self._left))}" if self._left else ""
        return "; ".join(filter(None, (self._pump.fault if self._pump else "", left)))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing can come any more: the command has ended, and nobody holds its streams."""
        return self._pump is None or self._pump.ended.is_set()

    def send(self, data: bytes) -> None:
        """Send ``data`` to the command's input; it is queued, and the call returns at once.

        Raises:
            InvalidRequest: the command takes no input, or does not read it.
        """
        self._running.send(data)

    def end_input(self) -> None:
        """Let its input end: a pipe is closed, a terminal gets a Ctrl-D, which a program in raw mode may ignore."""
        self._running.end_input()

    def discard(self) -> None:
        """Forget the output, and go on reading what is left in the background."""
        if self._pump is not None:
            self._pump.discard()
        for buffer in self._buffers:
            buffer.discard()

    def terminate(self, grace_s: float = GRACE_S) -> list[int]:
        """End the command and all that it has started, wherever that went: TERM, after ``grace_s`` KILL.

        What was written until then stays. Returns when they are gone, with the pids of those that are not.
        """
        self._is_terminated = True
        pump = self._running
        self._left = end_tree([self.pid] if self.pid else [], self.mark, grace_s=grace_s)
        self._exited.wait(DRAIN_S if self._left else None)
        if not pump.ended.wait(DRAIN_S):
            pump.has_caught_up.wait(CATCH_UP_S)
        pump.stop()
        return self._left


class SubprocessExecutor(Executor):
    """A command on pipes; with one buffer both streams go there, in the order in which they are read."""

    def __init__(
        self, stdout_buffer: StreamingBuffer, stderr_buffer: StreamingBuffer | None = None, *, mark: str = ""
    ) -> None:
        super().__init__((stdout_buffer, stderr_buffer or stdout_buffer), mark=mark)

    def _open(
        self, argv: Sequence[str], environ: Mapping[str, str], directory: str | None, *, has_input: bool
    ) -> Started:
        return starting.start_on_pipes(argv, environ, directory, has_input=has_input)


class PtyExecutor(Executor):
    """A command on a terminal of its own; its input stays open until it is ended."""

    def __init__(
        self,
        buffer: StreamingBuffer,
        *,
        mark: str = "",
        start: Callable[..., Started] = starting.start_on_terminal,
    ) -> None:
        super().__init__((buffer,), mark=mark)
        self._start = start

    def _open(
        self, argv: Sequence[str], environ: Mapping[str, str], directory: str | None, *, has_input: bool
    ) -> Started:
        del has_input  # A terminal can always be typed into.
        known = environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        return self._start(argv, environ if known else {**environ, "TERM": "xterm-256color"}, directory)


def ensure_sound(command: str | Sequence[str], timeout_s: float | None, directory: str | None) -> None:
    """Raise what is wrong with a command before anything is started.

    Raises:
        InvalidRequest: no command, no time, or no such directory.
    """
    words = [command] if isinstance(command, str) else list(command)
    if not words or not all(isinstance(word, str) for word in words) or not words[0].strip():
        raise InvalidRequest("the command is empty")
    if any("\0" in word for word in words):
        raise InvalidRequest("the command holds a NUL byte, which no program can be given")
    if timeout_s is not None and not (0 < timeout_s < math.inf):
        raise InvalidRequest(f"timeout is {timeout_s}: it is a number of seconds above 0")
    if directory is not None and not os.path.isdir(directory):
        what = "is no directory" if os.path.lexists(directory) else "does not exist"
        raise InvalidRequest(f"working_directory {directory!r} {what}", hint="name one that is there, or make it first")
    if directory is not None and not os.access(directory, os.X_OK):
        raise InvalidRequest(f"working_directory {directory!r} cannot be entered: permission denied")
