"""All that an agent may do, on whichever machine: what an MCP server, or a script, puts in front of a model.

Nothing here asks a person, prints, or reads stdin. Calls may come from many threads at once, and one that waits holds
up no other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from mtr.agent.model import LOCAL, Order, TokenUnknown
from mtr.agent.remote_commands import RemoteCommands
from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.select import select_server
from mtr.errors import UsageError
from mtr.jobs.noted import find_noted
from mtr.remote import connect
from mtr.status import load_statuses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from mtr.agent.model import Listed, Look
    from mtr.remote import Remote
    from mtr.status import Statuses


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

    def list_commands(self, server: str | None = None) -> list[Listed]:
        """Return the commands of ``server``, or of all that have been used here, the oldest first."""
        names = [server] if server else [*self._commands]
        return [listed for name in names for listed in self._get_commands(name).list()]

    def borrow(self, server: str | None = None) -> AbstractContextManager[Remote]:
        """Return the project on ``server``, over an open connection, for one thread at a time.

        Raises:
            UsageError: it is this machine.
        """
        commands = self._get_commands(server or self.default_server)
        if not isinstance(commands, RemoteCommands):
            raise UsageError(f"{LOCAL} is this machine: its files are where they are", hint="name a server")
        return commands.borrow()

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
