"""Which job a word means: an id, the unambiguous beginning of one, or a name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.jobs.model import JobNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.jobs.model import Job


def choose_job(word: str, jobs: Sequence[Job]) -> Job:
    """Return the job that ``word`` means: of several with that name the newest, if no more than one is alive.

    Raises:
        JobNotFound: none, or more than one.
    """
    named = [job for job in jobs if word and job.name == word]
    exact = [job for job in jobs if job.id == word]
    if exact or not named:
        found = exact or [job for job in jobs if word and job.id.startswith(word)]
    else:
        alive = [job for job in named if job.is_alive]
        found = alive if len(alive) > 1 else alive or named[-1:]
    if len(found) == 1:
        return found[0]
    if not found:
        raise JobNotFound(f"there is no job {word}", detail=_render_known(jobs), hint="mtr job list")
    lines = "\n".join(f"{job.id} on {job.server}: {job.command[:60]}" for job in found)
    raise JobNotFound(f"{word} may mean {len(found)} jobs", detail=lines, hint="give the id of the one you mean")


def _render_known(jobs: Sequence[Job]) -> str:
    return "known: " + ", ".join(f"{job.id}{f' ({job.name})' if job.name else ''}" for job in jobs[-8:]) if jobs else ""
