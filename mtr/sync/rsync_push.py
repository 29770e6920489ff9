"""Bringing a push with rsync: many or large files.

rsync brings the files into a directory beside those of the project (``.mtr/partial/new`` there), and ``apply.sh`` puts
them into place as it does for the other transports. What stands in the tree serves as the base of the differences
(``--copy-dest``), what a cut transfer has brought is gone on with. So nothing is in place before everything is there, a
cut transfer has changed nothing, and what somebody changes there meanwhile is noticed when it is replaced, and kept.

rsync's own ``--backup`` into the trash would keep it as well; but the copies have another ctime than the files had, so
that nothing could tell theirs from ours any more, and they take the same space. The price of a directory beside is the
space of the files that are replaced, all at once instead of one after another; a first sync takes no more than the
files do. For 100 MB on loopback it takes as long as writing into the tree did: 10 files of 10 MB, edited in one place
each, about 1 s, and 2,000 files of 50 kB 2 to 4 s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtr.sync.locked import push_while_locked
from mtr.sync.plan import render_plan
from mtr.sync.rsync import RsyncSyncer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.sync.base import Progress
    from mtr.sync.delivery import Delivery
    from mtr.sync.plan import Push


def push_by_rsync(delivery: Delivery, push: Push, on_progress: Callable[[Progress], None] | None = None) -> None:
    """Bring ``push`` with rsync; raises as :func:`push_while_locked`."""
    text = render_plan(push.plan, (entry.path for entry in push.plan.upload))
    plan = text.encode(errors="surrogateescape")

    def bring(directory: str) -> None:
        own = f"{directory}/.mtr"
        push.plan.remote_dir = f"{own}/partial/new"
        options = (
            f"--copy-dest={directory}",
            f"--partial-dir={own}/partial/cut",
            f"--temp-dir={own}/in.{push.run_id}",
            "--ignore-times",
            # What an earlier transfer has left there may be a directory where a file belongs now, or a closed one.
            "--force",
            "--chmod=Du+rwx",
        )
        # A plan is carried out without making the directory: the session that holds the lock has made it.
        syncer = RsyncSyncer(delivery.line, on_progress=on_progress, extra=options)  # type: ignore[arg-type]
        push.plan.root = Path(push.plan.root).resolve()
        result = syncer.apply(push.plan)
        push.sent_files, push.sent_bytes = result.files_sent, result.bytes_sent or 0

    push_while_locked(delivery, push, "rsync", b"%d\n" % len(plan) + plan, bring)
