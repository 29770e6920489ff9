"""``mtr init``: set up a project; the options, and what is said. The questions are in ``init_questions``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.errors import MtrError, UsageError, reveal_controls
from mtr.process.signals import Interrupted
from mtr.voice import Voice

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.setup.answers import Answers
    from mtr.setup.draft import Draft
    from mtr.setup.site import Site
    from mtr.setup.trial import Trial

_STOPPED = 1


@click.command()
@take("directory")
@click.option("--host", metavar="HOST", help="A Host of ~/.ssh/config, user@host:port, or ssh://…; asks no more then.")
@click.option("--user", metavar="USER", help="The account there; else what ssh would take.")
@click.option("--port", type=int, metavar="PORT", help="The port of the ssh server.")
@click.option("--name", metavar="NAME", help="What to call the server; else the first part of its host's name.")
@click.option("--remote-dir", metavar="DIR", help="The project's directory there; else one of mtr's own in ~/mtr.")
@click.option("--key-filename", metavar="FILE", help="The private key to log in with; else what ssh finds.")
@click.option("--password-command", metavar="CMD", help="A command here that prints the password.")
@click.option("--password-env", metavar="NAME", help="The variable here that holds the password.")
@click.option("--python", metavar="ENV", help="The Python environment there: conda:NAME or venv:PATH.")
@click.option("--pre-cmd", metavar="CODE", help="Shell code that runs there before each command.")
@click.option("--yes", is_flag=True, help="Ask nothing: take what is given, and the defaults.")
@click.option("--no-test", is_flag=True, help="Write without trying the server.")
@take("dry_run")
@take_json
@click.pass_obj
def init(invocation: Invocation, /, **options: Any) -> int:
    """Set up this project: ask, try the connection, write the configuration.

    On a terminal, asks for the server; Enter takes what stands in brackets. Then logs in, sees whether the directory
    there can be made, and writes .mtr/config.yaml, fit to be committed, and for what is yours alone (user, key,
    password) .mtr/local.yaml, which git does not see. No file is ever overwritten, and none written before the end.

    \b
      mtr init                   asks
      mtr init --host gpu-box    a Host of ~/.ssh/config; asks nothing
      mtr init --host dev@gpu-01.lan:2222 --remote-dir '~/projects/demo'

    Exits with 1 if you stop it.
    """  # noqa: D301  click wants the character itself
    options["dry_run"] = invocation.dry_run
    start = Path(invocation.directory or ".")
    voice = Voice()
    try:
        draft, trial = _prepare(start, options, voice)
    except (Interrupted, EOFError) as ended:
        click.echo(err=True)
        voice.say("nothing was written")
        return ended.exit_status if isinstance(ended, Interrupted) else 130
    if draft is None:
        voice.say("nothing was written")
        return _STOPPED
    if options["dry_run"]:
        text = reveal_dry_run(draft.render())
        if options["as_json"]:
            print_data("init", {**draft.to_json(), "would_write": text})
        else:
            click.echo(text, nl=False)
        return 0
    return _finish(draft, trial, voice, as_json=options["as_json"])


def _prepare(start: Path, options: dict[str, Any], voice: Voice) -> tuple[Draft | None, Trial | None]:
    """Return what is to be written, asked for and tried; None where the person has stopped."""
    from mtr.cli.init_questions import ask_answers, ask_until_right
    from mtr.setup.draft import explain_present, make_draft
    from mtr.setup.site import AlreadySetUp, find_site
    from mtr.setup.trial import try_draft

    may_ask = voice.can_ask() and not options["yes"]
    given = _parse_options(options)
    try:
        site = find_site(start, os.environ)
    except AlreadySetUp as error:
        raise explain_present(error, start, given, os.environ) from None
    if given is None and not may_ask:
        hint = "mtr init --host user@host:port [--remote-dir DIR] [--key-filename FILE | --password-env NAME]"
        raise UsageError("which server? Nobody can be asked here, so it takes --host", hint=hint)
    _say_where(site, voice, is_asking=given is None)
    if given is None:
        given = ask_answers(site, options, os.environ)
    if may_ask and not options["no_test"] and not options["dry_run"]:
        return ask_until_right(site, given, os.environ, voice)
    draft = make_draft(site, given, os.environ)
    if options["no_test"] or options["dry_run"]:
        return draft, None
    try:
        return draft, try_draft(draft, os.environ, voice, may_prompt=False)
    except MtrError as error:
        error.hint = f"{error.hint}; to write it all the same: mtr init --no-test".removeprefix("; ")
        raise


def _say_where(site: Site, voice: Voice, *, is_asking: bool) -> None:
    """Say which directory is the project, where that is asked about, or is not the one that the user stands in."""
    root, is_elsewhere = site.project.root, str(site.project.subdir) != "."
    if is_asking or is_elsewhere:
        voice.say(f"setting up {root}")
    if is_elsewhere:
        why = "the top of the git repository" if site.project.git_dir else "the directory with .mtr"
        voice.say(f"that is {why}; to set up this directory alone: mkdir .mtr, then again")


def _parse_options(options: dict[str, Any]) -> Answers | None:
    """Return the answers that the options give, or None where they name no server; they are checked in any case."""
    from mtr.setup.answers import Answers, apply_options, parse_server

    if options["host"] is None:
        apply_options(Answers(host="host", name="host"), options, os.getcwd(), os.environ)
        return None
    return apply_options(parse_server(options["host"], os.environ), options, os.getcwd(), os.environ)


def _finish(draft: Draft, trial: Trial | None, voice: Voice, *, as_json: bool) -> int:
    """Write, and say what was written and what comes next."""
    for line in render_trial(draft, trial) if trial else ():
        voice.say(line)
    written = draft.write(os.environ)
    root = draft.site.project.root
    for path in written:
        voice.say(f"wrote {path.relative_to(root)}{_MEANING.get(path.name, '')}")
    if as_json:
        found = (
            {"address": trial.address, "directory": trial.directory, "command_s": trial.command_s} if trial else None
        )
        print_data("init", {**draft.to_json(), "files": [str(path) for path in written], "trial": found})
    elsewhere = "" if Path.cwd().is_relative_to(root) else f"-C {shlex.quote(str(root))} "
    voice.say(f"now try: mtr {elsewhere}hostname")
    return 0


_MEANING = {
    "config.yaml": "    for all who work on the project: commit it",
    "local.yaml": "     for you alone: your account, key or password",
    ".gitignore": "     keeps what is yours out of git",
}

_STATES = {
    "new": "will be made there",
    "empty": "is there, and empty",
    "known": "is there, and mtr has used it before",
    "used": "has files that mtr has not brought; a sync replaces those of the same name",
    "untried": "was not tried, since the server runs Windows",
}


def render_trial(draft: Draft, trial: Trial) -> tuple[str, str]:
    """Return what was found out about the server."""
    took = f"; a command there takes {trial.command_s * 1000:.0f} ms" if trial.command_s else ""
    return f"logged in to {trial.address}{took}", f"{draft.remote_dir} {_STATES[trial.directory]}"


def reveal_dry_run(text: str) -> str:
    """Return the files with what a terminal would obey made visible, line by line."""
    return "".join(f"{reveal_controls(line)}\n" for line in text.splitlines())
