"""The whole of it: this machine, then each server, one check after the other as they are found."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from mtr.config.remote_dir import resolve_remote_dir
from mtr.doctor import children, directories, keys, programs
from mtr.doctor.check import HERE, Check, Ward
from mtr.doctor.server import Examination
from mtr.doctor.settings import Settings
from mtr.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from mtr.config.model import Server
    from mtr.voice import Voice


def examine(
    directory: str | None,
    requested: str | None,
    environ: Mapping[str, str],
    voice: Voice,
    *,
    everything: bool = False,
    may_prompt: bool = False,
    waits: Callable[[str, str], None] = lambda _place, _id: None,
) -> Generator[Check]:
    """Yield every check: of this machine, then of the server that ``requested`` or the configuration names.

    ``everything`` looks at all servers of the configuration, side by side, and then asks nobody. ``waits`` is told
    what is waited for. Close the iterator to end it early.
    """
    here: list[Check] = []
    ward = Ward(HERE, here.append)
    ward.title = "This machine"
    settings = Settings(directory, environ)
    settings.check(ward, requested, everything=everything)
    asks = may_prompt and not everything
    places = [
        (server.name, partial(_examine_server, settings, server, environ, voice, may_prompt=asks))
        for server in settings.servers
    ]
    if not hasattr(os, "fork"):
        yield from _look_here(ward, here, settings, environ)
        yield from _examine_in_turn(places)
        return
    started = children.start(places)
    try:
        yield from _look_here(ward, here, settings, environ)
        yield from children.follow(started, waits)
    finally:
        children.end_all(started)


def _look_here(ward: Ward, here: list[Check], settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield the checks of this machine: its programs first, then the configuration, which was read already."""
    read, here[:] = [*here], []
    servers = settings.servers
    for id, look in (  # noqa: A001  as a check calls it
        ("python", programs.check_python),
        ("mtr", programs.check_mtr),
        ("command", partial(programs.check_name, environ)),
        ("ssh", partial(programs.check_ssh, environ, servers)),
        ("paramiko", partial(programs.check_paramiko, environ, servers)),
        ("rsync", partial(programs.check_rsync, environ)),
        ("git", partial(programs.check_git, environ)),
        ("sshpass", partial(programs.check_sshpass, environ, servers)),
        ("agent", partial(keys.check_agent, environ)),
        ("umask", directories.check_umask),
        ("runtime-dir", partial(directories.check_runtime_dir, environ)),
        ("state-dir", partial(directories.check_state_dir, environ)),
        ("disk", partial(directories.check_disk, environ)),
    ):
        ward.make(id, look, needs="runtime-dir" if id == "disk" else "")
        yield from here
        here.clear()
    yield from read


def _examine_server(
    settings: Settings,
    server: Server,
    environ: Mapping[str, str],
    voice: Voice,
    ward: Ward,
    *,
    may_prompt: bool,
) -> None:
    Examination(server, _find_remote_dir(settings, server, environ), environ, voice, may_prompt=may_prompt).run(ward)


def _find_remote_dir(settings: Settings, server: Server, environ: Mapping[str, str]) -> str:
    """Return the directory of this project there; the home directory where there is no project, or no such name."""
    project = settings.project
    if project is None or (not server.remote_dir and project.is_refused):
        return "~"
    try:
        return resolve_remote_dir(server, project, environ)
    except ConfigError:
        return "~"


def _examine_in_turn(places: Sequence[tuple[str, Callable[[Ward], None]]]) -> Iterator[Check]:
    """Yield the checks of each place, made in this process."""
    for place, look in places:
        found: list[Check] = []
        look(Ward(place, found.append))
        yield from found
