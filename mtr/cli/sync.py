"""``mtr sync``: bring the project's files to the server and run nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, is_interactive, take

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.command()
@take("server", "directory", "quiet", "verbose")
@click.option("--full", is_flag=True, help="Compare everything; what differs there goes to the trash there.")
@click.pass_obj
def sync(
    invocation: Invocation, server: str | None, directory: str | None, *, quiet: bool, verbose: bool, full: bool
) -> int:
    """Sync the project to its server and run nothing."""
    from mtr.run import Errand, build_delivery, open_line
    from mtr.voice import Voice

    voice = Voice(quiet=choose(quiet, invocation, "quiet"), verbose=choose(verbose, invocation, "verbose"))
    invocation.server = choose(server, invocation, "server")
    invocation.directory = choose(directory, invocation, "directory")
    route, line = open_line(invocation, os.environ, voice, may_prompt=is_interactive())
    result = Errand(build_delivery(route, line, os.environ), voice, full=full).sync()
    if not result.files_sent and not result.deleted:
        voice.detail(f"{line.server_name} is up to date")
    return 0
