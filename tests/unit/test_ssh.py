"""The connection's interface: a stream arrives at the callbacks as it comes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.config.model import Server
from mtr.ssh.connection import Connection
from mtr.ssh.endpoint import Endpoint
from mtr.ssh.gate import Command
from mtr.ssh.options import SshClient
from mtr.ssh.sessions import Sessions

if TYPE_CHECKING:
    from pathlib import Path


def make_connection(ssh: Path) -> Connection:
    """Return a connection whose ssh is ``ssh`` and whose master seems to stand."""
    server = Server(name="fake", hosts=("fake",))
    client = SshClient(str(ssh), (9, 2))
    endpoint = Endpoint("fake", "fake", "me@fake:22", "0" * 16, client, "none", (), ())
    sessions = Sessions(server, endpoint, dict(os.environ))
    os.makedirs(os.path.dirname(sessions.socket), exist_ok=True)
    for suffix in ("", ".json"):
        with open(sessions.socket + suffix, "w") as file:
            file.write(
                '{"server_name":"fake","address":"a","destination":"fake","pid":1,"opened_s":0}' if suffix else ""
            )
    return Connection(server, sessions, dict(os.environ))


def test_exec_stream(tmp_path: Path) -> None:
    """Chunks of stdout and stderr reach their callbacks, apart and in order, and the status is returned."""
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nprintf one; printf 'err\\377' >&2; sleep 0.2; printf two; exit 7\n")
    ssh.chmod(0o755)
    out: list[bytes] = []
    err: list[bytes] = []
    status = make_connection(ssh).exec_command_stream(Command("0" * 16, ("x",)), out.append, err.append)
    assert (status, out, b"".join(err)) == (7, [b"one", b"two"], b"err\xff")
