"""Bringing a push with rsync, while a session on the server holds the lock: many or large files.

The session gets the plan, takes the lock, sends what would be lost to the trash and says that it is ready; rsync brings
the files; the session records them and gives the tree its new token. If this machine goes away, the session's stdin
ends, and the lock is left for the next run to find.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.quoting import build_remote_command
from mtr.sync.delivery import Delivery, Push, build_apply_script
from mtr.sync.plan import render_plan
from mtr.sync.rsync import RsyncSyncer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.ssh.held import Held
    from mtr.ssh.outcome import Ended
    from mtr.sync.base import Progress


def push_by_rsync(delivery: Delivery, push: Push, on_progress: Callable[[Progress], None] | None = None) -> None:
    """Bring ``push`` with rsync.

    Raises:
        TreeRefused: the server's tree is not what it builds on.
        SyncError: not everything arrived.
    """
    line = delivery.line
    text = render_plan(push.plan, (entry.path for entry in push.plan.upload))
    script = build_apply_script(delivery.project, push, "rsync", line.facts.stat)
    command = build_remote_command(f"mtr-{push.run_id}", script, ())
    streams: list[bytes] = []

    def once() -> Ended:
        held = line.hold(command)
        try:
            ended, streams[:] = _carry(delivery, push, held, text.encode(errors="surrogateescape"), on_progress)
        finally:
            held.close()
        return ended

    ended = line.attempt(once)
    if not ended.arrived:
        raise SyncError(f"the line to {line.label} broke during the sync; the next one resumes it", detail=ended.words)
    delivery.check_applied(ended.status, streams[0], streams[1])


def _carry(
    delivery: Delivery, push: Push, held: Held, plan: bytes, on_progress: Callable[[Progress], None] | None
) -> tuple[Ended, list[bytes]]:
    """Hand over ``plan``, let rsync bring the files once the lock is held, and return how the session ended."""
    try:
        held.write(b"%d\n" % len(plan) + plan)
    except BrokenPipeError:
        pass  # Its status and words say why.
    said = held.read_line()
    while said and not said.startswith("mtr-"):
        said = held.read_line()
    if said.startswith("mtr-ready "):
        own = f"{said[10:]}/.mtr"
        # Where the lock is held, whatever rc files make of HOME or the directory of rsync's own session.
        push.plan.remote_dir = said[10:]
        places = (f"--partial-dir={own}/partial", f"--temp-dir={own}/in.{push.run_id}", "--ignore-times")
        # A plan is carried out without making the directory: the session that holds the lock is in it.
        syncer = RsyncSyncer(delivery.line, on_progress=on_progress, extra=places)  # type: ignore[arg-type]
        push.plan.root = Path(push.plan.root).resolve()
        result = syncer.apply(push.plan)
        push.sent_files, push.sent_bytes = result.files_sent, result.bytes_sent or 0
        held.feed(lambda write: write(b"done\n"))
    ended, (stdout, stderr) = held.finish()
    return ended, [said.encode() + b"\n" + stdout, stderr]
