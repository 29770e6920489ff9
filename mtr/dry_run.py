"""``--dry-run`` of a run: the programs that it would start, and what they would do, without connecting.

Secrets are not among them: the environment travels apart from the command line, and shows as names only.
"""

from __future__ import annotations

import shlex
import sys

from mtr.config.remote_dir import load_machine_id
from mtr.errors import sanitize
from mtr.run import build_command, build_delivery
from mtr.ssh.connection import plan_connection
from mtr.sync.plan import TRANSPORTS
from mtr.workflow import build_route, load_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.config.model import Server
    from mtr.route import Route
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command


def dry_run(invocation: Invocation, environ: Mapping[str, str], *, tty: bool) -> int:
    """Print the commands that a run would start, and return mtr's exit status."""
    target = load_target(invocation.directory, invocation.server, environ, needs_project=invocation.sync)
    connection = plan_connection(target.server, environ)
    route = build_route(target, connection, load_machine_id())
    command = build_command(route, invocation.words, invocation.env)
    words = _render_words(command)
    if invocation.detach:
        from mtr.jobs.start import prepare_job

        words = f"{words}, as a job that goes on without mtr"
        prepare_job(command, invocation, environ, route.project)
    lines = [f"# alias {invocation.alias}"] if invocation.alias else []
    lines += _describe_claim(target.server, environ)
    lines += [shlex.join(argv) for argv in connection.build_opening_argvs()]
    if invocation.sync:
        lines += _describe_sync(route, connection, environ)
    call = connection.build_call(command)
    if not invocation.verbose:
        # The gate's script is some kilobytes, the same with every run.
        call.remote_command = f"exec /bin/sh -c … mtr-{call.run_id} … (-v prints it)"
    if connection.facts.ssh:
        lines.append(shlex.join(connection.build_foreground_argv(call, tty=tty)))
    else:
        lines.append(f"# by paramiko to {connection.label}: {call.remote_command}")
    place = f"{target.remote_dir}/{target.subdir}".rstrip("/")
    lines.append(f"# on {target.server.name}, in {place}: {words}")
    lines += [f"# with {name}=***" for name in command.env]
    if invocation.detach:
        lines += _describe_end(invocation, target.server)
    elif invocation.pull or invocation.get:
        from mtr.pull import plan_pull
        from mtr.voice import Voice

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
    from mtr.config.trust import is_trusted

    claim = server.claim
    if claim is None or is_trusted(claim, environ):
        return []
    return [f"# needs `mtr trust` first: {value}" for value in claim.values]


def _describe_sync(route: Route, connection: BaseConnection, environ: Mapping[str, str]) -> list[str]:
    """Return what a run would bring, and rsync's argv where that is how."""
    from mtr.sync.rsync import build_rsync_argv

    delivery = build_delivery(route, connection, environ)
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
