"""The public API, for scripts and notebooks: ``mtr.connect("gpu-01").run(["nvidia-smi"])``. It asks nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.config.remote_dir import load_machine_id
from mtr.errors import ProjectError
from mtr.jobs.details import load_details
from mtr.pull import Pull, resolve_destination
from mtr.run import Errand, build_command, build_delivery, run_command
from mtr.ssh import connection as ssh_connection
from mtr.sync.download import ensure_some
from mtr.voice import Voice
from mtr.workflow import build_route, load_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.jobs.handle import JobHandle, Jobs, Prepared
    from mtr.process.captured import Captured
    from mtr.route import Route
    from mtr.ssh.base import BaseConnection
    from mtr.ssh.gate import Command
    from mtr.sync.download import Downloaded
    from mtr.sync.result import SyncResult
    from mtr.workflow import Target


class Remote:
    """A project on a server, over an open connection."""

    def __init__(self, target: Target, connection: BaseConnection) -> None:
        self.target = target
        self.connection = connection

    def sync(self, *, full: bool = False) -> SyncResult:
        """Bring the project's files to the server; ``full`` compares everything, as ``mtr sync --full`` does."""
        self.target.project.ensure_syncable()
        delivery = build_delivery(self._build_route(), self.connection, self.connection.environ)
        return Errand(delivery, Voice(quiet=True), full=full).sync()

    def get(
        self,
        remote: str | Sequence[str],
        local: str | os.PathLike[str] | None = None,
        *,
        force: bool = False,
        job: JobHandle | None = None,
    ) -> Downloaded:
        """Bring ``remote`` from the server, as ``mtr get`` does: a path, a pattern, or several of them.

        ``local`` is a directory to put it into if it exists or ends in a slash, else the new name; None is the
        configured directory of downloads. What is newer here stays, unless ``force``. Paths count from the project's
        directory there, or from the copy that ``job`` runs in, if it has one.

        Returns what came, what was here already, what stayed and what did not come.

        Raises:
            NotTrusted: the project's files choose a place for downloads that the user has not allowed.
            DownloadFailed: nothing came, or nothing more can be written here.
            JobNotFound: ``job`` has been removed.
        """
        remotes = [remote] if isinstance(remote, str) else list(remote)
        text = None if local is None else os.fspath(local)
        destination = resolve_destination(self.target, remotes, text, self.connection.environ, None)
        base = None if job is None else load_details(self.connection, job.job).base
        pull = Pull(self.target, remotes, destination, Voice(quiet=True), base=base)
        result = pull.bring(self.connection, force=force)
        ensure_some(self.connection, result)
        return result

    @property
    def jobs(self) -> Jobs:
        """The jobs of this server: ``start``, ``list`` and ``find`` return handles to read, wait for and stop."""
        from mtr.jobs.handle import Jobs

        return Jobs(self.connection, self._prepare_job)

    def run(self, argv: Sequence[str] | str, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``argv``, or a string in a shell, in the project's directory there; nothing is synced.

        Returns its status (128+n for a signal), stdout and stderr as bytes.
        """
        return self.connection.run(_build_command(self._build_route(), argv), stdin=stdin, timeout_s=timeout_s)

    def _prepare_job(self, argv: Sequence[str] | str, sync: bool, directory: str | None) -> Prepared:
        from mtr.jobs.handle import Prepared

        route = self._build_route()
        command = _build_command(route, argv)
        if directory is not None:
            command.enter(directory)
        if sync and command.remote_dir == route.remote_dir:
            self.target.project.ensure_syncable()
            errand = Errand(build_delivery(route, self.connection, self.connection.environ), Voice(quiet=True))
            return Prepared(command, route.project, (), errand.run)
        if sync:
            self.sync()  # The gate looks for the tree where the command runs.
        synced = self._find_synced(route)
        return Prepared(command, route.project, synced, lambda one: run_command(self.connection, one, tty=False))

    def _find_synced(self, route: Route) -> Sequence[bytes] | None:
        """Return the project's paths, as they are synced; None where the server does not have them as they are here."""
        if route.project is None:
            return None
        delivery = build_delivery(route, self.connection, self.connection.environ)
        try:
            is_same = delivery.is_known and delivery.prepare() is None and delivery.is_there()
        except ProjectError:
            # Its directory has gone, or is empty: what was synced runs all the same.
            return None
        tree = delivery.manifest.tree
        return tree.paths if is_same and tree is not None else None

    def _build_route(self) -> Route:
        return build_route(self.target, self.connection, load_machine_id())


def _build_command(route: Route, argv: Sequence[str] | str) -> Command:
    command = build_command(route, [argv] if isinstance(argv, str) else list(argv), {})
    command.is_text = isinstance(argv, str)
    return command


def connect(server: str | None = None, *, directory: str | None = None) -> Remote:
    """Connect to ``server`` (default: as the command line chooses) for the project around ``directory``.

    Raises:
        MtrError: as ``mtr up`` fails.
    """
    target = load_target(directory, server, os.environ, needs_project=False)
    opened = ssh_connection.connect(target.server)
    opened.end_cut_off()
    return Remote(target, opened)
