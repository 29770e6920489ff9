"""The values that a configuration comes down to: servers, secrets, and where each setting was written.

Pure values without I/O, on builtin modules alone: every layer above imports this one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtr.config.policy import Rules
    from mtr.config.trust import Claim

KeyPath = tuple[str | int, ...]
"""The way to a value from the top of a file: ``("servers", "gpu-01", "port")``."""

PARTS = f".*.mtr-{'?' * 16}"
"""What downloads that were cut have left, to go on with."""

BUILT_IN_EXCLUDE = (".git/", "__pycache__/", ".venv/", "node_modules/", ".DS_Store", PARTS)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a configuration file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Secret:
    """A password that shows as ``***`` wherever it is printed, formatted or logged.

    No dataclass, because ``dataclasses.asdict`` would hand out what is inside.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the password itself, for the one place that types it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


@dataclass(frozen=True, slots=True)
class Server:
    """One server with every default applied.

    ``hosts`` are ssh destinations, tried in order. ``key_filename`` is absolute; ``download_dir`` is relative to the
    project's root unless it is absolute. At most one of the three passwords is set. ``client`` is
    ``auto``, ``openssh`` or ``paramiko``. ``python`` is ``conda:NAME`` or ``venv:PATH``; ``env_file`` is relative to
    the project's root unless it is absolute. ``sync`` is ``auto``, ``tar``, ``rsync`` or ``sftp``; ``delete`` is
    ``tracked``, ``mirror`` or ``never``; patterns are in the order of their strength, the last match counts. ``claim``
    is what must be trusted before this server is used, because of what the project's files set for it;
    ``download_claim`` the same for downloads to ``download_dir``.
    """

    name: str
    hosts: tuple[str, ...]
    user: str | None = None
    port: int | None = None
    key_filename: Path | None = None
    password: Secret | None = None
    password_env: str | None = None
    password_command: str | None = None
    remote_dir: str | None = None
    shell: str = "auto"
    pre_cmd: str | None = None
    python: str | None = None
    env_file: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ssh_options: Mapping[str, str] = field(default_factory=dict)
    client: str = "auto"
    sync: str = "auto"
    exclude: tuple[str, ...] = BUILT_IN_EXCLUDE
    include: tuple[str, ...] = ()
    respect_gitignore: bool = True
    delete: str = "tracked"
    download_dir: str = "downloads"
    notify: str | None = None
    claim: Claim | None = None
    download_claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The merged configuration of a project.

    ``servers`` stand in their order of choice; ``template`` is a server without name and host that has the
    ``defaults`` applied, for destinations that no file names. ``files`` were read, from weak to strong;
    ``sources`` tells for each setting where its value was written, and lacks what is built in. ``claim`` is all that
    the project's files ask of this machine, whichever server it is for. ``aliases`` are texts by their names.
    ``policies`` say what an agent may do, one for each file that does: all of them count, and none widens another.
    """

    default: str | None
    servers: Mapping[str, Server]
    template: Server
    files: tuple[Path, ...] = ()
    sources: Mapping[KeyPath, Position] = field(default_factory=dict)
    claim: Claim | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    policies: tuple[Rules, ...] = ()


def home_dir(environ: Mapping[str, str]) -> str:
    """Return the user's home directory: ``$HOME``, else what the password database says."""
    return environ.get("HOME") or os.path.expanduser("~")


def render_key_path(path: KeyPath) -> str:
    """Return ``path`` as messages show it: ``servers.gpu-01.host[2]``; odd names stand in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            plain = part.replace("-", "_").isidentifier() or part.replace("-", "").isalnum()
            text += ("." if text else "") + (part if plain else repr(part))
    return text
