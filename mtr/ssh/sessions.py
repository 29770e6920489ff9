"""The masters of one endpoint: opened when a session needs one, multiplied when sshd refuses more sessions.

Guarantees:

- A master is opened apart from any command; a session without one ends, and never logs in by itself.
- A wedged master is killed before its client: it would otherwise still hand on what it has queued.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from mtr.errors import AuthenticationFailed, ConnectError, LoginShellBroken
from mtr.process.captured import build_binder
from mtr.ssh import master, options
from mtr.ssh.diagnosis import render_ssh
from mtr.ssh.facts import Facts
from mtr.ssh.known_hosts import find_keys
from mtr.ssh.leftovers import collect_files
from mtr.ssh.line import Line
from mtr.ssh.login import choose_helper
from mtr.ssh.outcome import Ended, Outcome
from mtr.ssh.windows import PROBE, parse_shell
from mtr.state import LOCK_TIMEOUT_S, ensure_runtime_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server
    from mtr.ssh.endpoint import Endpoint

    Says = Callable[[str], None]

MAX_MASTERS = 8
"""Masters of one key. With sshd's default of ten sessions each that is eighty runs at once."""


class Sessions:
    """Finds a master for sessions to one endpoint, whichever of its masters takes them."""

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

    @property
    def socket(self) -> str:
        """The socket of the master in use."""
        return master.build_socket_path(self._runtime_dir, self.endpoint.key, self._slot)

    @property
    def is_direct(self) -> bool:
        """Whether no other host is logged in to on the way, and no program stands there."""
        return not self.endpoint.has_jump

    def ensure_open(self) -> None:
        """Open the master unless its socket stands; whether it still answers, the session will tell."""
        record = master.load_record(self.socket)
        if not (os.path.exists(self.socket) and record is not None and record.is_learnt):
            self._open()

    def ensure_alive(self) -> None:
        """Make sure that the master answers now; open it anew if it does not."""
        self._open()

    def recover(self, line: Line, ended: Ended, failures: int) -> None:
        """Let ``line`` go on over a master that takes sessions: see :class:`Line`.

        Raises:
            ConnectError: there is none, and none can be opened.
        """
        if ended.outcome is Outcome.REFUSED:
            self._slot = self._slot_of(line.facts.socket) + 1
            self._ensure_slot()
            self.ensure_open()
        elif failures > 1:
            hint = f"mtr down -s {self.server.name}; mtr up -s {self.server.name}"
            raise ConnectError(f"no session opens on {self.endpoint.label}", detail=ended.words, hint=hint)
        else:
            self._slot = self._slot_of(line.facts.socket)
            self._open()
        line.facts = self.build_facts()

    def _slot_of(self, socket: str) -> int:
        """Return the number of the master on ``socket``; a socket of other options counts as the first."""
        key, _, slot = os.path.basename(socket).rpartition(".")
        return int(slot) if key == self.endpoint.key and slot.isdigit() else 0

    def _ensure_slot(self) -> None:
        """Refuse more masters than make sense.

        Raises:
            ConnectError: sshd has refused another session on all of them.
        """
        if self._slot >= MAX_MASTERS:
            raise ConnectError(
                f"{self.endpoint.label} refuses more sessions on all {MAX_MASTERS} connections",
                hint="wait for runs to end, or raise MaxSessions in sshd_config there",
            )

    def _open(self) -> None:
        collect_files(self._environ)
        wait_s = None if self._may_prompt else LOCK_TIMEOUT_S
        master.ensure_master(
            self.endpoint, self.socket, start=self._start, learn=self._learn, says=self.says, timeout_s=wait_s
        )

    def _start(self) -> None:
        """Open the master of the endpoint on the socket in use, and say what key a new server has."""
        from mtr.config.passwords import load_password

        found, password = self.endpoint, load_password(self.server, self._environ)
        known = find_keys(found.known_hosts, found.known_name)
        try:
            master.open_by_ssh(found, self.socket, password, self._environ, may_prompt=self._may_prompt)
        except AuthenticationFailed as error:
            if password is not None and "Permission denied" in error.detail:
                error.detail += "\nthe password of the configuration was among what was refused"
            raise
        finally:
            # Also where the login has failed: ssh has stored it by then, and will not mention it again.
            for key in find_keys(found.known_hosts, found.known_name) if not known else ():
                self.says(f"the host key of {found.label} is new and was stored in {key.file}: {key.fingerprint}")

    def _learn(self) -> None:
        """Learn once per master what the server takes, and that its login shell runs what it is given."""
        line = Line(self.build_facts(), self._environ, recover=_give_up)
        carriers = {"LC_MTR_PROBE": "1", "XMODIFIERS": "mtr-probe"}
        found = line.run_script("remote/probe.sh", extra=carriers)
        facts = parse_probe(found.stdout.decode(errors="replace"))
        if "start" not in facts and (shell := parse_shell(line.run_captured(PROBE).stdout.decode(errors="replace"))):
            facts = {"start": "1", "system": shell}
        if "start" not in facts:
            master.kill_master(self.socket)
            raise LoginShellBroken(
                f"{self.endpoint.label}: the login works, but the login shell ran nothing (status {found.status})",
                detail=(found.stdout + found.stderr).decode(errors="replace"),
                hint="look for an exit or exec in the rc files there, or for a forced command: "
                f"{render_ssh(self.endpoint)}; echo $?",
            )
        record = master.load_record(self.socket)
        if record is not None:
            learnt = replace(
                record,
                payload=facts.get("payload", "file"),
                stat=facts.get("stat", ""),
                archive=facts.get("archive", "") + ("64" if "archive64" in facts else ""),
                rsync="rsync" in facts,
                system=facts.get("system", ""),
                is_learnt=True,
            )
            master.write_record(self.socket, learnt)

    def build_facts(self) -> Facts:
        """Return what a line needs to know of the master in use."""
        record = master.load_record(self.socket)
        endpoint = self.endpoint
        return Facts(
            server_name=endpoint.server_name,
            address=endpoint.address,
            destination=endpoint.destination,
            socket=self.socket,
            ssh=endpoint.client.path,
            tells_outcome=endpoint.client.tells_outcome,
            session_options=endpoint.session_options,
            send_env=endpoint.send_env,
            forward_agent=endpoint.forwards == "agent",
            speaks_mux=endpoint.forwards != "more",
            carrier=record.payload if record else "file",
            stat=record.stat if record else "",
            archive=record.archive if record else "",
            binder=build_binder("TERM"),
            rsync=record.rsync if record else False,
            system=record.system if record else "",
        )

    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the master, as ``--dry-run`` shows it; [] where one stands."""
        if os.path.exists(self.socket):
            return []
        asks = options.has_password(self.server)
        found = self.endpoint
        argv = options.build_master_argv(
            found.client, found.config, found.explicit, found.destination, self.socket, may_prompt=asks
        )
        is_typed = asks and choose_helper(found, self._environ) == "sshpass"
        return [["sshpass", "-d", "FD", "nohup", *argv] if is_typed else argv]


_ANSWERS = {
    "payload": ("LC_MTR", "XMODIFIERS"),
    "stat": ("c", "f"),
    "rsync": ("yes",),
    "archive": ("tar",),
    "archive64": ("yes",),
}
"""What ``probe.sh`` can say."""


def _give_up(line: Line, ended: Ended, failures: int) -> None:
    """A master that was opened this moment and takes no session is broken."""
    if failures > 2 or ended.outcome is Outcome.REFUSED:
        raise ConnectError(f"no session opens on {line.label}", detail=ended.words, hint=f"ssh {line.destination} true")


def parse_probe(text: str) -> dict[str, str]:
    """Return the facts in the output of ``probe.sh``, found among whatever rc files print in front of it."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if words == ["mtr-probe", "start", "1"]:
            facts = {"start": "1"}
        elif len(words) == 3 and words[0] == "mtr-probe" and words[2] in _ANSWERS.get(words[1], ()):
            facts.setdefault(words[1], words[2])
    return facts
