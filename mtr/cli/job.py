"""``mtr job``: commands that go on when their client has gone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, take
from mtr.cli.envelope import print_data
from mtr.errors import MtrError, render_error, reveal_controls
from mtr.voice import Voice

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.jobs.details import Details
    from mtr.jobs.model import Job
    from mtr.ssh.base import BaseConnection


@click.group()
@take("server", "directory")
@click.pass_context
def job(context: click.Context, server: str | None, directory: str | None) -> None:
    """Commands that go on when their client has gone.

    \b
      mtr -d python train.py       sync, start, print the id
      mtr job start [OPTIONS] CMD  the same, spelt out; mtr run --help has the options
      mtr job logs -f ID           what it prints; Ctrl-C stops following only
    """  # noqa: D301  click wants the character itself
    invocation: Invocation = context.obj
    invocation.server = choose(server, invocation, "server")
    invocation.directory = choose(directory, invocation, "directory")


def _find(invocation: Invocation, words: tuple[str, ...]) -> list[tuple[BaseConnection, Job]]:
    from mtr.job_search import find_jobs

    return find_jobs(words, invocation.directory, invocation.server, os.environ, Voice())


@job.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_jobs(invocation: Invocation, *, as_json: bool) -> int:
    """List the jobs of all servers, the newest last."""
    from dataclasses import asdict

    from mtr.job_search import load_all_jobs

    jobs, failed = load_all_jobs(invocation.directory, invocation.server, os.environ, Voice())
    for error in failed.values():
        click.echo(render_error(error), err=True, nl=False)
    if as_json:
        print_data("jobs", [asdict(found) for found in jobs])
        return 1 if failed else 0
    for found in jobs:
        click.echo(render_job(found))
    if not jobs and not failed:
        Voice().say("there are no jobs; to start one: mtr -d CMD")
    return 1 if failed else 0


def render_job(found: Job) -> str:
    """Return the line for one job."""
    status = "" if found.status is None else str(found.status)
    reason = f" ({found.reason})" if found.reason else ""
    runs = "" if found.runs_s is None else render_duration(found.runs_s)
    name = found.name or "-"
    return reveal_controls(
        f"{found.id}  {found.server}  {found.state:<8}{status:>4}  {runs:>8}  {name}  {found.command}{reason}"
    )


def render_duration(seconds: float) -> str:
    """Return e.g. ``3d04h``, ``2h05m``, ``4m07s`` or ``12s``."""
    total = int(seconds)
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if total >= size:
            return f"{total // size}{unit}{total % size // smaller:02}{small_unit}"
    return f"{total}s"


@job.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--stderr", is_flag=True, help="Its stderr; else its stdout.")
@click.option("--tail", type=click.IntRange(min=0), metavar="BYTES", help="Begin so many bytes before the present end.")
@click.option("--offset", type=click.IntRange(min=0), metavar="BYTES", help="Begin behind so many bytes.")
@click.argument("word", metavar="ID")
@click.pass_obj
def logs(invocation: Invocation, word: str, *, follow: bool, stderr: bool, tail: int | None, offset: int | None) -> int:
    """Print what a job prints, byte for byte.

    With -f a line that breaks is taken up at the same byte. Ctrl-C stops following; the job goes on.
    """
    from mtr.jobs.follow import Follower
    from mtr.process.signals import Interrupted

    ((connection, found),) = _find(invocation, (word,))
    follower = Follower(connection, found.id, "err" if stderr else "out", -tail if tail else offset or 0)
    try:
        for piece in follower.read(follow=follow):
            write_all(piece)
    except Interrupted:
        more = " --stderr" if stderr else ""
        resume = f"mtr job logs -f --offset {max(0, follower.offset)}{more} {found.id}"
        Voice().say(f"job {found.id} goes on; to follow it: {resume}")
        Voice().say(f"to stop it: mtr job stop {found.id}")
        raise
    return 0


def write_all(data: bytes) -> None:
    """Write to stdout what comes, at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


@job.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def wait(invocation: Invocation, words: tuple[str, ...]) -> int:
    """Wait until all of the jobs have ended; exit with the first status that is not 0."""
    from mtr.job_search import wait_for_jobs

    ended = wait_for_jobs(_find(invocation, words))
    for found in ended:
        Voice().say(f"job {found.id} {found.state}{'' if found.status is None else f' with {found.status}'}")
    return next((125 if found.status is None else found.status for found in ended if found.status != 0), 0)


@job.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def stop(invocation: Invocation, words: tuple[str, ...]) -> int:
    """End jobs with everything that they have started: TERM, ten seconds, KILL."""
    from mtr.jobs.ask import stop_job

    failed = 0
    for connection, found in _find(invocation, words):
        try:
            ended = stop_job(connection, found)
        except MtrError as error:
            click.echo(render_error(error), err=True, nl=False)
            failed = 1
            continue
        Voice().say(f"job {found.id} was stopped" if ended else f"job {found.id} had ended")
    return failed


@job.command()
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def rm(invocation: Invocation, words: tuple[str, ...]) -> int:
    """Remove jobs that have ended, with all that they have printed and their copies of the tree.

    One that has not ended stays, and the others go all the same.
    """
    from mtr.jobs.ask import remove_jobs
    from mtr.jobs.start import forget_job

    failed = 0
    for connection, found in _find(invocation, words):
        try:
            remove_jobs(connection, [found])
        except MtrError as error:
            click.echo(render_error(error), err=True, nl=False)
            failed = 1
            continue
        forget_job(found.id, os.environ)
    return failed


@job.command()
@take("dry_run")
@click.option("--older", metavar="AGE", help="Those that ended longer ago than that: 14d, 12h; the default is 14d.")
@click.option("--keep-size", metavar="SIZE", help="The oldest, until those that stay take no more than that: 5GB.")
@click.option("--json", "as_json", is_flag=True, help="Print what went as JSON.")
@click.pass_obj
def prune(invocation: Invocation, *, dry_run: bool, older: str | None, keep_size: str | None, as_json: bool) -> int:
    """Remove jobs that have ended, on all servers; never one that waits or runs.

    \b
      mtr job prune                    what ended more than 14 days ago
      mtr job prune --keep-size 5GB    the oldest, until a server's jobs take 5 GB
      mtr job prune --older 1d --dry-run
    """  # noqa: D301  click wants the character itself
    from mtr.job_search import prune_jobs
    from mtr.jobs.prune import parse_age, parse_size
    from mtr.voice import render_bytes

    dry_run = choose(dry_run, invocation, "dry_run")
    keep_bytes = None if keep_size is None else parse_size(keep_size)
    older_s = parse_age(older or "14d") if older is not None or keep_bytes is None else None
    answers = prune_jobs(
        invocation.directory, invocation.server, os.environ, Voice(),
        older_s=older_s, keep_bytes=keep_bytes, dry_run=dry_run,
    )  # fmt: skip
    gone = [(found, pruned.sizes[found.id]) for pruned in answers.found.values() for found in pruned.jobs]
    if as_json:
        print_data("job-prune", [{"id": job.id, "server": job.server, "bytes": size} for job, size in gone])
    else:
        for found, size in gone:
            click.echo(f"{render_job(found)}  {render_bytes(size)}")
        word = "would go" if dry_run else "gone"
        jobs = "1 job" if len(gone) == 1 else f"{len(gone)} jobs"
        Voice().say(f"{jobs} {word}, {render_bytes(sum(size for _, size in gone))}")
    for error in answers.failed.values():
        click.echo(render_error(error), err=True, nl=False)
    return 1 if answers.failed else 0


@job.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--diff", is_flag=True, help="Print the differences from the commit as a patch, for git apply.")
@click.argument("word", metavar="ID")
@click.pass_obj
def show(invocation: Invocation, word: str, *, as_json: bool, diff: bool) -> int:
    """Show all that is known of a job: where it runs, how it stands, and the code that it was started with.

    \b
      mtr job show ID
      mtr job show --diff ID | git apply     on its commit: the code as it was
    """  # noqa: D301  click wants the character itself
    from mtr.jobs.details import load_details

    ((connection, found),) = _find(invocation, (word,))
    details = load_details(connection, found)
    if diff:
        if details.origin.state in {"cut", "broken"}:
            Voice().say(f"{ORIGIN_STATES[details.origin.state]}: git apply will not take it")
        write_all(details.origin.patch)
        return 0
    if as_json:
        print_data("job", build_details(details))
    else:
        click.echo(render_details(details), nl=False)
    return 0


ORIGIN_STATES = {
    "whole": "",
    "cut": "the patch was cut after 16 MiB",
    "broken": "the line broke before all of the patch had come",
    "none": "not known: no git repository, or it was started without a sync",
}


def build_details(details: Details) -> dict[str, object]:
    """Return the job as JSON takes it."""
    from dataclasses import asdict

    origin = details.origin
    return {
        **asdict(details.job),
        "directory": details.directory,
        "job_directory": details.job_directory,
        "tree": details.tree,
        "gpus": details.gpus,
        "manifest_files": details.manifest_files,
        "size_bytes": details.size_bytes,
        "code": {
            "state": origin.state,
            "commit": origin.commit,
            "branch": origin.branch,
            "dirty": [{"status": status, "path": reveal_controls(path)} for status, path in origin.dirty],
            "patch_bytes": len(origin.patch),
        },
    }


MAX_DIRTY_SHOWN = 20


def render_details(details: Details) -> str:
    """Return a line for each thing that is known."""
    from mtr.jobs.model import render_waits

    found, origin = details.job, details.origin
    status = "" if found.status is None else f", status {found.status}"
    reason = f" ({found.reason})" if found.reason else ""
    files = "" if details.manifest_files is None else f"{details.manifest_files:,} files had been synced"
    rows = {
        "job": f"{found.id}{f' ({found.name})' if found.name else ''} on {found.server}",
        "command": found.command,
        "directory": details.directory,
        "copy": details.tree,
        "state": f"{found.state}{status}{reason}",
        "waited for": "" if found.state == "queued" else render_waits(found.about),
        "begun": render_time(found.started_s),
        "ended": render_time(found.ended_s),
        "ran" if not found.is_alive else "for": "" if found.runs_s is None else render_duration(found.runs_s),
        "gpus": details.gpus,
        "printed": f"{found.out_bytes:,} bytes to stdout, {found.err_bytes:,} to stderr",
        "on disk": render_size(details),
        "commit": " ".join(filter(None, (origin.commit, f"({origin.branch})" if origin.branch else ""))),
        "code": ", ".join(filter(None, (files, ORIGIN_STATES[origin.state]))),
        "patch": f"{len(origin.patch):,} bytes: mtr job show --diff {found.id}" if origin.patch else "",
    }
    lines = [f"{name:<11} {reveal_controls(value)}" for name, value in rows.items() if value]
    for number, (status, path) in enumerate(origin.dirty[: MAX_DIRTY_SHOWN + 1]):
        name = "" if number else "changed"
        more = f"and {len(origin.dirty) - MAX_DIRTY_SHOWN:,} more: --json has them"
        lines.append(f"{name:<11} {more if number == MAX_DIRTY_SHOWN else f'{status} {reveal_controls(path)}'}")
    return "\n".join(lines) + "\n"


def render_size(details: Details) -> str:
    """Return what the job takes there, and where."""
    from mtr.voice import render_bytes

    return f"{render_bytes(details.size_bytes)} in {details.job_directory}"


def render_time(seconds: float | None) -> str:
    """Return a time of the server's clock, as the clocks here show it."""
    import time

    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
