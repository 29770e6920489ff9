"""Bringing a push with rsync: many or large files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtr.sync.locked import push_while_locked
from mtr.sync.plan import render_plan
from mtr.sync.rsync import RsyncSyncer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.sync.base import Progress
    from mtr.sync.delivery import Delivery, Push


def push_by_rsync(delivery: Delivery, push: Push, on_progress: Callable[[Progress], None] | None = None) -> None:
    """Bring ``push`` with rsync; raises as :func:`push_while_locked`."""
    text = render_plan(push.plan, (entry.path for entry in push.plan.upload))
    plan = text.encode(errors="surrogateescape")

    def bring(directory: str) -> None:
        own = f"{directory}/.mtr"
        push.plan.remote_dir = directory
        places = (f"--partial-dir={own}/partial", f"--temp-dir={own}/in.{push.run_id}", "--ignore-times")
        # A plan is carried out without making the directory: the session that holds the lock is in it.
        syncer = RsyncSyncer(delivery.line, on_progress=on_progress, extra=places)  # type: ignore[arg-type]
        push.plan.root = Path(push.plan.root).resolve()
        result = syncer.apply(push.plan)
        push.sent_files, push.sent_bytes = result.files_sent, result.bytes_sent or 0

    push_while_locked(delivery, push, "rsync", b"%d\n" % len(plan) + plan, bring)
