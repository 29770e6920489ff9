"""``mtr job``: commands that go on when their client has gone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, take
from mtr.cli.envelope import print_data
from mtr.errors import MtrError, UsageError, render_error, reveal_controls
from mtr.voice import Voice

if TYPE_CHECKING:
    from mtr.command_line import Invocation
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

    if tail is not None and offset is not None:
        raise UsageError("--tail and --offset both say where to begin: give one", hint="mtr job logs --help")
    ((connection, found),) = _find(invocation, (word,))
    follower = Follower(connection, found.id, "err" if stderr else "out", offset or 0, tail=tail)
    try:
        follower.copy(sys.stdout.fileno(), follow=follow)
    except Interrupted:
        more = " --stderr" if stderr else ""
        resume = f"mtr job logs -f --offset {max(0, follower.offset)}{more} {found.id}"
        Voice().say(f"job {found.id} goes on; to follow it: {resume}")
        Voice().say(f"to stop it: mtr job stop {found.id}")
        raise
    return 0


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
    """Remove jobs that have ended, with all that they have printed."""
    from mtr.jobs.ask import remove_jobs

    for connection, found in _find(invocation, words):
        remove_jobs(connection, [found])
    return 0
