"""``mtr config``: the configuration shown with its sources, checked, located, and its schema."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import keep_server, take, take_json
from mtr.errors import UsageError, reveal_controls
from mtr.voice import Voice, render_count

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.group(invoke_without_command=True)
@take("server", "directory")
@take_json
@click.pass_context
def config(context: click.Context, *, as_json: bool) -> int | None:
    """Show, check and locate the configuration; without a further word, show it.

    \b
      mtr config                 everything, and where each value is written
      mtr config show gpu-01     all that counts for one server, with the defaults
      mtr config check           what is wrong or doubtful
    """  # noqa: D301  click wants the character itself
    return _show(context.obj, as_json=as_json) if context.invoked_subcommand is None else None


@config.command()
@take("server", "directory")
@click.argument("name", required=False)
@take_json
@click.pass_obj
def show(invocation: Invocation, name: str | None, *, as_json: bool) -> int:
    """Show the merged configuration, with where each value is written.

    With a NAME (or -s NAME), all that counts for this server, what is built in too. Secrets show as ***: passwords, and
    the values of environment variables.
    """
    keep_server(invocation, name)
    return _show(invocation, as_json=as_json)


def _show(invocation: Invocation, *, as_json: bool) -> int:
    from mtr.config.show import render_lines
    from mtr.inspection import load_overview

    found = load_overview(invocation.directory, invocation.server, os.environ)
    if as_json:
        print_data("config", found.to_json())
        return 0
    remarks = "".join(f"# {reveal_controls(remark)}\n" for remark in found.remarks)
    click.echo(remarks + render_lines(found.shown.lines), nl=False)
    return 0


@config.command()
@take("directory")
@take_json
@click.pass_obj
def path(invocation: Invocation, *, as_json: bool) -> int:
    """Say which files count, and where mtr keeps what it knows.

    Files that are weaker come first.
    """
    from mtr.inspection import list_places

    _refuse_server(invocation)
    places = list_places(invocation.directory, os.environ)
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
@take_json
@click.pass_obj
def check(invocation: Invocation, file: str | None, *, as_json: bool) -> int:
    """Check the configuration without connecting.

    Prints everything that is wrong or doubtful, as FILE:LINE:COLUMN: KEY: REASON; with a FILE, of that one alone.
    Exits with 1 if something is wrong; warnings leave 0.
    """
    from mtr.inspection import check_configuration

    _refuse_server(invocation)
    findings = check_configuration(invocation.directory, file, os.environ)
    wrong = sum(not finding.is_doubt for finding in findings)
    if as_json:
        print_data("config-check", [finding.to_json() for finding in findings])
        return 1 if wrong else 0
    for finding in findings:
        click.echo(str(finding))
    counts = f"{render_count(wrong, 'problem')}, {render_count(len(findings) - wrong, 'warning')}"
    Voice().say(counts if findings else "nothing is wrong")
    return 1 if wrong else 0


def _refuse_server(invocation: Invocation) -> None:
    """Refuse ``-s`` where it means nothing."""
    if invocation.server is not None:
        raise UsageError("-s chooses what `mtr config show` shows; nothing else of it", hint="mtr config --help")


@config.command()
@click.pass_obj
def schema(invocation: Invocation) -> int:
    """Print the JSON Schema of a configuration file, for editors.

    \b
      mtr config schema > .mtr/schema.json
      # yaml-language-server: $schema=schema.json

    With the second line as the first one of .mtr/config.yaml, editors that know YAML complete the keys, explain them,
    and mark mistakes. The path starts where the file lies.
    """  # noqa: D301  click wants the character itself
    from mtr.config.published import build_schema

    _refuse_server(invocation)
    json.dump(build_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return 0
