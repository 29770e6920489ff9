"""All servers of a configuration at once, each asked in a thread of its own; what one fails at, the others do not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from mtr.errors import EXIT_FAILURE, MtrError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.config.model import Server
    from mtr.ssh.base import BaseConnection
    from mtr.voice import Voice

T = TypeVar("T")
MAX_AT_ONCE = 16


@dataclass(slots=True)
class Answers(Generic[T]):
    """What the servers have answered by their names, and why others have not; ``order`` is that of the question."""

    found: dict[str, T] = field(default_factory=dict)
    failed: dict[str, MtrError] = field(default_factory=dict)
    connections: dict[str, BaseConnection] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    @property
    def first_failure(self) -> MtrError | None:
        """Why the first of those that have not answered did not."""
        return next(iter(self.failed.values()), None)

    @property
    def exit_status(self) -> int:
        """What a verb ends with: 0 where all have answered, 1 where some have not, 125 where none has."""
        return 0 if not self.failed else 1 if self.found else EXIT_FAILURE


def list_servers(directory: str | None, chosen: str | None, environ: Mapping[str, str]) -> list[Server]:
    """Return the servers to ask: the one ``chosen``, else all that the configuration has."""
    from pathlib import Path

    from mtr.config.load import load_config
    from mtr.config.project import find_project
    from mtr.config.select import select_server

    config = load_config(find_project(Path(directory or ".")), environ)
    chosen = chosen or environ.get("MTR_SERVER") or None
    return [select_server(config, chosen, environ)] if chosen else list(config.servers.values())


def ask_all(
    servers: Sequence[Server], act: Callable[[BaseConnection], T], environ: Mapping[str, str], voice: Voice
) -> Answers[T]:
    """Connect to each of ``servers`` and do ``act`` there; nobody is asked for anything."""
    from mtr.workflow import open_connection

    answers: Answers[T] = Answers(order=tuple(server.name for server in servers))

    def ask(server: Server) -> None:
        try:
            connection = open_connection(server, environ, voice, may_prompt=False)
            answers.connections[server.name] = connection
            answers.found[server.name] = act(connection)
        except MtrError as error:
            answers.failed[server.name] = error

    with ThreadPoolExecutor(max_workers=min(MAX_AT_ONCE, max(1, len(servers)))) as pool:
        list(pool.map(ask, servers))
    return answers
