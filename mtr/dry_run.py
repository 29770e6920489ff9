"""``--dry-run``: what a run would do, without connecting."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from mtr.config.remote_dir import load_machine_id
from mtr.config.trust import is_trusted
from mtr.errors import sanitize
from mtr.jobs.start import prepare_job
from mtr.pull import plan_pull
from mtr.run import TRANSPORTS, build_delivery
from mtr.ssh.connection import plan_connection
from mtr.sync.rsync import build_rsync_argv
from mtr.voice import Voice
from mtr.workflow import build_command, build_route, load_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.config.model import Server
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command
    from mtr.workflow import Target


def dry_run(invocation: Invocation, environ: Mapping[str, str], *, tty: bool) -> int:
    """Print the commands that a run would start, without connecting; secrets are not among them.

    The environment travels apart from the command line, and shows as names only.
    """
    target = load_target(invocation.directory, invocation.server, environ, needs_project=invocation.sync)
    command = build_command(target, invocation.words, invocation.env)
    connection = plan_connection(target.server, environ)
    place, words = f"{target.remote_dir}/{target.subdir}".rstrip("/"), _render_words(command)
    if invocation.detach:
        words = f"{words}, as a job that goes on without mtr"
        has_project = invocation.sync and target.remote_dir != "~"
        route = build_route(target, connection, load_machine_id())
        prepare_job(command, invocation, environ, route.project if has_project else None)
    lines = [f"# alias {invocation.alias}"] if invocation.alias else []
    lines += _describe_claim(target.server, environ)
    lines += [shlex.join(argv) for argv in connection.build_opening_argvs()]
    if invocation.sync:
        lines += _describe_sync(target, connection, environ)
    if connection.facts.ssh:
        lines.append(shlex.join(connection.build_foreground_argv(connection.build_call(command), tty=tty)))
    else:
        lines.append(f"# by paramiko to {connection.label}: {connection.build_call(command).remote_command}")
    lines.append(f"# on {target.server.name}, in {place}: {words}")
    lines += [f"# with {name}=***" for name in command.env]
    if invocation.detach:
        lines += _describe_end(invocation, target.server)
    elif invocation.pull or invocation.get:
        lines += plan_pull(invocation, environ, Voice(), asks=False).describe()
    # What a project's file says goes to a terminal here.
    sys.stdout.write("".join(f"{sanitize(line)}\n" for line in lines))
    return 0


def _describe_end(invocation: Invocation, server: Server) -> list[str]:
    """Return what is to happen when the job has ended."""
    wanted = [*([invocation.get] if invocation.get else []), *invocation.pull]
    lines = [f"# when it has ended, mtr job pull brings {remote}" for remote in wanted]
    how = invocation.notify or server.notify
    if how and how not in ("bell", "desktop"):
        how = "a command that is run here"
    return [*lines, f"# when it has ended, a process here tells of it: {how}"] if how else lines


def _describe_claim(server: Server, environ: Mapping[str, str]) -> list[str]:
    """Return what would be asked for first."""
    claim = server.claim
    if claim is None or is_trusted(claim, environ):
        return []
    return [f"# needs `mtr trust` first: {value}" for value in claim.values]


def _describe_sync(target: Target, connection: BaseConnection, environ: Mapping[str, str]) -> list[str]:
    """Return what a run would bring, and rsync's argv where that is how."""
    delivery = build_delivery(build_route(target, connection, load_machine_id()), connection, environ)
    if not delivery.is_known:
        return ["# sync: asks the server what it has, and brings what differs"]
    push = delivery.prepare(keep=False)
    if push is None:
        return ["# sync: nothing has changed; the server checks that in the command's own session"]
    if connection.build_opening_argvs():
        return [f"# sync: {len(push.plan.upload)} to bring, {len(push.plan.delete)} to delete, once connected"]
    transport = delivery.choose_transport(push)
    counts = f"{len(push.plan.upload)} to bring, {len(push.plan.delete)} to delete"
    lines = [f"# sync: {counts}, {TRANSPORTS[transport]}"]
    return [*lines, shlex.join(build_rsync_argv(push.plan, connection))] if transport == "rsync" else lines


def _render_words(command: Command) -> str:
    return command.argv[0] if command.is_text else shlex.join(command.argv)
