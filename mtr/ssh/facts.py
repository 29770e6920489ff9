"""What is known of a server with an open master, as plain values that can be kept. Pure, builtin modules only."""

from __future__ import annotations

TYPE_CHECKING = False


class Facts:
    """What is known of a server with an open master; see ``build_facts`` of its ``Sessions``.

    ``session_options`` are for an ``ssh`` on the master, ``send_env`` the names that ssh would send along;
    ``speaks_mux`` says that a session needs nothing that only ``ssh`` can do. ``carrier`` is what takes a payload:
    see ``MasterRecord``, as for ``stat`` and ``archive``.
    """

    __slots__ = (
        "address", "archive", "carrier", "destination", "forward_agent", "send_env", "server_name", "session_options",
        "socket", "speaks_mux", "ssh", "stat", "tells_outcome",
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
        carrier: str
        stat: str
        archive: str

    def to_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}
