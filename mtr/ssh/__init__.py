"""The connection: ssh options, masters, sessions, and what their ends mean.

The only package that knows OpenSSH's command line. Everything above it says *what* to run on *which* server
and gets a status or an error of mtr's own; the fallback for machines without ssh will stand behind the same
:class:`~mtr.ssh.connection.Connection`.

Loading this package loads none of its modules: a warm run takes only those that it needs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mtr.ssh.connection import Connection, connect

__all__ = ["Connection", "connect"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from mtr.ssh import connection

        return getattr(connection, name)
    raise AttributeError(f"module 'mtr.ssh' has no attribute {name!r}")
