"""Jobs by their ids and names, on whichever server they are, and clearing them away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.errors import MtrError, ServerNotFound, UsageError
from mtr.fleet import Answers, ask_all, list_servers
from mtr.jobs.ask import load_jobs, remove_jobs
from mtr.jobs.choose import choose_job
from mtr.jobs.details import load_details
from mtr.jobs.model import JobNotFound
from mtr.jobs.noted import drop_note, find_noted
from mtr.jobs.prune import choose_prunable, load_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.config.model import Server
    from mtr.jobs.model import Job
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.line import Line
    from mtr.voice import Voice

_FULL_ID = 8


def load_all_jobs(
    directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> tuple[list[Job], Answers[list[Job]]]:
    """Return the jobs of all servers (or of ``server``), the oldest first, and what each server has answered."""
    answers = _ask(directory, server, environ, voice)
    return _sort(answers), answers


def _ask(directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice) -> Answers[list[Job]]:
    return ask_all(_list_some(directory, server, environ), load_jobs, environ, voice)


def _list_some(directory: str | None, server: str | None, environ: Mapping[str, str]) -> list[Server]:
    """Return the servers to ask.

    Raises:
        ServerNotFound: there are none. That is not the same as no job: a project's servers are known in the project.
    """
    servers = list_servers(directory, server, environ)
    if not servers:
        hint = "mtr -C PROJECT job list, or with the server: mtr job list -s user@host"
        raise ServerNotFound("no server is configured here, so none can be asked for jobs", hint=hint)
    return servers


def _sort(answers: Answers[list[Job]]) -> list[Job]:
    # Two names in a configuration may mean one machine: its jobs are there once, under the first of them.
    jobs = {(job.id, job.started_s): job for name in reversed(answers.order) for job in answers.found.get(name, ())}
    # Each server has a clock of its own, and this machine another; those of one server stay in their order.
    return sorted(jobs.values(), key=lambda job: -(job.age_s or 0))


def find_jobs(
    words: Sequence[str], directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> list[tuple[BaseConnection, Job]]:
    """Return the jobs that ``words`` mean, each with a connection to its server.

    Raises:
        JobNotFound: a word means none, or more than one.
        UsageError: a word is empty.
    """
    if not all(words):
        raise UsageError("the id of a job is empty", hint="mtr job list")
    if server is None and (only := _find_noted(words, environ)):
        try:
            return _find_on(words, directory, only, environ, voice)
        except (JobNotFound, ServerNotFound):
            pass  # That name means another machine by now, or none: a note is a short cut, and no more.
    return _find_on(words, directory, server, environ, voice)


def find_lines(
    words: Sequence[str], directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> list[tuple[Line, Job]]:
    """Return the jobs that ``words`` mean, each with a line to its server: as :func:`find_jobs`, for scripts alone.

    Where the last run there has left a route that still holds, neither the configuration nor ssh is asked.
    """
    line = _open_kept(words, directory, server, environ, voice) if all(words) else None
    if line is not None:
        try:
            jobs = load_jobs(line, () if server else words)
            return [(line, choose_job(word, jobs)) for word in words]
        except JobNotFound:
            pass
    return [*find_jobs(words, directory, server, environ, voice)]


def _open_kept(
    words: Sequence[str], directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> Line | None:
    """Return a line to ``server``, or to that on which ``words`` are noted, if a route to it is kept."""
    from mtr.command_line import Invocation
    from mtr.route import load_route
    from mtr.run import open_line

    name = server or _find_noted(words, environ)
    for given in (None, name) if name else ():
        invocation = Invocation()
        invocation.directory, invocation.server = directory, given
        route = load_route(invocation, environ)
        if route is not None and (given or route.facts.server_name == name) and not route.facts.system:
            return open_line(invocation, environ, voice, may_prompt=False, route=route)[1]
    return None


def _find_noted(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the server on which all of ``words``, ids, are noted; "" where they are not on one."""
    noted = {find_noted(word, environ) if len(word) == _FULL_ID and word.isalnum() else "" for word in words}
    return noted.pop() if len(noted) == 1 else ""


def _find_on(
    words: Sequence[str], directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> list[tuple[BaseConnection, Job]]:
    answers = _ask(directory, server, environ, voice)
    if answers.failed and not answers.found:
        raise next(iter(answers.failed.values()))
    for name, error in answers.failed.items():
        voice.say(f"{name} could not be asked: {error.message}")
    jobs = _sort(answers)
    chosen = [choose_job(word, jobs) for word in words]
    return [(answers.connections[job.server], job) for job in chosen]


def look_again(connection: Line, job: Job) -> Job:
    """Return ``job`` as it stands now, or as it was where its server does not say."""
    try:
        return next(iter(load_jobs(connection, [job.id])), job)
    except MtrError:
        return job


def find_base(
    word: str, directory: str | None, server: str | None, environ: Mapping[str, str], voice: Voice
) -> tuple[BaseConnection, str]:
    """Return a connection to the server of the job that ``word`` means, and the directory that its files count from.

    Raises:
        JobNotFound: ``word`` means none, or more than one.
    """
    ((connection, job),) = find_jobs([word], directory, server, environ, voice)
    return connection, load_details(connection, job).base


@dataclass(frozen=True, slots=True)
class Pruned:
    """Jobs that have gone (or would have), with the bytes that each took."""

    jobs: tuple[Job, ...]
    sizes: Mapping[str, int]


def prune_jobs(
    directory: str | None,
    server: str | None,
    environ: Mapping[str, str],
    voice: Voice,
    *,
    older_s: float | None,
    keep_bytes: int | None,
    dry_run: bool,
) -> Answers[Pruned]:
    """Remove from each server (or from ``server``) what :func:`choose_prunable` lets go, unless it is a ``dry_run``."""

    def prune(connection: BaseConnection) -> Pruned:
        jobs = load_jobs(connection)
        sizes, now_s = load_sizes(connection)
        gone = choose_prunable(jobs, sizes, now_s, older_s=older_s, keep_bytes=keep_bytes)
        if not dry_run:
            # Also where none goes: what was cut off while it was made or removed goes by the way.
            remove_jobs(connection, gone)
            for job in gone:
                drop_note(job.id, environ)
        return Pruned(tuple(gone), {job.id: sizes.get(job.id, 0) for job in gone})

    return ask_all(_list_some(directory, server, environ), prune, environ, voice)
