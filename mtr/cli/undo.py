"""``mtr undo``: bring back what the last sync replaced or deleted on the server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, is_interactive, take
from mtr.errors import sanitize

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.command()
@take("server", "directory", "quiet", "verbose")
@click.pass_obj
def undo(invocation: Invocation, server: str | None, directory: str | None, *, quiet: bool, verbose: bool) -> int:
    """Bring back what the last sync replaced or deleted on the server.

    Prints the paths. What stands in their place now goes to the trash there, so that a second undo reverts the
    first. Your files here stay as they are; the next sync leaves alone what it brought back until you edit it here.
    """
    from mtr.run import open_line
    from mtr.sync.undo import undo as undo_push
    from mtr.voice import Voice

    voice = Voice(quiet=choose(quiet, invocation, "quiet"), verbose=choose(verbose, invocation, "verbose"))
    invocation.server = choose(server, invocation, "server")
    invocation.directory = choose(directory, invocation, "directory")
    route, line = open_line(invocation, os.environ, voice, may_prompt=is_interactive())
    paths = undo_push(line, route.remote_dir)
    for path in paths:
        click.echo(sanitize(path))
    voice.say(f"brought back on {line.server_name}: {len(paths)}" if paths else "nothing to bring back")
    return 0
