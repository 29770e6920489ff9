"""One server, examined over the connection that a run would use."""

from __future__ import annotations

import os
import shlex
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from mtr.doctor.capacity import TRIES, count_sessions
from mtr.doctor.check import FAIL, Finding, Skipped, fail, fail_with, ok, warn
from mtr.doctor.facts import ServerFacts, parse_facts
from mtr.doctor.keys import check_key_files
from mtr.doctor.remedies import render_sshd_line, render_there
from mtr.doctor.verdicts import Verdicts
from mtr.errors import EXIT_FAILURE, ConnectionRefused, ConnectionTimeout, MtrError
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh.gate import Command, new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server
    from mtr.doctor.check import Ward
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.endpoint import Endpoint
    from mtr.ssh.sessions import Sessions
    from mtr.voice import Voice

SESSION_S = 10.0
"""For what takes a moment; where an rc file waits for something, longer makes no difference."""

LOGIN_S = 20.0
LOGIN_MORE_S = 15.0
"""For the login, and for each address that may be tried: ConnectTimeout is 10 s unless the user has set another."""

NEW_LOGIN_S = 15.0

FEW_SESSIONS = 4
"""A run takes one, a sync beside it another, and so does an interrupt; the rest is for runs at the same time."""

_RC_FILES = {
    "bash": ".bashrc",
    "zsh": ".zshenv",
    "fish": ".config/fish/config.fish",
    "tcsh": ".tcshrc",
    "csh": ".cshrc",
}


class Examination:
    """The checks of one server in their order, and what they have found so far.

    ``remote_dir`` is the project's directory there. ``may_prompt`` lets the login ask on the terminal.
    """

    def __init__(
        self, server: Server, remote_dir: str, environ: Mapping[str, str], voice: Voice, *, may_prompt: bool
    ) -> None:
        self.server = server
        self._remote_dir = remote_dir
        self._environ = environ
        self._voice = voice
        self._may_prompt = may_prompt
        self._candidates: list[Sessions] = []
        self._connection: BaseConnection | None = None
        self._login: Finding | None = None
        self._facts = ServerFacts()
        self._asked_s = (0.0, 0.0)
        self._printed = (b"", b"")
        self._new_login: Finding | None = None
        self._logging_in: threading.Thread | None = None

    # -- the order

    def run(self, ward: Ward) -> None:
        """Make all checks."""
        ward.make("ssh-config", lambda: self._resolve(ward))
        ward.make("keys", self._check_keys, needs="ssh-config")
        ward.make("name", self._check_name, needs="ssh-config", limit_s=45.0)
        ward.make("port", lambda: self._check_port(ward), needs="name")
        ward.make("login", self._check_login, needs="port")
        if self._connection is not None and self._connection.facts.system:
            ward.make("system", self._name_windows)
            return
        ward.make("session", self._check_session, needs="login")
        ward.make("output", self._check_output, needs="session")
        ward.make("system", self._ask, needs="session")
        ssh = self._render_ssh().removesuffix(" true")
        verdicts = Verdicts(self.server.name, self._remote_dir, self._facts, *self._asked_s, ssh=ssh)
        for name, look in verdicts.list_checks():
            ward.make(name, look, needs="system")
        ward.make("sessions", self._check_sessions, needs="session", limit_s=25.0)
        ward.make("run", self._check_run, needs="session", limit_s=25.0)
        for key in ("python", "pre_cmd"):
            if value := getattr(self.server, key):
                ward.make(key, partial(self._check_prepared, key, value), needs="run", limit_s=75.0)
        # Last: its session ends a moment after it is let go of, and would count among those that are open.
        ward.make("sftp", self._check_sftp, needs="session")
        ward.make("new-login", self._check_new_login, needs="login")

    # -- the way there

    def _resolve(self, ward: Ward) -> Finding:
        from mtr.ssh.connection import can_share, explain_fallback, list_candidates

        if (why := explain_fallback(self.server, self._environ)) and not can_share():
            return ok(f"read by mtr: {why}, and each run logs in by itself")
        self._candidates = list_candidates(
            self.server, self._environ, may_prompt=self._may_prompt, says=self._voice.say
        )
        addresses = ", ".join(sessions.endpoint.address for sessions in self._candidates)
        ward.title = self._candidates[0].endpoint.label
        if self._candidates[1:]:
            ward.title = f"{self.server.name} ({addresses})"
        if why:
            return ok(f"read by mtr: {why}")
        found = [danger for sessions in self._candidates for danger in self._list_dangers(sessions.endpoint)]
        if found:
            return warn("\n".join(dict.fromkeys(found)), "${EDITOR:-vi} ~/.ssh/config")
        return ok(addresses)

    def _list_dangers(self, endpoint: Endpoint) -> list[str]:
        from mtr.ssh.dangers import list_dangers
        from mtr.ssh.endpoint import query_ssh
        from mtr.ssh.options import parse_query

        answer = query_ssh(self.server, endpoint.destination, endpoint.client, self._environ)
        return list_dangers(parse_query(answer))

    def _check_keys(self) -> Finding:
        from mtr.ssh.options import has_password

        by_password = has_password(self.server) and not self.server.key_filename
        if by_password or not self._candidates or not self._candidates[0].endpoint.client.path:
            raise Skipped
        paths = dict.fromkeys(path for sessions in self._candidates for path in sessions.endpoint.key_files)
        return check_key_files(paths, self._environ)

    def _check_name(self) -> Finding:
        """Look the name up as ssh does; what lies behind a jump host is looked up there."""
        if not self._candidates:
            raise Skipped
        findings = [self._look_up(sessions) for sessions in self._candidates]
        bad = [finding for finding in findings if finding.state == FAIL]
        if len(bad) == len(findings) and not self._is_open():
            return bad[0]
        return warn(bad[0].found, bad[0].remedy) if bad else findings[0]

    def _look_up(self, sessions: Sessions) -> Finding:
        host, _, port = sessions.endpoint.address.rpartition("@")[2].rpartition(":")
        if not sessions.is_direct:
            return ok(f"{host}: looked up on the way, behind a jump host")
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            where = f"see `host` of {self.server.name}, or its Host block in ~/.ssh/config"
            return fail(f"{host} does not resolve: {reason}; {where}", f"getent hosts {shlex.quote(host)}")
        addresses = ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))
        return ok(addresses if addresses == host else f"{host} is {addresses}")

    def _is_open(self) -> bool:
        """Tell whether a connection stands already, which needs no name any more."""
        from mtr.ssh.master import find_master

        return any(find_master(sessions.socket) is not None for sessions in self._candidates)

    def _check_port(self, ward: Ward) -> Finding:
        """Connect and log in, as a run does; tell what of that is the way there."""
        from mtr.ssh.connection import connect

        was_open = self._is_open()
        limit_s = None if self._may_prompt else LOGIN_S + LOGIN_MORE_S * max(1, len(self.server.hosts))
        ward.announce("login", limit_s, self._render_ssh("-v"))
        started_s = time.monotonic()
        try:
            connection = connect(self.server, self._environ, may_prompt=self._may_prompt, says=self._voice.say)
            connection.ensure_alive()
        except (ConnectionRefused, ConnectionTimeout):
            raise
        except MtrError as error:
            self._login = fail_with(error)
            return ok("answers")
        took_s = time.monotonic() - started_s
        self._connection = connection
        how = "was open already" if was_open else f"{self._name_method()}, in {took_s:.2f} s"
        self._login = ok(f"{connection.facts.address}, {how}")
        self._begin_new_login(connection)
        return ok(f"{connection.facts.address.rpartition('@')[2]} answers")

    def _name_method(self) -> str:
        from mtr.ssh.options import has_password

        if has_password(self.server):
            return "with the password of the configuration"
        return "logged in" if self._may_prompt else "logged in without asking"

    def _check_login(self) -> Finding:
        if self._login is None:
            raise Skipped
        return self._login

    def _name_windows(self) -> Finding:
        system = self._connected.facts.system
        return ok(f"Windows ({system}): files go over SFTP, and nothing else is tried there")

    @property
    def _connected(self) -> BaseConnection:
        if self._connection is None:
            raise MtrError("there is no connection")
        return self._connection

    # -- sessions

    def _check_session(self) -> Finding:
        """Run ``true`` over the open connection, twice: the first may find it cold."""
        times = []
        for _ in range(2):
            started_s = time.monotonic()
            found = self._connected.run_captured("true", timeout_s=SESSION_S)
            times.append(time.monotonic() - started_s)
            self._printed = (found.stdout, found.stderr)
            if found.status != 0:
                words = (found.stdout + found.stderr).decode(errors="replace")[:400]
                remedy = render_there(self.server.name, "echo $SHELL")
                return fail(f"`true` ended with status {found.status} there\n{words}".rstrip(), remedy)
        return ok(f"`true` takes {min(times) * 1000:.0f} ms over the open connection")

    def _check_output(self) -> Finding:
        """See that a command that prints nothing prints nothing: what rc files print, rsync takes for its answer."""
        out, err = self._printed
        if not out and not err:
            return ok("`ssh HOST true` prints nothing")
        stream, data = ("stdout", out) if out else ("stderr", err)
        shown = repr(data[:60].decode(errors="replace"))
        words = f"`ssh HOST true` prints {len(data):,} bytes to {stream}: {shown}{'…' if len(data) > 60 else ''}"
        if not out:
            return self._blame_rc_file(warn, f"{words}; it stands in the stderr of every command")
        return self._blame_rc_file(fail, f"{words}; it breaks rsync, scp and the output of every command")

    def _blame_rc_file(self, judge: Callable[[str, str], Finding], words: str) -> Finding:
        """Return the finding with the file of the login shell that is read without a terminal as well."""
        found = self._connected.run_captured("echo $SHELL", timeout_s=SESSION_S).stdout.decode(errors="replace")
        shell = os.path.basename(found.strip().splitlines()[-1]) if found.strip() else ""
        file = _RC_FILES.get(shell, ".profile")
        advice = f"in ~/{file}, put `[ -t 1 ] &&` in front of what prints"
        return judge(f"{words}\n{advice}", render_there(self.server.name, f"vi ~/{file}"))

    def _begin_new_login(self, connection: BaseConnection) -> None:
        """Log in once more, beside the connection: what a run has to do when that has gone."""
        from mtr.ssh.new_login import log_in_anew
        from mtr.ssh.options import has_password

        if not connection.facts.ssh or has_password(self.server):
            return  # Nobody answers what it asks.
        endpoint = next(s.endpoint for s in self._candidates if s.endpoint.address == connection.facts.address)

        def log_in() -> None:
            try:
                found = log_in_anew(endpoint, self._environ, connection.facts.binder, NEW_LOGIN_S)
            except MtrError as error:
                words = "asking nobody, it does not work once the open connection has gone"
                detail = (error.detail or error.message).strip("\n")
                self._new_login = warn(f"{words}\n{detail}", f"mtr up {shlex.quote(self.server.name)}")
                return
            method = f"by {found.method}, " if found.method else ""
            self._new_login = ok(f"{method}{found.took_s:.2f} s with one command")

        self._logging_in = threading.Thread(target=log_in, daemon=True)
        self._logging_in.start()

    def _check_new_login(self) -> Finding:
        if self._logging_in is not None:
            self._logging_in.join()
        if self._new_login is None:
            raise Skipped
        return self._new_login

    def _render_ssh(self, *flags: str) -> str:
        """Return the ssh that runs ``true`` there, to be typed; "" where there is none."""
        from mtr.ssh.diagnosis import render_ssh

        endpoint = self._candidates[0].endpoint if self._candidates else None
        return render_ssh(endpoint, *flags) if endpoint and endpoint.client.path else ""

    def _check_sftp(self) -> Finding:
        from mtr.ssh.sftp import SftpLost, open_sftp

        try:
            with open_sftp(self._connected):
                return ok("answers")
        except SftpLost as error:
            line = "Subsystem sftp internal-sftp"
            is_silent = not any(self._printed)
            remedy = render_sshd_line(self.server.name, line, is_root=self._facts.is_root) if is_silent else error.hint
            return fail(f"{error.message}, which `mtr get` needs\n{error.detail}", remedy)

    def _check_sessions(self) -> Finding:
        if not self._connected.facts.socket:
            raise Skipped  # Each run has a login of its own.
        count = count_sessions(self._connected)
        if count < TRIES:
            # The session before may have been closing still.
            count = max(count, count_sessions(self._connected))
        if count < FEW_SESSIONS:
            line = f"MaxSessions {TRIES}"
            words = f"only {count} at once over one connection; each run beyond that logs in anew"
            return warn(words, render_sshd_line(self.server.name, line, is_root=self._facts.is_root))
        return ok(f"{count} at once over one connection" + (", and perhaps more" if count == TRIES else ""))

    # -- what the server says of itself

    def _ask(self) -> Finding:
        remote_dir, probe = self._remote_dir, {"LC_MTR_PROBE": "1", "XMODIFIERS": "mtr-probe"}
        command = build_remote_command("mtr-script", load_script("remote/doctor.sh"), (remote_dir, new_run_id()))
        started_s = time.time()
        found = self._connected.run_captured(command, extra=probe, timeout_s=SESSION_S)
        self._asked_s = (started_s, time.time())
        facts = parse_facts(found.stdout.decode(errors="replace"))
        if facts is None:
            words = found.stderr.decode(errors="replace")[:400]
            found_words = f"the questions of doctor came to no end there (status {found.status})\n{words}"
            return fail(found_words.rstrip(), self._render_run())
        self._facts = facts
        return ok(f"{facts.system or 'unknown'}, as {facts.user or 'somebody'}")

    # -- a run

    def _check_run(self) -> Finding:
        """Run through the gate as a run does: `true`, then text that prints a variable sent along and leaves 7."""
        status, _ = self._run_there(["true"], is_text=False)
        if status != 0:
            return fail(f"`true` ended with status {status}", self._render_run())
        word = os.urandom(4).hex()
        status, out = self._run_there(['printf %s "$MTR_DOCTOR"; exit 7'], is_text=True, env={"MTR_DOCTOR": word})
        if status != 7:
            return fail(f"`exit 7` ended with status {status}", render_there(self.server.name, "exit 7"))
        if not out.endswith(word.encode()):
            return fail(
                "a variable of the environment did not arrive",
                self._render_run("-e A=b", "printenv A"),
            )
        return ok("`true` leaves 0, `exit 7` leaves 7, the environment arrives")

    def _check_prepared(self, key: str, value: str) -> Finding:
        """Run `true` behind what the configuration has in front of every command; its directory is not made."""
        place = self._remote_dir if self._facts.is_there else "~"
        python, pre_cmd = (value, "") if key == "python" else ("", value)
        status, _ = self._run_there(["true"], is_text=False, place=place, python=python, pre_cmd=pre_cmd)
        if status != 0:
            return fail(f"`true` after it ended with status {status}", self._render_run())
        return ok(f"{value} is there" if key == "python" else f"ends well in {place}")

    def _render_run(self, option: str = "-vv", words: str = "true") -> str:
        """Return the run on this server that shows more of what has failed; -vv: every program of it."""
        return f"mtr {option} -s {shlex.quote(self.server.name)} --no-sync {words}"

    def _run_there(
        self,
        words: list[str],
        *,
        is_text: bool,
        env: Mapping[str, str] | None = None,
        place: str = "~",
        pre_cmd: str = "",
        python: str = "",
    ) -> tuple[int, bytes]:
        """Return the status and the stdout of a run in ``place``; where the gate refuses, its reason is raised."""
        from mtr.ssh.diagnosis import build_refusal

        shell = self.server.shell
        command = Command(
            new_run_id(),
            tuple(words),
            is_text=is_text,
            remote_dir=place,
            shell=shell,
            pre_cmd=pre_cmd,
            python=python,
            env=env,
        )
        connection = self._connected
        found = connection.run(command, timeout_s=60.0 if pre_cmd or python else SESSION_S)
        if found.status == EXIT_FAILURE and (refusal := connection.load_refusal(command.run_id)):
            raise build_refusal(self.server.name, command, refusal)
        return found.status, found.stdout
