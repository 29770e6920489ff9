"""The connection to one server: a :class:`Line` whose master is opened when it is needed.

What everything above stands on that is not a warm run. The fallback for machines without ssh will stand behind the
same interface.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from mtr.errors import ConnectionRefused, ConnectionTimeout, UnknownHost
from mtr.ssh.diagnosis import build_prepare_error
from mtr.ssh.endpoint import load_client, resolve_endpoint
from mtr.ssh.gate import new_run_id
from mtr.ssh.line import Line
from mtr.ssh.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server
    from mtr.process.captured import Captured
    from mtr.ssh.gate import Command
    from mtr.ssh.outcome import Ended

    Says = Callable[[str], None]

_UNREACHABLE = (ConnectionRefused, ConnectionTimeout, UnknownHost)


def connect(
    server: Server, environ: Mapping[str, str] | None = None, *, may_prompt: bool = False, says: Says | None = None
) -> Connection:
    """Return a connection to ``server``, opening its master if none stands.

    Its addresses are tried in the order written, but one whose master stands already goes first.
    ``may_prompt`` lets ssh ask on the terminal (passphrase, host key, one-time code). ``says`` takes lines
    for the user, such as the reason for a reconnection.

    Raises:
        ConnectError: no address could be reached, or the first reachable one refused the login.
    """
    environ = os.environ if environ is None else environ
    client = load_client(environ)
    candidates = [
        Sessions(server, resolve_endpoint(server, host, client, environ), environ, may_prompt=may_prompt, says=says)
        for host in server.hosts
    ]
    candidates.sort(key=lambda sessions: not os.path.exists(sessions.socket))
    for sessions in candidates[:-1]:
        with contextlib.suppress(*_UNREACHABLE):
            # A stale socket of an address that cannot be reached any more must not hide the next one.
            sessions.ensure_alive()
            return Connection(server, sessions, environ)
    candidates[-1].ensure_open()
    return Connection(server, candidates[-1], environ)


def plan_connection(server: Server, environ: Mapping[str, str]) -> Connection:
    """Return a connection to the first address of ``server`` that opens only when it is used: for a dry run."""
    endpoint = resolve_endpoint(server, server.hosts[0], load_client(environ), environ)
    return Connection(server, Sessions(server, endpoint, environ), environ)


class Connection(Line):
    """One server: scripts, commands and transfers there."""

    def __init__(self, server: Server, sessions: Sessions, environ: Mapping[str, str]) -> None:
        super().__init__(sessions.build_facts(), environ, recover=sessions.recover, says=sessions.says)
        self.server = server
        self.sessions = sessions

    def ensure_alive(self) -> None:
        """Make sure that the master answers now; open it anew if it does not."""
        self.sessions.ensure_alive()
        self.facts = self.sessions.build_facts()

    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the master, as ``--dry-run`` shows it; [] where one stands."""
        return self.sessions.build_opening_argvs()

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        """Make ``remote_dir`` with its parents, and see that it can be written; tell whether it was looked at.

        Raises:
            SyncError: it cannot be made or written.
        """
        found = self.run_script("remote/list.sh", [remote_dir, new_run_id(), "", "", "none"])
        if found.status != 0:
            words = found.stderr.decode(errors="replace")
            raise build_prepare_error(found.status, self.label, remote_dir, words)
        return not anew

    def run(self, command: Command, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``command`` through the gate and return its status and output, for scripts and notebooks."""
        call = self.prepare_call(command)
        return self.run_captured(call.remote_command, extra=call.environ, stdin=stdin, timeout_s=timeout_s)

    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes; return its status.

        The callbacks run on threads of their own and get bytes, cut anywhere.
        """
        from mtr.process.captured import stream
        from mtr.state import remove_file

        call = self.prepare_call(command)
        environ = self.build_environ(call.environ)

        def once() -> Ended:
            log = self.new_log()
            argv = [*self.build_logged_argv(log), "-T", "--", self.destination, call.remote_command]
            try:
                return self.read_outcome(stream(argv, on_stdout=on_stdout, on_stderr=on_stderr, env=environ), log)
            finally:
                remove_file(log)

        return self.attempt(once).status
