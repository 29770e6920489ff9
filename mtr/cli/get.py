"""``mtr get``: bring files and directories from the server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.errors import UsageError

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.sync.download import Downloaded


@click.command()
@take("server", "directory", "quiet")
@click.option("--to", "to", metavar="LOCAL", help="Where to put it; every other word is a REMOTE then.")
@click.option("--force", is_flag=True, help="Replace local files that are newer, too.")
@click.option("--job", "job", metavar="ID", help="From the copy of the tree that job ID runs in.")
@take_json
@click.argument("remotes", metavar="REMOTE... [LOCAL]", nargs=-1, required=True)
@click.pass_obj
def get(
    invocation: Invocation, remotes: tuple[str, ...], to: str | None, job: str | None, *, force: bool, as_json: bool
) -> int:
    """Bring files and directories from the server.

    \b
      mtr get out/model.pt             to downloads/model.pt
      mtr get out/model.pt best.pt     to best.pt
      mtr get 'runs/*/metrics.json'    to downloads/1/metrics.json, and so on
      mtr get 'logs/**/*.txt' '~/notes.md' here/    into a directory
      mtr get --job 3f2a 'out/*.pt'    what that job has made

    REMOTE is relative to the project's directory there, or absolute, or begins with ~/. A directory comes whole, but
    for .mtr/. Quote patterns and ~, so that your own shell does not expand them: * and ? as in a shell, ** for any
    number of directories; what matches keeps its path behind the pattern's fixed part.

    The second of two words is LOCAL. Of more, the last is, and is a directory that exists or ends in a slash. LOCAL
    is where it goes: into a directory, under its own name, else as the new name. Left out, it is `download_dir` of the
    configuration (downloads), which is not synced back. What is excluded from syncing comes all the same.

    With --job, REMOTE is relative to the project in the copy that the job runs in, or to the project's own directory
    for a job without one.

    What is the same here already is left, what is newer here stays. A large file that was cut goes on where it was.
    Exits with 1 if something did not come, and names it; with 125 if nothing did.
    """  # noqa: D301  click wants the character itself
    from mtr.pull import Pull, render_done, resolve_destination
    from mtr.sync.download import ensure_meant, ensure_some, list_failures
    from mtr.voice import Voice
    from mtr.workflow import load_target, open_connection

    voice, directory = Voice(quiet=invocation.quiet), invocation.directory
    names, local = split_words(remotes, to, directory or os.curdir)
    base, connection = None, None
    if job is not None:
        from mtr.job_search import find_base

        connection, base = find_base(job, directory, invocation.server, os.environ, voice)
        invocation.server = connection.server_name
    target = load_target(directory, invocation.server, os.environ, needs_project=False)
    destination = resolve_destination(target, names, local, os.environ, voice, directory=directory)
    if not force:
        ensure_meant(names, destination)
    if connection is None:
        connection = open_connection(target.server, os.environ, voice, may_prompt=voice.can_ask())
    result = Pull(target, names, destination, voice, base=base).bring(connection, force=force)
    ensure_some(connection, result)
    if as_json:
        print_data("get", build_data(result))
    elif not invocation.quiet:
        voice.say(render_done(result, connection.server_name))
    for text in list_failures(result):
        voice.say(text)
    return 0 if result.is_complete else 1


def split_words(words: tuple[str, ...], to: str | None, start: str) -> tuple[tuple[str, ...], str | None]:
    """Return which of ``words`` are on the server, and which one is here, counted from ``start``, if any.

    Raises:
        UsageError: it cannot be told.
    """
    for word in (*words, *([] if to is None else [to])):
        if not word or "\0" in word:
            raise UsageError("REMOTE and LOCAL are paths, and this one is empty", hint="mtr get --help")
    if to is not None or len(words) == 1:
        return words, to
    *remotes, local = words
    if len(remotes) > 1 and not local.endswith("/") and not os.path.isdir(os.path.join(start, local)):
        hint = f"{local}/ makes it one; without LOCAL: mtr get --to DIR REMOTE..."
        raise UsageError(f"of several words the last is a directory here, and {local} is none", hint=hint)
    return tuple(remotes), local


def build_data(result: Downloaded) -> dict[str, object]:
    """Return what ``--json`` prints."""
    return {
        "target": result.target,
        "files": result.files,
        "bytes": result.size_bytes,
        "same": result.same,
        "newer": result.newer,
        "failed": [{"path": failure.path, "reason": failure.words} for failure in result.failed],
    }
