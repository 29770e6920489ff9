"""The connection to one server: a :class:`Line` whose master is opened when it is needed.

What everything above stands on that is not a warm run. On a machine without ssh, or where the configuration says so,
``fallback`` stands behind the same interface.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from mtr.errors import ConfigError, ConnectionRefused, ConnectionTimeout, UnknownHost
from mtr.ssh.base import BaseConnection
from mtr.ssh.endpoint import load_client, resolve_endpoint
from mtr.ssh.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server
    from mtr.ssh.gate import Command, GateCall
    from mtr.ssh.line import Line
    from mtr.ssh.outcome import Ended

    Says = Callable[[str], None]

_UNREACHABLE = (ConnectionRefused, ConnectionTimeout, UnknownHost)


def connect(
    server: Server, environ: Mapping[str, str] | None = None, *, may_prompt: bool = False, says: Says | None = None
) -> BaseConnection:
    """Return a connection to ``server``, opening its master if none stands.

    Its addresses are tried in the order written, but one whose master stands already goes first.
    ``may_prompt`` lets ssh ask on the terminal (passphrase, host key, one-time code). ``says`` takes lines
    for the user, such as the reason for a reconnection.

    Raises:
        NotTrusted: its project's files ask for what the user has not allowed.
        ConnectError: no address could be reached, or the first reachable one refused the login.
    """
    environ = os.environ if environ is None else environ
    if server.claim is not None:
        from mtr.config.trust import ensure_trusted

        ensure_trusted(server.claim, environ)
    if explain_fallback(server, environ) and not can_share():
        from mtr.ssh.fallback.connection import connect_alone

        return connect_alone(server, environ, may_prompt=may_prompt, says=says)
    candidates = list_candidates(server, environ, may_prompt=may_prompt, says=says)
    candidates.sort(key=lambda sessions: not os.path.exists(sessions.socket))
    for sessions in candidates[:-1]:
        with contextlib.suppress(*_UNREACHABLE):
            # A stale socket of an address that cannot be reached any more must not hide the next one.
            sessions.ensure_alive()
            return Connection(server, sessions, environ)
    candidates[-1].ensure_open()
    return Connection(server, candidates[-1], environ)


def explain_fallback(server: Server, environ: Mapping[str, str]) -> str:
    """Return why ``server`` is to be reached without ssh; "" where ssh does it."""
    if server.client == "paramiko":
        return f"{server.name} has `client: paramiko`"
    if server.client == "openssh" or shutil.which("ssh", path=environ.get("PATH")):
        return ""
    return "ssh is not installed on this machine"


def can_share() -> bool:
    """Tell whether processes here can hand each other their descriptors, as the use of a master needs."""
    return hasattr(socket, "AF_UNIX") and hasattr(socket, "SCM_RIGHTS")


def list_candidates(
    server: Server, environ: Mapping[str, str], *, may_prompt: bool = False, says: Says | None = None
) -> list[Sessions]:
    """Return the masters' makers for each address of ``server``, in the order written; nothing is opened."""
    if server.key_filename is not None and not server.key_filename.exists():
        hint = f"ssh-keygen -t ed25519 -f {server.key_filename}, or name another"
        raise ConfigError(f"{server.name}: there is no key_filename {server.key_filename}", hint=hint)
    if why := explain_fallback(server, environ):
        from mtr.ssh.fallback.sessions import FallbackSessions

        return [
            FallbackSessions(server, host, environ, why=why, may_prompt=may_prompt, says=says) for host in server.hosts
        ]
    client = load_client(environ)
    return [
        Sessions(server, resolve_endpoint(server, host, client, environ), environ, may_prompt=may_prompt, says=says)
        for host in server.hosts
    ]


def plan_connection(server: Server, environ: Mapping[str, str]) -> Connection:
    """Return a connection to the first address of ``server`` that opens only when it is used: for a dry run."""
    return Connection(server, list_candidates(server, environ)[0], environ)


class Connection(BaseConnection):
    """One server over a master, of ssh or of paramiko."""

    def __init__(self, server: Server, sessions: Sessions, environ: Mapping[str, str]) -> None:
        super().__init__(sessions.build_facts(), environ, recover=sessions.recover, says=sessions.says)
        self.server = server
        self.sessions = sessions

    def ensure_alive(self) -> None:
        """Make sure that the master answers now; open it anew if it does not."""
        self.sessions.ensure_alive()
        self.facts = self.sessions.build_facts()

    def recover(self, line: Line, ended: Ended, failures: int) -> None:
        """Let ``line`` go on over a master that takes sessions."""
        self.sessions.recover(line, ended, failures)

    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the master, as ``--dry-run`` shows it; [] where one stands."""
        return self.sessions.build_opening_argvs()

    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes; return its status.

        The callbacks run on threads of their own and get bytes, cut anywhere.
        """
        call = self.prepare_call(command)
        if not self.facts.ssh:
            return self._stream_by_mux(call, on_stdout, on_stderr)
        from mtr.process.captured import stream
        from mtr.state import remove_file

        environ = self.build_environ(call.environ)

        def once() -> Ended:
            log = self.new_log()
            argv = [*self.build_logged_argv(log), "-T", "--", self.destination, call.remote_command]
            try:
                return self.read_outcome(stream(argv, on_stdout=on_stdout, on_stderr=on_stderr, env=environ), log)
            finally:
                remove_file(log)

        return self.attempt(once).status

    def _stream_by_mux(
        self, call: GateCall, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        from mtr.process.piped import open_input
        from mtr.ssh.fallback.channel import hand_over

        def once() -> Ended:
            source, (out, out_end), (err, err_end) = open_input(b""), os.pipe(), os.pipe()
            session = self.open_session(call.remote_command, (source, out_end, err_end), call.environ)
            for descriptor in (source, out_end, err_end):
                os.close(descriptor)
            pairs, started_s = ((out, on_stdout), (err, on_stderr)), time.monotonic()
            pumps = [hand_over(partial(os.read, number), take) for number, take in pairs]
            try:
                while any(pump.is_alive() for pump in pumps):
                    pumps[0].join(0.1) if pumps[0].is_alive() else pumps[1].join(0.1)
                    self.look_after(session, time.monotonic() - started_s)
                return self.wait_for(session, started_s)
            finally:
                session.close()
                for descriptor in (out, err):
                    os.close(descriptor)

        return self.attempt(once).status
