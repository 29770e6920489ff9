"""What ``mtr servers`` shows: the configured servers and the state of their connections.

What is wrong in the configuration hides nothing that is right: a server that a file has wrong shows as such, the
others and every open connection show as ever, and the error comes with them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mtr.config.check import read_leniently
from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.remote_dir import resolve_remote_dir
from mtr.errors import ConfigError, MtrError
from mtr.ssh.inventory import count_sessions, list_keys, load_masters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtr.config.check import Finding, Reading
    from mtr.config.model import Server
    from mtr.config.project import Project
    from mtr.ssh.master import MasterRecord


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server: its name, its address, whether a connection is up, and whether runs go there by default.

    ``state`` is ``up`` or ``down``. ``address`` is as ssh resolved it where a connection is up, else as written.
    ``opened_s`` is in seconds since the epoch; ``sessions`` is how many runs, copies and terminals go over it just now,
    None where this machine does not tell. ``remote_dir`` is the project's directory there, None without one.
    ``problem`` is what the configuration has wrong about it.
    """

    name: str
    address: str
    state: str
    is_default: bool
    opened_s: float | None = None
    sessions: int | None = None
    remote_dir: str | None = None
    problem: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Statuses:
    """All rows, and the error that a run would end with, if the configuration is wrong."""

    rows: tuple[ServerStatus, ...]
    error: ConfigError | None = None


def load_statuses(directory: str | None, environ: Mapping[str, str]) -> Statuses:
    """Return the configured servers in order, then open connections to any other."""
    project = find_project(directory, environ)
    reading = read_leniently(project, environ)
    masters, error = load_masters(environ), None
    try:
        load_config(project, environ)
    except ConfigError as found:
        error = found
    rows = [*_list_configured(reading, project, masters, environ)]
    return Statuses(tuple(rows), error)


def _list_configured(
    reading: Reading, project: Project, masters: Mapping[str, MasterRecord], environ: Mapping[str, str]
) -> Iterator[ServerStatus]:
    config, used = reading.config, set[str]()
    default = config.default or next(iter(config.servers), None)
    for name, server in config.servers.items():
        # By its key: two servers with the same address, user and options share one connection.
        key = next((key for key in (list_keys(server, environ) if masters else []) if key in masters), None)
        record = masters[key] if key else None
        used |= {key} if key else set()
        yield ServerStatus(
            name=name,
            address=_render_address(server, record),
            state="up" if record else "down",
            is_default=name == default,
            opened_s=record.opened_s if record else None,
            sessions=count_sessions(key, environ) if key else None,
            remote_dir=_find_remote_dir(server, project, environ),
        )
    for name, finding in reading.broken.items():
        yield _build_broken(name, finding, is_default=name == config.default)
    for key, record in masters.items():
        if key not in used:
            yield ServerStatus(
                record.server_name,
                record.address,
                "up",
                is_default=False,
                opened_s=record.opened_s,
                sessions=count_sessions(key, environ),
            )


def _build_broken(name: str, finding: Finding, *, is_default: bool) -> ServerStatus:
    return ServerStatus(name, "", "down", is_default, problem=str(finding))


def _render_address(server: Server, record: MasterRecord | None) -> str:
    if record is not None and record.destination:
        return record.address
    user, port = f"{server.user}@" if server.user else "", f":{server.port}" if server.port else ""
    return ", ".join(f"{user}{host}{port}" for host in server.hosts)


def _find_remote_dir(server: Server, project: Project, environ: Mapping[str, str]) -> str | None:
    try:
        return None if project.is_refused else resolve_remote_dir(server, project, environ)
    except MtrError:
        return None
