"""Jobs for scripts and notebooks: started, read while they print, waited for, stopped.

gpu = mtr.connect("gpu-01")
gpu.sync()
job = gpu.jobs.start(["python", "train.py"], name="train", timeout_s=6 * 3600)
for piece in job.read_output():
    sys.stdout.buffer.write(piece)
print(job.wait().status)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.command_line import MAX_GPUS, MAX_TIMEOUT_S, Invocation, ensure_job_name
from mtr.errors import MtrError, UsageError
from mtr.jobs.ask import load_jobs, remove_jobs, send_input, stop_job
from mtr.jobs.choose import choose_job
from mtr.jobs.follow import Follower
from mtr.jobs.model import Job, JobError
from mtr.jobs.noted import drop_note
from mtr.jobs.start import begin_job
from mtr.jobs.wait import wait_for_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mtr.jobs.start import Project
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command


class JobHandle:
    """One job on a server."""

    def __init__(self, connection: BaseConnection, job: Job | str) -> None:
        """``job`` is its id, where the server has not been asked about it yet."""
        self._connection = connection
        self._job = job

    @property
    def job(self) -> Job:
        """How it stood when the server was asked last; a new one is asked about now."""
        return self.refresh() if isinstance(self._job, str) else self._job

    def __repr__(self) -> str:
        name = f" {self.job.name!r}" if self.job.name else ""
        status = "" if self.job.status is None else f" {self.job.status}"
        return f"<job {self.id}{name} on {self.job.server}: {self.job.state}{status}>"

    @property
    def id(self) -> str:
        """The id, as the command line takes it too."""
        return self._job if isinstance(self._job, str) else self._job.id

    def refresh(self) -> Job:
        """Ask the server how the job stands now.

        Raises:
            JobNotFound: it has been removed.
        """
        self._job = choose_job(self.id, load_jobs(self._connection, [self.id]))
        return self._job

    def read_output(self, *, stream: str = "out", offset: int = 0, follow: bool = True) -> Iterator[bytes]:
        """Yield what the job prints to ``stream`` ("out" or "err"), from byte ``offset`` on, as it comes.

        With ``follow`` until the job has ended, else what is there now. A line that breaks is taken up at the same
        byte. Pieces are cut anywhere, so decode incrementally. A negative ``offset`` counts from the present end.

        Raises:
            JobNotFound: it has been removed.
            JobError: it has printed less than ``offset`` bytes.
            UsageError: there is no such ``stream``.
        """
        if stream not in ("out", "err"):
            raise UsageError(f"a job prints to out and err, and not to {stream}")
        return Follower(self._connection, self.id, stream, offset).read(follow=follow)

    def wait(self, timeout_s: float | None = None) -> Job:
        """Wait until the job has ended; return how. A server that cannot be reached is tried again for an hour.

        Raises:
            JobError: it has not ended within ``timeout_s``; it goes on.
            JobNotFound: it has been removed.
            ConnectError: its server does not let us in any more.
            ConnectionLost: its server could not be reached any more.
        """
        if not self.job.is_alive:
            return self.refresh()
        (self._job,) = wait_for_jobs([(self._connection, self.job)], timeout_s=timeout_s)
        return self.job

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Let the job read ``data`` from its stdin, or its terminal; with ``end``, there will be no more.

        That is for jobs that were started with ``stdin`` or ``pty``. 64 KiB at once at most.

        Raises:
            JobError: it takes no input, or no more, or reads none, so that some of it may not have come.
            JobNotFound: it has been removed.
        """
        send_input(self._connection, self.id, data, end=end)

    def stop(self, *, grace_s: int = 10) -> Job:
        """End the job with everything that it has started: TERM, ``grace_s`` seconds, KILL; return how it ended.

        Raises:
            JobError: some of it would not end.
        """
        stop_job(self._connection, self.job, grace_s=grace_s)
        return self.refresh()

    def remove(self) -> None:
        """Remove what the job has printed and its copy of the tree; one that has not ended is refused.

        Raises:
            JobError: it has not ended.
        """
        remove_jobs(self._connection, [self.job])
        drop_note(self.id, self._connection.environ)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command as a run of the project has it; ``project`` is None without one.

    ``synced`` are the paths that the server has of the project, None where it does not have them as they are here: then
    nothing of the code here is noted with a job, since it is not what runs. ``launch`` runs the command, and brings the
    project's files first where that was asked for.
    """

    command: Command
    project: Project | None
    synced: Sequence[bytes] | None
    launch: Callable[[Command], int]


class Jobs:
    """The jobs of one server: ``mtr.connect("gpu-01").jobs.start(["python", "train.py"])``."""

    def __init__(
        self, connection: BaseConnection, prepare: Callable[[Sequence[str] | str, bool, str | None], Prepared]
    ) -> None:
        """``prepare`` makes an argv the project's: whether its files are to be brought, and where it is to run."""
        self._connection = connection
        self._prepare = prepare

    def start(  # noqa: PLR0913  each is an option of mtr -d
        self,
        argv: Sequence[str] | str,
        *,
        name: str = "",
        timeout_s: float | None = None,
        snapshot: bool | None = None,
        after: JobHandle | str | Sequence[JobHandle | str] = (),
        gpus: int = 0,
        pty: bool = False,
        stdin: bool = False,
        directory: str | None = None,
        sync: bool = False,
        job_id: str = "",
        by: str = "",
    ) -> JobHandle:
        """Start ``argv``, or a string in a shell, in the project's directory there.

        With ``sync`` it runs on the files as they are here, which are brought first; otherwise nothing is synced. The
        job goes on when this process has ended. ``name`` is one word, and ``timeout_s`` after how long the server ends
        it. It begins when all of ``after`` (handles, ids or names) have ended and ``gpus`` GPUs are free, which it then
        finds in CUDA_VISIBLE_DEVICES. With ``snapshot`` it runs in a copy of what was synced, which later syncs leave
        alone; None is a copy for one that waits, if anything was ever synced. With ``pty`` it has a terminal of its
        own, for ``mtr job attach``; with ``stdin`` it reads what :meth:`JobHandle.send` hands over, and nothing
        otherwise. ``directory`` counts from the project's there. ``job_id`` is one of
        :func:`mtr.jobs.start.new_job_id`, for who has to name the job before it is started. ``by`` is kept with it:
        what has started it, where that was no person.

        Raises:
            JobError: it could not be started.
            JobNotFound: one of ``after`` is not on this server.
            GateRefused: its directory, environment or shell is not there, or what it needs to be a job.
            UsageError: it cannot be called so, or ``timeout_s`` or ``gpus`` is out of range.
            ConfigError: the server runs Windows.
        """
        wanted = _build_invocation(name, timeout_s, gpus, after)
        wanted.snapshot, wanted.pty, wanted.server = snapshot, pty, self._connection.server_name
        prepared = self._prepare(argv, sync, directory)
        wanted.sync = prepared.synced is not None
        command = prepared.command
        line, project = self._connection, prepared.project
        feed = begin_job(command, wanted, line, line.environ, project, job_id=job_id, stdin=stdin and not pty, by=by)
        feed.paths = prepared.synced or ()
        try:
            status = prepared.launch(command)
            if not feed.has_begun:
                hint = f"mtr doctor -s {line.server_name}"
                raise JobError(f"no job was started on {line.label}", detail=f"it ended with {status}", hint=hint)
        except MtrError:
            drop_note(feed.job_id, line.environ)
            raise
        return JobHandle(line, feed.job_id)

    def list(self) -> list[JobHandle]:
        """Return all jobs of this server, the oldest first."""
        return [JobHandle(self._connection, job) for job in load_jobs(self._connection)]

    def find(self, word: str) -> JobHandle:
        """Return the job that ``word`` means: an id, the beginning of one, or a name.

        Raises:
            JobNotFound: none, or more than one.
        """
        return JobHandle(self._connection, choose_job(word, load_jobs(self._connection)))


def _build_invocation(
    name: str, timeout_s: float | None, gpus: int, after: JobHandle | str | Sequence[JobHandle | str]
) -> Invocation:
    """Return what would stand in front of the command on a command line.

    Raises:
        UsageError: it would be refused there.
    """
    if timeout_s is not None and not 0 < timeout_s < MAX_TIMEOUT_S:
        raise UsageError(f"timeout_s is a number of seconds, more than 0, and not {timeout_s}")
    if not 0 <= gpus <= MAX_GPUS:
        raise UsageError(f"gpus is how many to wait for, {MAX_GPUS} at most, and not {gpus}")
    wanted = Invocation()
    wanted.detach = True
    wanted.name = name and ensure_job_name(name)
    wanted.timeout_s, wanted.gpus = timeout_s, gpus
    words = [after] if isinstance(after, JobHandle | str) else after
    wanted.after = [word if isinstance(word, str) else word.id for word in words]
    return wanted
