"""The rsync engine: many or large files, compared by size and time, resumed after a cut.

Owns rsync's command line. Which files travel was decided before: rsync gets a list, never a filter, because
its own ``:- .gitignore`` rules are not git's (RsyncProject/rsync#1079). The list goes through stdin, separated
by NUL, so there is no file to protect or to leave behind, and any name travels.

On the server: a file arrives under a temporary name beside its place and is renamed; what a cut upload had
of it waits in ``.mtr-partial/`` there, and goes when that file's next upload ends.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, SyncError
from mtr.sync.base import BaseSyncer, SyncResult
from mtr.sync.rsync_output import OutputReader, explain_failure, parse_stats

if TYPE_CHECKING:
    from mtr.sync.base import Connection
    from mtr.sync.plan import Plan

PARTIAL_DIR = ".mtr-partial"

FILES_VANISHED = 24
"""rsync(1), EXIT VALUES: some files vanished while it ran. The next sync sees them gone."""

_BASE_OPTIONS = (
    "-lptz",  # links as links, permissions, times, compressed; owner and group stay the server's
    "--omit-dir-times",  # git and mtr know no directories' times
    # A directory that somebody on the server moved to a larger disk, leaving a link, must stay that link.
    "--keep-dirlinks",
    f"--partial-dir={PARTIAL_DIR}",
    "--from0",
    "--files-from=-",
)
_PROBED_OPTIONS = ("-s", "--ignore-missing-args", "--info=progress2", "--stats", "--out-format=mtr:%b:%l:%n")


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


def _accepts(options: tuple[str, ...]) -> bool:
    from mtr.process.captured import run_captured

    return run_captured(["rsync", *options, "--version"], env=build_environment()).status == 0


def build_rsync_argv(plan: Plan, connection: Connection, features: Features | None = None) -> list[str]:
    """Return rsync's argv for ``plan``; the file list goes to its stdin."""
    features = features or Features()
    remote = render_remote_dir(plan.remote_dir)
    if not features.protects_arguments:
        from mtr.quoting import quote_posix

        remote = quote_posix(remote)
    source, destination = f"{plan.root}/", f"{_bracket_host(connection.destination)}:{remote}"
    return ["rsync", *_BASE_OPTIONS, *features.options, "-e", connection.rsync_shell(), "--", source, destination]


def build_file_list(plan: Plan) -> bytes:
    """Return what rsync reads with ``--from0 --files-from``: every path of ``plan``, ended by NUL."""
    return b"".join(entry.path + b"\0" for entry in plan.upload)


def render_remote_dir(remote_dir: str) -> str:
    """Return ``remote_dir`` as rsync's server takes it: relative to the home directory, or absolute.

    No shell sees the path, so nothing would expand a ``~``.

    Raises:
        SyncError: ``~NAME``, another user's home, which only a shell could look up.
    """
    if remote_dir.startswith("~") and remote_dir != "~" and not remote_dir.startswith("~/"):
        raise SyncError(f"remote_dir {remote_dir}: only ~/ is understood", hint="mtr config show")
    path = remote_dir.removeprefix("~").lstrip("/") if remote_dir.startswith("~") else remote_dir
    path = path.rstrip("/") or ("/" if remote_dir.startswith("/") else ".")
    path = path if path.startswith("/") else f"./{path.removeprefix('./')}"
    return path.rstrip("/") + "/"


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

    def apply(self, plan: Plan) -> SyncResult:
        """Upload what ``plan`` lists and rsync finds new or different; see :meth:`BaseSyncer.apply`."""
        from mtr.process.captured import stream

        started_s = time.monotonic()
        reader = OutputReader(self.on_progress)
        if plan.upload:
            status = stream(
                build_rsync_argv(plan, self.connection, probe_features()),
                on_stdout=reader.feed,
                on_stderr=reader.feed_error,
                stdin=build_file_list(plan),
                env=build_environment(),
            )
            if status not in {0, FILES_VANISHED}:
                raise explain_failure(status, reader.errors, self.connection.server_name, plan.remote_dir)
        return _build_result(plan, reader, time.monotonic() - started_s)


def _build_result(plan: Plan, reader: OutputReader, duration_s: float) -> SyncResult:
    stats = parse_stats(reader.text) if plan.upload else None
    return SyncResult(
        files_total=len(plan.upload),
        bytes_total=plan.bytes_total,
        files_sent=stats.files_sent if stats else 0,
        bytes_sent=stats.bytes_sent if stats else 0,
        duration_s=duration_s,
        biggest=reader.biggest(),
        warnings=plan.warnings,
    )
