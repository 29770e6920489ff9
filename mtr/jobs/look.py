"""One look at a job: how it stands, and what its outputs have behind given offsets. One round trip."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.jobs.ask import ensure_there
from mtr.jobs.model import Job, JobError, JobNotFound, parse_listing
from mtr.quoting import build_remote_command
from mtr.scripts import load_script

if TYPE_CHECKING:
    from mtr.ssh.line import Line

_HEAD = re.compile(rb"(?:\A|\n)mtr-(out|err) ([0-9]+) ([0-9]+)\n")
ANSWERS_WITHIN_S = 60.0
"""Beyond the time that the server was told to wait."""


@dataclass(frozen=True, slots=True)
class Output:
    """``data`` stands behind the offset that was asked for; ``size_bytes`` is how much there is in all."""

    data: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class JobLook:
    """How a job stands, and what it has printed behind the offsets. It may have more than that."""

    job: Job
    out: Output
    err: Output


def look_at(
    line: Line, job_id: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: int = 0, until_end: bool = False
) -> JobLook:
    """Look at job ``job_id``: up to ``limit_bytes`` of stdout and of stderr behind ``offsets``.

    Where there is nothing behind both, the server waits up to ``wait_s`` for something, or for the job's end; with
    ``until_end`` for that alone.

    Raises:
        JobNotFound: there is no such job on that server.
        ConnectionLost: the line broke; nothing is lost by asking again.
    """
    scripts = "".join(load_script(f"remote/job/{name}.sh") for name in ("life", "look", "list"))
    words = [job_id, *map(str, offsets), str(limit_bytes), str(wait_s), "end" if until_end else ""]
    command = build_remote_command("mtr-jobs", scripts, words)
    found = line.run_captured(command, timeout_s=wait_s + ANSWERS_WITHIN_S)
    ensure_there(line, job_id, found.status)
    if found.status != 0:
        words_there = found.stderr.decode(errors="replace")
        raise JobError(f"job {job_id} cannot be looked at on {line.label}", detail=words_there)
    return parse_look(found.stdout, line.server_name, job_id)


def parse_look(data: bytes, server: str, job_id: str) -> JobLook:
    """Return what the answer ``data`` of look.sh says.

    Raises:
        JobError: it is no such answer, or it was cut.
        JobNotFound: the job was removed meanwhile.
    """
    out, rest = _take_output(data, b"out", server)
    err, rest = _take_output(rest, b"err", server)
    jobs = parse_listing(rest.decode(errors="replace"), server)
    if not jobs:
        raise JobNotFound(f"job {job_id} has been removed from {server}", hint="mtr job list")
    # The sizes that stand with the state were taken after it: what has ended by then has its last size.
    job = jobs[0]
    return JobLook(
        job,
        Output(out.data, max(out.size_bytes, job.out_bytes)),
        Output(err.data, max(err.size_bytes, job.err_bytes)),
    )


def _take_output(data: bytes, name: bytes, server: str) -> tuple[Output, bytes]:
    """Return the output ``name`` at the beginning of ``data``, and what stands behind it."""
    found = _HEAD.search(data)
    if found is None or found[1] != name:
        raise JobError(f"{server} did not tell what the job prints", hint=f"mtr doctor -s {server}")
    size, count, begin = int(found[2]), int(found[3]), found.end()
    piece = data[begin : begin + count]
    if len(piece) != count:
        raise JobError(f"{server} told less than it said of what the job prints", hint="ask again")
    return Output(piece, size), data[begin + count :]
