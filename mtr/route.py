"""The route: all that a run needs to know of its project and server, kept from the last one.

``routes/KEY`` in the state directory, for a directory and a choice of server. It holds while every file behind it is
as it was (configuration, ssh's own with its includes, the ``.git`` and ``.mtr`` that make a directory a project), the
variables that count have the same values, and the master stands that it was made with. It is a cache: whatever is
wrong with it, it is made anew. It may hold the configured ``env``, and is readable by its user alone, as that file.

Builtin modules only: a warm run reads it instead of YAML, and instead of asking ssh.
"""

from __future__ import annotations

import marshal
import os
from zlib import crc32

from mtr.ssh.facts import Facts
from mtr.state import ensure_state_dir, name_file, read_regular, write_atomic
from mtr.sync.manifest import MARSHAL_VERSION, read_signature, steady
from mtr.sync.plan import Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from mtr.command_line import Invocation

FORMAT = "route 4"
MAX_BYTES = 64 << 20
AMBIENT = ("HOME", "PATH", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "KRB5CCNAME", "SSH_AUTH_SOCK", "DISPLAY", "USER")


_KEPT = ("aliases", "env", "notify", "pre_cmd", "python", "remote_dir", "shell", "subdir")


class Route:
    """Where a run goes: the project, the server's facts, and how a command is run there.

    ``remote_dir`` is ``~`` for a run without a project, and ``project`` is None then. ``aliases`` are those of the
    configuration, texts by names: what a first word stands for must be known before anything else. ``notify`` is how
    the end of a job is told, "" for not at all.
    """

    __slots__ = (
        "aliases", "env", "facts", "notify", "pre_cmd", "project", "python", "remote_dir", "shell", "subdir",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  a record: each is a field
        self,
        facts: Facts,
        project: Project | None,
        *,
        remote_dir: str,
        subdir: str,
        shell: str,
        pre_cmd: str,
        python: str,
        env: Mapping[str, str],
        aliases: Mapping[str, str],
        notify: str = "",
    ) -> None:
        self.facts = facts
        self.project = project
        self.remote_dir = remote_dir
        self.subdir = subdir
        self.shell = shell
        self.pre_cmd = pre_cmd
        self.python = python
        self.env = env
        self.aliases = aliases
        self.notify = notify


def load_route(invocation: Invocation, environ: Mapping[str, str]) -> Route | None:
    """Return the route of the last run like this one, None if there is none that still holds."""
    identity = _identify(invocation, environ)
    try:
        facts, project, rest = load_kept("routes", FORMAT, identity, environ)
        return Route(Facts(**facts), project and Project(**project), **rest)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def load_kept(folder: str, form: str, identity: tuple[Any, ...], environ: Mapping[str, str]) -> Any:
    """Return what :func:`save_kept` has kept in ``folder`` of the state directory, None if it no longer holds."""
    data = read_regular(_find_file(folder, identity, environ), MAX_BYTES) or b""
    if len(data) < 5 or crc32(data[4:]) != int.from_bytes(data[:4], "big"):
        return None
    try:
        found, known, ambient, files, places, value = marshal.loads(data[4:])
        return value if found == form and known == identity and _holds(ambient, files, places, environ) else None
    except (OSError, ValueError, EOFError, TypeError, KeyError, AttributeError):
        return None


def _holds(
    ambient: dict[str, str | None],
    files: list[tuple[str, object]],
    places: list[tuple[str, int]],
    environ: Mapping[str, str],
) -> bool:
    return (
        all(environ.get(name) == value for name, value in ambient.items())
        and all(read_signature(path) == found for path, found in files)
        and all(read_inode(path) == inode for path, inode in places)
    )


def read_inode(path: str) -> int:
    """Return the inode of ``path``, 0 where nothing is: all that counts of a directory that makes a project."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def save_route(
    route: Route,
    invocation: Invocation,
    environ: Mapping[str, str],
    *,
    files: Iterable[str],
    places: Iterable[str],
    variables: Iterable[str],
    started_ns: int,
) -> None:
    """Keep ``route`` for the next run like this one: see :func:`save_kept`."""
    project = route.project
    fields = (
        route.facts.to_dict(),
        project and {name: getattr(project, name) for name in project.__slots__},
        {name: getattr(route, name) for name in _KEPT},
    )
    save_kept(
        "routes",
        FORMAT,
        _identify(invocation, environ),
        fields,
        environ,
        files=files,
        places=(*places, route.facts.socket),
        variables=(*AMBIENT, *variables),
        started_ns=started_ns,
    )


def save_kept(
    folder: str,
    form: str,
    identity: tuple[Any, ...],
    value: Any,
    environ: Mapping[str, str],
    *,
    files: Iterable[str],
    places: Iterable[str],
    variables: Iterable[str],
    started_ns: int,
) -> None:
    """Keep ``value``, which marshal takes, for ``identity``, unless a file has changed since ``started_ns``.

    It holds while ``files`` look as they do now, ``places`` are what they are, and ``variables`` have their values.
    """
    known = {name: environ.get(name) for name in variables}
    signatures = [(path, read_signature(path)) for path in files]
    if any(found is not None and not steady(found[0], started_ns) for _, found in signatures):
        return  # what was read of it may be another than what it is now
    inodes = [(path, read_inode(path)) for path in places]
    data = marshal.dumps((form, identity, known, signatures, inodes, value), MARSHAL_VERSION)
    try:
        write_atomic(_find_file(folder, identity, environ, make=True), crc32(data).to_bytes(4, "big") + data)
    except OSError:
        pass  # A cache: the next run works it out again.


def _identify(invocation: Invocation, environ: Mapping[str, str]) -> tuple[str, str, bool]:
    return find_directory(invocation.directory), invocation.server or environ.get("MTR_SERVER") or "", invocation.sync


def find_directory(directory: str | None) -> str:
    """Return ``directory``, or the current one, as what is kept for it is named."""
    if directory:
        return os.path.realpath(directory)
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""  # somebody has removed it; whoever resolves it will say so


def _find_file(folder: str, identity: tuple[Any, ...], environ: Mapping[str, str], *, make: bool = False) -> str:
    path = f"{ensure_state_dir(environ)}/{folder}"
    if make and not os.path.isdir(path):
        os.makedirs(path, 0o700, exist_ok=True)
    name = name_file("\0".join(map(str, identity)))
    return f"{path}/{name}"
