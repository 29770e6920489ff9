"""``mtr up``, ``mtr down``, ``mtr servers``: the connections, seen and steered by hand."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import keep_server, take, take_json
from mtr.cli.table import Cell, find_width, render_table
from mtr.errors import render_error
from mtr.voice import Voice, render_count, render_span, wants_colour

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.status import ServerStatus


@click.command()
@take("server", "directory")
@click.argument("name", required=False)
@click.pass_obj
def up(invocation: Invocation, name: str | None) -> int:
    """Open the connection to a server.

    NAME is the same as -s NAME. This is where a passphrase, a host key or a one-time code is asked for; every later
    run, in batch too, goes over the open connection.
    """
    from mtr.workflow import load_target, open_connection, refresh_ssh_config

    keep_server(invocation, name)
    voice = Voice()
    target = load_target(invocation.directory, invocation.server, os.environ, needs_project=False)
    connection = open_connection(target.server, os.environ, voice, may_prompt=voice.can_ask())
    connection.ensure_alive()
    refresh_ssh_config(target.project, os.environ)
    voice.say(f"{connection.label} is up")
    return 0


@click.command()
@take("server", "directory")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Close every connection of yours, not just this server's.")
@click.pass_obj
def down(invocation: Invocation, name: str | None, *, everything: bool) -> int:
    """Close the connection to a server; commands that run over it are left to end.

    NAME is the same as -s NAME. Servers of the same address, user and options share a connection.
    """
    from mtr.ssh.inventory import close_masters
    from mtr.workflow import load_target

    keep_server(invocation, name)
    chosen = None
    if not everything:
        chosen = load_target(invocation.directory, invocation.server, os.environ, needs_project=False).server
    closed = close_masters(chosen, os.environ)
    for record in closed:
        Voice().say(f"closed {chosen.name if chosen else record.server_name} ({record.address})")
    if not closed:
        Voice().say("no connection is open" if everything else f"{chosen and chosen.name} is not connected")
    return 0


@click.command()
@take("directory")
@take_json
@click.pass_obj
def servers(invocation: Invocation, *, as_json: bool) -> int:
    """List the servers of the configuration, and every open connection.

    The one marked * is where runs go. A connection is up from its first run, or `mtr up`, until `mtr down` or four
    hours without a run.
    """
    from mtr.status import load_statuses

    found = load_statuses(invocation.directory, os.environ)
    if as_json:
        print_data("servers", [row.to_json() for row in found.rows], found.error)
    elif found.rows:
        table = [_HEAD, *(_build_row(row, time.time()) for row in found.rows)]
        width, has_colour = find_width(), wants_colour(1)
        click.echo(render_table(table, yields=(4, 2), width=width, has_colour=has_colour), nl=False, color=has_colour)
    elif found.error is None:
        Voice().say("no server is configured: mtr init; without that, any destination works: mtr -s user@host CMD")
    if found.error is None:
        return 0
    sys.stdout.flush()
    sys.stderr.write(render_error(found.error))
    return found.error.exit_status


_HEAD = [Cell(text, "dim") for text in ("", "NAME", "ADDRESS", "STATE", "DIRECTORY")]


def _build_row(row: ServerStatus, now_s: float) -> list[Cell]:
    """Return the cells of a server: mark, name, address, state, directory there."""
    name = Cell(row.name, "bold" if row.is_default else "")
    mark = Cell("*" if row.is_default else "", "bold")
    if row.problem:
        return [mark, name, Cell(row.address), Cell("wrong", "red"), Cell(row.problem)]
    state = Cell(_render_state(row, now_s), "green" if row.state == "up" else "dim")
    return [mark, name, Cell(row.address), state, Cell(row.remote_dir or "", keeps_end=True)]


def _render_state(row: ServerStatus, now_s: float) -> str:
    if row.opened_s is None:
        return row.state
    text = f"{row.state} {render_span(now_s - row.opened_s)}"
    return f"{text}, {render_count(row.sessions, 'session')}" if row.sessions else text
