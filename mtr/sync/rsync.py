"""The rsync engine: many or large files, compared by size and time, resumed after a cut.

By itself it has no lock and no trash (see ``base``); a run brings its pushes with ``rsync_push``, which has both.

Owns rsync's command line. Which files travel was decided before: rsync gets a list, never a filter, because
its own ``:- .gitignore`` rules are not git's (RsyncProject/rsync#1079). The list goes through stdin, separated
by NUL, so there is no file to protect or to leave behind, and any name travels.

On the server: a file arrives under a temporary name beside its place and is renamed; what a cut upload had
of it waits in a directory of its own there, and goes when that file's next upload ends.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, SyncError
from mtr.sync.base import BaseSyncer, SyncResult
from mtr.sync.rsync_output import TRANSFER_FORMAT, OutputReader, explain_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.sync.base import Connection, Progress
    from mtr.sync.ignore import Rules
    from mtr.sync.plan import Plan

PARTIAL_DIR = ".mtr-partial"

FILES_VANISHED = 24
"""rsync(1), EXIT VALUES: some files vanished while it ran. The next sync sees them gone."""

FIFO_CHECK_S = 3.0
"""How often is looked whether a file has become a FIFO: 100,000 files take 0.2 s."""

_BASE_OPTIONS = (
    "-lptz",  # links as links, permissions, times, compressed; owner and group stay the server's
    "--omit-dir-times",  # git and mtr know no directories' times
    "--from0",
    "--files-from=-",
)
_FOLLOWING = "--keep-dirlinks"
"""For an engine that stands alone: a directory that somebody on the server moved to a larger disk, leaving a link, must
stay that link. From rsync 3.5 on it follows only links that stay below the remote directory, and fails on others."""

_PROBED_OPTIONS = (
    # A file edited twice within a second, at the same size, differs by its nanoseconds alone.
    "--modify-window=-1",
    "-s",  # the remote path reaches rsync there past the login shell
    "--ignore-missing-args",  # what vanished since it was listed
    _FOLLOWING,
    "--info=progress2",
    "--stats",
    f"--out-format={TRANSFER_FORMAT}",
)


_STANDING_ALONE = (f"--partial-dir={PARTIAL_DIR}",)


@dataclass(frozen=True, slots=True)
class Features:
    """What the local rsync understands: openrsync, as macOS ships it, lacks most of ``_PROBED_OPTIONS``."""

    options: tuple[str, ...] = _PROBED_OPTIONS

    @property
    def protects_arguments(self) -> bool:
        """Tell whether remote paths bypass the login shell there."""
        return "-s" in self.options


@lru_cache(maxsize=1)
def probe_features() -> Features:
    """Return what the local rsync understands, by running it: versions and forks do not tell.

    Raises:
        MissingProgram: there is no rsync on this machine.
    """
    if _accepts(_PROBED_OPTIONS):
        return Features()
    return Features(tuple(option for option in _PROBED_OPTIONS if _accepts((option,))))


def describe_lack() -> str:
    """Return why the local rsync cannot bring a push; "" if it can."""
    try:
        return "" if probe_features() == Features() else "the rsync of this machine lacks options (openrsync?)"
    except MissingProgram:
        return "rsync is not installed on this machine"


def _accepts(options: tuple[str, ...]) -> bool:
    from mtr.process.piped import run_piped

    return run_piped(["rsync", *options, "--version"], env=build_environment()).status == 0


def build_rsync_argv(
    plan: Plan,
    connection: Connection,
    features: Features | None = None,
    *,
    shell: str | None = None,
    extra: tuple[str, ...] = _STANDING_ALONE,
) -> list[str]:
    """Return rsync's argv for ``plan``; the file list goes to its stdin.

    ``shell`` is the value of ``-e`` for one session; left out, it is what ``--dry-run`` shows.
    ``extra`` are further options of rsync; left out, cut uploads are kept beside the file.
    """
    features = features or Features()
    remote = render_remote_dir(plan.remote_dir)
    if not features.protects_arguments:
        from mtr.quoting import quote_posix

        remote = quote_posix(remote)
    source, destination = f"{plan.root}/", f"{_bracket_host(connection.destination)}:{remote}"
    chosen = shell or connection.rsync_shell()
    options = [option for option in features.options if option != _FOLLOWING or extra is _STANDING_ALONE]
    return ["rsync", *_BASE_OPTIONS, *extra, *options, "-e", chosen, "--", source, destination]


def build_file_list(plan: Plan) -> bytes:
    """Return what rsync reads with ``--from0 --files-from``: every path of ``plan``, ended by NUL.

    ``#`` and ``;`` start comments in the list even so; a leading slash, which rsync drops, keeps them names.
    (``./`` would do too, but then the mode of the root itself travels.)
    """
    paths = (entry.path for entry in plan.upload)
    return b"".join((b"/" if path[:1] in {b"#", b";"} else b"") + path + b"\0" for path in paths)


def render_remote_dir(remote_dir: str) -> str:
    """Return ``remote_dir`` as rsync's server takes it: relative to the home directory, or absolute.

    No shell sees the path, so nothing would expand a ``~``.

    Raises:
        SyncError: ``~NAME``, another user's home, which only a shell could look up.
    """
    if remote_dir.startswith("~") and remote_dir != "~" and not remote_dir.startswith("~/"):
        raise SyncError(f"remote_dir {remote_dir}: only ~/ is understood", hint="set `remote_dir` in .mtr/config.yaml")
    if remote_dir.startswith("/"):
        return remote_dir.rstrip("/") + "/"
    path = remote_dir.removeprefix("~").strip("/").removeprefix("./")
    # The dot keeps a leading dash from being an option, and a colon from naming a host.
    return f"./{path}/" if path not in {"", "."} else "./"


def _bracket_host(destination: str) -> str:
    """Return ``destination`` with an IPv6 address in brackets, which rsync takes off again."""
    user, at, host = destination.rpartition("@")
    return f"{user}{at}[{host}]" if ":" in host and not host.startswith("[") else destination


def build_environment() -> dict[str, str]:
    """Return the environment for rsync: English words, and none of the user's own defaults for it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RSYNC_")}
    return kept | {"LC_ALL": "C"}


class RsyncSyncer(BaseSyncer):
    """Brings files to the server with the system's rsync over the open connection."""

    def __init__(
        self,
        connection: Connection,
        rules: Rules | None = None,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        extra: tuple[str, ...] = _STANDING_ALONE,
    ) -> None:
        """Make an engine as :class:`BaseSyncer` does; see ``build_rsync_argv`` for ``extra``."""
        super().__init__(connection, rules, on_progress=on_progress)
        self.extra = extra

    def apply(self, plan: Plan) -> SyncResult:
        """Upload what ``plan`` lists and rsync finds new or different; see :meth:`BaseSyncer.apply`."""
        from mtr.process.captured import stream

        if not plan.upload:
            return SyncResult(files_total=0, bytes_total=0, warnings=plan.warnings)
        started_s = time.monotonic()
        reader = OutputReader(self.on_progress)
        features, names = probe_features(), build_file_list(plan)

        def run_once(shell: str) -> int:
            argv = build_rsync_argv(
                plan,
                self.connection,
                features,
                shell=shell,
                extra=self.extra,
            )
            environ = build_environment()
            return stream(
                argv, on_stdout=reader.feed, on_stderr=reader.feed_error, stdin=names, env=environ, bound=True
            )

        with _FifoGuard(plan) as guard:
            status = self.connection.attempt_rsync(run_once)
        if guard.found:
            name = guard.found[0].decode(errors="replace")
            raise SyncError(f"{name} became a FIFO while it was read", hint="run it again")
        if status not in {0, FILES_VANISHED}:
            raise explain_failure(status, reader.errors, self.connection.server_name, plan.remote_dir)
        return _build_result(plan, reader, time.monotonic() - started_s)


class _FifoGuard:
    """Frees an rsync that has opened a FIFO, put in a file's place since it was listed: it would wait for ever.

    Whoever opens a FIFO for reading waits until somebody opens it for writing, fifo(7); ``found`` are those paths.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.found: list[bytes] = []

    def __enter__(self) -> _FifoGuard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(FIFO_CHECK_S):
            self.found += [entry.path for entry in self._plan.upload if self._free(entry.path)]

    def _free(self, path: bytes) -> bool:
        place = os.path.join(os.fsencode(self._plan.root), path)
        try:
            if not stat.S_ISFIFO(os.lstat(place).st_mode):
                return False
            # Fails where nobody waits.
            os.close(os.open(place, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True


def _build_result(plan: Plan, reader: OutputReader, duration_s: float) -> SyncResult:
    stats = reader.stats()
    return SyncResult(
        files_total=len(plan.upload),
        bytes_total=plan.bytes_total,
        files_sent=stats.files_sent if stats else reader.files_sent,
        bytes_sent=stats.bytes_sent if stats else None,
        duration_s=duration_s,
        biggest=reader.biggest(),
        warnings=plan.warnings,
    )
