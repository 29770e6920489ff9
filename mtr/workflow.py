"""From a directory to a server: project, configuration, choice of server, connection, kept as a route.

What a run does before it is warm, and the public API for scripts and notebooks. The run itself is ``run``.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mtr.config.remote_dir import load_machine_id
from mtr.errors import EXIT_FAILURE, ConfigError, NotTrusted, ProjectError
from mtr.voice import render_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.command_line import Invocation
    from mtr.config.model import Config, Server
    from mtr.config.project import Project
    from mtr.config.trust import Claim
    from mtr.errors import GateRefused
    from mtr.jobs.handle import Jobs
    from mtr.process.captured import Captured
    from mtr.route import Route
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command
    from mtr.sync.delivery import Project as SyncedProject
    from mtr.sync.download import Downloaded
    from mtr.sync.result import SyncResult
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


def make_route(
    invocation: Invocation, environ: Mapping[str, str], voice: Voice, *, may_prompt: bool
) -> tuple[Route, BaseConnection]:
    """Read the configuration, open the connection, and keep what a later run needs to know of both.

    Raises:
        MtrError: the project, the configuration or the login is wrong.
    """
    from mtr.config.trust import VARIABLE, find_file, is_stored
    from mtr.route import save_route

    started_ns = time.time_ns()
    target = load_target(invocation.directory, invocation.server, environ, needs_project=invocation.sync)
    _ensure_shell(target.server)
    _ensure_env_file(target)
    voice.note(server=target.server.name)
    if voice.tells:
        read_s = (time.time_ns() - started_ns) / 1e9
        voice.detail(f"read the configuration of {target.project.root} in {render_duration(read_s)}")
    connection = open_connection(target.server, environ, voice, may_prompt=may_prompt)
    refresh_ssh_config(target.project, environ)
    route = build_route(target, connection, load_machine_id())
    if not route.facts.socket:
        return route, connection  # a login of this process alone: nothing that a later run could use
    files, places, variables = _list_sources(target, connection, environ)
    if target.server.claim is not None:
        # What was allowed by a file holds as long as that stands, what by a variable as long as that is set.
        if is_stored(target.server.claim, environ):
            files.append(find_file(target.server.claim, environ))
        else:
            variables.append(VARIABLE)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the next run its time, and no more
        save_route(route, invocation, environ, files=files, places=places, variables=variables, started_ns=started_ns)
    return route, connection


def open_connection(server: Server, environ: Mapping[str, str], voice: Voice, *, may_prompt: bool) -> BaseConnection:
    """Connect to ``server``, and end what runs that were cut off have left there.

    What its project asks of this machine is asked for first, where somebody can be asked.

    Raises:
        NotTrusted: it was not allowed.
        ConnectError: as :func:`mtr.ssh.connection.connect`.
    """
    from mtr.ssh.connection import connect

    voice.enter("connect")
    if may_prompt and server.claim is not None:
        ask_for_trust(server.claim, environ, voice)
    started_s, began_s = time.monotonic(), time.time()
    with voice.waiting(f"connecting to {server.name}"):
        connection = connect(server, environ, may_prompt=may_prompt, says=voice.say)
    if voice.tells:
        voice.detail(_describe_opening(connection, began_s, time.monotonic() - started_s))
    connection.end_cut_off()
    return connection


def _describe_opening(connection: BaseConnection, began_s: float, took_s: float) -> str:
    """Return what it took to be connected: a login, or one that stood."""
    from mtr.ssh.master import load_record

    record = load_record(connection.facts.socket) if connection.facts.socket else None
    how = "a connection that stood, asked" if record is not None and record.opened_s < began_s else "logged in"
    return f"connected to {connection.label}: {how} in {render_duration(took_s)}"


def refresh_ssh_config(project: Project, environ: Mapping[str, str]) -> None:
    """Bring the file of ``mtr ssh-config`` up to date, where the user has asked for one."""
    from mtr.config.openssh import own_file

    if os.path.exists(own_file(environ)):
        from mtr.ssh.included import refresh

        refresh(project, environ)


def ask_for_trust(claim: Claim, environ: Mapping[str, str], voice: Voice) -> None:
    """Ask the person at the terminal whether ``claim`` is allowed, and keep a yes; where nobody can be asked, go on.

    Raises:
        NotTrusted: the answer was no.
    """
    from mtr.config.trust import is_trusted, store_trust

    if is_trusted(claim, environ) or not voice.can_ask():
        return
    voice.say(f"the configuration in {claim.root} asks for what needs your trust:")
    for value in claim.values:
        voice.say(f"  {value}")
    if not voice.ask("Trust these values, and go on?"):
        raise NotTrusted(f"the configuration in {claim.root} was not trusted; nothing was run", hint="mtr trust")
    store_trust(claim, environ)


def _ensure_shell(server: Server) -> None:
    """Refuse a ``pre_cmd`` for a shell that does not speak POSIX sh.

    Raises:
        ConfigError: with what to write instead.
    """
    key = "pre_cmd" if server.pre_cmd else "python" if server.python else ""
    if key and os.path.basename(server.shell) not in POSIX_SHELLS:
        hint = "set `shell: bash` for it, or leave `shell` out"
        raise ConfigError(f"{server.name}: {key} needs a POSIX shell, not {server.shell}", hint=hint)


def _ensure_env_file(target: Target) -> None:
    """Refuse an ``env_file`` that cannot be read before anything is connected."""
    from mtr.config.env_file import load_env_file

    load_env_file(target.server, target.project)


def build_route(target: Target, connection: BaseConnection, machine_id: str) -> Route:
    """Return the route of ``target`` over ``connection``."""
    from mtr.config.env_file import load_env_file
    from mtr.route import Route

    server = target.server
    return Route(
        connection.facts,
        _build_project(target, machine_id) if target.remote_dir != "~" else None,
        remote_dir=target.remote_dir,
        subdir=target.subdir,
        shell=server.shell,
        pre_cmd=server.pre_cmd or "",
        python=server.python or "",
        env={**load_env_file(server, target.project), **server.env},
        aliases=dict(target.config.aliases),
        notify=server.notify or "",
    )


def _build_project(target: Target, machine_id: str) -> SyncedProject:
    """Return what is delivered where."""
    import hashlib

    from mtr.sync.delivery import Project as SyncedProject

    server = target.server
    client = hashlib.sha256(f"{machine_id}\n".encode() + os.fsencode(target.project.root)).hexdigest()[:12]
    return SyncedProject(
        str(target.project.root),
        target.remote_dir,
        (server.exclude, server.include, server.respect_gitignore),
        client=client,
        delete=server.delete,
        engine=server.sync,
    )


def _list_sources(
    target: Target, connection: BaseConnection, environ: Mapping[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Return what a route was made of: files, the places that make a directory a project, variables."""
    from mtr.config.env_file import find_env_file
    from mtr.config.load import list_files
    from mtr.config.openssh import list_dependencies

    project = target.project
    files = [str(file) for file in list_files(project, environ)]
    if env_file := find_env_file(target.server, project):
        files.append(env_file)
    if "{branch}" in (target.server.remote_dir or "") and project.git_dir is not None:
        files.append(str(project.git_dir / "HEAD"))
    ssh_files, variables = list_dependencies(environ)
    files += [*ssh_files, *([connection.facts.ssh] if connection.facts.ssh else [])]
    return files, list_places(project), variables


def list_places(project: Project) -> list[str]:
    """Return the paths whose coming or going makes another directory the project."""
    start = project.root / project.subdir
    return [f"{folder}/{name}" for folder in (start, *start.parents) for name in (".mtr", ".git")]


def build_command(target: Target, words: Sequence[str], env: Mapping[str, str]) -> Command:
    """Return the command of a run: one word is text for a shell, several are an argv."""
    from mtr.config.env_file import load_env_file
    from mtr.ssh.gate import Command, new_run_id

    server = target.server
    _ensure_shell(server)
    return Command(
        new_run_id(),
        tuple(words),
        is_text=len(words) == 1,
        remote_dir=target.remote_dir,
        subdir=target.subdir,
        shell=server.shell,
        pre_cmd=server.pre_cmd or "",
        python=server.python or "",
        env={**load_env_file(server, target.project), **server.env, **env},
    )


class Remote:
    """A project on a server, for scripts and notebooks: ``mtr.connect("gpu-01").run(["nvidia-smi"])``."""

    def __init__(self, target: Target, connection: BaseConnection) -> None:
        self.target = target
        self.connection = connection

    def sync(self) -> SyncResult:
        """Bring the project's files to the server."""
        from mtr.run import Errand, build_delivery
        from mtr.voice import Voice

        self.target.project.ensure_syncable()
        route = build_route(self.target, self.connection, load_machine_id())
        delivery = build_delivery(route, self.connection, self.connection.environ)
        return Errand(delivery, Voice(quiet=True)).sync()

    def get(
        self, remote: str | Sequence[str], local: str | os.PathLike[str] | None = None, *, force: bool = False
    ) -> Downloaded:
        """Bring ``remote`` from the server, as ``mtr get`` does: a path, a pattern, or several of them.

        ``local`` is a directory to put it into if it exists or ends in a slash, else the new name; None is the
        configured directory of downloads. What is newer here stays, unless ``force``.

        Returns what came, what was here already, what stayed and what did not come.

        Raises:
            NotTrusted: the project's files choose a place for downloads that the user has not allowed.
            DownloadFailed: nothing came, or nothing more can be written here.
        """
        from mtr.pull import Pull, resolve_destination
        from mtr.sync.download import ensure_some
        from mtr.voice import Voice

        remotes = [remote] if isinstance(remote, str) else list(remote)
        text = None if local is None else os.fspath(local)
        destination = resolve_destination(self.target, remotes, text, self.connection.environ, None)
        result = Pull(self.target, remotes, destination, Voice(quiet=True)).bring(self.connection, force=force)
        ensure_some(self.connection, result)
        return result

    @property
    def jobs(self) -> Jobs:
        """The jobs of this server: ``start``, ``list`` and ``find`` return handles to read, wait for and stop."""
        from mtr.jobs.handle import Jobs

        return Jobs(self.connection, self._build_command, self._build_refusal)

    def _build_command(self, argv: Sequence[str] | str) -> Command:
        command = build_command(self.target, [argv] if isinstance(argv, str) else list(argv), {})
        command.is_text = isinstance(argv, str)
        return command

    def run(self, argv: Sequence[str] | str, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``argv``, or a string in a shell, in the project's directory there; nothing is synced.

        Returns its status (128+n for a signal), stdout and stderr as bytes.
        """
        command = self._build_command(argv)
        found = self.connection.run(command, stdin=stdin, timeout_s=timeout_s)
        if found.status == EXIT_FAILURE and (refusal := self.connection.load_refusal(command.run_id)):
            raise self._build_refusal(command, refusal)
        return found

    def _build_refusal(self, command: Command, words: Sequence[str]) -> GateRefused:
        from mtr.run import build_refusal

        return build_refusal(self.connection.server_name, command, words)


def connect(server: str | None = None, *, directory: str | None = None) -> Remote:
    """Connect to ``server`` (default: as the command line chooses) for the project around ``directory``.

    Raises:
        MtrError: as ``mtr up`` fails.
    """
    from mtr.ssh import connection

    target = load_target(directory, server, os.environ, needs_project=False)
    opened = connection.connect(target.server)
    opened.end_cut_off()
    return Remote(target, opened)


__all__ = ["Remote", "Target", "connect", "list_places", "load_target", "make_route"]
