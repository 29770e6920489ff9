"""What can be named on a command line: the servers and aliases of the configuration, and ssh's own hosts.

``names/KEY`` in the state directory, for a directory, or for the user's own configuration alone; it holds while the
files behind it are as they were. So a completion, the start of a shell, and a run without a route need no YAML.
"""

from __future__ import annotations

import time

from mtr.route import find_directory, load_kept, save_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.project import Project

FORMAT = "names 1"


class Names:
    """``servers`` and ssh's literal ``hosts`` in their order, ``aliases`` as texts by their names."""

    __slots__ = ("aliases", "hosts", "servers")

    def __init__(self, servers: list[str], hosts: list[str], aliases: dict[str, str]) -> None:
        self.servers = servers
        self.hosts = hosts
        self.aliases = aliases


def load_names(directory: str | None, environ: Mapping[str, str]) -> Names:
    """Return what can be named in ``directory``, or in the current one.

    Raises:
        MtrError: a file of the configuration is wrong, or there is no such directory.
    """
    place = find_directory(directory)
    return _load_kept(place, environ) or _make(place, environ)


def load_own_names(environ: Mapping[str, str]) -> Names:
    """Return what the user's own configuration names, wherever they are.

    Raises:
        MtrError: it is wrong.
    """
    return _load_kept("", environ) or _make("", environ)


def _load_kept(place: str, environ: Mapping[str, str]) -> Names | None:
    kept = load_kept("names", FORMAT, (place,), environ)
    try:
        return None if kept is None else Names(*kept)
    except TypeError:
        return None


def _make(place: str, environ: Mapping[str, str]) -> Names:
    from mtr.config.load import list_files, load_config
    from mtr.config.openssh import list_dependencies, literal_hosts, read_ssh_config_files
    from mtr.workflow import list_places

    started_ns = time.time_ns()
    project = _find_project(place, environ)
    config = load_config(project, environ)
    names = Names(list(config.servers), list(literal_hosts(read_ssh_config_files(environ))), dict(config.aliases))
    ssh_files, variables = list_dependencies(environ)
    save_kept(
        "names",
        FORMAT,
        (place,),
        (names.servers, names.hosts, names.aliases),
        environ,
        files=[*map(str, list_files(project, environ)), *ssh_files],
        places=list_places(project) if place else (),
        variables=("HOME", "XDG_CONFIG_HOME", *variables),
        started_ns=started_ns,
    )
    return names


def _find_project(place: str, environ: Mapping[str, str]) -> Project:
    """Return the project around ``place``; for "", one that has no files of its own."""
    from pathlib import Path, PurePosixPath

    from mtr.config.project import Project, find_project

    return find_project(Path(place), environ) if place else Project(Path("/"), PurePosixPath("."))
