"""A run, from the parsed command line to the exit status: route, delivery, command.

The one page that puts the layers together. What a warm run does not need is imported where it is: making a route
(configuration, ssh's own answer, opening a master), comparing everything, rsync.
"""

from __future__ import annotations

import os
import sys
import time

from mtr.errors import EXIT_FAILURE, MtrError, SyncError
from mtr.process.signals import Expired
from mtr.route import Route, load_route
from mtr.ssh.gate import Command, new_run_id
from mtr.ssh.line import Line
from mtr.sync.delivery import Delivery
from mtr.sync.manifest import find_manifest
from mtr.sync.plan import TRANSPORTS, Push, TreeMoved, TreeRefused
from mtr.sync.result import SyncResult
from mtr.voice import Voice, clear_line, render_bytes, render_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn, TypeVar

    from mtr.command_line import Invocation
    from mtr.ssh.outcome import Ended
    from mtr.sync.base import Transfer

    T = TypeVar("T")

MAX_ROUNDS_S = 90.0
"""How long a run starts over when others change the tree there at the same time."""


def expand(
    arguments: Sequence[str], invocation: Invocation, environ: Mapping[str, str]
) -> tuple[Invocation, Route | None]:
    """Return what ``arguments``, parsed as ``invocation``, mean with the configuration's aliases; and the kept route.

    Raises:
        MtrError: no route is kept, and the configuration is wrong.
    """
    if invocation.forced:
        return invocation, None
    route = load_route(invocation, environ)
    aliases = route.aliases if route is not None else _load_aliases(invocation, environ)
    if invocation.words[0] not in aliases:
        return invocation, route
    from mtr.aliases import expand_alias

    # Its options may lead to another server: the route is then another, too.
    return expand_alias(arguments, invocation, aliases), None


def _load_aliases(invocation: Invocation, environ: Mapping[str, str]) -> Mapping[str, str]:
    from mtr.names import load_names

    return load_names(invocation.directory, environ).aliases


def run(invocation: Invocation, environ: Mapping[str, str], *, route: Route | None = None) -> int:
    """Do what ``mtr CMD`` means and return the status for mtr to exit with; ``route`` is the kept one, if known.

    Raises:
        MtrError: mtr itself failed; the command did not start, or its fate is unknown and the error says so.
    """
    if invocation.dry_run:
        from mtr.dry_run import dry_run

        return dry_run(invocation, environ, tty=wants_tty(invocation))
    voice = Voice(quiet=invocation.quiet)
    tty = wants_tty(invocation)
    if invocation.detach:
        from mtr.job_start import run_detached

        return run_detached(invocation, environ, voice, route=route)
    pull = None
    if invocation.pull or invocation.get:
        from mtr.pull import plan_pull

        pull = plan_pull(invocation, environ, voice)
    route, line = open_line(invocation, environ, voice, may_prompt=tty, route=route)
    if invocation.alias:
        voice.detail(f"alias {invocation.alias}")
    try:
        status = _run_there(route, line, invocation, environ, voice, tty=tty)
    except Expired as expired:
        if pull is not None:
            pull.after(expired.exit_status, line)
        raise
    voice.note(by="command")
    voice.show_end(invocation.words, status, line.server_name, tty=tty)
    if pull is not None:
        status = pull.after(status, line)
    if tty and voice.is_interactive and invocation.check_update:
        from mtr.update import tell_of_update

        tell_of_update(environ, voice)
    return status


def _run_there(
    route: Route, line: Line, invocation: Invocation, environ: Mapping[str, str], voice: Voice, *, tty: bool
) -> int:
    """Sync, run the command, and return its status."""
    voice.note(server=line.server_name, remote_dir=route.remote_dir)
    if line.facts.system:
        from mtr.windows import run_on_windows

        return run_on_windows(route, line, invocation, voice, tty=tty)
    command = build_command(route, invocation.words, invocation.env)
    command.timeout_s = invocation.timeout_s
    return execute(route, line, command, environ, voice, sync=invocation.sync, tty=tty)


def execute(
    route: Route, line: Line, command: Command, environ: Mapping[str, str], voice: Voice, *, sync: bool, tty: bool
) -> int:
    """Sync, run ``command``, and return its status."""
    voice.detail(f"running in {route.remote_dir}/{route.subdir} on {line.label}".replace("/ on", " on"))
    if not sync or route.project is None:
        voice.note(run=command.run_id)
        voice.enter("run")
        return run_command(line, command, tty=tty)
    delivery = build_delivery(route, line, environ)
    return Errand(delivery, voice, tty=tty).run(command)


def wants_tty(invocation: Invocation) -> bool:
    """A terminal there if both ends are terminals here; an explicit option decides otherwise."""
    if invocation.tty is not None:
        return invocation.tty
    return sys.stdin is not None and os.isatty(0) and os.isatty(1)


def open_line(
    invocation: Invocation,
    environ: Mapping[str, str],
    voice: Voice,
    *,
    may_prompt: bool,
    route: Route | None = None,
) -> tuple[Route, Line]:
    """Return the route of this run and a line to its server, kept ones if they still hold."""
    route = route or load_route(invocation, environ)
    if route is None:
        from mtr.workflow import make_route

        return make_route(invocation, environ, voice, may_prompt=may_prompt)

    def recover(line: Line, ended: Ended, failures: int) -> None:
        from mtr.workflow import make_route

        _, other = make_route(invocation, environ, voice, may_prompt=may_prompt)
        other.recover(line, ended, failures)

    line = Line(route.facts, environ, recover=recover, says=voice.say)
    line.end_cut_off()
    if voice.tells:
        voice.detail(f"connection to {line.label} reused, the configuration is unchanged")
    return route, line


def build_command(route: Route, words: Sequence[str], env: Mapping[str, str]) -> Command:
    """Return the command of a run: one word is text for a shell, several are an argv."""
    return Command(
        new_run_id(),
        tuple(words),
        is_text=len(words) == 1,
        remote_dir=route.remote_dir,
        subdir=route.subdir,
        shell=route.shell,
        pre_cmd=route.pre_cmd,
        python=route.python,
        env={**route.env, **env},
    )


def build_delivery(route: Route, line: Line, environ: Mapping[str, str]) -> Delivery:
    """Return the delivery of the route's project."""
    project = route.project
    if project is None:
        raise ValueError("a route without a project delivers nothing")
    return Delivery(project, find_manifest(project.root, line.facts.address, project.remote_dir, environ), line)


def run_command(line: Line, command: Command, *, tty: bool) -> int:
    """Run ``command`` in the foreground and return its exact status.

    Raises:
        GateRefused: the server refused before the command started.
    """
    status = line.run_foreground(line.prepare_call(command), tty=tty)
    if status == EXIT_FAILURE and (words := line.load_refusal(command.run_id)):
        _refuse(line.server_name, command, words)
    return status


def _refuse(server_name: str, command: Command, words: Sequence[str]) -> NoReturn:
    from mtr.ssh.diagnosis import build_refusal

    raise build_refusal(server_name, command, words)


class Errand:
    """One delivery, and the command after it: starts over when others change the tree there meanwhile."""

    def __init__(self, delivery: Delivery, voice: Voice, *, tty: bool = False, full: bool = False) -> None:
        self._delivery = delivery
        self._line = delivery.line
        self._voice = voice
        self._tty = tty
        self._full = full
        self._started_s = time.monotonic()
        self._begun: set[str] = set()

    def run(self, command: Command) -> int:
        """Bring what has changed, run ``command`` on it, and return its exact status.

        Raises:
            SyncError: not everything arrived; the command did not start.
            GateRefused: the server refused before the command started.
        """
        return self._repeat(lambda push: self._run_on(push, command))

    def sync(self, *, ask: bool = True) -> SyncResult:
        """Bring what has changed and run nothing; where nothing has, ``ask`` the server whether it agrees."""
        return self._repeat(lambda push: self._bring(push, ask=ask))

    def _repeat(self, act: Callable[[Push | None], T]) -> T:
        """Find out what is to be brought and do ``act``, until the server's tree is what it was found to be."""
        refused = False
        manifest = self._delivery.manifest
        number, end_s = 0, time.monotonic() + MAX_ROUNDS_S
        while time.monotonic() < end_s:
            try:
                return act(self._find_push(refused=refused))
            except TreeMoved:
                refused = False
            except TreeRefused:
                refused = True
            known = {*manifest.tokens} - self._begun
            manifest.load()
            # Another run of this machine has brought something meanwhile: its manifest is the one to go by.
            refused = refused and known == {*manifest.tokens} - self._begun
            number += 1
            if number > 2:
                # At random, so that those who lose together do not come back together.
                time.sleep(min(1.0, 0.05 * number) * os.urandom(1)[0] / 255)
        raise SyncError(
            f"others keep changing {self._delivery.project.remote_dir} on {self._line.label}", hint="run it again"
        )

    def _find_push(self, *, refused: bool) -> Push | None:
        delivery = self._delivery
        push = None
        self._voice.enter("sync")
        started_s = time.monotonic()
        if not refused and not self._full and delivery.is_known:
            push = delivery.prepare()
        else:
            from mtr.sync.compare import settle

            push = settle(delivery, full=self._full)
        for warning in delivery.warnings if push is not None else ():
            self._voice.say(warning)
        if self._voice.tells:
            self._tell_found(push, time.monotonic() - started_s)
        return push

    def _tell_found(self, push: Push | None, took_s: float) -> None:
        """Say for ``-v`` what a look at the project has found, and how long it took."""
        tree = push.tree if push is not None else self._delivery.manifest.tree
        found = "nothing has changed"
        if push is not None:
            plan = push.plan
            found = f"{len(plan.upload):,} to bring ({render_bytes(plan.bytes_total)}), {len(plan.delete):,} to delete"
        files = len(tree.paths) if tree is not None else 0
        self._voice.detail(f"looked at {files:,} files in {render_duration(took_s)}: {found}")

    def _enter_run(self, command: Command) -> None:
        self._voice.note(run=command.run_id)
        self._voice.enter("run")

    def _run_on(self, push: Push | None, command: Command) -> int:
        delivery, line = self._delivery, self._line
        command.run_id = new_run_id()
        if command.feed is not None:
            tree = push.tree if push is not None else delivery.manifest.tree
            command.feed.paths = tree.paths if tree is not None else []
        if push is None:
            command.token = delivery.manifest.token
            self._enter_run(command)
            return self._finish(line.run_foreground(line.prepare_call(command), tty=self._tty), command, None)
        self._begin(push)
        transport = delivery.choose_transport(push)
        self._voice.detail(f"bringing it {TRANSPORTS[transport]}")
        command.token = push.new
        if transport == "payload":
            # The gate holds the push's lock itself: list.sh finds its owner by this name.
            command.run_id = push.run_id
            call = line.prepare_call(command, push.text)
            self._show(push)
            self._enter_run(command)
            status = line.run_foreground(call, tty=self._tty, later=lambda: self._confirm_early(push))
            return self._finish(status, command, push)
        # ssh makes the terminal raw as soon as it stands in front, and Ctrl-C would not reach mtr while files travel.
        if transport == "tar" and not self._tty:
            command.token = f"+{push.new}"
            call = line.prepare_call(command)
            self._voice.note(run=command.run_id)
            status = line.run_foreground(call, tty=self._tty, meanwhile=lambda: self._stream_beside(push, command))
            return self._finish(status, command, None)
        self._carry(push, transport)
        self._enter_run(command)
        return self._finish(line.run_foreground(line.prepare_call(command), tty=self._tty), command, None)

    def _begin(self, push: Push) -> None:
        self._begun.add(push.new)
        self._delivery.begin(push)

    def _finish(self, status: int, command: Command, push: Push | None) -> int:
        """Return the command's status, or raise why it did not start; then the push that came with it has arrived."""
        if status == EXIT_FAILURE and (words := self._line.load_refusal(command.run_id)):
            if words[0] == "token":
                raise TreeRefused("the tree there is not as this machine left it")
            if words[0] == "push":
                said = "\n".join(words[2:]).encode()
                status = int(words[1]) if words[1:] and words[1].isdecimal() else 1
                self._delivery.check_applied(status or 1, said, said)
            _refuse(self._line.server_name, command, words)
        if push is not None:
            self._delivery.confirm(push)
        return status

    def _confirm_early(self, push: Push) -> None:
        """While a long command runs: store that its push has arrived, so that the next run does not send it again."""
        words = [self._delivery.project.remote_dir, push.new]
        if self._line.try_script("remote/token.sh", words, timeout_s=20):
            self._delivery.confirm(push)

    def _stream_beside(self, push: Push, command: Command) -> None:
        """Bring ``push`` while the command waits at the gate; if that fails, see that it does not wait on."""
        try:
            self._carry(push, "tar", is_awaited=True)
            self._enter_run(command)
        except MtrError:
            words = [self._delivery.project.remote_dir, push.new]
            if push.is_refused:
                self._line.forget_run()
            elif self._line.run_script("remote/abandon.sh", words, timeout_s=10).status != 0:
                self._line.end_run(command.run_id, 15)
            raise

    def _bring(self, push: Push | None, *, ask: bool) -> SyncResult:
        delivery = self._delivery
        if push is None:
            if ask and not delivery.is_there():
                raise TreeRefused("the tree there is not as this machine left it")
            return self._build_result(None)
        self._begin(push)
        transport = delivery.choose_transport(push)
        transport = "tar" if transport == "payload" else transport
        self._voice.detail(f"bringing it {TRANSPORTS[transport]}")
        self._carry(push, transport)
        return self._build_result(push)

    def _carry(self, push: Push, transport: str, *, is_awaited: bool = False) -> None:
        """Bring ``push`` over sessions of its own, and store that it has arrived."""
        delivery = self._delivery

        def show(count: int) -> None:
            if is_awaited and push.text:
                clear_line()  # The rest is about to go, and the command that waits for it may write at once.
            else:
                self._voice.show_count(count, push.plan.bytes_total)

        if transport == "rsync":
            from mtr.sync.rsync_push import push_by_rsync

            push_by_rsync(delivery, push, lambda progress: show(progress.bytes_done))
        elif transport == "sftp":
            from mtr.sync.sftp_push import push_by_sftp

            push_by_sftp(delivery, push, show)
        else:
            delivery.stream(push, show, is_awaited=is_awaited)
        delivery.confirm(push)
        self._show(push)

    def _show(self, push: Push) -> None:
        self._voice.show_receipt(self._build_result(push), self._line.server_name)

    def _build_result(self, push: Push | None) -> SyncResult:
        tree = push.tree if push is not None else self._delivery.manifest.tree
        return SyncResult(
            files_total=len(tree.paths) if tree is not None else 0,
            bytes_total=sum(tree.sizes) if tree is not None else 0,
            files_sent=push.sent_files if push is not None else 0,
            bytes_sent=push.sent_bytes if push is not None else 0,
            deleted=len(push.plan.delete) if push is not None else 0,
            duration_s=time.monotonic() - self._started_s,
            biggest=self._find_biggest(push) if push is not None and self._voice.tells else (),
            warnings=self._delivery.warnings,
        )

    @staticmethod
    def _find_biggest(push: Push) -> tuple[Transfer, ...]:
        """Return the largest file of ``push``, for who asks with ``-v`` why it took so long."""
        from mtr.sync.base import Transfer

        if len(push.plan.upload) < 2:
            return ()
        entry = max(push.plan.upload, key=lambda entry: entry.size_bytes)
        return (Transfer(entry.path, entry.size_bytes, entry.size_bytes),)
