"""``mtr undo``: bring back what the last sync replaced or deleted on the server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.errors import reveal_controls

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.command()
@take("server", "directory", "quiet")
@take_json
@click.pass_obj
def undo(invocation: Invocation, *, as_json: bool) -> int:
    """Bring back what the last sync replaced or deleted on the server.

    Takes the newest sync that deleted something there, or replaced something that had changed there, and prints the
    paths; once more takes the one before, or the undo itself where that has replaced something. What stands in their
    place now is kept in turn. Your files here stay as they are; the next sync leaves alone what came back until you
    edit it here.
    """
    from mtr.run import open_line
    from mtr.sync.undo import undo as undo_push
    from mtr.voice import Voice, render_count

    voice = Voice(quiet=invocation.quiet)
    route, line = open_line(invocation, os.environ, voice, may_prompt=voice.can_ask())
    when, paths = undo_push(line, route.remote_dir)
    if as_json:
        print_data("undo", {"when": when if paths else None, "paths": list(paths)})
        return 0
    for path in paths:
        click.echo(reveal_controls(path))
    taken = f"{render_count(len(paths), 'file')} brought back on {line.server_name}, taken by the sync of {when}"
    voice.say(taken if paths else "nothing to bring back")
    return 0
