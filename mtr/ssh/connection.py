"""The connection to one server: sessions on its masters, opened when needed, retried when nothing had run.

The one interface that everything above stands on. Guarantees:

- A command starts at most once. A session is started anew only when its log shows that it was never opened
  (refused by MaxSessions, a master that has gone), or when its master was killed before it could open.
- A master is opened apart from any command; a session without one ends, and never logs in by itself.
- No stray process: an interrupted run is ended on the server over a second session.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
from typing import TYPE_CHECKING

from mtr.errors import ConnectionLost, ConnectionRefused, ConnectionTimeout, GateRefused, MtrError, UnknownHost
from mtr.ssh.diagnosis import build_prepare_error
from mtr.ssh.endpoint import load_client, resolve_endpoint
from mtr.ssh.foreground import reset_terminal, run_foreground
from mtr.ssh.gate import Command, GateCall, build_gate_call
from mtr.ssh.sessions import SCRIPT_TIMEOUT_S, SESSION_DEADLINE_S, Sessions, build_script_command
from mtr.state import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.config.model import Server
    from mtr.process.captured import Captured

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
            sessions.ensure_open()
            return Connection(server, sessions)
    candidates[-1].ensure_open()
    return Connection(server, candidates[-1])


def open_nothing(server: Server, environ: Mapping[str, str]) -> Connection:
    """Return a connection to the first address of ``server`` that opens only when it is used: for a dry run."""
    endpoint = resolve_endpoint(server, server.hosts[0], load_client(environ), environ)
    return Connection(server, Sessions(server, endpoint, environ))


class Connection:
    """One server: scripts, commands and directories there."""

    def __init__(self, server: Server, sessions: Sessions) -> None:
        self.server = server
        self.sessions = sessions

    @property
    def server_name(self) -> str:
        """The server's name in the configuration, or the destination given with ``-s``."""
        return self.server.name

    @property
    def label(self) -> str:
        """Name and address, as errors show them: ``gpu-01 (dev@10.0.0.7:22)``."""
        return self.sessions.endpoint.label

    @property
    def destination(self) -> str:
        """What stands for the host in an argv that goes over this connection."""
        return self.sessions.destination

    # -- commands

    def run_script(
        self, name: str, arguments: Sequence[str] = (), *, stdin: bytes = b"", timeout_s: float = SCRIPT_TIMEOUT_S
    ) -> Captured:
        """Run ``shell/NAME`` on the server with ``arguments`` and return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came.
        """
        return self.sessions.run_captured(build_script_command(name, arguments), stdin=stdin, timeout_s=timeout_s)

    def run(self, command: Command, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``command`` through the gate and return its status and output, for scripts and notebooks."""
        call = self._prepare_call(command)
        return self.sessions.run_captured(call.remote_command, call.environ, stdin=stdin, timeout_s=timeout_s)

    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes; return its status.

        The callbacks run on threads of their own and get bytes, cut anywhere.
        """
        from mtr.process.captured import stream

        call = self._prepare_call(command)
        environ = self.sessions.build_environ(call.environ)

        def run_once(attach: list[str], _log: str) -> int:
            argv = [*attach, "-T", "--", self.destination, call.remote_command]
            return stream(argv, on_stdout=on_stdout, on_stderr=on_stderr, env=environ)

        return self.sessions.attempt(run_once).status

    def build_call(self, command: Command) -> GateCall:
        """Return ``command`` as it crosses the line to this server."""
        return build_gate_call(command, self.sessions.load_payload_carrier())

    def _prepare_call(self, command: Command) -> GateCall:
        """Return the call of ``command``, its payload stored on the server where no variable can carry it."""
        call = self.build_call(command)
        if call.upload:
            stored = self.run_script("remote/receive.sh", [call.run_id], stdin=call.upload)
            if stored.status != 0:
                words = stored.stderr.decode(errors="replace")
                message = f"{self.label}: the environment of the command cannot be stored; it did not start"
                raise GateRefused(message, detail=words, hint="free some space in the home directory there")
        return call

    def build_foreground_argv(self, call: GateCall, *, tty: bool) -> list[str]:
        """Return the argv of a run in the foreground, as ``--dry-run`` shows it."""
        return self._foreground_argv(self.sessions.build_attach_argv(), call, tty=tty)

    def _foreground_argv(self, attach: Sequence[str], call: GateCall, *, tty: bool) -> list[str]:
        return [*attach, "-tt" if tty else "-T", "--", self.destination, call.remote_command]

    def run_foreground(self, command: Command, *, tty: bool) -> int:
        """Run ``command`` on mtr's own stdio and return its exact status.

        Raises:
            Interrupted: a signal ended mtr's run; nothing of it is left on the server.
            ConnectionLost: the session ended without a status; the command's fate is unknown.
        """
        call = self._prepare_call(command)
        environ = self.sessions.build_environ(call.environ)

        def run_once(attach: list[str], log: str) -> int:
            return run_foreground(
                self._foreground_argv(attach, call, tty=tty),
                environ,
                tty=tty,
                deadline_s=SESSION_DEADLINE_S,
                on_deadline=lambda pid: self.sessions.end_wedged(log, pid),
                on_interrupt=lambda signum: self.end_run(call.run_id, signum),
            )

        ended = self.sessions.attempt(run_once)
        if not ended.arrived:
            if tty:
                reset_terminal()
            raise self._build_lost(ended.log)
        return ended.status

    def _build_lost(self, log: str) -> ConnectionLost:
        """Return the error for a session that opened and ended without a status."""
        hint = f"mtr -s {self.server_name} --no-sync 'ps -f -u $(id -un)'"
        if self.sessions.is_alive():
            message = f"the session on {self.label} ended without a status: closed with ~. or killed there"
            return ConnectionLost(message, hint=hint)
        words = "\n".join(line for line in log.splitlines() if "mux_client_request_session" not in line)
        message = f"the line to {self.label} broke while the command ran; it may still run there"
        return ConnectionLost(message, detail=words, hint=hint)

    def end_run(self, run_id: str, signum: int) -> None:
        """End every process of the run on the server: the signal that mtr got, then TERM, then KILL."""
        half = len(run_id) // 2
        name = signal.Signals(signum).name.removeprefix("SIG")
        try:
            found = self.run_script("remote/reap.sh", [run_id[:half], run_id[half:], name], timeout_s=20)
        except MtrError as error:
            self.sessions.says(f"could not end the run on {self.label}: {error.message}")
            return
        words = found.stdout.decode(errors="replace").strip()
        if words.startswith("left"):
            self.sessions.says(f"processes of the run that would not end on {self.label}: {words[5:]}")

    def load_refusal(self, run_id: str) -> list[str]:
        """Return the lines that the gate left when it refused the run, [] if it did not refuse."""
        return self.run_script("remote/refusal.sh", [run_id]).stdout.decode(errors="replace").splitlines()

    # -- for the sync engines

    def attempt_rsync(self, run_once: Callable[[str], int]) -> int:
        """Run rsync once its session opens: ``run_once`` takes the value of ``-e`` and returns rsync's status.

        rsync passes on the 255 of its ssh, so a session that never opened is tried again as any other.
        """
        return self.sessions.attempt(lambda attach, _log: run_once(" ".join([*attach, "-T"])), plain=True).status

    def rsync_shell(self) -> str:
        """Return the remote shell for rsync's ``-e``, as ``--dry-run`` shows it."""
        return " ".join([*self.sessions.build_attach_argv(plain=True), "-T"])

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        """Make ``remote_dir`` with its parents, and see that rsync can write there; tell whether it was looked at.

        That it was found good once is remembered as long as the master stands; ``anew`` looks again. The master
        is asked first whether it answers: a stopped one would hold the sync for ever.

        Raises:
            SyncError: it cannot be made or written, the disk is full, or rsync is missing.
        """
        self.sessions.check()
        marker = f"{self.sessions.socket}.{hashlib.sha256(os.fsencode(remote_dir)).hexdigest()[:8]}.dir"
        if os.path.exists(marker) and not anew:
            return False
        found = self.run_script("remote/prepare.sh", [remote_dir])
        if found.status != 0:
            words = found.stderr.decode(errors="replace")
            raise build_prepare_error(found.status, self.label, remote_dir, words)
        write_atomic(marker, b"")
        return True


def new_run_id() -> str:
    """Return a fresh id of a run: 16 hexadecimal digits."""
    return os.urandom(8).hex()
