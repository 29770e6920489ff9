"""Commands on one server, as durable jobs: a token is the job's id, and outlives this process.

A start takes round trips, and more while files are brought; whoever orders it waits for none of them. What it fails at
is told at the next look.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mtr.agent.model import BY, Listed, Look, Order, TokenUnknown, render_command
from mtr.errors import EXIT_FAILURE, ConnectionLost, MtrError
from mtr.jobs.ask import load_jobs, send_input, stop_job
from mtr.jobs.choose import choose_job
from mtr.jobs.look import look_at
from mtr.jobs.model import JobNotFound
from mtr.jobs.start import new_job_id
from mtr.streams.command import COMPLETED, PENDING, RUNNING, TIMED_OUT
from mtr.streams.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtr.jobs.look import JobLook, Output
    from mtr.jobs.model import Job
    from mtr.remote import Remote
    from mtr.sync.result import SyncResult

MAX_SESSIONS = 8
"""At once, of those that sshd allows on a connection (MaxSessions, 10 as it comes): others use it, too."""

MAX_WAITING = 4
"""Of these, how many may wait on the server for news."""

KEPT_FAILURES = 1000


class _Start:
    """A start that is under way, or has failed."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.is_over = threading.Event()
        self.is_cancelled = False
        self.error: MtrError | None = None
        self.began_s = time.time()


class RemoteCommands:
    """The commands of the server ``name``; ``open_remote`` connects to it when it is first needed."""

    def __init__(
        self, name: str, open_remote: Callable[[], Remote], load_config: Callable[[], object] = lambda: None
    ) -> None:
        """``load_config`` returns another value once what ``open_remote`` has read counts no more."""
        self.name = name
        self._open_remote = open_remote
        self._load_config = load_config
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._sessions = threading.BoundedSemaphore(MAX_SESSIONS)
        self._idle: list[tuple[object, Remote]] = []
        self._waiting = threading.BoundedSemaphore(MAX_WAITING)
        self._starts: dict[str, _Start] = {}

    @contextmanager
    def borrow(self) -> Iterator[Remote]:
        """Give the project on the server, over an open connection, to one thread at a time.

        Which master a connection uses is its own matter, and changes when that takes no more sessions.

        Raises:
            MtrError: it cannot be reached; nobody is asked for a password.
        """
        with self._sessions:
            config = self._load_config()
            with self._lock:
                # One that an older configuration has opened may lead to another machine, or directory, than is judged.
                self._idle = [pair for pair in self._idle if pair[0] is config]
                remote = self._idle.pop()[1] if self._idle else None
            remote = remote or self._open_remote()
            try:
                yield remote
            finally:
                with self._lock:
                    self._idle.append((config, remote))

    def start(self, order: Order) -> str:
        """Begin to start what is ordered; return its token at once."""
        token, start = new_job_id(), _Start(order)
        with self._lock:
            self._starts[token] = start
            failed = [known for known, other in self._starts.items() if other.error is not None]
            for known in failed[: max(0, len(failed) - KEPT_FAILURES)]:
                del self._starts[known]
        threading.Thread(target=self._start, args=(token, start), name=f"start {token}", daemon=True).start()
        return token

    def _start(self, token: str, start: _Start) -> None:
        order = start.order
        try:
            if start.is_cancelled:
                raise MtrError("it was terminated before it had started")
            self._start_job(token, order)
        except MtrError as error:
            start.error = error
        except Exception as error:  # noqa: BLE001  a thread's error would be nobody's
            start.error = MtrError(f"{self.name}: {error!r}", hint="that is a bug of mtr")
        if start.error is None:
            with self._lock:
                del self._starts[token]
        start.is_over.set()

    def _start_job(self, token: str, order: Order) -> None:
        with self.borrow() as remote:
            remote.jobs.start(
                order.command,
                name=order.name,
                timeout_s=order.timeout_s,
                pty=order.use_pty,
                stdin=order.keep_stdin,
                directory=order.directory,
                sync=order.sync,
                job_id=token,
                by=BY,
            )

    def sync(self, *, full: bool = False) -> SyncResult:
        """Bring the project's files; one at a time."""
        with self._syncing, self.borrow() as remote:
            return remote.sync(full=full)

    def look(
        self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float, until_end: bool = False
    ) -> Look:
        """Tell how the command stands, and what it has printed behind ``offsets``.

        Waits for news up to ``wait_s``, ``until_end`` for its end alone.

        Raises:
            TokenUnknown: there is no such job on the server.
            MtrError: the server cannot be asked just now.
        """
        end_s = time.monotonic() + wait_s
        if start := self._starts.get(token):
            start.is_over.wait(wait_s)
            if not start.is_over.is_set():
                return Look(token, self.name, PENDING, execution_time_s=time.time() - start.began_s)
            # Where the line broke meanwhile, the server knows whether it has begun.
            if start.error is not None and not isinstance(start.error, ConnectionLost):
                return self._build_failed(token, start.error)
        try:
            return self._look(token, offsets, limit_bytes, end_s, until_end=until_end)
        except JobNotFound as error:
            if start is not None and start.error is not None:
                return self._build_failed(token, start.error)
            raise TokenUnknown(
                f"no command on {self.name} has the token {token}", hint="list_commands() tells which there are"
            ) from error

    def _build_failed(self, token: str, error: MtrError) -> Look:
        words = f"{error.message}\n{error.detail}".rstrip()
        return Look(token, self.name, COMPLETED, EXIT_FAILURE, error=words, hint=error.hint)

    def _look(self, token: str, offsets: tuple[int, int], limit_bytes: int, end_s: float, *, until_end: bool) -> Look:
        pause_s = 0.5
        while True:
            left_s = max(0, round(end_s - time.monotonic()))
            has_place = bool(left_s) and self._waiting.acquire(blocking=False)
            try:
                wait_s = left_s if has_place else 0
                found = self._ask(token, offsets, limit_bytes, wait_s, until_end=until_end)
            finally:
                if has_place:
                    self._waiting.release()
            has_news = bool(found.out.data or found.err.data) and not until_end
            if has_news or not found.job.is_alive or has_place or not left_s:
                is_closed = not found.job.is_alive
                out = _build_piece(offsets[0], found.out, is_closed=is_closed)
                err = _build_piece(offsets[1], found.err, is_closed=is_closed)
                return build_look(self.name, found.job, out, err)
            # All places are taken: asked now and then instead.
            time.sleep(min(pause_s, left_s))
            pause_s = min(3.0, pause_s * 1.5)

    def _ask(self, token: str, offsets: tuple[int, int], limit_bytes: int, wait_s: int, *, until_end: bool) -> JobLook:
        with self.borrow() as remote:
            line = remote.connection
            found = look_at(line, token, offsets, limit_bytes=limit_bytes, wait_s=wait_s, until_end=until_end)
            ends = zip((found.out, found.err), offsets, strict=True)
            if not found.job.is_alive and any(_lacks(output, offset, limit_bytes) for output, offset in ends):
                # It ended behind the look at its outputs, and before that at itself: its last words are there now.
                found = look_at(line, token, offsets, limit_bytes=limit_bytes)
            return found

    def send(self, token: str, data: bytes, *, end: bool) -> None:
        """Let the command read ``data`` from its stdin or its terminal; with ``end``, there will be no more.

        Raises:
            TokenUnknown: there is no such job on the server.
            JobError: it takes no more, or reads none.
        """
        if start := self._starts.get(token):
            start.is_over.wait()
        try:
            with self.borrow() as remote:
                send_input(remote.connection, token, data, end=end)
        except JobNotFound as error:
            raise TokenUnknown(f"no command on {self.name} has the token {token}") from error

    def terminate(self, token: str) -> None:
        """End the command with all that it has started, and see that it is gone.

        Raises:
            TokenUnknown: there is no such job on the server.
            JobError: some of it would not end.
        """
        start = self._starts.get(token)
        if start is not None:
            start.is_cancelled = True
            start.is_over.wait()
        try:
            self._stop(token)
        except TokenUnknown:
            # What failed may have been started nevertheless: by a connection that broke behind it.
            if start is None or start.error is None:
                raise

    def _stop(self, token: str) -> None:
        try:
            with self.borrow() as remote:
                stop_job(remote.connection, choose_job(token, load_jobs(remote.connection, [token])))
        except JobNotFound as error:
            raise TokenUnknown(f"no command on {self.name} has the token {token}") from error

    def list(self) -> list[Listed]:
        """Return the jobs of the server and what is being started, the oldest first."""
        starts = [*self._starts.items()]  # Before the jobs: what comes through meanwhile is one of either.
        with self.borrow() as remote:
            found = [_build_listed(self.name, job) for job in load_jobs(remote.connection)]
        known = {listed.token for listed in found}
        for token, start in starts:
            if token not in known:
                status = PENDING if start.error is None else COMPLETED
                code = None if start.error is None else EXIT_FAILURE
                command = render_command(start.order.command)
                found.append(Listed(token, self.name, status, command, code, start.began_s))
        return found


def _lacks(output: Output, offset: int, limit_bytes: int) -> bool:
    """Tell whether there is more behind ``offset`` than was brought, although that would have been allowed."""
    return len(output.data) < min(limit_bytes, output.size_bytes - offset)


def _build_piece(offset: int, output: Output, *, is_closed: bool) -> Piece:
    return Piece(offset, output.data, output.size_bytes, 0, is_closed=is_closed)


def build_look(server: str, job: Job, out: Piece, err: Piece) -> Look:
    """Return what an agent is told of ``job``."""
    status, code = _judge(job)
    error = f"{job.state}: {job.reason}" if job.state == "lost" else job.reason
    return Look(job.id, server, status, code, job.state == "timeout", job.runs_s, out, err, error, is_own=_is_own(job))


def _build_listed(server: str, job: Job) -> Listed:
    status, code = _judge(job)
    return Listed(job.id, server, status, job.command, code, job.started_s, job.runs_s, _is_own(job))


def _is_own(job: Job) -> bool:
    return job.about.get("by") == BY


def _judge(job: Job) -> tuple[str, int | None]:
    if job.is_alive:
        return (PENDING if job.state == "queued" else RUNNING), None
    return COMPLETED, TIMED_OUT if job.state == "timeout" else job.status
