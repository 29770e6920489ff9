"""All that an agent may do, on whichever machine: what an MCP server, or a script, puts in front of a model.

Nothing here asks a person, prints, or reads stdin. Calls may come from many threads at once, and one that waits holds
up no other.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from mtr.agent.files import read_piece, write_whole
from mtr.agent.model import LOCAL, Order, TokenUnknown
from mtr.agent.remote_commands import RemoteCommands
from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.select import select_server
from mtr.errors import MtrError, UsageError
from mtr.jobs.noted import find_noted
from mtr.remote import connect
from mtr.status import load_statuses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from mtr.agent.files import FilePiece
    from mtr.agent.model import Listed, Look
    from mtr.remote import Remote
    from mtr.status import Statuses
    from mtr.sync.download import Downloaded
    from mtr.sync.result import SyncResult


class Commands(Protocol):
    """What there is of commands on one machine; errors as those of :class:`Agent`."""

    def start(self, order: Order) -> str:
        """Begin to start what is ordered; return its token at once."""

    def look(self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float) -> Look:
        """Tell how it stands, and what it has printed behind ``offsets``."""

    def send(self, token: str, data: bytes, *, end: bool) -> None:
        """Let it read ``data``; with ``end`` there will be no more."""

    def terminate(self, token: str) -> None:
        """End it with all that it has started."""

    def list(self) -> Sequence[Listed]:
        """Return all of them, the oldest first."""


class Agent:
    """Works in the project around ``directory``, with the servers of its configuration and with this machine."""

    def __init__(self, directory: str | None, environ: Mapping[str, str], *, server: str | None = None) -> None:
        """``server`` is where commands go that name none; by default as the command line chooses."""
        self.directory = directory
        self.environ = environ
        self._wanted = server
        self._lock = threading.Lock()
        self._commands: dict[str, Commands] = {}
        self._tokens: dict[str, str] = {}

    @property
    def default_server(self) -> str:
        """The name of the configured default, ``local`` where nothing is configured.

        Raises:
            ConfigError: the configuration is wrong.
        """
        if self._wanted is not None:
            return self._wanted
        config = load_config(find_project(self.directory, self.environ), self.environ)
        if not config.servers:
            return LOCAL
        return select_server(config, self.environ.get("MTR_SERVER") or None, self.environ).name

    def list_servers(self) -> Statuses:
        """Return the configured servers with the state of their connections; no server is asked."""
        return load_statuses(self.directory, self.environ)

    def run(self, order: Order, server: str | None = None) -> tuple[str, str]:
        """Begin to start what is ordered; return its token and the server's name at once.

        Raises:
            ConfigError: there is no such server.
        """
        name = server or self.default_server
        token = self._get_commands(name).start(order)
        self._tokens[token] = name
        return token, name

    def look(self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float = 0.0) -> Look:
        """Tell how the command stands, and up to ``limit_bytes`` of what each output has behind ``offsets``.

        Where there is nothing, waits up to ``wait_s`` for news or the end.

        Raises:
            TokenUnknown: there is no such command.
            MtrError: its server cannot be asked just now.
        """
        return self._find(token).look(token, offsets, limit_bytes=limit_bytes, wait_s=wait_s)

    def send(self, token: str, data: bytes, *, end: bool = False) -> None:
        """Let the command read ``data`` from its stdin, or its terminal; ``end`` closes that."""
        self._find(token).send(token, data, end=end)

    def terminate(self, token: str) -> None:
        """End the command with all that it has started, and see that it is gone."""
        self._find(token).terminate(token)

    def list_commands(self, server: str | None = None) -> tuple[list[Listed], dict[str, MtrError]]:
        """Return the commands of ``server``, or of the default and all that have been used here, the oldest first.

        Of several servers, those that could not be asked are returned too, with why.

        Raises:
            MtrError: the only one could not be asked.
        """
        names = [server] if server else [*dict.fromkeys([self.default_server, *self._commands])]
        listed: list[Listed] = []
        failed: dict[str, MtrError] = {}
        for name in names:
            try:
                listed += self._get_commands(name).list()
            except MtrError as error:
                failed[name] = error
        if len(names) == 1 and failed:
            raise failed[names[0]]
        return listed, failed

    def sync(self, server: str | None = None, *, full: bool = False) -> SyncResult:
        """Bring the project's files to ``server``; with ``full`` everything is compared there.

        Raises:
            MtrError: as ``mtr sync`` fails.
        """
        return self._get_remote_commands(server).sync(full=full)

    def read_file(self, path: str, server: str | None = None, *, offset: int, limit_bytes: int) -> FilePiece:
        """Return up to ``limit_bytes`` of the file ``path`` there, from ``offset`` on.

        Raises:
            FileFailed: it cannot be read.
        """
        with self.borrow(server) as remote:
            return read_piece(remote, path, offset=offset, limit_bytes=limit_bytes)

    def download(self, path: str, local: str, server: str | None = None) -> Downloaded:
        """Bring ``path`` from there to ``local`` here, whatever its size; what is newer here stays.

        Raises:
            MtrError: as ``mtr get`` fails.
        """
        # A relative one counts from where this agent works, whatever the process takes for its directory.
        place = os.path.join(os.path.abspath(self.directory or os.curdir), local)
        with self.borrow(server) as remote:
            return remote.get(path, place)

    def write_file(self, path: str, data: bytes, server: str | None = None, *, mode: str = "") -> bool:
        """Make the file ``path`` there of ``data``, or leave what is there; tell whether it is new.

        Raises:
            FileFailed: it cannot be made.
        """
        with self.borrow(server) as remote:
            return write_whole(remote, path, data, mode=mode)

    def close(self) -> None:
        """Let go of what this process holds, soon: commands on servers go on, and their tokens stay good."""

    def borrow(self, server: str | None = None) -> AbstractContextManager[Remote]:
        """Return the project on ``server``, over an open connection, for one thread at a time.

        Raises:
            UsageError: it is this machine.
        """
        return self._get_remote_commands(server).borrow()

    def _get_remote_commands(self, server: str | None) -> RemoteCommands:
        commands = self._get_commands(server or self.default_server)
        if not isinstance(commands, RemoteCommands):
            raise UsageError(f"{LOCAL} is this machine: its files are where they are", hint="name a server")
        return commands

    def _get_commands(self, name: str) -> Commands:
        with self._lock:
            if name not in self._commands:
                self._commands[name] = self._build_commands(name)
            return self._commands[name]

    def _build_commands(self, name: str) -> Commands:
        # Refused at once where there is no such server; connected to when it is needed.
        config = load_config(find_project(self.directory, self.environ), self.environ)
        select_server(config, name, self.environ)
        return RemoteCommands(name, lambda: connect(name, directory=self.directory))

    def _find(self, token: str) -> Commands:
        name = self._tokens.get(token) or (find_noted(token, self.environ) if token.isalnum() else "")
        if not name:
            raise TokenUnknown(f"no command has the token {token}", hint="list_commands() tells which there are")
        return self._get_commands(name)
