"""Bringing what a job was told to leave for whoever asks: ``mtr -d --pull GLOB CMD``, later ``mtr job pull``.

What is to be brought is kept with the job on the server, so that any machine can ask for it. Where it goes to is not:
that is this machine's ``download_dir``, trusted or refused as for every download, or what is said here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import MtrError
from mtr.jobs.details import load_details
from mtr.jobs.model import JobError
from mtr.pull import Pull, render_done, resolve_destination
from mtr.sync.download import ensure_some, list_failures
from mtr.sync.sources import split_place
from mtr.voice import show_error
from mtr.workflow import load_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.jobs.model import Job
    from mtr.ssh.base import BaseConnection
    from mtr.voice import Voice


def plan_job_pull(
    connection: BaseConnection,
    job: Job,
    directory: str | None,
    local: str | None,
    environ: Mapping[str, str],
    voice: Voice,
) -> Pull:
    """Return what ``job`` leaves, and where it goes: ``local``, counted from ``directory``, else the configured place.

    Raises:
        JobError: it was not told what to bring.
        JobNotFound: it has been removed.
        NotTrusted: the project's files choose the place, and the user has not allowed it.
        DownloadFailed: there is no such place.
    """
    remotes, base = find_pulls(job), load_details(connection, job).base
    target = load_target(directory, connection.server_name, environ, needs_project=False)
    destination = resolve_destination(target, remotes, local, environ, voice, directory=directory)
    for remote in remotes:
        split_place(base, remote)
    return Pull(target, remotes, destination, voice, base=base)


def ensure_ended(job: Job, plan: Pull) -> None:
    """Refuse to bring what ``job`` may still be writing.

    Raises:
        JobError: it has not ended.
    """
    if job.is_alive:
        hint = f"mtr job wait --pull {job.id}; what is there now: mtr get --job {job.id} {plan.render()}"
        raise JobError(f"job {job.id} has not ended", hint=hint)


def find_pulls(job: Job) -> list[str]:
    """Return the paths and patterns that ``job`` was told to leave.

    Raises:
        JobError: there are none.
    """
    text = job.about.get("pull")
    remotes = text.split("\n") if isinstance(text, str) else []
    if not all(remotes) or not remotes:
        hint = f"mtr get -s {job.server} PATH; for the next one: mtr -d --pull GLOB CMD"
        raise JobError(f"job {job.id} was not told what to bring", hint=hint)
    return remotes


def bring(connection: BaseConnection, plan: Pull, voice: Voice, *, quiet: bool) -> int:
    """Bring what one job has left, and return a status; what does not come is said, and hinders no other's."""
    try:
        result = plan.bring(connection)
        ensure_some(connection, result)
    except MtrError as error:
        show_error(error)
        return error.exit_status
    if not quiet:
        voice.say(render_done(result, connection.server_name))
    for text in list_failures(result):
        voice.say(text)
    return 0 if result.is_complete else 1
