"""``mtr job``: commands that go on when their client has gone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.job_group import JobStart, JobVerbs
from mtr.cli.job_table import render_end
from mtr.cli.options import take, take_json
from mtr.cli.table import find_width
from mtr.errors import MtrError, UsageError
from mtr.voice import Voice, render_bytes, show_error, wants_colour

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.command_line import Invocation
    from mtr.jobs.model import Job
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.line import Line


@click.group(cls=JobVerbs, invoke_without_command=True)
@take("server", "directory")
@click.pass_context
def job(context: click.Context) -> None:
    """Commands that go on when their client has gone.

    \b
      mtr -d python train.py    sync, start, print the id
      mtr job logs -f ID        what it prints; Ctrl-C stops following only
      mtr job wait --pull ID    wait, and bring what --pull GLOB asked for
      mtr job stop ID           end it with all that it has started
      mtr -d --pty vim notes    with a terminal of its own
      mtr job attach ID         join that; Ctrl-\\ d leaves it running

    ID is an id, the beginning of one, or a name; jobs are found on every server of the configuration, by any machine
    that has it. A job ends with its server alone: closing the laptop, a broken line and a logout leave it running.
    """  # noqa: D301  click's mark for lines that stay as they are
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_START_EXAMPLES = """\b
mtr job start --name train python train.py --lr 0.1
mtr -d --pull 'runs/*.json' --notify desktop python train.py
id=$(mtr -d --timeout 3600 'make && ./bench | tee log')
"""


@job.command(
    short_help="Sync, start CMD as a job, print its id.",
    cls=JobStart,
    options_metavar="[OPTIONS] [--] CMD [ARGS]...",
    epilog=_START_EXAMPLES,
)
def start() -> None:
    """Sync the project, start CMD on the server as a job, print its id, and return.

    The same as mtr -d CMD, and CMD is what it is for every run: the same directory, environment and shell, with an
    empty stdin and without a terminal. The id alone is on stdout. Exits with 0 once the job goes on by itself, with
    125 when there is none.

    --timeout is kept by the server. --pull is kept with the job: mtr job pull ID brings it when it has ended.
    --notify leaves a process here that waits for the end: bell rings the terminal that asked, desktop shows a note,
    anything else is a command for /bin/sh with MTR_JOB, MTR_STATE and MTR_STATUS in its environment.
    """


def _find(invocation: Invocation, words: tuple[str, ...]) -> list[tuple[Line, Job]]:
    from mtr.job_search import find_lines

    return find_lines(words, invocation.directory, invocation.server, os.environ, Voice())


def _find_to_bring(invocation: Invocation, words: tuple[str, ...]) -> list[tuple[BaseConnection, Job]]:
    from mtr.job_search import find_jobs

    return find_jobs(words, invocation.directory, invocation.server, os.environ, Voice())


MAX_COUNT = 10**15
"""More than any output has, and a number for every shell."""


@job.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that ended long ago.")
@click.option("--running", is_flag=True, help="Only those that have not ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: all of them, unless --running.")
@click.pass_obj
def list_jobs(invocation: Invocation, *, everything: bool, running: bool, as_json: bool) -> int:
    """List the jobs of all servers, or of -s NAME, the newest last.

    STATE is queued, running, done, failed with its status, stopped, timed out, or lost: it ended without a word, and
    what is known of that stands before the command. Of those that have ended, the last 20 are shown.

    Exits with 1 if a server could not be asked, with 125 if none could.
    """
    from dataclasses import asdict

    from mtr.cli.job_table import choose_rows, render_jobs
    from mtr.job_search import load_all_jobs

    jobs, answers = load_all_jobs(invocation.directory, invocation.server, os.environ, Voice())
    shown = choose_rows(jobs, everything=everything or as_json, running=running)
    if as_json:
        print_data("jobs", [asdict(found) for found in shown], answers.first_failure)
    elif shown:
        click.echo(render_jobs(shown, width=find_width(), has_colour=wants_colour(1)), nl=False, color=True)
    sys.stdout.flush()
    for error in answers.failed.values():
        show_error(error)
    if not as_json and not answers.failed:
        where = f" on {invocation.server}" if invocation.server else ""
        _say_rest(len(jobs), len(shown), running=running, where=where)
    return answers.exit_status


def _say_rest(total: int, shown: int, *, running: bool, where: str) -> None:
    if not total:
        Voice().say(f"there are no jobs{where}; to start one: mtr -d CMD")
    elif running and not shown:
        Voice().say(f"no job waits or runs{where}; those that have ended: mtr job list")
    elif total > shown and not running:
        Voice().say(f"{total - shown} more {'has' if total - shown == 1 else 'have'} ended: mtr job list --all")


@job.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--stderr", is_flag=True, help="What it prints to stderr in place of stdout.")
@click.option("-n", "--tail", type=click.IntRange(0, MAX_COUNT), metavar="LINES", help="Begin with the last LINES.")
@click.option("--offset", type=click.IntRange(min=0), metavar="BYTES", help="Begin behind so many bytes.")
@click.argument("word", metavar="ID")
@click.pass_obj
def logs(invocation: Invocation, word: str, *, follow: bool, stderr: bool, tail: int | None, offset: int | None) -> int:
    """Print what a job prints, byte for byte.

    stdout, or with --stderr what it prints there: a traceback, and most bars of progress. With -f a line that breaks is
    taken up at the same byte. Ctrl-C stops following; the job goes on.

    \b
      mtr job logs -n 20 ID      the last 20 lines
      mtr job logs -f -n 0 ID    only what comes from now on
    """  # noqa: D301  click wants the character itself
    from mtr.job_search import look_again
    from mtr.jobs.follow import Follower
    from mtr.process.signals import Interrupted

    if tail is not None and offset is not None:
        raise UsageError("--tail and --offset both say where to begin: give one", hint="mtr job logs --help")
    ((connection, found),) = _find(invocation, (word,))
    voice = Voice()
    if follow and not stderr and not found.out_bytes:
        _say_stderr(voice, found)
    follower = Follower(connection, found.id, "err" if stderr else "out", offset or 0, tail=tail)
    try:
        follower.copy(sys.stdout.fileno(), follow=follow)
    except Interrupted:
        more = " --stderr" if stderr else ""
        resume = f"mtr job logs -f --offset {max(0, follower.offset)}{more} {found.id}"
        voice.say(f"job {found.id} goes on; to follow it: {resume}")
        voice.say(f"to stop it: mtr job stop {found.id}")
        raise
    if follow:
        found = look_again(connection, found)
        voice.show_done(render_end(found))
    if not stderr:
        _say_stderr(voice, found)
    return 0


def _say_stderr(voice: Voice, found: Job) -> None:
    """Say where the rest is: a traceback, or a bar of progress, that one may look for in vain."""
    if found.err_bytes:
        voice.say(f"{render_bytes(found.err_bytes)} more on its stderr: mtr job logs --stderr {found.id}")


_ATTACH_EXAMPLES = """\b
mtr -d --pty --name repl python    a job with a terminal of its own
mtr job attach repl                join it, from any machine
"""


@job.command(short_help="Join the terminal of a job.", epilog=_ATTACH_EXAMPLES)
@click.option("--no-history", is_flag=True, help="Do not show what it has printed lately.")
@click.argument("word", metavar="ID")
@click.pass_obj
def attach(invocation: Invocation, word: str, *, no_history: bool) -> int:
    r"""Join this terminal to that of a job: see it, type into it, leave it running.

    Ctrl-\ d leaves it running, as does ~. at the beginning of a line; to type one of these keys, type it twice. All
    others are the job's, Ctrl-C too. Several may be attached; whoever joins or sets their window last gives it its
    size. A line that breaks is taken up again by itself. When the job ends, its status is mtr's.
    """
    from mtr.cli.job_table import render_end
    from mtr.jobs.attach import Attachment, ensure_attachable, ensure_terminal, render_keys
    from mtr.jobs.wait import choose_status
    from mtr.process.signals import Interrupted

    ensure_terminal(word)
    ((connection, found),) = _find(invocation, (word,))
    ensure_attachable(found)
    voice = Voice()
    name = f" ({found.name})" if found.name else ""
    voice.say(f"attached to job {found.id}{name} on {found.server}; {render_keys()}")
    attachment = Attachment(connection, found, history=not no_history)
    try:
        attachment.run()
    except Interrupted:
        voice.say(f"job {found.id} goes on; to come back: mtr job attach {found.id}")
        raise
    if attachment.has_left:
        voice.say(f"job {found.id} goes on; to come back: mtr job attach {found.id}")
        return 0
    voice.say(render_end(attachment.job))
    return choose_status([attachment.job])


@job.command(short_help="Wait for the ends of jobs.")
@click.option(
    "--pull", "pulls", is_flag=True, help="Then bring what the jobs were told to leave, as mtr job pull does."
)
@click.option("--notify", metavar="HOW", help="Then tell it: bell, desktop, or a command that is run here.")
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def wait(invocation: Invocation, words: tuple[str, ...], *, pulls: bool, notify: str | None) -> int:
    """Wait until all of the jobs have ended; exit with the first status that is not 0.

    That is 125 for a job that was lost, and where --pull could not bring something although all ended well.
    """
    from mtr.cli.job_table import render_end
    from mtr.job_pull import plan_job_pull
    from mtr.jobs.wait import choose_status, wait_for_jobs
    from mtr.notify import ensure_possible
    from mtr.process.signals import Interrupted

    if notify is not None:
        ensure_possible(notify)
    pulled = _find_to_bring(invocation, words) if pulls else []
    place = (invocation.directory, None, os.environ, Voice())
    plans = [plan_job_pull(connection, found, *place) for connection, found in pulled]
    try:
        ended = wait_for_jobs(pulled or _find(invocation, words))
    except Interrupted:
        Voice().say(f"nothing was ended; to go on waiting: mtr job wait {' '.join(words)}")
        raise
    for found in ended:
        Voice().say(render_end(found))
    status = choose_status(ended)
    brought = [plan.after(0, connection) for plan, (connection, _) in zip(plans, pulled, strict=True)]
    if notify is not None:
        _notify(notify, ended)
    return status or max(brought, default=0)


def _notify(how: str, ended: list[Job]) -> None:
    """Tell of each; what does not work is said, and changes no status."""
    from mtr.notify import find_terminal, tell

    for found in ended:
        try:
            tell(how, found.id, found, found.server, find_terminal(), os.environ)
        except MtrError as error:
            show_error(error)


@job.command(short_help="Bring what mtr -d --pull had asked for.")
@take("quiet")
@click.option("--to", metavar="LOCAL", help="Where to put it; else download_dir of the configuration.")
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def pull(invocation: Invocation, words: tuple[str, ...], to: str | None) -> int:
    """Bring what jobs were told to leave, by mtr -d --pull GLOB, once they have ended.

    Any machine that has the server can ask for it, as often as it likes; what is the same here already is left, what
    is newer here stays. Before the end, mtr get brings what is there.

    Exits with 1 if something did not come, and names it; with 125 if nothing did, or a job has not ended: then none of
    them is touched.
    """
    from mtr.job_pull import bring, ensure_ended, plan_job_pull

    voice, plans = Voice(quiet=invocation.quiet), []
    for connection, found in _find_to_bring(invocation, words):
        plan = plan_job_pull(connection, found, invocation.directory, to, os.environ, voice)
        ensure_ended(found, plan)
        plans.append((connection, plan))
    statuses = [bring(connection, plan, voice, quiet=invocation.quiet) for connection, plan in plans]
    return statuses[0] if len({*statuses}) == 1 else 1


@job.command(short_help="End jobs with all that they have started.")
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def stop(invocation: Invocation, words: tuple[str, ...]) -> int:
    """End jobs with everything that they have started: TERM, ten seconds, KILL.

    One that does not end hinders no other; exits with 1 then.
    """
    from mtr.jobs.ask import stop_job

    def end(connection: Line, found: Job) -> None:
        was_alive = stop_job(connection, found)
        Voice().say(f"job {found.id} was stopped" if was_alive else f"job {found.id} had ended")

    return _do_each(_find(invocation, words), end)


def _do_each(jobs: list[tuple[Line, Job]], act: Callable[[Line, Job], None]) -> int:
    """Do ``act`` to each of ``jobs``; what fails is shown, hinders no other, and makes the status 1."""
    status = 0
    for connection, found in jobs:
        try:
            act(connection, found)
        except MtrError as error:
            show_error(error)
            status = 1
    return status


@job.command(short_help="Remove what jobs that have ended have left there.")
@click.argument("words", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def rm(invocation: Invocation, words: tuple[str, ...]) -> int:
    """Remove jobs that have ended, with all that they have printed and their copies of the tree.

    One that has not ended stays, and the others go all the same; exits with 1 then.
    """
    from mtr.jobs.ask import remove_jobs
    from mtr.jobs.noted import drop_note

    def remove(connection: Line, found: Job) -> None:
        remove_jobs(connection, [found])
        drop_note(found.id, os.environ)
        Voice().say(f"job {found.id}{f' ({found.name})' if found.name else ''} was removed")

    return _do_each(_find(invocation, words), remove)


@job.command(short_help="Remove jobs that ended long ago.")
@take("dry_run")
@click.option("--older", metavar="AGE", help="Those that ended longer ago than that: 14d, 12h; the default is 14d.")
@click.option("--keep-size", metavar="SIZE", help="The oldest, until those that stay take no more than that: 5GB.")
@take_json
@click.pass_obj
def prune(invocation: Invocation, *, older: str | None, keep_size: str | None, as_json: bool) -> int:
    """Remove jobs that have ended, on all servers; never one that waits or runs.

    \b
      mtr job prune                    what ended more than 14 days ago
      mtr job prune --keep-size 5GB    the oldest, until a server's jobs take 5 GB
      mtr job prune --older 1d --dry-run

    Exits with 1 if a server could not be asked, with 125 if none could.
    """  # noqa: D301  click wants the character itself
    from mtr.cli.job_table import render_pruned
    from mtr.job_search import prune_jobs
    from mtr.jobs.prune import parse_age, parse_size
    from mtr.voice import render_count

    dry_run = invocation.dry_run
    keep_bytes = None if keep_size is None else parse_size(keep_size)
    older_s = parse_age(older or "14d") if older is not None or keep_bytes is None else None
    answers = prune_jobs(
        invocation.directory, invocation.server, os.environ, Voice(),
        older_s=older_s, keep_bytes=keep_bytes, dry_run=dry_run,
    )  # fmt: skip
    gone = [(found, pruned.sizes[found.id]) for pruned in answers.found.values() for found in pruned.jobs]
    if as_json:
        data = [{"id": found.id, "server": found.server, "bytes": size} for found, size in gone]
        print_data("job-prune", data, answers.first_failure)
    else:
        click.echo(render_pruned(gone), nl=False)
        word = "would be removed" if dry_run else "removed"
        total = f", {render_bytes(sum(size for _, size in gone))}" if gone else ""
        Voice().say(f"{render_count(len(gone), 'job')} {word}{total}")
    for error in answers.failed.values():
        show_error(error)
    return answers.exit_status


@job.command(short_help="Show all that is known of a job.")
@take_json
@click.option("--diff", is_flag=True, help="Print the differences from the commit as a patch, for git apply.")
@click.argument("word", metavar="ID")
@click.pass_obj
def show(invocation: Invocation, word: str, *, as_json: bool, diff: bool) -> int:
    """Show all that is known of a job: where it runs, how it stands, and the code that it was started with.

    \b
      mtr job show ID
      mtr job show --diff ID | git apply     on its commit: the code as it was
    """  # noqa: D301  click wants the character itself
    from mtr.cli.job_details import ORIGIN_STATES, build_details, render_details
    from mtr.jobs.details import load_details

    ((connection, found),) = _find(invocation, (word,))
    details = load_details(connection, found)
    if diff:
        if details.origin.state in {"cut", "broken"}:
            Voice().say(f"{ORIGIN_STATES[details.origin.state]}: git apply will not take it")
        sys.stdout.buffer.write(details.origin.patch)
        return 0
    if as_json:
        print_data("job", build_details(details))
    else:
        click.echo(render_details(details), nl=False)
    return 0
