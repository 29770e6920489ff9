"""Waiting for the ends of jobs, on several servers at once, and across every line that breaks meanwhile."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from mtr.errors import EXIT_FAILURE
from mtr.jobs.ask import load_jobs
from mtr.jobs.model import JobError, JobNotFound
from mtr.jobs.patience import TRANSIENT, Patience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.jobs.model import Job
    from mtr.ssh.line import Line

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


def wait_for_jobs(jobs: Sequence[tuple[Line, Job]], *, timeout_s: float | None = None) -> list[Job]:
    """Return ``jobs`` as they have ended, in their order; servers are asked until all have, each at least once.

    One that is known to have ended is not asked for again.

    Raises:
        JobError: not all have ended within ``timeout_s``; they go on.
        JobNotFound: one has been removed meanwhile.
        ConnectError: a server does not let us in any more, which no further attempt changes.
        ConnectionLost: a server could not be reached any more for an hour.
    """
    found = {(job.server, job.id): job for _, job in jobs}
    waits = {line: Patience(line.says, resumes="asking again") for line, _ in jobs}
    end_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while True:
        for line, patience in waits.items():
            if ids := [job.id for job in found.values() if job.is_alive and job.server == line.server_name]:
                found |= _look_again(line, ids, patience, end_s)
        left = [job.id for job in found.values() if job.is_alive]
        if not left:
            return [found[job.server, job.id] for _, job in jobs]
        if time.monotonic() >= end_s:
            message = f"job {', job '.join(left)} has not ended within {timeout_s:g} s"
            raise JobError(message, hint=f"mtr job wait {' '.join(left)}")
        time.sleep(max(0.0, min(pause_s, end_s - time.monotonic())))
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)


def choose_status(ended: Sequence[Job]) -> int:
    """Return the first status that is not 0, and 125 for a job that has none: it was lost."""
    return next((EXIT_FAILURE if job.status is None else job.status for job in ended if job.status != 0), 0)


def _look_again(line: Line, ids: Sequence[str], patience: Patience, end_s: float) -> dict[tuple[str, str], Job]:
    """Return how the jobs with ``ids`` stand, nothing where their server cannot be asked just now."""
    try:
        found = load_jobs(line, ids)
    except TRANSIENT as error:
        patience.bear(error, hint=f"mtr job wait {' '.join(ids)}", end_s=end_s)
        return {}
    patience.renew()
    for job_id in {*ids} - {job.id for job in found}:
        raise JobNotFound(f"job {job_id} has been removed from {line.label}", hint="mtr job list")
    return {(job.server, job.id): job for job in found}
