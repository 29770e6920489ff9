"""The SFTP engine by itself: compares size and time, and needs nothing of the server but its SFTP.

For servers without a POSIX shell, and for programs that sync by hand; a run brings its pushes with ``sftp_push``,
which has the trash and the lock of the other engines. Here a file is replaced by rename, without a lock and without a
copy in the trash (see ``base``), and nothing is deleted but what the plan names.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh import sftp
from mtr.ssh.sftp import SftpError, SftpLost, open_sftp
from mtr.sync.base import BaseSyncer, Progress, SyncResult
from mtr.sync.rsync import render_remote_dir
from mtr.sync.sftp_transfer import NS_PER_S, list_parents, look_at_all, make_dirs, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mtr.ssh.line import Line
    from mtr.ssh.sftp import Attributes, Sftp, Task
    from mtr.sync.plan import Entry, Plan


class SftpSyncer(BaseSyncer):
    """Brings files to the server over SFTP."""

    connection: Line  # type: ignore[assignment]  # a session with a subsystem is all that it needs

    def sync(self, local_dir: Path, remote_dir: str, exclude_list: Sequence[str] = ()) -> SyncResult:
        """Bring the project at ``local_dir`` to ``remote_dir``, which is made where it is missing.

        Raises:
            ProjectError: there is no project to sync.
            SyncError: not everything reached the server.
        """
        return self.apply(self.plan(local_dir, remote_dir, exclude_list))

    def apply(self, plan: Plan) -> SyncResult:
        """Upload what ``plan`` lists and is new or different there; see :meth:`BaseSyncer.apply`."""
        started_s, base = time.monotonic(), render_place(plan.remote_dir)
        try:
            with open_sftp(self.connection) as session:
                make_dirs(session, [*list_parents([base]), base])
                there = look_at_all(session, [base + b"/" + entry.path for entry in plan.upload])
                changed = [entry for entry in plan.upload if should_sync(entry, there.get(base + b"/" + entry.path))]
                sent, size_bytes = self._bring(session, plan, base, changed)
                _delete(session, base, plan)
        except SftpError as error:
            message = f"{self.connection.label} did not take {error.path.decode(errors='replace')} over SFTP"
            raise SyncError(message, detail=error.words or error.message) from error
        except SftpLost as error:
            raise SyncError(error.message, detail=error.detail) from error
        return SyncResult(
            files_total=len(plan.upload),
            bytes_total=plan.bytes_total,
            files_sent=len(sent),
            bytes_sent=size_bytes,
            deleted=len(plan.delete),
            duration_s=time.monotonic() - started_s,
            warnings=plan.warnings,
        )

    def _bring(self, session: Sftp, plan: Plan, base: bytes, changed: list[Entry]) -> tuple[list[bytes], int]:
        """Upload ``changed``; return the paths that are there now, and the bytes that it took."""
        sent, total, done = list[bytes](), sum(entry.size_bytes for entry in changed), [0]

        def count(size_bytes: int) -> None:
            done[0] += size_bytes
            if self.on_progress is not None:
                self.on_progress(Progress(done[0] / (total or 1), done[0], ""))

        make_dirs(session, [base + b"/" + folder for folder in list_parents(entry.path for entry in changed)])
        top, mark = os.fsencode(plan.root) + b"/", f".mtr-{os.urandom(4).hex()}".encode()

        def tasks() -> Iterator[Task]:
            for entry in changed:
                yield _replace(session, top, entry, base + b"/" + entry.path, mark, sent, count)

        session.run(tasks())
        return sent, done[0]


def render_place(remote_dir: str) -> bytes:
    """Return ``remote_dir`` as SFTP takes it: absolute, or relative to where a session begins, the home directory."""
    return os.fsencode(render_remote_dir(remote_dir).rstrip("/").removeprefix("./") or ".")


def should_sync(entry: Entry, there: Attributes | None) -> bool:
    """Tell whether a path is another thing there, or none: kind, size, time in seconds. A link always counts."""
    if there is None or entry.kind == "symlink":
        return True
    is_file = there.mode is None or stat.S_ISREG(there.mode)
    return not is_file or there.size_bytes != entry.size_bytes or there.mtime_s != entry.mtime_ns // NS_PER_S


def _replace(
    session: Sftp,
    top: bytes,
    entry: Entry,
    place: bytes,
    mark: bytes,
    sent: list[bytes],
    count: Callable[[int], None],
) -> Task:
    """Upload one path under another name and rename it; where the server refuses that, the other name goes again."""
    arrived: list[bytes] = []
    part = place + mark
    try:
        yield from upload(session, top, entry, part, arrived.append, count)
        if not arrived:
            return
        if session.can_replace:
            sftp.check(place, (yield [sftp.replace(part, place)]))
        else:
            yield [sftp.remove(place)]
            sftp.check(place, (yield [sftp.rename(part, place)]))
    except SftpError:
        yield [sftp.remove(part)]
        raise
    sent.append(entry.path)


def _delete(session: Sftp, base: bytes, plan: Plan) -> None:
    def task(path: bytes) -> Task:
        reply = (yield [sftp.remove(base + b"/" + path)])[0]
        if reply.status != sftp.NO_SUCH_FILE:
            sftp.check(path, [reply])

    def prune(folders: Sequence[bytes]) -> Task:
        # What is not empty stays.
        yield [sftp.remove_dir(base + b"/" + folder) for folder in folders]

    session.run(task(path) for path in plan.delete)
    if plan.rmdirs:
        session.run([prune(sorted(plan.rmdirs, reverse=True))])
