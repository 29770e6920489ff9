"""The connection to one server by this process alone: for systems on which no master can be shared (Windows)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from paramiko.ssh_exception import ChannelException, SSHException

from mtr.errors import (
    ConnectError,
    ConnectionLost,
    ConnectionRefused,
    ConnectionTimeout,
    LoginShellBroken,
    MtrError,
    UnknownHost,
)
from mtr.process.piped import Captured
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh.base import BaseConnection
from mtr.ssh.facts import Facts
from mtr.ssh.fallback.channel import HeldChannel, JoinedChannel, hand_over, prepare_channel, read_end, start_in_channel
from mtr.ssh.fallback.login import Login
from mtr.ssh.fallback.resolve import resolve_place
from mtr.ssh.fallback.terminal import read_size
from mtr.ssh.sessions import parse_probe
from mtr.state import MAX_LOG_BYTES, ensure_state_dir, name_file, read_regular, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import paramiko

    from mtr.config.model import Server
    from mtr.ssh.fallback.resolve import Place
    from mtr.ssh.gate import Command, GateCall
    from mtr.ssh.line import Line
    from mtr.ssh.outcome import Ended

    Says = Callable[[str], None]


def connect_alone(
    server: Server, environ: Mapping[str, str], *, may_prompt: bool, says: Says | None = None
) -> FallbackConnection:
    """Return a connection to the first address of ``server`` that can be reached.

    Raises:
        ConnectError: no address could be reached, or the first reachable one refused the login.
    """
    from mtr.config.passwords import load_password
    from mtr.ssh.questions import ask_person

    for number, host in enumerate(server.hosts, 1):
        place = resolve_place(server, host, environ)
        password, ask = load_password(server, environ), ask_person if may_prompt else None
        login = Login(server.name, place, password, ask, says or (lambda _line: None))
        try:
            return FallbackConnection(server, host, login, environ)
        except (ConnectionRefused, ConnectionTimeout, UnknownHost):
            if number == len(server.hosts):
                raise
    raise ConnectError(f"{server.name} has no address")


class FallbackConnection(BaseConnection):
    """One server over a login of this process: what :class:`mtr.ssh.connection.Connection` is over a master."""

    def __init__(self, server: Server, destination: str, login: Login, environ: Mapping[str, str]) -> None:
        self.server = server
        self._login = login
        self._transport: paramiko.Transport = login.open()
        super().__init__(_build_facts(server, destination, login.place), environ, recover=_give_up, says=login.says)
        self._learn()

    # -- what the server takes

    def _learn(self) -> None:
        """Learn what the server takes; what was learnt on an earlier day still holds."""
        file = f"{ensure_state_dir(self.environ)}/servers/{name_file(self.facts.address)}.json"
        try:
            found = json.loads(read_regular(file, MAX_LOG_BYTES) or b"")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            found = self._probe()
            os.makedirs(os.path.dirname(file), 0o700, exist_ok=True)
            write_atomic(file, json.dumps(found).encode())
        self.facts.carrier = found.get("payload", "file")
        self.facts.stat = found.get("stat", "")
        self.facts.archive = found.get("archive", "") + ("64" if "archive64" in found else "")

    def _probe(self) -> dict[str, str]:
        found = self.run_script("remote/probe.sh", extra={"LC_MTR_PROBE": "1", "XMODIFIERS": "mtr-probe"})
        facts = parse_probe(found.stdout.decode(errors="replace"))
        if "start" not in facts:
            raise LoginShellBroken(
                f"{self.label}: the login works, but the login shell ran nothing (status {found.status})",
                detail=(found.stdout + found.stderr).decode(errors="replace"),
                hint="look for an exit or exec in the rc files there, or for a forced command",
            )
        return facts

    # -- sessions

    def _open(
        self,
        command: str,
        extra: Mapping[str, str] | None,
        *,
        subsystem: bool = False,
        terminal: tuple[str, int, int] | None = None,
    ) -> paramiko.Channel:
        """Open a session and start ``command`` in it, with the login done anew where it has been lost since.

        Raises:
            ConnectError: no session opens, or the server refused the command.
        """
        environ = {**self._build_sent(), **(extra or {})}
        if not self._transport.is_active():
            self.says(f"the line to {self.label} was lost; connecting anew")
            self._transport = self._login.open()
        try:
            channel = prepare_channel(self._transport, environ, terminal)
            start_in_channel(channel, command, subsystem=subsystem)
        except ChannelException as error:
            hint = "wait for runs to end, or raise MaxSessions in sshd_config there"
            raise ConnectError(f"{self.label} refuses another session", detail=str(error), hint=hint) from error
        except (SSHException, EOFError, OSError) as error:
            raise ConnectError(f"no session opens on {self.label}", detail=str(error)) from error
        return channel

    def _build_sent(self) -> dict[str, str]:
        sent = self.facts.pick_sent(self.environ)
        for setting in self._login.place.set_env:
            name, _, value = setting.partition("=")
            sent[name] = value
        return sent

    def hold(self, command: str, *, subsystem: bool = False) -> HeldChannel:  # type: ignore[override]
        """Start a session whose stdin and output stay with mtr."""
        return HeldChannel(self._open(command, None, subsystem=subsystem))

    def run_captured(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        extra: Mapping[str, str] | None = None,
        timeout_s: float | None = 60.0,
        limit_bytes: int | None = None,  # noqa: ARG002  this way is for systems where a run is all there is
    ) -> Captured:
        """Run one remote command line and return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came, or ``timeout_s`` have passed.
        """
        channel = self._open(command, extra)
        channel.settimeout(timeout_s)
        held = HeldChannel(channel)
        held.feed(lambda write: write(stdin))
        ended, streams = held.finish()
        held.close()
        if not ended.arrived:
            raise ConnectionLost(f"the line to {self.label} broke", hint=f"mtr up -s {self.server_name}")
        return Captured(ended.status, streams[0], streams[1])

    def try_script(self, name: str, arguments: Sequence[str], *, timeout_s: float) -> bool:
        """Run ``shell/NAME`` beside what runs; tell whether it left 0."""
        command = build_remote_command("mtr-script", load_script(name), arguments)
        try:
            return self.run_captured(command, timeout_s=timeout_s).status == 0
        except MtrError:
            return False

    def end_wedged(self, silence_s: float = 0.0) -> None:
        """Nothing to end: the login is this process's own."""

    # -- runs

    def _run_on_terminal(self, call: GateCall, meanwhile: Callable[[], None], later: Callable[[], None]) -> Ended:
        return self._run_in_batch(call, meanwhile, later, terminal=self.environ.get("TERM") or "dumb")

    def open_session(  # type: ignore[override]
        self,
        command: str,
        descriptors: Sequence[int],
        extra: Mapping[str, str] | None = None,
        *,
        subsystem: bool = False,
        terminal: str = "",
    ) -> JoinedChannel:
        """Start one session on ``descriptors``; with a ``terminal`` of that type, as large as the one here."""
        shape = (terminal, *read_size(0)) if terminal else None
        channel = self._open(command, extra, subsystem=subsystem, terminal=shape)
        source, out, err = descriptors
        return JoinedChannel(channel, (source, out, err))

    def _build_lost(self, words: str) -> ConnectionLost:
        """Return the error for a session that ended without a status."""
        hint = f"mtr -s {self.server_name} --no-sync 'ps -f -u $(id -un)'"
        if self._transport.is_active():
            message = f"the session on {self.label} ended without a status: killed there"
        else:
            message = f"the line to {self.label} broke while the command ran; it may still run there"
        return ConnectionLost(message, detail=words, hint=hint)

    # -- the rest of the face of Connection

    def ensure_alive(self) -> None:
        """Nothing to do: it was logged in when it was made."""

    def recover(self, line: Line, ended: Ended, failures: int) -> None:
        """A session is asked for again where it is opened, and nowhere else."""
        _give_up(line, ended, failures)

    def build_opening_argvs(self) -> list[list[str]]:
        """Return no argv: no program is started."""
        return []

    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes: see :class:`BaseConnection`."""
        call = self.prepare_call(command)
        channel = self._open(call.remote_command, call.environ)
        channel.shutdown_write()
        pumps = [hand_over(channel.recv, on_stdout), hand_over(channel.recv_stderr, on_stderr)]
        for pump in pumps:
            pump.join()
        return read_end(channel).status

    def close(self) -> None:
        """Log out."""
        self._transport.close()


def _give_up(line: Line, ended: Ended, failures: int) -> None:
    """A session that did not open was tried anew already."""
    raise ConnectError(f"no session opens on {line.label} (attempt {failures})", detail=ended.words)


def _build_facts(server: Server, destination: str, place: Place) -> Facts:
    return Facts(
        binder=(),
        server_name=server.name,
        address=place.address,
        destination=destination,
        socket="",
        ssh="",
        tells_outcome=True,
        session_options=(),
        send_env=place.send_env,
        forward_agent=False,
        speaks_mux=False,
        carrier="file",
        stat="",
        archive="",
        rsync=False,
        system="",
    )
