"""All that an agent may do, on whichever machine: what an MCP server, or a script, puts in front of a model.

Nothing here asks a person, prints, or reads stdin. Calls may come from many threads at once, and one that waits holds
up no other.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mtr.agent.files import ensure_within, read_piece, write_whole
from mtr.agent.fresh_config import FreshConfig
from mtr.agent.judged import ensure_inside, judge_path
from mtr.agent.local_commands import LocalCommands
from mtr.agent.model import Listed, Order, TokenUnknown
from mtr.agent.remote_commands import RemoteCommands
from mtr.agent.verdicts import NOT_OWN, is_job_id, settle_again
from mtr.audit import open_audit
from mtr.config.project import find_project
from mtr.config.select import select_server
from mtr.errors import MtrError, UsageError
from mtr.jobs.noted import find_noted
from mtr.policy import ALLOWED, LOCAL, REFUSED, PolicyRefused, Verdict, build_policy
from mtr.remote import connect
from mtr.status import load_statuses
from mtr.streams.command import COMPLETED
from mtr.streams.piece import FAR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mtr.agent.commands import Commands
    from mtr.agent.files import FilePiece
    from mtr.agent.model import Look
    from mtr.audit import AuditLog
    from mtr.config.model import Config
    from mtr.policy import Policy
    from mtr.remote import Remote
    from mtr.status import Statuses
    from mtr.sync.download import Downloaded
    from mtr.sync.result import SyncResult


MAX_LOCAL = 100
"""Commands on this machine at once, where the policy names no other number."""


class _Caller(threading.local):
    """Who asks, for each thread: over HTTP there are several clients."""

    client = ""


class Agent:
    """Works in the project around ``directory``, with the servers of its configuration and with this machine.

    Whatever is asked for is judged by the policy of the configuration as it is at that moment, and noted in the audit
    log before anything is done.
    """

    def __init__(
        self,
        directory: str | None,
        environ: Mapping[str, str],
        *,
        server: str | None = None,
        say: Callable[[str], None] = lambda _words: None,
    ) -> None:
        """``server`` is where commands go that name none; by default as the command line chooses.

        ``say`` is told what concerns the person: that the audit log cannot be written.

        Raises:
            ProjectError: there is no such directory.
        """
        # Absolute, and known from now on: a thread that syncs has this process in the project's root meanwhile.
        project = find_project(directory, environ)
        self.directory = str(project.root / project.subdir)
        self.environ = environ
        self._caller = _Caller()
        self._config = FreshConfig(self.directory, environ)
        self._wanted = server
        self._say = say
        self._lock = threading.Lock()
        self._commands: dict[str, Commands] = {}
        self._tokens: dict[str, str] = {}
        self._ended: set[str] = set()
        self._starting = 0
        self._audit: AuditLog | None = None

    @property
    def client(self) -> str:
        """What the one calls itself for whom this thread asks; for the audit log."""
        return self._caller.client

    @client.setter
    def client(self, name: str) -> None:
        self._caller.client = name

    def load_config(self) -> Config:
        """Return the configuration as it is now.

        Raises:
            ConfigError: it is wrong.
        """
        return self._config.load()

    def load_policy(self) -> Policy:
        """Return what the configuration lets an agent do, as it is now."""
        return build_policy(self.load_config())

    @property
    def default_server(self) -> str:
        """The name of the configured default, ``local`` where nothing is configured.

        Raises:
            ConfigError: the configuration is wrong.
        """
        return self._choose_server(self.load_config())

    def _choose_server(self, config: Config) -> str:
        if self._wanted is not None:
            return self._wanted
        if not config.servers:
            return LOCAL
        return select_server(config, self.environ.get("MTR_SERVER") or None, self.environ).name

    def list_servers(self) -> Statuses:
        """Return the configured servers with the state of their connections; no server is asked."""
        return load_statuses(self.directory, self.environ)

    def judge(self, order: Order, server: str | None = None, *, can_ask: bool = False) -> tuple[str, Verdict]:
        """Return the server's name, and what the policy says of ``order``; ``can_ask``: the person can be asked.

        Raises:
            PolicyRefused: its time is more than may be asked for.
            ConfigError: the configuration is wrong.
        """
        config = self.load_config()
        policy, name = build_policy(config), server or self._choose_server(config)
        policy.resolve_timeout(order.timeout_s)
        if order.directory is not None and policy.is_active:
            project = find_project(self.directory, self.environ)
            ensure_inside(order.directory, name, config, policy, project, self.environ)
        verdict = policy.judge(name, order.command, can_ask=can_ask)
        if verdict.outcome != REFUSED and order.sync and name != LOCAL and policy.is_read_only:
            verdict = policy.judge_change(name, "sync files to")
        return name, verdict

    def run(self, order: Order, server: str | None = None, *, verdict: Verdict | None = None) -> tuple[str, str]:
        """Begin to start what is ordered; return its token and the server's name at once.

        ``verdict`` is what :meth:`judge` has said and the person has confirmed.

        Raises:
            PolicyRefused: the policy forbids it.
            AuditFailed: a policy is active, and what was asked for cannot be noted.
            ConfigError: there is no such server.
        """
        # The policy may have been edited while the person was asked: it counts as it is now.
        name, judged = self.judge(order, server, can_ask=verdict is not None)
        judged = settle_again(judged, verdict)
        commands = self._get_commands(name)
        with self._hold_place(judged) as final:
            self.note(final, tool="run_command", server=name)
            final.ensure()
            command = final.text if final.argv is None else final.argv
            token = commands.start(replace(order, command=order.command if command is None else command))
            self._tokens[token] = name
        return token, name

    @contextmanager
    def _hold_place(self, verdict: Verdict) -> Iterator[Verdict]:
        """Give ``verdict``, or the refusal where as many run as may; the place is held among calls at once."""
        if verdict.outcome == ALLOWED:
            refusal = self._judge_start()
            if refusal.outcome == ALLOWED:
                try:
                    yield verdict
                finally:
                    with self._lock:
                        self._starting -= 1
                return
            verdict = refusal
        yield verdict

    def note(self, verdict: Verdict, *, tool: str, server: str, **facts: object) -> None:
        """Note in the audit log what was asked for, before anything of it is done.

        Raises:
            AuditFailed: a policy is active, and the log cannot be written.
        """
        with self._lock:
            audit = self._audit = open_audit(self.load_config(), self.environ, say=self._say, before=self._audit)
        audit.judged(verdict, tool=tool, server=server, client=self.client, **facts)

    def _note_end(self, look: Look) -> None:
        with self._lock:
            audit = self._audit
            if look.status != COMPLETED or look.token in self._ended or audit is None:
                return
            self._ended.add(look.token)
        duration_s = look.execution_time_s or 0.0
        audit.ended(look.token, exit_status=look.exit_code, duration_s=duration_s, server=look.server)

    def look(
        self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float = 0.0, until_end: bool = False
    ) -> Look:
        """Tell how the command stands, and up to ``limit_bytes`` of what each output has behind ``offsets``.

        Where there is nothing, waits up to ``wait_s`` for news or the end; ``until_end`` for the end alone.

        Raises:
            TokenUnknown: there is no such command.
            MtrError: its server cannot be asked just now.
        """
        _, commands = self._find(token, "query_command_status")
        limit_bytes = self.cap_output(limit_bytes)
        found = commands.look(token, offsets, limit_bytes=limit_bytes, wait_s=wait_s, until_end=until_end)
        self._note_end(found)
        return found

    def cap_output(self, limit_bytes: int) -> int:
        """Return how much of an output or a file one answer may hold where ``limit_bytes`` are asked for."""
        cap = self.load_policy().max_output_bytes
        return limit_bytes if cap is None else min(limit_bytes, cap)

    def send(self, token: str, data: bytes, *, end: bool = False) -> None:
        """Let the command read ``data`` from its stdin, or its terminal; ``end`` closes that.

        Raises:
            PolicyRefused: a policy is active, and no agent has started the command, or its server is not for agents.
            AuditFailed: a policy is active, and that cannot be noted.
        """
        name, commands = self._find(token, "send_command_input")
        self.note(Verdict(ALLOWED), tool="send_command_input", server=name, token=token, bytes=len(data))
        commands.send(token, data, end=end)

    def terminate(self, token: str) -> None:
        """End the command with all that it has started, and see that it is gone.

        Raises:
            PolicyRefused: as :meth:`send`.
            AuditFailed: as :meth:`send`.
        """
        name, commands = self._find(token, "terminate_command")
        self.note(Verdict(ALLOWED), tool="terminate_command", server=name, token=token)
        commands.terminate(token)

    def list_commands(self, server: str | None = None) -> tuple[list[Listed], dict[str, MtrError]]:
        """Return the commands of ``server``, or of the default and all that have been used here, the oldest first.

        Of several servers, those that could not be asked are returned too, with why. With a policy, only what agents
        have started is told.

        Raises:
            PolicyRefused: the only one is not for agents.
            MtrError: the only one could not be asked.
        """
        if server and (verdict := self.load_policy().judge_server(server)).outcome == REFUSED:
            self.note(verdict, tool="list_commands", server=server)
            verdict.ensure()
        names = [server] if server else [*dict.fromkeys([self.default_server, *self._commands])]
        listed, failed = self._list(names)
        if len(names) == 1 and failed:
            raise failed[names[0]]
        return listed, failed

    def _list(self, names: Sequence[str]) -> tuple[list[Listed], dict[str, MtrError]]:
        listed: list[Listed] = []
        failed: dict[str, MtrError] = {}
        policy = self.load_policy()
        for name in names:
            try:
                policy.judge_server(name).ensure()
                found = self._get_commands(name).list()
                listed += [one for one in found if one.is_own or not policy.is_active]
            except MtrError as error:
                failed[name] = error
        return listed, failed

    def sync(self, server: str | None = None, *, full: bool = False) -> SyncResult:
        """Bring the project's files to ``server``; with ``full`` everything is compared there.

        Raises:
            PolicyRefused: the policy forbids it.
            MtrError: as ``mtr sync`` fails.
        """
        name = server or self.default_server
        verdict = self.load_policy().judge_change(name, "sync files to")
        self.note(verdict, tool="sync_files", server=name)
        verdict.ensure()
        return self._get_remote_commands(name).sync(full=full)

    def read_file(self, path: str, server: str | None = None, *, offset: int, limit_bytes: int) -> FilePiece:
        """Return up to ``limit_bytes`` of the file ``path`` there, from ``offset`` on.

        Raises:
            PolicyRefused: the policy forbids it.
            FileFailed: it cannot be read.
        """
        name = server or self.default_server
        self._judge_path("get_file", name, path)
        with self.borrow(name) as remote:
            limit_bytes, within = self.cap_output(limit_bytes), self.load_policy().is_active
            return read_piece(remote, path, offset=offset, limit_bytes=limit_bytes, within=within)

    def download(self, path: str, local: str, server: str | None = None) -> Downloaded:
        """Bring ``path`` from there to ``local`` here, in the project, whatever its size; what is newer here stays.

        Raises:
            PolicyRefused: the policy forbids it, or that is no place here for agents.
            MtrError: as ``mtr get`` fails.
        """
        name = server or self.default_server
        place = self._judge_path("get_file", name, path, local=local)
        with self.borrow(name) as remote:
            if self.load_policy().is_active:
                ensure_within(remote, path)
            return remote.get(path, place)

    def write_file(self, path: str, data: bytes, server: str | None = None, *, mode: str = "") -> bool:
        """Make the file ``path`` there of ``data``, or leave what is there; tell whether it is new.

        Raises:
            PolicyRefused: the policy forbids it.
            FileFailed: it cannot be made.
        """
        name = server or self.default_server
        self._judge_path("put_file", name, path, changes=True)
        with self.borrow(name) as remote:
            return write_whole(remote, path, data, mode=mode, within=self.load_policy().is_active)

    def _judge_path(self, tool: str, name: str, path: str, *, local: str | None = None, changes: bool = False) -> str:
        """Judge and note what is asked of the file ``path`` of server ``name``; return where ``local`` is here."""
        config, project = self.load_config(), find_project(self.directory, self.environ)
        verdict, place = judge_path(name, path, config, project, self.environ, local=local, changes=changes)
        self.note(verdict, tool=tool, server=name, path=path)
        verdict.ensure()
        return place

    def borrow(self, server: str | None = None) -> AbstractContextManager[Remote]:
        """Return the project on ``server``, over an open connection, for one thread at a time.

        Raises:
            UsageError: it is this machine.
        """
        return self._get_remote_commands(server or self.default_server).borrow()

    def _get_remote_commands(self, name: str) -> RemoteCommands:
        commands = self._get_commands(name)
        if not isinstance(commands, RemoteCommands):
            raise UsageError(f"{LOCAL} is this machine: its files are where they are", hint="name a server")
        return commands

    def _get_commands(self, name: str) -> Commands:
        with self._lock:
            if name not in self._commands:
                self._commands[name] = self._build_commands(name)
            return self._commands[name]

    def _build_commands(self, name: str) -> Commands:
        config = self.load_config()
        if name == LOCAL and LOCAL not in config.servers:
            return LocalCommands(str(find_project(self.directory, self.environ).root), max_running=MAX_LOCAL)
        # Refused at once where there is no such server; connected to when it is needed.
        select_server(config, name, self.environ)
        return RemoteCommands(name, lambda: connect(name, directory=self.directory), self.load_config)

    def _find(self, token: str, tool: str) -> tuple[str, Commands]:
        """Return the server's name and its commands, if the policy lets ``tool`` reach the command ``token`` there."""
        name = self._tokens.get(token) or (find_noted(token, self.environ) if is_job_id(token) else "")
        if not name:
            raise TokenUnknown(f"no command has the token {token}", hint="list_commands() tells which there are")
        policy = self.load_policy()
        verdict = policy.judge_server(name)
        if verdict.outcome == ALLOWED:
            commands = self._get_commands(name)
            if not policy.is_active or self._is_own(token, name, commands):
                return name, commands
            verdict = NOT_OWN
        self.note(verdict, tool=tool, server=name, token=token)
        raise PolicyRefused(verdict.reason, detail=f"the rule: {verdict.rule}", hint=verdict.hint)

    def _is_own(self, token: str, name: str, commands: Commands) -> bool:
        """Tell whether an agent has started the command, this one or another; the server knows."""
        if token in self._tokens:
            return True
        if not commands.look(token, (FAR, FAR), limit_bytes=1, wait_s=0).is_own:
            return False
        self._tokens[token] = name
        return True

    def _judge_start(self) -> Verdict:
        """Judge whether one more may start beside those that are not known to have ended; if so, count it."""
        refusal = self._count_start()
        if refusal.outcome == ALLOWED:
            return refusal
        # It has not looked at all of them since they ended; those ends are noted when it does.
        over = {listed.token for listed in self._list([*self._commands])[0] if listed.status == COMPLETED}
        return self._count_start(over)

    def _count_start(self, over: Collection[str] = ()) -> Verdict:
        policy = self.load_policy()
        with self._lock:
            running = len(self._tokens.keys() - self._ended - {*over}) + self._starting
            verdict = policy.judge_start(running)
            self._starting += verdict.outcome == ALLOWED
        return verdict

    def close(self) -> None:
        """End the commands of this machine; those on servers go on."""
        with self._lock:
            for commands in self._commands.values():
                if isinstance(commands, LocalCommands):
                    commands.close()
