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
@click.pass_obj
def sync(invocation: Invocation, server: str | None, directory: str | None, quiet: bool, verbose: bool) -> int:
    """Sync the project to its server and run nothing."""
    from mtr.ssh import connect
    from mtr.voice import Voice
    from mtr.workflow import load_target
    from mtr.workflow import sync as sync_project

    voice = Voice(quiet=choose(quiet, invocation, "quiet"), verbose=choose(verbose, invocation, "verbose"))
    target = load_target(
        choose(directory, invocation, "directory"),
        choose(server, invocation, "server"),
        os.environ,
        needs_project=True,
    )
    connection = connect(target.server, os.environ, may_prompt=is_interactive(), says=voice.say)
    result = sync_project(connection, target, voice)
    if not result.files_sent:
        voice.detail(f"{connection.server_name} is up to date")
    return 0
