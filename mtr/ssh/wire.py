"""Sessions on a master that stands already: started, fed, captured. What a warm run needs of ``ssh``.

Guarantees:

- What a session was to do is done at most once: it is asked for again only when it provably never opened.
- A session never logs in by itself: without its master it ends, having run nothing. Opening one anew is the
  work of ``sessions``, which is loaded only then.

Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import os
import time

from mtr.errors import ConnectionLost
from mtr.process import spawn
from mtr.process.piped import MAX_ANSWER_BYTES, Captured, open_input, read_all
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh.mux import Session
from mtr.ssh.outcome import Ended, Outcome, parse_outcome
from mtr.state import read_log, remove_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.ssh.facts import Facts
    from mtr.ssh.held import Held
    from mtr.ssh.line import Line
    from mtr.ssh.through_ssh import SshSession

    Says = Callable[[str], None]

SESSION_DEADLINE_S = 5.0
"""A session on a living connection opens within its round trips; after this, see whether it has."""

MOVED_BYTES = 1024
MOVED_WITHIN_S = 3.0
LONGEST_OPENING_S = 120.0
"""On a slow line a session opens behind what is under way; the questions of other runs to the master are shorter."""

ASK_EVERY_S = 20.0
MAX_UNANSWERED = 3
"""A master answers within milliseconds, whatever its line does; the line itself is watched by ssh's keepalive."""

DIES_WITHIN_S = 1.0
"""What a master takes at most that has lost its line."""

SCRIPT_TIMEOUT_S = 60.0


class Wire:
    """Starts sessions on the master that ``facts`` name.

    ``recover`` is called with the line, the end of a session that did not open, and how many in turn never opened; it
    leaves ``facts`` naming a master that takes sessions.
    """

    def __init__(
        self,
        facts: Facts,
        environ: Mapping[str, str],
        *,
        recover: Callable[[Line, Ended, int], None],
        says: Says | None = None,
    ) -> None:
        self.facts = facts
        self.environ = environ
        self.says = says or (lambda _line: None)
        self._recover = recover
        self._killed_wedged = False
        self._passed = (0.0, -1)

    @property
    def server_name(self) -> str:
        """The server's name in the configuration, or the destination given with ``-s``."""
        return self.facts.server_name

    @property
    def label(self) -> str:
        """Name and address, as errors show them: ``gpu-01 (dev@10.0.0.7:22)``; one where they are the same."""
        name, address = self.facts.server_name, self.facts.address
        return name if address in (name, f"{name}:22") else f"{name} ({address})"

    @property
    def destination(self) -> str:
        """What stands for the host in an argv that goes over this line."""
        return self.facts.destination

    # -- sessions

    def attempt(self, once: Callable[[], Ended]) -> Ended:
        """Do ``once`` until its session has opened, and return how it ended.

        Raises:
            ConnectError: no session opens.
        """
        failures = 0
        while True:
            ended = once()
            if ended.has_opened:
                return ended
            failures = 0 if ended.outcome is Outcome.REFUSED else failures + 1
            self.recover_from(ended, failures)

    def recover_from(self, ended: Ended, failures: int) -> None:
        """See that a master takes sessions, after one that ``failures`` times in turn has not opened.

        Raises:
            ConnectError: it cannot be had.
        """
        self._recover(self, ended, failures)  # type: ignore[arg-type]  # every one that is used is a Line

    def open_session(
        self,
        command: str,
        descriptors: Sequence[int],
        extra: Mapping[str, str] | None = None,
        *,
        subsystem: bool = False,
        terminal: str = "",
    ) -> Session | SshSession:
        """Start one session on ``descriptors``, sending ``extra`` along.

        ``command`` may name a ``subsystem``; ``terminal`` is for a master that has no ssh to stand in front.
        """
        facts = self.facts
        if facts.speaks_mux:
            sent = {**facts.pick_sent(self.environ), **(extra or {})}
            environ = [f"{name}={value}" for name, value in sent.items()]
            session = Session(
                facts.socket,
                command,
                environ,
                descriptors,
                forward_agent=facts.forward_agent,
                subsystem=subsystem,
                terminal=terminal,
            )
            if spawn.listener is not None:
                spawn.listener.opened(id(session), self.server_name, command)
            return session
        from mtr.ssh.through_ssh import SshSession

        return SshSession(self, command, descriptors, extra or {}, subsystem=subsystem)

    def build_attach_argv(self, *, plain: bool = False) -> list[str]:
        """Return the strict beginning of every session's argv: this master or nothing.

        ``plain`` leaves out what the user set for sessions.
        """
        facts = self.facts
        strict = ["-F", "none", "-S", facts.socket, "-o", "ControlMaster=no", "-o", "ProxyCommand=false"]
        return [facts.ssh, *strict, "-o", "LogLevel=ERROR", *(() if plain else facts.session_options)]

    def build_logged_argv(self, log: str, *, plain: bool = False) -> list[str]:
        """Return that beginning with the flags that keep ssh's words, and how the session ended, in ``log``."""
        verbose = ["-o", "LogVerbose=mux.c:mux_client_request_session():*"] if self.facts.tells_outcome else []
        return [*self.build_attach_argv(plain=plain), "-E", log, *verbose]

    def build_environ(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of ssh: XMODIFIERS goes to the server only as a carrier of mtr's own."""
        environ = {name: value for name, value in self.environ.items() if name != "XMODIFIERS"}
        environ.update(extra)
        return environ

    def new_log(self) -> str:
        """Return the path of a log for one session; whoever takes it removes it."""
        return f"{os.path.dirname(self.facts.socket)}/run.{os.getpid()}.{os.urandom(8).hex()}.log"

    def read_outcome(self, status: int, log: str) -> Ended:
        """Return how an ``ssh`` ended that left ``status`` and ``log``.

        Raises:
            ConnectionLost: it was killed here.
        """
        if status < 0 and "master session id" not in read_log(log) and self._killed_wedged:
            return Ended(255, Outcome.NEVER_OPENED)
        if status < 0:
            raise ConnectionLost(f"the ssh of this run was killed here by signal {-status}", hint="run it again")
        if status != 255 or not self.facts.tells_outcome:
            return Ended(status, Outcome.STATUS)
        words = read_log(log)
        return Ended(status, parse_outcome(words), words)

    def end_wedged(self, silence_s: float = SESSION_DEADLINE_S) -> None:
        """End a master on which a session does not open: it would otherwise still hand on what it has queued."""
        from mtr.ssh.master import kill_master

        if kill_master(self.facts.socket):
            self._killed_wedged = True
            then = "connecting anew" if silence_s == SESSION_DEADLINE_S else "this run's too"
            self.says(f"no answer from {self.label} for {silence_s:g} s; its sessions end, {then}")

    # -- scripts

    def run_script(
        self,
        name: str,
        arguments: Sequence[str] = (),
        *,
        stdin: bytes = b"",
        extra: Mapping[str, str] | None = None,
        timeout_s: float = SCRIPT_TIMEOUT_S,
    ) -> Captured:
        """Run ``shell/NAME`` on the server with ``arguments`` and return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came.
        """
        command = build_remote_command("mtr-script", load_script(name), arguments)
        return self.run_captured(command, stdin=stdin, extra=extra, timeout_s=timeout_s)

    def run_captured(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        extra: Mapping[str, str] | None = None,
        timeout_s: float | None = SCRIPT_TIMEOUT_S,
        limit_bytes: int | None = MAX_ANSWER_BYTES,
    ) -> Captured:
        """Run one remote command line and return its status and output; raises as :meth:`run_script`."""
        streams: list[bytes] = []

        def once() -> Ended:
            ended, streams[:] = self._capture(command, stdin, extra, timeout_s, limit_bytes)
            return ended

        ended = self.attempt(once)
        if not ended.arrived:
            raise ConnectionLost(f"the line to {self.label} broke", hint=f"mtr up -s {self.server_name}")
        return Captured(ended.status, streams[0], streams[1])

    def _capture(
        self,
        command: str,
        stdin: bytes,
        extra: Mapping[str, str] | None,
        timeout_s: float | None,
        limit_bytes: int | None,
    ) -> tuple[Ended, list[bytes]]:
        source = open_input(stdin)
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        session = self.open_session(command, (source, out_end, err_end), extra)
        for descriptor in (source, out_end, err_end):
            os.close(descriptor)
        started_s = time.monotonic()

        def look() -> None:
            waited_s = time.monotonic() - started_s
            self.look_after(session, waited_s)
            if timeout_s is not None and waited_s > timeout_s:
                raise ConnectionLost(
                    f"{self.label} did not answer within {timeout_s:g} s", hint=f"mtr down -s {self.server_name}"
                )

        try:
            streams = read_all((out, err), 0.5, look, limit_bytes)
        except BaseException:
            session.close()
            raise
        return self.wait_for(session, started_s), streams

    def try_script(self, name: str, arguments: Sequence[str], *, timeout_s: float) -> bool:
        """Run ``shell/NAME`` beside what runs, if that can be done without touching anything; tell whether it left 0.

        Neither is a master opened for it nor is one ended that does not answer.
        """
        (source, unused), null = os.pipe(), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.close(unused)
        command = build_remote_command("mtr-script", load_script(name), arguments)
        session = self.open_session(command, (source, null, null))
        os.close(source)
        os.close(null)
        end_s = time.monotonic() + timeout_s
        while not session.is_over and (left_s := end_s - time.monotonic()) > 0:
            session.wait_for_news(left_s)
        ended = session.end()
        return ended.arrived and ended.status == 0

    def run_fed(self, command: str, feed: Callable[[Callable[[bytes], None]], None]) -> Captured:
        """Run one remote command line, whose stdin is what ``feed`` writes; return its status and output.

        Raises:
            ConnectionLost: the line broke before a status came.
        """
        streams: list[bytes] = []

        def once() -> Ended:
            ended, streams[:] = self._feed(command, feed)
            return ended

        ended = self.attempt(once)
        if not ended.arrived:
            raise ConnectionLost(f"the line to {self.label} broke", hint=f"mtr up -s {self.server_name}")
        return Captured(ended.status, streams[0], streams[1])

    def _feed(self, command: str, feed: Callable[[Callable[[bytes], None]], None]) -> tuple[Ended, list[bytes]]:
        held = self.hold(command)
        try:
            held.feed(feed)
            return held.finish()
        finally:
            held.close()

    def hold(self, command: str, *, subsystem: bool = False) -> Held:
        """Start a session whose stdin and output stay with mtr."""
        from mtr.ssh.held import Held

        return Held(self, command, subsystem=subsystem)

    def look_after(self, session: Session | SshSession, waited_s: float) -> None:
        """See at the deadline whether ``session`` has opened; end its master if it has not, and its line is silent."""
        if not session.is_over and not session.has_opened:
            session.wait_for_news(0.0005)
        if session.is_over or session.has_opened:
            return
        if self.is_wedged(waited_s):
            self.end_wedged()

    def is_wedged(self, waited_s: float) -> bool:
        """Tell whether a session that has not opened for ``waited_s`` never will; to be asked about once a second.

        Where bytes still pass through the master, the line is slow and busy, and ending it would end what they are of.
        """
        from mtr.ssh.master import read_passed_bytes

        passed, now_s = read_passed_bytes(self.facts.socket), time.monotonic()
        if passed - self._passed[1] > MOVED_BYTES:
            # The first look only counts.
            self._passed = (now_s if self._passed[1] >= 0 else 0.0, passed)
        is_moving = now_s - self._passed[0] < MOVED_WITHIN_S
        return waited_s > SESSION_DEADLINE_S and (not is_moving or waited_s > LONGEST_OPENING_S)

    def wait_for(self, session: Session | SshSession, started_s: float) -> Ended:
        """Wait for the end of ``session``, which was asked for at ``started_s`` of the monotonic clock.

        A master that does not answer ``MAX_UNANSWERED`` times in turn while a command runs is ended: it would never
        tell.
        """
        unanswered = 0
        while not session.is_over:
            opens_s = started_s + SESSION_DEADLINE_S - time.monotonic()
            if session.wait_for_news(ASK_EVERY_S if session.has_opened else max(0.5, min(1.0, opens_s))):
                unanswered = 0
            elif session.has_opened:
                unanswered = 0 if self._answers() else unanswered + 1
                if unanswered == MAX_UNANSWERED:
                    self.end_wedged(MAX_UNANSWERED * ASK_EVERY_S)
            else:
                self.look_after(session, time.monotonic() - started_s + 0.05)
        ended = session.end()
        if spawn.listener is not None:
            spawn.listener.ended(id(session), ended.status)
        if ended.arrived and self.facts.socket and self._has_lost_master(has_drained=session.has_drained):
            return Ended(255, Outcome.NO_STATUS, "the connection broke before all of the output had come")
        return ended

    def _has_lost_master(self, *, has_drained: bool) -> bool:
        """Tell whether the master has died, and was not closed: it tells a status before all output is written.

        With ``has_drained`` there was output to write, and the master may be dying just now: it lets go of its sessions
        first, then of its socket.
        """
        has_socket = os.path.exists(self.facts.socket)
        if has_socket and not has_drained:
            return False
        from mtr.process.tree import has_ended
        from mtr.ssh.master import find_master, load_record

        if has_socket and find_master(self.facts.socket) is not None:
            return False
        record = load_record(self.facts.socket)  # ``mtr down`` has removed it
        if record is None or not os.path.exists("/proc/self"):
            return False
        end_s = time.monotonic() + (DIES_WITHIN_S if has_drained else 0.0)
        while not has_ended(record.pid) and time.monotonic() < end_s:
            time.sleep(0.01)
        return has_ended(record.pid)

    def _answers(self) -> bool:
        """Tell whether the master answers; one that takes no more sessions (``mtr down``) cannot be asked."""
        if not self.facts.speaks_mux or not os.path.exists(self.facts.socket):
            return True
        from mtr.ssh.master import find_master

        return find_master(self.facts.socket) is not None

    # -- rsync

    def attempt_rsync(self, run_once: Callable[[str], int]) -> int:
        """Run rsync once its session opens: ``run_once`` takes the value of ``-e`` and returns rsync's status.

        rsync passes on the 255 of its ssh, so a session that never opened is tried again as any other.
        """
        from mtr.ssh.leftovers import collect_files

        collect_files(self.environ)

        def once() -> Ended:
            log = self.new_log()
            try:
                status = run_once(" ".join([*self.build_logged_argv(log, plain=True), "-T"]))
                return Ended(status, Outcome.STATUS) if status < 0 else self.read_outcome(status, log)
            finally:
                remove_file(log)

        return self.attempt(once).status

    def rsync_shell(self) -> str:
        """Return the remote shell for rsync's ``-e``, as ``--dry-run`` shows it."""
        return " ".join([*self.build_attach_argv(plain=True), "-T"])
