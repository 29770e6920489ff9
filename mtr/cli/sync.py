"""``mtr sync``: bring the project's files to the server and run nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.errors import MtrError, UsageError, reveal_controls

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.sync.compare import Preview
    from mtr.sync.delivery import Delivery
    from mtr.sync.result import SyncResult
    from mtr.voice import Voice


@click.command()
@take("server", "directory", "dry_run", "quiet")
@click.option("--full", is_flag=True, help="Compare everything; what differs there goes to the trash there.")
@click.option("--watch", is_flag=True, help="Go on: sync again whenever something is saved.")
@take_json
@click.pass_obj
def sync(invocation: Invocation, *, full: bool, watch: bool, as_json: bool) -> int:
    """Sync the project to its server and run nothing.

    \b
      mtr sync --dry-run    what would be brought, and deleted there
      mtr sync --watch      again whenever something is saved, until Ctrl-C

    With --dry-run, prints what would be done: + new there, ~ replaced, - deleted, and with --full also ? for what
    only the server has.
    """  # noqa: D301  click wants the character itself
    from mtr.run import Errand, build_delivery, open_line
    from mtr.voice import Voice

    if watch and (invocation.dry_run or as_json):
        other = "--dry-run" if invocation.dry_run else "--json"
        raise UsageError(f"--watch and {other} exclude each other", hint="mtr sync --help")
    voice = Voice(quiet=invocation.quiet)
    route, line = open_line(invocation, os.environ, voice, may_prompt=voice.can_ask())
    delivery = build_delivery(route, line, os.environ)
    if invocation.dry_run:
        from mtr.sync.compare import preview

        found = preview(delivery, full=full)
        if as_json:
            print_data("sync-preview", build_preview(found))
        else:
            click.echo(render_preview(found), nl=False)
        return 0
    result = Errand(delivery, voice, full=full).sync()
    if as_json:
        print_data("sync", build_result(result, line.server_name, route.remote_dir))
        return 0
    if not result.files_sent and not result.deleted:
        (voice.say if voice.is_interactive else voice.detail)(f"{line.server_name} is up to date")
    return _watch(delivery, voice) if watch else 0


def render_preview(found: Preview) -> str:
    """Return one line for each path: its mark and its name."""
    marked = (("+", found.new), ("~", found.changed), ("-", found.deleted), ("?", found.foreign))
    return "".join(f"{mark} {reveal_controls(os.fsdecode(path))}\n" for mark, paths in marked for path in paths)


def build_preview(found: Preview) -> dict[str, list[str]]:
    """Return the paths as JSON takes them."""
    names = ("new", "changed", "deleted", "foreign")
    return {name: [os.fsdecode(path) for path in getattr(found, name)] for name in names}


def build_result(result: SyncResult, server: str, remote_dir: str) -> dict[str, object]:
    """Return the receipt as JSON takes it."""
    return {
        "server": server,
        "remote_dir": remote_dir,
        "files": result.files_sent,
        "bytes": result.bytes_sent,
        "deleted": result.deleted,
        "files_total": result.files_total,
        "bytes_total": result.bytes_total,
        "ms": round(result.duration_s * 1000),
        "warnings": list(result.warnings),
    }


def _watch(delivery: Delivery, voice: Voice) -> int:
    """Sync whenever something is saved; a failure is said, and the next save tries again."""
    from mtr.run import Errand
    from mtr.sync.watch import watch_changes
    from mtr.voice import show_error

    said = False
    for _ in watch_changes(delivery.project.root):
        if not said:
            voice.say(f"watching {delivery.project.root}; Ctrl-C ends it")
        said = True
        delivery.manifest.load()
        try:
            # A voice of its own: how fast a sync goes counts from its beginning.
            Errand(delivery, voice.renew()).sync(ask=False)
        except MtrError as error:
            show_error(error)
    return 0
