"""A line: a :class:`Wire` on which commands run, in the foreground, ended with everything that they started.

Guarantees:

- A command starts at most once: a session is asked for again only when it provably never opened.
- No stray process: an interrupted run is ended on the server over a second session; one that was cut off is in the
  journal, and ended at the next contact.

Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import _signal
import os
import time

from mtr.errors import ConnectionLost, GateRefused, MtrError
from mtr.process.signals import Expired, Interrupted, signals_held
from mtr.ssh.foreground import LAST_WORDS_S, after, reset_terminal, run_foreground, stdio_restored
from mtr.ssh.gate import Command, GateCall, build_gate_call
from mtr.ssh.journal import entered, find_cut_off
from mtr.ssh.mux import Session
from mtr.ssh.outcome import Ended, Outcome
from mtr.ssh.wire import Wire
from mtr.state import read_log, remove_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.ssh.gate import Feed
    from mtr.ssh.through_ssh import SshSession


class Line(Wire):
    """Runs commands on the server at the other end."""

    _entry: entered | None = None

    def end_cut_off(self) -> None:
        """End on the server what is left of this machine's runs that were cut off: killed here, or by a lost line."""
        if found := find_cut_off(self.environ, self.facts.address):
            from mtr.ssh.leftovers import end_cut_off

            end_cut_off(self, found)

    def build_call(self, command: Command, push: str = "") -> GateCall:
        """Return ``command`` as it crosses the line to this server."""
        call = build_gate_call(command, self.facts.carrier, push)
        call.timeout_s = command.timeout_s
        call.feed = command.feed
        return call

    def prepare_call(self, command: Command, push: str = "") -> GateCall:
        """Return the call of ``command``, its payload stored on the server where no variable can carry it."""
        call = self.build_call(command, push)
        if call.upload:
            stored = self.run_script("remote/receive.sh", [call.run_id], stdin=call.upload)
            if stored.status != 0:
                words = stored.stderr.decode(errors="replace")
                message = f"{self.label}: the environment of the command cannot be stored; it did not start"
                raise GateRefused(message, detail=words, hint="free some space in the home directory there")
        return call

    def build_foreground_argv(self, call: GateCall, *, tty: bool, log: str = "") -> list[str]:
        """Return the argv of an ``ssh`` in the foreground, as ``--dry-run`` shows it."""
        start = self.build_logged_argv(log) if log else self.build_attach_argv()
        return [*start, "-tt" if tty else "-T", "--", self.destination, call.remote_command]

    def run_foreground(
        self,
        call: GateCall,
        *,
        tty: bool,
        meanwhile: Callable[[], None] | None = None,
        later: Callable[[], None] | None = None,
    ) -> int:
        """Run ``call`` on mtr's own stdio and return its exact status.

        ``meanwhile`` is done once the session has been asked for; ``later`` once it has run for a while.

        Raises:
            Interrupted: a signal ended mtr's run; nothing of it is left on the server.
            ConnectionLost: the session ended without a status; the command's fate is unknown.
        """
        run_once = self._run_on_terminal if tty else self._run_in_batch
        may_run = False

        def once() -> Ended:
            nonlocal may_run
            may_run = True
            ended = run_once(call, meanwhile or _nothing, later or _nothing)
            may_run = ended.has_opened and not ended.arrived
            return ended

        with entered(self.environ, self.facts.address, call.run_id, call.program) as self._entry:
            try:
                ended = self.attempt(once)
            finally:
                if not may_run:
                    self._entry.settle()
            if ended.arrived:
                return ended.status
        if tty:
            reset_terminal()
        raise self._build_lost(ended.words)

    def _run_in_batch(
        self, call: GateCall, meanwhile: Callable[[], None], later: Callable[[], None], *, terminal: str = ""
    ) -> Ended:
        """Run ``call`` on the descriptors of mtr, with a ``terminal`` of that type there or with none."""
        session = None
        with stdio_restored(tty=bool(terminal)):
            try:
                # A signal between the request and its handle would leave the command alone.
                with signals_held():
                    session = self._open_fed(call, terminal)
                if not terminal:
                    return self._see_through(session, call, meanwhile, later)
                from mtr.ssh.fallback.terminal import raw_terminal

                with raw_terminal(session.resize):
                    return self._see_through(session, call, meanwhile, later)
            except Interrupted as interrupted:
                if session is None and self._entry is not None:
                    self._entry.settle()
                if session is not None:
                    self._end_joined(session, call, interrupted.signum)
                raise
            finally:
                if session is not None:
                    session.close()
                if call.feed is not None:
                    call.feed.close()

    def _open_fed(self, call: GateCall, terminal: str) -> Session | SshSession:
        """Ask for the session of ``call`` on mtr's own descriptors, or on those of its feed."""
        ends = (0, 1, 2) if call.feed is None else call.feed.open()
        try:
            return self.open_session(call.remote_command, ends, call.environ, terminal=terminal)
        finally:
            for descriptor in ends:
                if descriptor > 2:
                    os.close(descriptor)

    def _see_through(
        self, session: Session | SshSession, call: GateCall, meanwhile: Callable[[], None], later: Callable[[], None]
    ) -> Ended:
        """Wait for the end of ``session``; do ``later`` if it still runs after the time in which most commands end."""
        started_s = time.monotonic()
        meanwhile()
        if call.feed is not None and self._leaves(session, call.feed, started_s):
            return Ended(0, Outcome.STATUS)
        if call.timeout_s is None:
            return self._see_out(session, started_s, later)
        with after(((call.timeout_s, lambda: _expire(call)),)):
            return self._see_out(session, started_s, later)

    def _leaves(self, session: Session | SshSession, feed: Feed, started_s: float) -> bool:
        """Let ``session`` go on by itself once its command needs nobody here; False where there is no such moment.

        What is still to be told to the command costs another round trip, for which nobody need wait: a channel takes
        stdin only after its command has been asked for (sshd opens it with a window of 0).
        """
        if session.is_over:
            return False
        held = session.fileno() if isinstance(session, Session) else None
        feed.begin(held)
        has_done = feed.has_done(lambda: self.look_after(session, time.monotonic() - started_s))
        return has_done and held is not None and not session.is_over

    def _see_out(self, session: Session | SshSession, started_s: float, later: Callable[[], None]) -> Ended:
        if later is not _nothing:
            while not session.is_over and (left_s := started_s + LATER_S - time.monotonic()) > 0:
                session.wait_for_news(left_s)
            if session.has_opened and not session.is_over:
                try:
                    later()
                except MtrError:
                    pass  # What is worth doing beside a command is not worth its end.
        return self.wait_for(session, started_s)

    def _end_joined(self, session: Session | SshSession, call: GateCall, signum: int) -> None:
        """End the run on the server, and let the master deliver its last words."""
        self.end_run(call.run_id, signum)
        end_s = time.monotonic() + LAST_WORDS_S
        while not session.is_over and (left_s := end_s - time.monotonic()) > 0:
            session.wait_for_news(left_s)

    def _run_on_terminal(self, call: GateCall, meanwhile: Callable[[], None], later: Callable[[], None]) -> Ended:
        if not self.facts.ssh:
            return self._run_in_batch(call, meanwhile, later, terminal=self.environ.get("TERM") or "dumb")
        log = self.new_log()
        argv = self.build_foreground_argv(call, tty=True, log=log)

        started_s, has_opened = time.monotonic(), not self.facts.tells_outcome

        def look(pid: int) -> None:
            nonlocal has_opened
            has_opened = has_opened or "master session id" in read_log(log)
            if not has_opened and self.is_wedged(time.monotonic() - started_s + 0.05):
                self.end_wedged()
                if self._killed_wedged:
                    os.kill(pid, _signal.SIGKILL)

        try:
            status = run_foreground(
                [*self.facts.binder, *argv],
                self.build_environ(call.environ),
                meanwhile=meanwhile,
                deadlines=(
                    (LATER_S, lambda _pid: later()),
                    *((float(at_s), look) for at_s in LOOKS_S),
                    *(() if call.timeout_s is None else ((call.timeout_s, lambda _pid: _expire(call)),)),
                ),
                on_interrupt=lambda signum: self.end_run(call.run_id, signum),
            )
            return self.read_outcome(status, log)
        finally:
            remove_file(log)

    def _build_lost(self, words: str) -> ConnectionLost:
        """Return the error for a session that opened and ended without a status."""
        from mtr.ssh.master import find_master

        hint = f"mtr up {self.server_name}: that ends what is left of it there, as the next run does"
        end_s = time.monotonic() + (0 if self.facts.ssh else GOES_WITHIN_S)
        while (answers := find_master(self.facts.socket) is not None) and time.monotonic() < end_s:
            time.sleep(0.05)
        if answers:
            message = f"the session on {self.label} ended without a status: closed with ~. or killed there"
            return ConnectionLost(message, hint=hint)
        kept = "\n".join(line for line in words.splitlines() if "mux_client_request_session" not in line)
        message = f"the line to {self.label} broke while the command ran; whether it has ended there is not known"
        return ConnectionLost(message, detail=kept, hint=hint)

    def end_run(self, run_id: str, signum: int) -> None:
        """End every process of the run on the server: the signal that mtr got, then TERM, then KILL."""
        half = len(run_id) // 2
        names = {"SIGINT": "INT", "SIGHUP": "HUP", "SIGQUIT": "QUIT"}
        known = {getattr(_signal, name, 0): short for name, short in names.items()}
        words = [run_id[:half], run_id[half:], known.get(signum, "TERM"), "20", ""]
        try:
            found = self.run_script("remote/reap.sh", words, timeout_s=20)
        except MtrError as error:
            self.says(f"could not end the run on {self.label}: {error.message}")
            return
        except Interrupted:
            self.says(
                f"what is left of the run on {self.label} ends with the next run there, or: mtr up {self.server_name}"
            )
            raise
        left = found.stdout.decode(errors="replace").strip()
        if left.startswith("left"):
            self.says(f"processes of the run that would not end on {self.label}: {left[5:]}")
        elif self._entry is not None and found.status == 0:
            self._entry.settle()

    def forget_run(self) -> None:
        """Note that the run under way will not start: the gate has been told so."""
        if self._entry is not None:
            self._entry.settle()

    def load_refusal(self, run_id: str) -> list[str]:
        """Return the lines that the gate left when it refused the run, [] if it did not refuse."""
        said = self.run_script("remote/refusal.sh", [run_id]).stdout.decode(errors="replace")
        # In front of the mark stands whatever an rc file prints.
        return said.partition("\nmtr-no\n")[2].splitlines()


LOOKS_S = (*range(1, 16), *range(20, 131, 10))
"""When a session on a terminal is looked after that has not opened."""

GOES_WITHIN_S = 1.0
"""A master by paramiko answers for a moment after it has lost its line."""

LATER_S = 0.7
"""Most commands end within this; what is worth doing only beside a longer one waits for it."""


def _nothing() -> None:
    pass


def _expire(call: GateCall) -> None:
    raise Expired(call.timeout_s or 0.0)
