"""``mtr mcp``: a server of the Model Context Protocol, for agents."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.options import take

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.group(invoke_without_command=True)
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
      mtr mcp --http                  over HTTP, for clients that run already
      mtr -s gpu-01 -C ~/proj mcp     with a default server, for that project

    The agent gets tools to run commands (each a durable job of mtr job), to read what they print piece by piece, to
    send input, to end them, to bring files there and back, to list servers. What it may do is said by policy in
    the configuration. Nobody is asked anything: log in once with mtr up where a login asks.

    \b
    It needs the extra: pip install 'mtremote[mcp]'
    """  # noqa: D301  click's mark for lines that stay as they are
    if context.invoked_subcommand is not None:
        return None
    invocation: Invocation = context.obj
    from mtr.mcp.extra import ensure_sdk

    ensure_sdk()
    from mtr.mcp.serving import open_desk, serve_stdio

    desk = open_desk(invocation.directory, invocation.server, os.environ)
    if not http:
        if os.isatty(0):
            from mtr.voice import Voice

            Voice().say("waits for a client on stdin; Ctrl-C ends it. mtr mcp install CLIENT lets a client start it")
        return serve_stdio(desk)
    from mtr.mcp.http import serve_http

    return serve_http(desk, host, port, token_file, os.environ)


@mcp.command(short_help="Write mtr into a client's configuration.")
@take("server", "directory")
@click.option("--print", "only_print", is_flag=True, help="Print what would stand there, and write nothing.")
@click.option(
    "--scope",
    type=click.Choice(["user", "project"]),
    help="Your own file, or the project's, which may be committed; by default the latter, where there is one.",
)
@click.argument("client", metavar="CLIENT")
@click.pass_obj
def install(invocation: Invocation, client: str, *, only_print: bool, scope: str | None) -> int:
    """Write mtr into the configuration of CLIENT; what else is in the file stays as it is.

    \b
      mtr mcp install claude-code                for all who work on the project
      mtr -s gpu-01 mcp install codex --print    shown, to put it there by hand

    CLIENT is claude-code, claude-desktop, codex, cursor, gemini, vscode, windsurf or zed. With -s, that server is the
    default there; with -C, it works for that project wherever the client is.

    A JSON file with comments, or a read-only one, is left alone: what is to be put into it is printed, and the status
    is 1.
    """  # noqa: D301  as above
    from mtr.mcp import clients
    from mtr.mcp.extra import ensure_sdk
    from mtr.voice import Voice

    known, root = clients.find_client(client), clients.find_root(invocation.directory, os.environ)
    scope = scope or ("project" if known.project else "user")
    entry = clients.build_entry(
        known, clients.find_program(os.environ),
        scope=scope, root=root, directory=invocation.directory, server=invocation.server,
    )  # fmt: skip
    planned = clients.plan_installation(known, scope, root, entry, os.environ)
    voice = Voice()
    if only_print or planned.after is None:
        if planned.after is None:
            voice.say(f"{planned.path} stays as it is: {planned.problem}. Put this into it:")
        click.echo(planned.snippet, nl=False)
        return 0 if only_print else 1
    ensure_sdk()
    if not planned.is_there:
        clients.install(planned)
    voice.say(f"{known.title}: mtr {'was' if planned.is_there else 'is now'} in {planned.path}")
    voice.say("start it anew, or let it load its servers again, and ask it to list the servers of mtr")
    return 0
