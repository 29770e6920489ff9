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

from mtr.errors import ConnectError, ConnectionLost, ConnectionRefused, ConnectionTimeout, LoginShellBroken, UnknownHost
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh import master, options
from mtr.ssh.diagnosis import Outcome, build_prepare_error, parse_outcome
from mtr.ssh.endpoint import Endpoint, load_client, resolve_endpoint
from mtr.ssh.foreground import Interrupted, reset_terminal, run_foreground
from mtr.ssh.gate import Command, GateCall, build_gate_call
from mtr.state import ensure_runtime_dir, remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.config.model import Server
    from mtr.process.captured import Captured

MAX_MASTERS = 8
"""Masters of one key. With sshd's default of ten sessions each that is eighty runs at once."""

SESSION_DEADLINE_S = 5.0
"""A session on a living connection opens within its round trips; after this, see whether it has."""

SCRIPT_TIMEOUT_S = 60.0

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
        Connection(server, resolve_endpoint(server, host, client, environ), environ, may_prompt=may_prompt, says=says)
        for host in server.hosts
    ]
    candidates.sort(key=lambda connection: not os.path.exists(connection.socket))
    for connection in candidates[:-1]:
        with contextlib.suppress(*_UNREACHABLE):
            connection.ensure_open()
            return connection
    candidates[-1].ensure_open()
    return candidates[-1]


def open_nothing(server: Server, environ: Mapping[str, str]) -> Connection:
    """Return a connection to the first address of ``server`` that opens only when it is used: for a dry run."""
    endpoint = resolve_endpoint(server, server.hosts[0], load_client(environ), environ)
    return Connection(server, endpoint, environ)


class Connection:
    """Sessions to one server over its masters."""

    def __init__(
        self,
        server: Server,
        endpoint: Endpoint,
        environ: Mapping[str, str],
        *,
        may_prompt: bool = False,
        says: Says | None = None,
    ) -> None:
        self.server = server
        self.endpoint = endpoint
        self._environ = environ
        self._may_prompt = may_prompt
        self._says = says or (lambda _line: None)
        self._runtime_dir = ensure_runtime_dir(environ)
        self._slot = 0
        self._killed_wedged = False

    @property
    def server_name(self) -> str:
        """The server's name in the configuration, or the destination given with ``-s``."""
        return self.server.name

    @property
    def destination(self) -> str:
        """What stands for the host in an argv that goes over this connection."""
        return self.endpoint.destination

    @property
    def socket(self) -> str:
        """The socket of the master in use."""
        return master.build_socket_path(self._runtime_dir, self.endpoint.key, self._slot)

    # -- masters

    def ensure_open(self) -> None:
        """Open the master unless its socket stands; whether it still answers, the session will tell."""
        if not (os.path.exists(self.socket) and master.load_record(self.socket)):
            self._open()

    def check(self) -> None:
        """Make sure that the master answers now; open it anew if it does not."""
        if master.find_master(self.endpoint.client, self.socket, self.destination, self._environ) is None:
            self._open()

    def _open(self) -> None:
        from mtr.config.passwords import load_password

        password = load_password(self.server, self._environ)
        opened = master.ensure_master(self.endpoint, self.socket, password, self._environ, may_prompt=self._may_prompt)
        if opened:
            self._learn()

    def _learn(self) -> None:
        """Learn once per master what the server takes, and that its login shell runs what it is given."""
        argv = self._attach_argv("-T", "--", self.destination, _script_command("remote/probe.sh", ()))
        found = self._capture(argv, {"LC_MTR_PROBE": "1", "XMODIFIERS": "mtr-probe"})
        facts = parse_probe(found.stdout.decode(errors="replace"))
        if "start" not in facts:
            master.kill_master(self.socket)
            raise LoginShellBroken(
                f"{self.endpoint.label}: the login works, but the login shell ran nothing (status {found.status})",
                detail=(found.stdout + found.stderr).decode(errors="replace"),
                hint=f"look for an exit or exec in the rc files there: ssh {self.destination} true; echo $?",
            )
        record = master.load_record(self.socket)
        if record is not None:
            import dataclasses

            master.write_record(self.socket, dataclasses.replace(record, payload=facts.get("payload", "file")))

    def _next_master(self) -> None:
        """Go on to the next master of this key: sshd has refused another session on this one."""
        self._slot += 1
        if self._slot >= MAX_MASTERS:
            raise ConnectError(
                f"{self.endpoint.label} refuses more sessions on all {MAX_MASTERS} connections",
                hint="wait for runs to end, or raise MaxSessions in sshd_config there",
            )
        self.ensure_open()

    # -- sessions

    def _attach_argv(self, *rest: str) -> list[str]:
        return [*options.build_attach_argv(self.endpoint.client, self.socket, self.endpoint.session_options), *rest]

    def _session_environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of ssh: XMODIFIERS goes to the server only as a carrier of mtr's own."""
        environ = {name: value for name, value in self._environ.items() if name != "XMODIFIERS"}
        environ.update(extra)
        return environ

    def _capture(
        self,
        argv: Sequence[str],
        extra: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float | None = SCRIPT_TIMEOUT_S,
    ) -> Captured:
        from mtr.process.captured import run_captured

        return run_captured(argv, stdin=stdin, env=self._session_environ(extra), timeout_s=timeout_s)

    def _attempt(self, log: str, run_once: Callable[[list[str]], int]) -> int:
        """Run one session, again while it provably never opened; return its status.

        ``run_once`` takes the beginning of the session's argv. Its log stays for the caller to read.
        """
        reopened = False
        while True:
            self.ensure_open()
            remove_file(log)
            self._killed_wedged = False
            status = run_once(self._attach_argv(*options.build_outcome_flags(self.endpoint.client, log)))
            if status < 0 and not self._killed_wedged:
                raise ConnectionLost(f"the ssh of this run was killed here by signal {-status}", hint=self._try_up())
            if status not in (255, -signal.SIGKILL) or not self.endpoint.client.tells_outcome:
                return status
            outcome = parse_outcome(_read(log))
            if outcome is Outcome.REFUSED:
                self._next_master()
            elif outcome is Outcome.NEVER_OPENED and not reopened:
                reopened = True
                self._open()
            elif outcome is Outcome.NEVER_OPENED:
                raise ConnectError(f"no session opens on {self.endpoint.label}", detail=_read(log), hint=self._try_up())
            else:
                return status

    def _try_up(self) -> str:
        return f"mtr down -s {self.server_name}; mtr up -s {self.server_name}"

    def run_script(
        self, name: str, arguments: Sequence[str] = (), *, stdin: bytes = b"", timeout_s: float = SCRIPT_TIMEOUT_S
    ) -> Captured:
        """Run ``shell/NAME`` on the server with ``arguments`` and return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came.
        """
        return self._run_captured(_script_command(name, arguments), {}, stdin, timeout_s)

    def _run_captured(
        self, remote_command: str, extra: Mapping[str, str], stdin: bytes, timeout_s: float | None
    ) -> Captured:
        found: list[Captured] = []

        def run_once(attach: list[str]) -> int:
            argv = [*attach, "-T", "--", self.destination, remote_command]
            found[:] = [self._capture(argv, extra, stdin, timeout_s)]
            return found[0].status

        log = self._log_path(os.urandom(8).hex())
        try:
            status = self._attempt(log, run_once)
            if status == 255 and parse_outcome(_read(log)) is Outcome.NO_STATUS:
                raise ConnectionLost(f"the line to {self.endpoint.label} broke", hint=self._try_up())
        finally:
            remove_file(log)
        return found[0]

    def run(self, command: Command, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``command`` through the gate and return its status and output, for scripts and notebooks."""
        call = self.build_call(command)
        self._send_upload(call)
        return self._run_captured(call.remote_command, call.environ, stdin, timeout_s)

    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes; return its status.

        The callbacks run on threads of their own and get bytes, cut anywhere.
        """
        from mtr.process.captured import stream

        call = self.build_call(command)
        self._send_upload(call)
        environ = self._session_environ(call.environ)

        def run_once(attach: list[str]) -> int:
            argv = [*attach, "-T", "--", self.destination, call.remote_command]
            return stream(argv, on_stdout=on_stdout, on_stderr=on_stderr, env=environ)

        log = self._log_path(call.run_id)
        try:
            return self._attempt(log, run_once)
        finally:
            remove_file(log)

    def build_call(self, command: Command) -> GateCall:
        """Return ``command`` as it crosses the line to this server."""
        record = master.load_record(self.socket)
        return build_gate_call(command, record.payload if record else "file")

    def _send_upload(self, call: GateCall) -> None:
        if call.upload:
            self.run_script("remote/receive.sh", [call.run_id], stdin=call.upload)

    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the master, as ``--dry-run`` shows it; [] where one stands."""
        if os.path.exists(self.socket):
            return []
        wants_password = options.has_password(self.server)
        endpoint = self.endpoint
        argv = options.build_master_argv(
            endpoint.client,
            endpoint.config,
            endpoint.explicit,
            self.destination,
            self.socket,
            may_prompt=wants_password,
        )
        return [["sshpass", "-d", "FD", *argv] if wants_password else argv]

    def build_foreground_argv(self, call: GateCall, *, tty: bool) -> list[str]:
        """Return the argv of a run in the foreground, as ``--dry-run`` shows it."""
        return self._foreground_argv(self._attach_argv(), call, tty=tty)

    def _foreground_argv(self, attach: Sequence[str], call: GateCall, *, tty: bool) -> list[str]:
        return [*attach, "-tt" if tty else "-T", "--", self.destination, call.remote_command]

    def run_foreground(self, command: Command, *, tty: bool) -> int:
        """Run ``command`` on mtr's own stdio and return its exact status.

        Raises:
            Interrupted: a signal ended mtr's run; nothing of it is left on the server.
            ConnectionLost: the session ended without a status; the command's fate is unknown.
        """
        call = self.build_call(command)
        self._send_upload(call)
        environ = self._session_environ(call.environ)
        log = self._log_path(call.run_id)

        def run_once(attach: list[str]) -> int:
            return run_foreground(
                self._foreground_argv(attach, call, tty=tty),
                environ,
                tty=tty,
                deadline_s=SESSION_DEADLINE_S,
                on_deadline=lambda pid: self._end_wedged(log, pid),
                on_interrupt=lambda signum: self.end_run(call.run_id, signum),
            )

        try:
            status = self._attempt(log, run_once)
            if status == 255:
                self._check_status_arrived(_read(log), tty=tty)
            return status
        finally:
            remove_file(log)

    def _check_status_arrived(self, log: str, *, tty: bool) -> None:
        """Tell the command's own 255 from a session that ended without a status."""
        if not self.endpoint.client.tells_outcome or parse_outcome(log) is Outcome.STATUS:
            return
        if tty:
            reset_terminal()
        alive = master.find_master(self.endpoint.client, self.socket, self.destination, self._environ)
        if alive is None:
            raise ConnectionLost(
                f"the line to {self.endpoint.label} broke while the command ran; it may still run there",
                detail=log if "mux_client" not in log else "",
                hint=f"mtr -s {self.server_name} --no-sync 'ps -f -u $(id -un)'",
            )
        raise ConnectionLost(
            f"the session on {self.endpoint.label} ended without a status: closed with ~. or killed there",
            hint=f"mtr -s {self.server_name} --no-sync 'ps -f -u $(id -un)'",
        )

    def _end_wedged(self, log: str, pid: int) -> None:
        """At the deadline: if the session has not opened, kill the master first and then its client.

        In that order nothing can have run: a wedged master would otherwise still hand on what it has queued.
        """
        if not self.endpoint.client.tells_outcome or "master session id" in _read(log):
            return
        self._killed_wedged = True
        self._says(f"no answer from {self.endpoint.label} for {SESSION_DEADLINE_S:g} s; connecting anew")
        master.kill_master(self.socket)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end_run(self, run_id: str, signum: int) -> None:
        """End every process of the run on the server: the signal that mtr got, then TERM, then KILL."""
        half = len(run_id) // 2
        name = signal.Signals(signum).name.removeprefix("SIG")
        try:
            found = self.run_script("remote/reap.sh", [run_id[:half], run_id[half:], name], timeout_s=20)
        except ConnectError as error:
            self._says(f"could not end the run on {self.endpoint.label}: {error.message}")
            return
        words = found.stdout.decode(errors="replace").strip()
        if words.startswith("left"):
            self._says(f"processes of the run that would not end on {self.endpoint.label}: {words[5:]}")

    def load_refusal(self, run_id: str) -> list[str]:
        """Return the lines that the gate left when it refused the run, [] if it did not refuse."""
        return self.run_script("remote/refusal.sh", [run_id]).stdout.decode(errors="replace").splitlines()

    # -- for the sync engines

    def rsync_shell(self) -> str:
        """Return the remote shell for rsync's ``-e``: a strict session on this master."""
        self.ensure_open()
        return " ".join(self._attach_argv("-T"))

    def ensure_remote_dir(self, remote_dir: str) -> None:
        """Make ``remote_dir`` with its parents, once per master, and see that rsync can write there.

        Raises:
            SyncError: it cannot be made or written, the disk is full, or rsync is missing.
        """
        marker = f"{self.socket}.{hashlib.sha256(os.fsencode(remote_dir)).hexdigest()[:8]}.dir"
        if os.path.exists(marker):
            return
        found = self.run_script("remote/prepare.sh", [remote_dir])
        if found.status != 0:
            words = found.stderr.decode(errors="replace")
            raise build_prepare_error(found.status, self.endpoint.label, remote_dir, words)
        write_atomic(marker, b"")

    def _log_path(self, run_id: str) -> str:
        return f"{self._runtime_dir}/run-{run_id}.log"


def load_masters(environ: Mapping[str, str]) -> list[master.MasterRecord]:
    """Return the masters that answer, the oldest first; files of those that have gone are removed."""
    client, runtime_dir = load_client(environ), ensure_runtime_dir(environ)
    master.collect_masters(runtime_dir)
    return [
        record
        for socket, record in master.list_masters(runtime_dir)
        if master.find_master(client, socket, record.destination, environ) is not None
    ]


def close_masters(server: Server | None, environ: Mapping[str, str]) -> list[master.MasterRecord]:
    """Close the masters of ``server``, or all of them, gently; return what was closed."""
    client, runtime_dir = load_client(environ), ensure_runtime_dir(environ)
    master.collect_masters(runtime_dir)
    keys = None if server is None else {resolve_endpoint(server, h, client, environ).key for h in server.hosts}
    closed = []
    for socket, record in master.list_masters(runtime_dir):
        if keys is None or os.path.basename(socket).partition(".")[0] in keys:
            master.stop_master(client, socket, record.destination, environ)
            closed.append(record)
    return closed


def parse_probe(text: str) -> dict[str, str]:
    """Return the facts in the output of ``probe.sh``, found among whatever rc files print."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "mtr-probe":
            facts.setdefault(words[1], words[2])
    return facts


def new_run_id() -> str:
    """Return a fresh id of a run: 16 hexadecimal digits."""
    return os.urandom(8).hex()


def _script_command(name: str, arguments: Sequence[str]) -> str:
    return build_remote_command("mtr-script", load_script(name), arguments)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


__all__ = ["Command", "Connection", "Interrupted", "Says", "connect", "new_run_id"]

if TYPE_CHECKING:
    Says = Callable[[str], None]
