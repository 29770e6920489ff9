"""``mtr up``, ``mtr down``, ``mtr servers``: the connections, seen and steered by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, is_interactive, take
from mtr.cli.envelope import print_data
from mtr.errors import reveal_controls
from mtr.voice import Voice

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.command()
@take("server", "directory")
@click.argument("name", required=False)
@click.pass_obj
def up(invocation: Invocation, server: str | None, directory: str | None, name: str | None) -> int:
    """Open the connection to a server.

    NAME is the same as -s NAME. This is where a passphrase, a host key or a one-time code is asked for; every later
    run, in batch too, goes over the open connection.
    """
    from mtr.workflow import load_target, open_connection, refresh_ssh_config

    target = load_target(
        choose(directory, invocation, "directory"),
        name or choose(server, invocation, "server"),
        os.environ,
        needs_project=False,
    )
    connection = open_connection(target.server, os.environ, Voice(), may_prompt=is_interactive())
    connection.ensure_alive()
    refresh_ssh_config(target.project, os.environ)
    Voice().say(f"{connection.label} is up")
    return 0


@click.command()
@take("server", "directory")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Close every connection of yours, not just this server's.")
@click.pass_obj
def down(
    invocation: Invocation, server: str | None, directory: str | None, name: str | None, *, everything: bool
) -> int:
    """Close the connection to a server; commands that run over it are left to end.

    NAME is the same as -s NAME. Servers of the same address, user and options share a connection.
    """
    from mtr.ssh.inventory import close_masters
    from mtr.workflow import load_target

    chosen = None
    if not everything:
        chosen = load_target(
            choose(directory, invocation, "directory"),
            name or choose(server, invocation, "server"),
            os.environ,
            needs_project=False,
        ).server
    closed = close_masters(chosen, os.environ)
    for record in closed:
        Voice().say(f"closed {chosen.name if chosen else record.server_name} ({record.address})")
    if not closed:
        Voice().say("no connection is open" if everything else f"{chosen and chosen.name} is not connected")
    return 0


@click.command()
@take("directory")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def servers(invocation: Invocation, directory: str | None, as_json: bool) -> int:
    """List the servers of the configuration, and every open connection."""
    from mtr.status import load_statuses

    rows = load_statuses(choose(directory, invocation, "directory"), os.environ)
    if as_json:
        print_data("servers", [row.to_json() for row in rows])
    elif rows:
        width = max(len(row.name) for row in rows)
        for row in rows:
            mark = "*" if row.is_default else " "
            click.echo(reveal_controls(f"{mark} {row.name:<{width}}  {row.state:<5}  {row.address}"))
    else:
        Voice().say("no server is configured: mtr init; without that, any destination works: mtr -s user@host CMD")
    return 0
