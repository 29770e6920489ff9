"""What is known of a server with an open master, as plain values that can be kept. Pure, builtin modules only."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Facts:
    """What is known of a server with an open master; see ``build_facts`` of its ``Sessions``.

    ``session_options`` are for an ``ssh`` on the master, ``send_env`` the names that ssh would send along;
    ``speaks_mux`` says that a session needs nothing that only ``ssh`` can do. ``carrier`` is what takes a payload:
    see ``MasterRecord``, as for ``stat``, ``archive``, ``rsync`` and ``system``. ``binder`` are the words in front of
    an ``ssh`` that let it end with mtr.
    """

    __slots__ = (
        "address", "archive", "binder", "carrier", "destination", "forward_agent", "rsync", "send_env", "server_name",
        "session_options", "socket", "speaks_mux", "ssh", "stat", "system", "tells_outcome",
    )  # fmt: skip

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])

    if TYPE_CHECKING:
        server_name: str
        address: str
        destination: str
        socket: str
        ssh: str
        tells_outcome: bool
        session_options: tuple[str, ...]
        send_env: tuple[str, ...]
        forward_agent: bool
        speaks_mux: bool
        binder: tuple[str, ...]
        carrier: str
        stat: str
        archive: str
        rsync: bool
        system: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def pick_sent(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what ssh would send of ``environ``."""
        return {name: value for name, value in environ.items() if self.sends(name)}

    def sends(self, name: str) -> bool:
        """Tell whether ssh would send the variable ``name``: ``SendEnv``, but never the carriers of payloads."""
        return name != "XMODIFIERS" and not name.startswith("LC_MTR") and _matches(name, self.send_env)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether ``name`` matches one of the patterns of ``SendEnv`` (ssh_config(5), PATTERNS)."""
    for pattern in patterns:
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return True
        if "*" in pattern[:-1] or "?" in pattern:
            from fnmatch import fnmatchcase

            if fnmatchcase(name, pattern.replace("[", "[[]")):
                return True
    return False
