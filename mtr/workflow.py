"""From a directory to a server: project, configuration, choice of server, connection, kept as a route.

What a run does before it is warm. The run itself is ``run``, the public API ``remote``.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from mtr.config.remote_dir import load_machine_id
from mtr.errors import ConfigError, NotTrusted
from mtr.voice import render_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.config.model import Config, Server
    from mtr.config.project import Project
    from mtr.config.trust import Claim
    from mtr.route import Route
    from mtr.ssh.base import BaseConnection
    from mtr.sync.plan import Project as SyncedProject
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

    project = find_project(directory)
    config = load_config(project, environ)
    chosen = select_server(config, server or environ.get("MTR_SERVER") or None, environ)
    if needs_project:
        project.ensure_syncable()
    elif not chosen.remote_dir and project.is_refused:
        return Target(project, config, chosen, "~", "")
    remote_dir = resolve_remote_dir(chosen, project, environ)
    subdir = "" if str(project.subdir) == "." else str(project.subdir)
    return Target(project, config, chosen, remote_dir, subdir)


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
    """Return the route of ``target`` over ``connection``.

    Raises:
        ConfigError: no command could run by it.
    """
    from mtr.config.env_file import load_env_file
    from mtr.route import Route

    server = target.server
    _ensure_shell(server)
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

    from mtr.sync.plan import Project as SyncedProject

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
