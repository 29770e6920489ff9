"""``mtr mcp``: a server of the Model Context Protocol, for agents."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.options import take

if TYPE_CHECKING:
    from mtr.command_line import Invocation


class _Verbs(click.Group):
    """Its options stand in front of ``install`` or alone."""


@click.group(cls=_Verbs, invoke_without_command=True)
@take("server", "directory")
@click.option(
    "--http", is_flag=True, help="Serve over HTTP on this machine, with a token, instead of stdin and stdout."
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Of this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0: any that is free.")
@click.option(
    "--token-file", metavar="FILE", help="Where the token is kept; made if missing. Default: a new one at each start."
)
@click.pass_context
def mcp(context: click.Context, *, http: bool, host: str, port: int, token_file: str | None) -> int | None:
    """Serve the Model Context Protocol: agents run commands on your servers, on the files of this project.

    \b
      mtr mcp install claude-code     write it into the client's configuration
      mtr mcp                         what clients start: over stdin and stdout
      mtr mcp --http                  over HTTP, for clients that are there already
      mtr -s gpu-01 -C ~/proj mcp     with a default server, for that project

    The agent gets tools to run commands (each a durable job of mtr job), to read what they print piece by piece, to
    send input, to end them, to bring files there and back, to list servers. Nobody is asked anything: log in once
    with mtr up where a login asks. It needs the extra: pip install 'mtremote[mcp]'
    """  # noqa: D301  click's mark for lines that stay as they are
    if context.invoked_subcommand is not None:
        return None
    invocation: Invocation = context.obj
    from mtr.mcp.extra import ensure_sdk

    ensure_sdk()
    from mtr.mcp.serving import open_desk, serve_stdio

    desk = open_desk(invocation.directory, invocation.server, os.environ)
    if not http:
        return serve_stdio(desk)
    from mtr.mcp.http import serve_http

    return serve_http(desk, host, port, token_file, os.environ)
