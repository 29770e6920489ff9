"""``mtr trust``: allow what a project's configuration asks of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.config.trust import VARIABLE, is_stored, is_trusted, revoke_trust, store_trust
from mtr.errors import UsageError
from mtr.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.config.trust import Claim


@click.command()
@take("directory")
@click.option("--show", is_flag=True, help="Print the values and their hash, for MTR_TRUST; allow nothing.")
@click.option("--yes", is_flag=True, help="Ask nothing: for scripts that mean it.")
@take_json
@click.option("--revoke", is_flag=True, help="Forget all that was allowed for this project.")
@click.pass_obj
def trust(invocation: Invocation, *, show: bool, yes: bool, as_json: bool, revoke: bool) -> int:
    """Allow what the project's configuration asks of this machine.

    Values that run programs here, give what is yours to a server, or weaken the check of host keys count only after
    this, where a file of the project sets them. Prints each value with the place where it is written; on a terminal,
    asks. An edit of any other key changes nothing; an edit of one of these asks again. Exits with 1 if you say no.
    """
    from mtr.config.load import load_config
    from mtr.config.project import find_project

    if show and revoke:
        raise UsageError("--show and --revoke exclude each other", hint="mtr trust --help")
    if as_json and not show:
        raise UsageError("--json is for --show", hint="mtr trust --show --json")
    project = find_project(invocation.directory, os.environ)
    if revoke:
        return _revoke(str(project.config_dir.parent if project.config_dir else project.root))
    claim = load_config(project, os.environ).claim
    if as_json:
        print_data("trust", build_claim(claim, os.environ))
        return 0
    if claim is None:
        Voice().say(f"nothing in the configuration of {project.root} needs trust")
        return 0
    for value in claim.values:
        click.echo(str(value))
    if show:
        click.echo(f"{VARIABLE}={claim.digest}")
        return 0
    return _grant(claim, asks=not yes)


def _revoke(root: str) -> int:
    count = revoke_trust(root, os.environ)
    said = "is trusted no more; connections that are open stay so: mtr down" if count else "was not trusted"
    Voice().say(f"{root} {said}")
    return 0


def _grant(claim: Claim, *, asks: bool) -> int:
    """Keep that the user trusts ``claim``, once they have been asked."""
    voice = Voice()
    if is_stored(claim, os.environ):
        voice.say("trusted already")
        return 0
    if asks and not voice.can_ask():
        hint = f"on a terminal: mtr trust; in CI: {VARIABLE}={claim.digest}; in a script that means it: mtr trust --yes"
        raise UsageError("nobody can be asked here whether these values are to be trusted", hint=hint)
    if asks and not voice.ask("Trust these values?"):
        return 1
    store_trust(claim, os.environ)
    voice.say(f"trusted for {claim.root}")
    return 0


def build_claim(claim: Claim | None, environ: Mapping[str, str]) -> dict[str, object]:
    """Return what needs trust as JSON takes it, secrets masked."""
    if claim is None:
        return {"hash": None, "trusted": True, "values": []}
    return {
        "hash": claim.digest,
        "trusted": is_trusted(claim, environ),
        "values": [str(value) for value in claim.values],
    }
