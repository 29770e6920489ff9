"""Sessions on the masters of one endpoint: opened when needed, started anew only when nothing had run.

Guarantees:

- A session is started anew only when its log shows that it was never opened (refused by MaxSessions, a master
  that has gone), or when its master was killed before it could open. So a command starts at most once.
- A master is opened apart from any command; a session without one ends, and never logs in by itself.
- A wedged master is killed before its client: it would otherwise still hand on what it has queued.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mtr.errors import ConnectError, ConnectionLost, LoginShellBroken
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh import master, options
from mtr.ssh.diagnosis import Outcome, parse_outcome
from mtr.state import ensure_runtime_dir, remove_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.config.model import Server
    from mtr.process.captured import Captured
    from mtr.ssh.endpoint import Endpoint

    Says = Callable[[str], None]

MAX_MASTERS = 8
"""Masters of one key. With sshd's default of ten sessions each that is eighty runs at once."""

SESSION_DEADLINE_S = 5.0
"""A session on a living connection opens within its round trips; after this, see whether it has."""

SCRIPT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended: ssh's status, what its log tells, and the log's words (read on 255 only)."""

    status: int
    outcome: Outcome
    log: str

    @property
    def arrived(self) -> bool:
        """Whether the status is the remote one."""
        return self.outcome is Outcome.STATUS


class Sessions:
    """Starts sessions to one endpoint, on whichever of its masters takes them."""

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
        self.says = says or (lambda _line: None)
        self._environ = environ
        self._may_prompt = may_prompt
        self._runtime_dir = ensure_runtime_dir(environ)
        self._slot = 0
        self._killed_wedged = False

    @property
    def destination(self) -> str:
        """What stands for the host in an argv that goes over these sessions."""
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
        if not self.is_alive():
            self._open()

    def _open(self) -> None:
        from mtr.config.passwords import load_password

        password = load_password(self.server, self._environ)
        opened = master.ensure_master(self.endpoint, self.socket, password, self._environ, may_prompt=self._may_prompt)
        if opened:
            self._learn()

    def _learn(self) -> None:
        """Learn once per master what the server takes, and that its login shell runs what it is given."""
        argv = self.build_attach_argv("-T", "--", self.destination, build_script_command("remote/probe.sh", ()))
        carriers = {"LC_MTR_PROBE": "1", "XMODIFIERS": "mtr-probe"}
        found = self._capture(argv, carriers, b"", SCRIPT_TIMEOUT_S)
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
            master.write_record(self.socket, replace(record, payload=facts.get("payload", "file")))

    def _next_master(self) -> None:
        """Go on to the next master of this key: sshd has refused another session on this one."""
        self._slot += 1
        if self._slot >= MAX_MASTERS:
            raise ConnectError(
                f"{self.endpoint.label} refuses more sessions on all {MAX_MASTERS} connections",
                hint="wait for runs to end, or raise MaxSessions in sshd_config there",
            )
        self.ensure_open()

    def is_alive(self) -> bool:
        """Tell whether the master in use answers."""
        return master.find_master(self.endpoint.client, self.socket, self.destination, self._environ) is not None

    def load_payload_carrier(self) -> str:
        """Return what carries a payload to this server: see ``MasterRecord``."""
        record = master.load_record(self.socket)
        return record.payload if record else "file"

    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the master, as ``--dry-run`` shows it; [] where one stands."""
        if os.path.exists(self.socket):
            return []
        asks = options.has_password(self.server)
        found = self.endpoint
        argv = options.build_master_argv(
            found.client, found.config, found.explicit, self.destination, self.socket, may_prompt=asks
        )
        return [["sshpass", "-d", "FD", "nohup", *argv] if asks else argv]

    # -- sessions

    def build_attach_argv(self, *rest: str, plain: bool = False) -> list[str]:
        """Return the beginning of a session's argv; ``plain`` leaves out what the user set for sessions."""
        chosen = () if plain else self.endpoint.session_options
        return [*options.build_attach_argv(self.endpoint.client, self.socket, chosen), *rest]

    def build_environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of ssh: XMODIFIERS goes to the server only as a carrier of mtr's own."""
        environ = {name: value for name, value in self._environ.items() if name != "XMODIFIERS"}
        environ.update(extra)
        return environ

    def attempt(self, run_once: Callable[[list[str], str], int], *, plain: bool = False) -> Ended:
        """Run one session, again while it provably never opened, and return how it ended.

        ``run_once`` takes the beginning of the session's argv and the path of its log, and returns a status.

        Raises:
            ConnectError: no session opens.
            ConnectionLost: its ssh was killed here.
        """
        log = f"{self._runtime_dir}/run-{os.urandom(8).hex()}.log"
        reopened = False
        try:
            while True:
                ended = self._run_session(run_once, log, plain=plain)
                if ended.outcome is Outcome.REFUSED:
                    self._next_master()
                    reopened = False
                elif ended.outcome is Outcome.NEVER_OPENED and not reopened:
                    reopened = True
                    self._open()
                elif ended.outcome is Outcome.NEVER_OPENED:
                    hint = f"mtr down -s {self.server.name}; mtr up -s {self.server.name}"
                    raise ConnectError(f"no session opens on {self.endpoint.label}", detail=ended.log, hint=hint)
                else:
                    return ended
        finally:
            remove_file(log)

    def _run_session(self, run_once: Callable[[list[str], str], int], log: str, *, plain: bool) -> Ended:
        self.ensure_open()
        remove_file(log)
        self._killed_wedged = False
        client = self.endpoint.client
        status = run_once(self.build_attach_argv(*options.build_outcome_flags(client, log), plain=plain), log)
        if self._killed_wedged:
            return Ended(255, Outcome.NEVER_OPENED, _read(log))
        if status < 0:
            raise ConnectionLost(f"the ssh of this run was killed here by signal {-status}", hint="run it again")
        if status != 255 or not client.tells_outcome:
            return Ended(status, Outcome.STATUS, "")
        words = _read(log)
        return Ended(status, parse_outcome(words), words)

    def end_wedged(self, log: str, pid: int) -> None:
        """At the deadline: if the session has not opened, kill the master first and then its client ``pid``.

        In that order nothing can have run: a wedged master would otherwise still hand on what it has queued.
        """
        if not self.endpoint.client.tells_outcome or "master session id" in _read(log):
            return
        if not master.kill_master(self.socket):
            return  # Its record is gone (mtr down): nobody can say that the session will not open yet.
        self._killed_wedged = True
        self.says(
            f"no answer from {self.endpoint.label} for {SESSION_DEADLINE_S:g} s; its sessions end, connecting anew"
        )
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def run_captured(
        self,
        remote_command: str,
        extra: Mapping[str, str] | None = None,
        *,
        stdin: bytes = b"",
        timeout_s: float | None = SCRIPT_TIMEOUT_S,
    ) -> Captured:
        """Run ``remote_command`` with the variables ``extra`` sent along; return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came.
        """
        found: list[Captured] = []

        def run_once(attach: list[str], _log: str) -> int:
            argv = [*attach, "-T", "--", self.destination, remote_command]
            found[:] = [self._capture(argv, extra or {}, stdin, timeout_s)]
            return found[0].status

        if not self.attempt(run_once).arrived:
            raise ConnectionLost(f"the line to {self.endpoint.label} broke", hint=f"mtr up -s {self.server.name}")
        return found[0]

    def _capture(
        self, argv: Sequence[str], extra: Mapping[str, str], stdin: bytes, timeout_s: float | None
    ) -> Captured:
        from mtr.process.captured import run_captured

        return run_captured(argv, stdin=stdin, env=self.build_environ(extra), timeout_s=timeout_s)


def parse_probe(text: str) -> dict[str, str]:
    """Return the facts in the output of ``probe.sh``, found among whatever rc files print."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "mtr-probe":
            facts.setdefault(words[1], words[2])
    return facts


def build_script_command(name: str, arguments: Sequence[str]) -> str:
    """Return the remote command line that runs ``shell/NAME`` with ``arguments``."""
    return build_remote_command("mtr-script", load_script(name), arguments)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
