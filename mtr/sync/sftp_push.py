"""Bringing a push over SFTP: for servers without tar and rsync, and by choice.

The files go where those of an archive would be unpacked, and ``apply.sh`` puts them into place.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh import sftp
from mtr.ssh.sftp import SftpError, SftpLost, open_sftp
from mtr.sync.locked import push_while_locked
from mtr.sync.plan import render_plan
from mtr.sync.sftp_transfer import list_parents, make_dirs, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtr.ssh.sftp import Sftp, Task
    from mtr.sync.delivery import Delivery
    from mtr.sync.plan import Push


def push_by_sftp(delivery: Delivery, push: Push, on_progress: Callable[[int], None] | None = None) -> None:
    """Bring ``push`` over SFTP; ``on_progress`` gets the bytes sent so far. Raises as :func:`push_while_locked`."""

    def bring(directory: str) -> None:
        place = os.fsencode(f"{directory}/.mtr/in.{push.run_id}")
        try:
            with open_sftp(delivery.line) as session:
                _bring(session, push, place, on_progress or _ignore)
        except SftpError as error:
            raise _explain(error, delivery) from error
        except SftpLost as error:
            raise SyncError(error.message, detail=error.detail, hint="leave `sync` out, or run it again") from error

    push_while_locked(delivery, push, "sftp", b"", bring)


def _bring(session: Sftp, push: Push, place: bytes, on_progress: Callable[[int], None]) -> None:
    top, sent = os.fsencode(push.plan.root) + b"/", list[bytes]()
    push.sent_bytes = 0

    def count(size_bytes: int) -> None:
        push.sent_bytes += size_bytes
        on_progress(push.sent_bytes)

    folders = {*list_parents(entry.path for entry in push.plan.upload), *push.plan.folders}
    folders |= set(list_parents(push.plan.folders))
    make_dirs(session, [place + b"/" + folder for folder in sorted(folders)] + [place + b"/.mtr"])

    def tasks() -> Iterator[Task]:
        for entry in push.plan.upload:
            yield upload(session, top, entry, place + b"/" + entry.path, sent.append, count)

    session.run(tasks())
    push.sent_files = len(sent)
    text = render_plan(push.plan, sorted(sent)).encode(errors="surrogateescape")
    session.run([_write(place + b"/.mtr/plan", text)])
    session.run([_write(place + b"/.mtr/end", b"")])


def _write(place: bytes, data: bytes) -> Task:
    opened = yield [sftp.open_file(place, sftp.WRITE | sftp.CREATE | sftp.TRUNCATE)]
    sftp.check(place, opened)
    handle = opened[0].data
    starts = range(0, len(data), sftp.BLOCK_BYTES)
    blocks = [sftp.write(handle, start, data[start : start + sftp.BLOCK_BYTES]) for start in starts]
    sftp.check(place, (yield [*blocks, sftp.close(handle)]))


def _explain(error: SftpError, delivery: Delivery) -> SyncError:
    """Return the error for a file that the server did not take: SFTP 3 has no word for a full disk."""
    hint = f"mtr -s {delivery.line.server_name} --no-sync df -h {delivery.project.remote_dir}"
    message = f"{delivery.line.label} did not take {error.path.decode(errors='replace')} over SFTP"
    return SyncError(message, detail=error.words or error.message, hint=hint)


def _ignore(_count: int) -> None:
    pass
