"""``mtr get``: bring a file or a directory from the server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.app import choose, is_interactive, take

if TYPE_CHECKING:
    from mtr.command_line import Invocation


@click.command()
@take("server", "directory", "quiet")
@click.option("--force", is_flag=True, help="Replace local files that are newer, too.")
@click.argument("remote")
@click.argument("local", required=False)
@click.pass_obj
def get(
    invocation: Invocation,
    remote: str,
    local: str | None,
    server: str | None,
    directory: str | None,
    *,
    quiet: bool,
    force: bool,
) -> int:
    """Bring the file or directory REMOTE from the server to LOCAL.

    REMOTE is relative to the project's directory there, or absolute, or begins with ~/; patterns are not expanded.
    LOCAL is a directory to put it into if it exists or ends in a slash, else the new name; left out, it is
    `download_dir` of the configuration (downloads), which is not synced back. What is the same here already is left,
    and what is newer here stays: its name is printed, and the exit status is 1.
    """
    from mtr.config.trust import ensure_trusted
    from mtr.sync.download import choose_places, download_tree, ensure_download_dir
    from mtr.voice import Voice
    from mtr.workflow import ask_for_trust, load_target, open_connection

    voice = Voice(quiet=choose(quiet, invocation, "quiet"))
    chosen = choose(directory, invocation, "directory"), choose(server, invocation, "server")
    target = load_target(*chosen, os.environ, needs_project=False)
    claim = target.server.download_claim if local is None else None
    if claim is not None and is_interactive():
        ask_for_trust(claim, os.environ, voice)
    ensure_trusted(claim, os.environ)
    connection = open_connection(target.server, os.environ, voice, may_prompt=is_interactive())
    if local is None:
        local = f"{ensure_download_dir(target.project.root, target.server.download_dir)}/"
    source, place = choose_places(target.remote_dir, remote, local)
    done = download_tree(connection, source, place, force=force, on_progress=voice.show_count)
    files = "1 file" if done.files == 1 else f"{done.files} files"
    voice.say(f"got {files} ({done.size_bytes:,} B) from {connection.server_name}: {place}")
    for path in done.newer:
        voice.say(f"{path} is newer here, and stayed: mtr get --force")
    return 1 if done.newer else 0
