"""What every sync engine has in common: list, plan, apply.

An engine gets a connection and does not care how it was opened. It reports through values and a callback;
it prints nothing.

An engine that stands alone keeps none of the promises of a run: it takes no lock, keeps nothing in the trash of what it
replaces although somebody has changed it there, knows no token, deletes nothing, and writes through a directory that
is a link there. It is for servers and programs that have nothing else; ``mtr.connect(...).sync()`` is a run's sync.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from mtr.errors import SyncError
from mtr.sync.ignore import Rules, list_tree
from mtr.sync.plan import Plan, build_plan
from mtr.sync.result import SyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["BaseSyncer", "Connection", "Progress", "SyncResult", "Transfer", "Transport"]


class Transport(Protocol):
    """What an engine needs of a line to carry out a plan; ``mtr.ssh`` has the real one."""

    @property
    def server_name(self) -> str:
        """The server's name in the configuration, for messages."""

    @property
    def destination(self) -> str:
        """The host part of an rsync destination."""

    def rsync_shell(self) -> str:
        """Return the value of rsync's ``-e``: the ssh command that attaches to the open connection."""

    def attempt_rsync(self, run_once: Callable[[str], int]) -> int:
        """Call ``run_once`` with the value of ``-e`` for a session, again while that session never opened."""


class Connection(Transport, Protocol):
    """What an engine needs to sync a project by itself."""

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        """Make ``remote_dir`` and its parents on the server where they are missing; tell whether it looked.

        It may trust what it found before, unless ``anew``.
        """


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is: ``fraction`` from 0 to 1, ``rate_text`` in the engine's words (``1.20MB/s``)."""

    fraction: float
    bytes_done: int
    rate_text: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """One file that crossed the line: ``bytes_sent`` of it, of ``size_bytes`` in all."""

    path: bytes
    size_bytes: int
    bytes_sent: int


class BaseSyncer(ABC):
    """An engine that brings a project to one server."""

    def __init__(
        self,
        connection: Connection,
        rules: Rules | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Make an engine on ``connection``; ``on_progress`` is called from another thread."""
        self.connection = connection
        self.rules = rules or Rules()
        self.on_progress = on_progress

    def sync(self, local_dir: Path, remote_dir: str, exclude_list: Sequence[str] = ()) -> SyncResult:
        """Bring the project at ``local_dir`` to ``remote_dir``, which is made where it is missing.

        Without a lock and without a trash: see the module.

        Raises:
            ProjectError: there is no project to sync.
            SyncError: not everything reached the server.
        """
        plan = self.plan(local_dir, remote_dir, exclude_list)
        made_sure = self.connection.ensure_remote_dir(remote_dir)
        try:
            return self.apply(plan)
        except SyncError:
            # It was there once; somebody may have removed it since.
            if made_sure or not self.connection.ensure_remote_dir(remote_dir, anew=True):
                raise
            return self.apply(plan)

    def plan(self, local_dir: Path, remote_dir: str, exclude_list: Sequence[str] = ()) -> Plan:
        """Return what :meth:`sync` would do, touching nothing; ``exclude_list`` adds to the rules' own."""
        rules = replace(self.rules, exclude=(*self.rules.exclude, *exclude_list))
        listing = list_tree(local_dir, rules)
        # rsync 3.5 distrusts links on the way to the source, so the way is resolved here.
        root = local_dir.resolve()
        return build_plan(listing.entries, root=root, remote_dir=remote_dir, warnings=listing.warnings)

    @abstractmethod
    def apply(self, plan: Plan) -> SyncResult:
        """Do what ``plan`` says and return the receipt; the remote directory exists.

        Files are replaced by rename, never in place. What vanished since it was planned is no error.

        Raises:
            SyncError: not everything reached the server.
        """
