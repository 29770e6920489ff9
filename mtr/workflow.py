"""The order of things in a run: project, configuration, server, connection, sync, command.

The one page that puts the layers together; the command line, and later the MCP server and the dashboard, call
it. What people see on the way goes to a :class:`Voice`, so that nothing here prints.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from mtr.errors import EXIT_FAILURE, ConfigError, GateRefused, ProjectError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.command_line import Invocation
    from mtr.config.model import Config, Server
    from mtr.config.project import Project
    from mtr.process.captured import Captured
    from mtr.ssh.connection import Connection
    from mtr.ssh.gate import Command
    from mtr.sync.base import BaseSyncer, SyncResult
    from mtr.voice import Voice

POSIX_SHELLS = frozenset(("auto", "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "busybox"))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes: this project, on this server, in this directory there.

    ``remote_dir`` is absolute or starts with ``~/``; it is ``~`` for a run without a project.
    """

    project: Project
    config: Config
    server: Server
    remote_dir: str
    subdir: str


def load_target(
    directory: str | None, server: str | None, environ: Mapping[str, str], *, needs_project: bool
) -> Target:
    """Find the project around ``directory``, read its configuration and choose the server.

    ``needs_project`` is false for a run without sync: it also works from a home directory, which is never
    synced, and then runs in the home directory there.
    """
    from mtr.config.load import load_config
    from mtr.config.project import find_project
    from mtr.config.remote_dir import resolve_remote_dir
    from mtr.config.select import select_server

    project = find_project(Path(directory or _find_directory()))
    config = load_config(project, environ)
    chosen = select_server(config, server or environ.get("MTR_SERVER") or None, environ)
    if needs_project:
        project.ensure_syncable()
    elif not chosen.remote_dir and project.is_refused:
        return Target(project, config, chosen, "~", "")
    remote_dir = resolve_remote_dir(chosen, project, environ)
    subdir = "" if str(project.subdir) == "." else str(project.subdir)
    return Target(project, config, chosen, remote_dir, subdir)


def _find_directory() -> str:
    """Return the current directory, which somebody may have removed."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise ProjectError("the current directory no longer exists", hint="cd to one that does") from error


def run(invocation: Invocation, environ: Mapping[str, str]) -> int:
    """Do what ``mtr CMD`` means and return the status for mtr to exit with.

    Raises:
        MtrError: mtr itself failed; the command did not start, or its fate is unknown and the error says so.
    """
    from mtr.ssh.connection import connect
    from mtr.voice import Voice

    voice = Voice(quiet=invocation.quiet, verbose=invocation.verbose)
    tty = _wants_tty(invocation)
    target = load_target(invocation.directory, invocation.server, environ, needs_project=invocation.sync)
    command = build_command(target, invocation.words, invocation.env)
    if invocation.dry_run:
        return dry_run(target, command, environ, sync=invocation.sync, tty=tty)
    connection = connect(target.server, environ, may_prompt=tty, says=voice.say)
    voice.detail(f"connected to {connection.label}")
    if invocation.sync:
        sync(connection, target, voice)
    voice.detail(f"running in {target.remote_dir}/{target.subdir}".rstrip("/"))
    return run_command(connection, command, tty=tty)


def _wants_tty(invocation: Invocation) -> bool:
    """A terminal there if both ends are terminals here; an explicit option decides otherwise."""
    if invocation.tty is not None:
        return invocation.tty
    return sys.stdin is not None and os.isatty(0) and os.isatty(1)


def build_command(target: Target, words: Sequence[str], env: Mapping[str, str]) -> Command:
    """Return the command of a run: one word is text for a shell, several are an argv.

    Raises:
        ConfigError: ``pre_cmd`` for a shell that does not speak POSIX sh.
    """
    from mtr.ssh.connection import new_run_id
    from mtr.ssh.gate import Command

    server = target.server
    if server.pre_cmd and os.path.basename(server.shell) not in POSIX_SHELLS:
        hint = "set `shell: bash` for it, or leave `shell` out"
        raise ConfigError(f"{server.name}: pre_cmd needs a POSIX shell, not {server.shell}", hint=hint)
    return Command(
        run_id=new_run_id(),
        argv=tuple(words),
        is_text=len(words) == 1,
        remote_dir=target.remote_dir,
        subdir=target.subdir,
        shell=server.shell,
        pre_cmd=server.pre_cmd or "",
        env={**server.env, **env},
    )


def build_syncer(connection: Connection, target: Target, voice: Voice) -> BaseSyncer:
    """Return the engine that brings the project to the server.

    Raises:
        ConfigError: the configuration asks for an engine that this version does not have.
    """
    from mtr.sync.ignore import Rules
    from mtr.sync.rsync import RsyncSyncer

    server = target.server
    if server.sync == "sftp":
        hint = f"set `sync: rsync` for {server.name}"
        raise ConfigError(f"{server.name}: `sync: sftp` is not part of this version yet", hint=hint)
    rules = Rules(exclude=server.exclude, include=server.include, respect_gitignore=server.respect_gitignore)
    return RsyncSyncer(connection, rules=rules, on_progress=voice.show_progress)


def sync(connection: Connection, target: Target, voice: Voice) -> SyncResult:
    """Bring the project's files to the server; say how much that was.

    Raises:
        SyncError: they did not all arrive; nothing may run on a half-synced tree.
    """
    syncer = build_syncer(connection, target, voice)
    result = syncer.sync(target.project.root, target.remote_dir, ())
    voice.show_receipt(result, connection.server_name)
    return result


def run_command(connection: Connection, command: Command, *, tty: bool) -> int:
    """Run ``command`` in the foreground and return its exact status.

    Raises:
        GateRefused: the server refused before the command started.
    """
    status = connection.run_foreground(command, tty=tty)
    if status == EXIT_FAILURE and (words := connection.load_refusal(command.run_id)):
        raise build_refusal(connection.server_name, command, words)
    return status


def build_refusal(server_name: str, command: Command, words: Sequence[str]) -> GateRefused:
    """Return the error for what the gate left when it refused: a word, then the system's own words."""
    reason, detail = words[0], "\n".join(words[1:])
    where = f"{command.remote_dir}/{command.subdir}".rstrip("/")
    if reason == "directory":
        return GateRefused(
            f"{server_name}: cannot enter {where}; the command did not start",
            detail=detail,
            hint="check `remote_dir`, and who may write there",
        )
    if reason == "pre_cmd":
        ended = f"ended with status {detail}" if detail else "never came to its end"
        return GateRefused(
            f"{server_name}: pre_cmd {ended}; the command did not start",
            detail=f"pre_cmd: {command.pre_cmd}",
            hint=f"mtr -s {server_name} --no-sync bash, and try it there",
        )
    if reason == "shell":
        hint = f"choose another `shell` for {server_name}"
        return GateRefused(f"{server_name}: no shell {detail} there; the command did not start", hint=hint)
    return GateRefused(
        f"{server_name}: the environment of the command did not arrive; it did not start",
        detail=detail,
        hint=f"mtr down -s {server_name}, and run again",
    )


def dry_run(target: Target, command: Command, environ: Mapping[str, str], *, sync: bool, tty: bool) -> int:
    """Print the commands that a run would start, without connecting; secrets are not among them.

    The environment travels apart from the command line, and shows as names only.
    """
    from mtr.ssh.connection import open_nothing

    connection = open_nothing(target.server, environ)
    lines = [shlex.join(argv) for argv in connection.sessions.build_opening_argvs()]
    if sync:
        from mtr.sync.plan import Plan
        from mtr.sync.rsync import build_rsync_argv

        lines.append(shlex.join(build_rsync_argv(Plan(target.project.root, target.remote_dir, ()), connection)))
    lines.append(shlex.join(connection.build_foreground_argv(connection.build_call(command), tty=tty)))
    place = f"{target.remote_dir}/{target.subdir}".rstrip("/")
    lines.append(f"# on {target.server.name}, in {place}: {_render_words(command)}")
    lines += [f"# with {name}=***" for name in command.env]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _render_words(command: Command) -> str:
    return command.argv[0] if command.is_text else shlex.join(command.argv)


class Remote:
    """A project on a server, for scripts and notebooks: ``mtr.connect("gpu-01").run(["nvidia-smi"])``."""

    def __init__(self, target: Target, connection: Connection) -> None:
        self.target = target
        self.connection = connection

    def sync(self) -> SyncResult:
        """Bring the project's files to the server."""
        from mtr.voice import Voice

        return sync(self.connection, self.target, Voice(quiet=True))

    def run(self, argv: Sequence[str] | str, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``argv``, or a string in a shell, in the project's directory there; nothing is synced.

        Returns its status (128+n for a signal), stdout and stderr as bytes.
        """
        words = [argv] if isinstance(argv, str) else list(argv)
        command = build_command(self.target, words, {})
        if not isinstance(argv, str) and len(words) == 1:
            import dataclasses

            command = dataclasses.replace(command, is_text=False)
        found = self.connection.run(command, stdin=stdin, timeout_s=timeout_s)
        if found.status == EXIT_FAILURE and (refusal := self.connection.load_refusal(command.run_id)):
            raise build_refusal(self.connection.server_name, command, refusal)
        return found


def connect(server: str | None = None, *, directory: str | None = None) -> Remote:
    """Connect to ``server`` (default: as the command line chooses) for the project around ``directory``.

    Raises:
        MtrError: as ``mtr up`` fails.
    """
    from mtr.ssh import connection

    target = load_target(directory, server, os.environ, needs_project=False)
    return Remote(target, connection.connect(target.server))


__all__ = ["ProjectError", "Remote", "Target", "connect", "load_target", "run", "sync"]
