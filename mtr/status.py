"""What ``mtr servers`` shows: the configured servers and the state of their connections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server: its name, its address, whether a connection is up, and whether runs go there by default.

    ``state`` is ``up`` or ``down``. ``address`` is as ssh resolved it where a connection is up, else as written.
    """

    name: str
    address: str
    state: str
    is_default: bool
    opened_s: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def load_statuses(directory: str | None, environ: Mapping[str, str]) -> list[ServerStatus]:
    """Return the configured servers in order, then open connections to any other."""
    from mtr.config.load import load_config
    from mtr.config.project import find_project
    from mtr.ssh.inventory import list_keys, load_masters

    config = load_config(find_project(Path(directory or ".").absolute()), environ)
    masters, used = load_masters(environ), set[str]()
    default = config.default or next(iter(config.servers), None)
    rows = []
    for name, server in config.servers.items():
        # By its key: two servers with the same address, user and options share one connection.
        key = next((key for key in (list_keys(server, environ) if masters else []) if key in masters), None)
        record = masters[key] if key else None
        used |= {key} if key else set()
        user, port = f"{server.user}@" if server.user else "", f":{server.port}" if server.port else ""
        written = ", ".join(f"{user}{host}{port}" for host in server.hosts)
        rows.append(
            ServerStatus(
                name=name,
                address=record.address if record else written,
                state="up" if record else "down",
                is_default=name == default,
                opened_s=record.opened_s if record else None,
            )
        )
    others = [record for key, record in masters.items() if key not in used]
    return rows + [ServerStatus(r.server_name, r.address, "up", is_default=False, opened_s=r.opened_s) for r in others]
