"""The SSH server in Python, for machines without sshd: ``python -m mtr.demo.embedded embedded.json``.

Accepts the one key of its demo, for any user name, and runs every command as the user who started it. It is a
process of its own, whose stdio belongs to nobody, so that ``session`` may lend it to the programs that it starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh

from mtr.demo.server import write_ready
from mtr.demo.session import Session, find_login_shell

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Login(asyncssh.SSHServer):
    """One connection: it may open sessions, and nothing else."""

    def __init__(self, environ: Mapping[str, str], sessions: set[Session]) -> None:
        self._environ = environ
        self._sessions = sessions

    def session_requested(self) -> Session:
        """Return a new session; it enters and leaves the list of running ones by itself."""
        return Session(self._environ, self._sessions)


def main(arguments: list[str]) -> None:
    """Serve until TERM."""
    # The keeper starts the server in the background, where a shell without job control has both ignored (POSIX
    # 2.11), and the programs of every session would inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    wanted = json.loads(Path(arguments[0]).read_text())
    environ = wanted["environ"] | {"SHELL": find_login_shell()}
    os.chdir(environ["HOME"])
    asyncio.run(_serve(Path(wanted["directory"]), environ))


async def _serve(directory: Path, environ: Mapping[str, str]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    sessions: set[Session] = set()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGCHLD, _reap, sessions)
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: _Login(environ, sessions),
        server_host_keys=[str(directory / "host_key")],
        authorized_client_keys=str(directory / "authorized_keys"),
        encoding=None,
        line_editor=False,
        agent_forwarding=False,
    )
    write_ready(str(directory / "ready"), listener.get_port())
    await ended.wait()
    listener.close()


def _reap(sessions: set[Session]) -> None:
    for session in tuple(sessions):
        session.reap()


if __name__ == "__main__":
    main(sys.argv[1:])
