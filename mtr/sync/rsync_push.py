"""Bringing a push with rsync, while a session on the server holds the lock: many or large files.

First the plan goes there, then a session takes the lock, sends what would be lost to the trash and says that
it is ready; rsync brings the files; the session records them and gives the tree its new token. If this machine
goes away, the session's stdin ends, and the lock is left for the next run to find.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.quoting import build_remote_command
from mtr.sync.delivery import Delivery, Push, TreeRefused, build_apply_script
from mtr.sync.failure import explain_apply
from mtr.sync.plan import render_plan
from mtr.sync.rsync import RsyncSyncer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.ssh.held import Held
    from mtr.sync.base import Progress


def push_by_rsync(delivery: Delivery, push: Push, on_progress: Callable[[Progress], None] | None = None) -> None:
    """Bring ``push`` with rsync.

    Raises:
        TreeRefused: the server's tree is not what it builds on.
        SyncError: not everything arrived.
    """
    line, project = delivery.line, delivery.project
    text = render_plan(push.plan, (entry.path for entry in push.plan.upload))
    stored = line.run_script(
        "remote/store.sh", [project.remote_dir, push.run_id], stdin=text.encode(errors="surrogateescape")
    )
    if stored.status != 0:
        raise explain_apply(stored.stderr.decode(errors="replace"), line.label, project.remote_dir)
    script = build_apply_script(project, push, "rsync", line.facts.stat)
    held = line.hold(build_remote_command(f"mtr-{push.run_id}", script, ()))
    try:
        _carry(delivery, push, held, on_progress)
    finally:
        held.close()


def _carry(delivery: Delivery, push: Push, held: Held, on_progress: Callable[[Progress], None] | None) -> None:
    said = held.read_line()
    while said and not said.startswith("mtr-"):
        said = held.read_line()
    if said.startswith("mtr-ready "):
        partial_dir = f"{said[10:]}/.mtr/partial"
        # A plan is carried out without making the directory: the session that holds the lock is in it.
        syncer = RsyncSyncer(
            delivery.line,  # type: ignore[arg-type]
            on_progress=on_progress,
            partial_dir=partial_dir,
            ignore_times=True,
        )
        push.plan.root = Path(push.plan.root).resolve()
        result = syncer.apply(push.plan)
        push.sent_files, push.sent_bytes = result.files_sent, result.bytes_sent or 0
        held.feed(lambda write: write(b"done\n"))
    ended, (stdout, stderr) = held.finish()
    if not ended.arrived:
        raise SyncError(f"the line to {delivery.line.label} broke during the sync; the next one resumes it")
    if ended.status == 4:
        raise TreeRefused("the tree there is not as this machine left it")
    delivery.check_applied(ended.status, said.encode() + b"\n" + stdout, stderr)
