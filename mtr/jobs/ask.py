"""Asking one server about its jobs: how they stand, and to stop or remove one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import UsageError
from mtr.jobs.model import Job, JobError, JobNotFound, parse_listing
from mtr.jobs.noted import drop_gone
from mtr.quoting import build_remote_command
from mtr.scripts import load_script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.process.captured import Captured
    from mtr.ssh.line import Line
    from mtr.ssh.wire import Wire

GRACE_S = 10
"""What a job has between TERM and KILL."""


NO_JOB = 3
"""What a script that is about one job leaves with where there is none."""

MAX_NOISE_BYTES = 1 << 20
"""What rc files may print before the first line of ours."""

MAX_INPUT_BYTES = 65_536
"""What a FIFO holds (pipe(7)): as much goes without anybody reading it yet."""

_INPUT_ERRORS = {
    5: ("takes no input: its stdin is empty", "start it with stdin=True or pty=True"),
    6: ("takes no more input: it has ended, or its stdin has", ""),
    7: ("does not read its input, and not all of it may have come", "wait until it has read what it has"),
}


def build_job_command(name: str, words: Sequence[str]) -> str:
    """Return the remote command line of ``shell/remote/job/NAME.sh``, with life.sh in front of it."""
    return build_remote_command(
        "mtr-jobs", load_script("remote/job/life.sh") + load_script(f"remote/job/{name}.sh"), words
    )


def _ask(line: Line, name: str, words: Sequence[str], *, timeout_s: float = 60.0) -> Captured:
    return line.run_captured(build_job_command(name, words), timeout_s=timeout_s)


def load_jobs(line: Line, ids: Sequence[str] = ()) -> list[Job]:
    """Return the jobs of ``line``'s server, all of them or those with ``ids``, the oldest first; one round trip.

    All of them are an occasion to forget what was noted here of others.

    Raises:
        JobError: the server has not told of them.
    """
    if line.facts.system:
        return []  # Windows: no job can have been started there
    found = _ask(line, "list", ids)
    jobs = parse_listing(found.stdout.decode(errors="replace"), line.server_name)
    if not ids and found.status == 0:
        drop_gone(line.server_name, {job.id for job in jobs}, line.environ)
    return jobs


def ensure_there(line: Wire, job_id: str, status: int) -> None:
    """See that a script about a job has found it.

    Raises:
        JobNotFound: it left with :data:`NO_JOB`.
    """
    if status == NO_JOB:
        raise JobNotFound(f"there is no job {job_id} on {line.label}", hint="mtr job list")


def ensure_quiet(line: Wire, head: bytes) -> None:
    """See that ``head``, in which our first line is looked for still, is no more than rc files print.

    Raises:
        JobError: it is.
    """
    if len(head) > MAX_NOISE_BYTES:
        raise JobError(f"the shell on {line.label} prints without end", hint=f"mtr doctor -s {line.server_name}")


def stop_job(line: Line, job: Job, *, grace_s: int = GRACE_S) -> bool:
    """End ``job`` with everything that it has started; tell whether there was anything to end.

    Raises:
        JobError: some of it would not end.
    """
    found = _ask(line, "stop", [job.id, str(grace_s), "client"], timeout_s=grace_s + 30.0)
    # In front of it stands whatever an rc file prints.
    said = found.stdout.decode(errors="replace").rstrip("\n").rpartition("\n")[2]
    if said.startswith("left"):
        hint = f"see what they are: mtr -s {job.server} --no-sync ps -fp {','.join(said.split()[1:])}"
        raise JobError(f"processes of job {job.id} would not end on {line.label}: {said[5:]}", hint=hint)
    if found.status != 0:
        raise JobError(
            f"job {job.id} could not be stopped on {line.label}", detail=found.stderr.decode(errors="replace")
        )
    return said == "gone"


def remove_jobs(line: Line, jobs: Sequence[Job]) -> None:
    """Remove ``jobs`` with all that they have printed.

    Raises:
        JobError: one of them has not ended, or cannot be removed; the others are gone.
    """
    ids = [job.id for job in jobs]
    found = _ask(line, "remove", ids)
    told = dict(
        words.split(" ", 1)[::-1] for words in found.stdout.decode(errors="replace").splitlines() if " " in words
    )
    alive = [job_id for job_id in ids if told.get(job_id) == "alive"]
    if alive:
        hint = f"mtr job stop {' '.join(alive)}"
        raise JobError(f"{', '.join(alive)} on {line.label} has not ended, and stays", hint=hint)
    if left := [job_id for job_id in ids if told.get(job_id) != "gone"]:
        words = found.stderr.decode(errors="replace")
        raise JobError(f"{', '.join(left)} could not be removed on {line.label}", detail=words)
    if found.status != 0:
        raise JobError(f"jobs could not be removed on {line.label}", detail=found.stderr.decode(errors="replace"))


def send_input(line: Line, job_id: str, data: bytes, *, end: bool = False) -> None:
    """Let job ``job_id`` read ``data`` from its stdin or its terminal; with ``end``, there will be no more.

    Raises:
        UsageError: that is more than ``MAX_INPUT_BYTES`` at once.
        JobNotFound: there is no such job on that server.
        JobError: it takes no input, or no more.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise UsageError(f"{len(data):,} bytes at once are more than a job takes", hint=f"{MAX_INPUT_BYTES:,} at most")
    command = build_job_command("type", [job_id, "end" if end else ""])
    found = line.run_captured(command, stdin=data, timeout_s=60.0)
    ensure_there(line, job_id, found.status)
    if found.status in _INPUT_ERRORS:
        message, hint = _INPUT_ERRORS[found.status]
        raise JobError(f"job {job_id} on {line.label} {message}", hint=hint)
    if found.status != 0:
        words = found.stderr.decode(errors="replace")
        raise JobError(f"job {job_id} on {line.label} could not be given its input", detail=words)
