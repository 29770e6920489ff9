"""``mtr config``: the configuration shown with its sources, checked, located, and its schema."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, take
from mtr.cli.envelope import print_data
from mtr.errors import UsageError, reveal_controls
from mtr.voice import Voice

if TYPE_CHECKING:
    from mtr.command_line import Invocation

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@take("server", "directory")
@_AS_JSON
@click.pass_context
def config(context: click.Context, server: str | None, directory: str | None, *, as_json: bool) -> int | None:
    """Show, check and locate the configuration; without a further word, show it.

    \b
      mtr config                 everything, and where each value is written
      mtr config show gpu-01     all that counts for one server, with the defaults
      mtr config check           what is wrong or doubtful; status 1 if anything is wrong
    """  # noqa: D301  click wants the character itself
    invocation: Invocation = context.obj
    invocation.server, invocation.directory = server or invocation.server, directory or invocation.directory
    if context.invoked_subcommand is None:
        return _show(invocation, None, as_json=as_json)
    return None


@config.command()
@take("server", "directory")
@click.argument("name", required=False)
@_AS_JSON
@click.pass_obj
def show(invocation: Invocation, server: str | None, directory: str | None, name: str | None, *, as_json: bool) -> int:
    """Show the merged configuration, with where each value is written.

    With a NAME (or -s NAME), all that counts for this server, what is built in too. Secrets show as ***: passwords, and
    the values of environment variables.
    """
    invocation.directory = choose(directory, invocation, "directory")
    return _show(invocation, name or server, as_json=as_json)


def _show(invocation: Invocation, name: str | None, *, as_json: bool) -> int:
    from mtr.config.show import render_lines
    from mtr.inspection import load_overview

    found = load_overview(invocation.directory, name or invocation.server, os.environ)
    if as_json:
        print_data("config", found.to_json())
        return 0
    remarks = "".join(f"# {reveal_controls(remark)}\n" for remark in found.remarks)
    click.echo(remarks + render_lines(found.shown.lines), nl=False)
    return 0


@config.command()
@take("directory")
@_AS_JSON
@click.pass_obj
def path(invocation: Invocation, directory: str | None, *, as_json: bool) -> int:
    """Say which files count, weak ones first, and where mtr keeps what it knows."""
    from mtr.inspection import list_places

    _refuse_server(invocation)
    places = list_places(choose(directory, invocation, "directory"), os.environ)
    if as_json:
        print_data("config-path", [place.to_json() for place in places])
        return 0
    width = max(len(place.path) for place in places)
    for place in places:
        missing = "" if place.exists else "  (not there)"
        click.echo(reveal_controls(f"{place.path:<{width}}  {place.purpose}{missing}"))
    return 0


@config.command()
@take("directory")
@click.argument("file", required=False)
@_AS_JSON
@click.pass_obj
def check(invocation: Invocation, directory: str | None, file: str | None, *, as_json: bool) -> int:
    """Check the configuration without connecting; with a FILE, that one alone.

    Prints everything that is wrong or doubtful, as FILE:LINE:COLUMN: KEY: REASON. The status is 1 where something is
    wrong; warnings alone leave it at 0.
    """
    from mtr.inspection import check_configuration

    _refuse_server(invocation)
    findings = check_configuration(choose(directory, invocation, "directory"), file, os.environ)
    wrong = sum(not finding.is_doubt for finding in findings)
    if as_json:
        print_data("config-check", [finding.to_json() for finding in findings])
        return 1 if wrong else 0
    for finding in findings:
        click.echo(str(finding))
    doubts = len(findings) - wrong
    Voice().say(f"{_count(wrong, 'problem')}, {_count(doubts, 'warning')}" if findings else "nothing is wrong")
    return 1 if wrong else 0


def _refuse_server(invocation: Invocation) -> None:
    """Refuse ``-s`` where it means nothing."""
    if invocation.server is not None:
        raise UsageError("-s chooses what `mtr config show` shows; nothing else of it", hint="mtr config --help")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


@config.command()
def schema() -> int:
    """Print the JSON Schema of a configuration file, for editors.

    \b
      mtr config schema > .mtr/schema.json
      # yaml-language-server: $schema=schema.json

    With the second line as the first one of .mtr/config.yaml, editors that know YAML complete the keys, explain them,
    and mark mistakes. The path starts where the file lies.
    """  # noqa: D301  click wants the character itself
    from mtr.config.published import build_schema

    json.dump(build_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0
