"""Jobs for scripts and notebooks: started, read while they print, waited for, stopped.

gpu = mtr.connect("gpu-01")
gpu.sync()
job = gpu.jobs.start(["python", "train.py"], name="train", timeout_s=6 * 3600)
for piece in job.read_output():
    sys.stdout.buffer.write(piece)
print(job.wait().status)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mtr.command_line import ensure_job_name
from mtr.errors import EXIT_FAILURE, AuthenticationFailed, ConfigError, ConnectError, ConnectionLost, UsageError
from mtr.jobs.ask import load_jobs, remove_jobs, stop_job
from mtr.jobs.choose import choose_job
from mtr.jobs.follow import Follower
from mtr.jobs.model import Job, JobError
from mtr.jobs.noted import drop_note, note_job
from mtr.jobs.patience import RETRY_S
from mtr.jobs.start import new_job_id, render_seconds, turn_into_start
from mtr.ssh.diagnosis import build_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command


MAX_TIMEOUT_S = 1e9


class JobHandle:
    """One job on a server; how it stood when the server was asked last is in ``job``."""

    def __init__(self, connection: BaseConnection, job: Job) -> None:
        self._connection = connection
        self.job = job

    def __repr__(self) -> str:
        name = f" {self.job.name!r}" if self.job.name else ""
        status = "" if self.job.status is None else f" {self.job.status}"
        return f"<job {self.id}{name} on {self.job.server}: {self.job.state}{status}>"

    @property
    def id(self) -> str:
        """The id, as the command line takes it too."""
        return self.job.id

    def refresh(self) -> Job:
        """Ask the server how the job stands now.

        Raises:
            JobNotFound: it has been removed.
        """
        self.job = choose_job(self.id, load_jobs(self._connection, [self.id]))
        return self.job

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
            ConnectError: its server could not be reached, or does not let us in any more.
        """
        end_s, pause_s = None if timeout_s is None else time.monotonic() + timeout_s, 0.1
        heard_s = time.monotonic()
        while True:
            try:
                if not self.refresh().is_alive:
                    return self.job
                heard_s = time.monotonic()
            except (ConnectError, ConnectionLost) as error:
                # A login that was refused is not tried again: that locks accounts.
                if isinstance(error, AuthenticationFailed) or time.monotonic() - heard_s > RETRY_S:
                    raise
            if end_s is not None and time.monotonic() > end_s:
                raise JobError(f"job {self.id} has not ended within {timeout_s:g} s", hint=f"mtr job wait {self.id}")
            time.sleep(pause_s)
            pause_s = min(2.0, pause_s * 1.5)

    def stop(self, *, grace_s: int = 10) -> Job:
        """End the job with everything that it has started: TERM, ``grace_s`` seconds, KILL; return how it ended.

        Raises:
            JobError: some of it would not end.
        """
        stop_job(self._connection, self.job, grace_s=grace_s)
        return self.refresh()

    def remove(self) -> None:
        """Remove what the job has printed; one that has not ended is refused.

        Raises:
            JobError: it has not ended.
        """
        remove_jobs(self._connection, [self.job])
        drop_note(self.id, self._connection.environ)


class Jobs:
    """The jobs of one server: ``mtr.connect("gpu-01").jobs.start(["python", "train.py"])``."""

    def __init__(
        self,
        connection: BaseConnection,
        build_command: Callable[[Sequence[str] | str], Command],
    ) -> None:
        """``build_command`` makes an argv the project's."""
        self._connection = connection
        self._build_command = build_command

    def start(self, argv: Sequence[str] | str, *, name: str = "", timeout_s: float | None = None) -> JobHandle:
        """Start ``argv``, or a string in a shell, in the project's directory there; nothing is synced.

        The job goes on when this process has ended. ``name`` is one word, and ``timeout_s`` after how long the server
        ends it.

        Raises:
            JobError: it could not be started.
            GateRefused: its directory, environment or shell is not there.
            UsageError: it cannot be called so, or ``timeout_s`` is no time.
        """
        if timeout_s is not None and not 0 < timeout_s < MAX_TIMEOUT_S:
            raise UsageError(f"timeout_s is a number of seconds, more than 0, and not {timeout_s}")
        name = name and ensure_job_name(name)
        _ensure_posix(self._connection)
        command, job_id = self._build_command(argv), new_job_id()
        turn_into_start(command, job_id, name, [] if timeout_s is None else [f"timeout={render_seconds(timeout_s)}"])
        found = self._connection.run(command, timeout_s=60.0)
        if found.status == EXIT_FAILURE and (refusal := self._connection.load_refusal(command.run_id)):
            raise build_refusal(self._connection.server_name, command, refusal)
        if found.status != 0:
            told = self._connection.load_refusal(command.run_id) if found.status == EXIT_FAILURE else []
            words = "\n".join(told[1:]) or found.stderr.decode(errors="replace")
            raise JobError(f"no job could be started on {self._connection.label}", detail=words, hint="mtr doctor")
        note_job(job_id, self._connection.server_name, self._connection.environ, name=name)
        return self.find(job_id)

    def list(self) -> list[JobHandle]:
        """Return all jobs of this server, the oldest first."""
        return [JobHandle(self._connection, job) for job in load_jobs(self._connection)]

    def find(self, word: str) -> JobHandle:
        """Return the job that ``word`` means: an id, the beginning of one, or a name.

        Raises:
            JobNotFound: none, or more than one.
        """
        return JobHandle(self._connection, choose_job(word, load_jobs(self._connection)))


def _ensure_posix(connection: BaseConnection) -> None:
    if connection.facts.system:
        raise ConfigError(
            f"{connection.server_name} runs Windows, and jobs need a POSIX shell there", hint="run() and wait"
        )
