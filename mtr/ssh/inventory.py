"""Every master of this user: listed and closed, whichever project opened it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.errors import MtrError
from mtr.ssh import master
from mtr.ssh.connection import list_candidates
from mtr.state import ensure_runtime_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Server


def load_masters(environ: Mapping[str, str]) -> dict[str, master.MasterRecord]:
    """Return the masters that answer by their keys, the oldest first; files of those that have gone are removed."""
    runtime_dir = ensure_runtime_dir(environ)
    master.collect_masters(runtime_dir)
    master.adopt_masters(runtime_dir)
    found: dict[str, master.MasterRecord] = {}
    for socket, record in master.list_masters(runtime_dir):
        if master.find_master(socket) is not None:
            found.setdefault(_key_of(socket), record)
    return found


def list_keys(server: Server, environ: Mapping[str, str]) -> list[str]:
    """Return the keys of the masters that lead to ``server``; none where its configuration is wrong."""
    try:
        return [candidate.endpoint.key for candidate in list_candidates(server, environ)]
    except MtrError:
        return []


def _key_of(socket: str) -> str:
    return os.path.basename(socket).partition(".")[0]


def close_masters(server: Server | None, environ: Mapping[str, str]) -> list[master.MasterRecord]:
    """Close the masters of ``server``, or all of them, gently; return what was closed."""
    runtime_dir = ensure_runtime_dir(environ)
    master.collect_masters(runtime_dir)
    master.adopt_masters(runtime_dir)
    endpoints = [] if server is None else [found.endpoint for found in list_candidates(server, environ)]
    keys = {found.key for found in endpoints}
    # What was opened before ssh's configuration was edited has another key, and is that server's still.
    names = {(found.server_name, found.address) for found in endpoints}
    closed = []
    for socket, record in master.list_masters(runtime_dir):
        if server is None or _key_of(socket) in keys or (record.server_name, record.address) in names:
            master.stop_master(socket)
            closed.append(record)
    return closed


def count_sessions(key: str, environ: Mapping[str, str]) -> int | None:
    """Return how many sessions go over the masters of ``key`` just now; None where the system does not tell.

    Each is one connection to the socket of a master (proc_net(5)); ssh binds it with a suffix, which stays in its name.
    """
    prefix, count = f"{ensure_runtime_dir(environ)}/{key}.", 0
    try:
        with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
            for line in file:
                fields = line.split(maxsplit=7)
                count += len(fields) > 7 and fields[5] == _CONNECTED and fields[7].startswith(prefix)
    except OSError:
        return None
    return count


_CONNECTED = "03"
"""SS_CONNECTED of linux/net.h, in hexadecimal."""
