"""Bringing a push with another program or session, while a session on the server holds the lock.

That session runs ``apply.sh``: it takes the lock, says that it is ready and waits; the files are brought; it puts them
into place, records them and gives the tree its new token. If this machine goes away, its stdin ends, and the lock is
left for the next run to find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import RemoteDiskFull, SyncError
from mtr.quoting import build_remote_command
from mtr.sync.delivery import Delivery, build_apply_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.ssh.held import Held
    from mtr.ssh.outcome import Ended
    from mtr.sync.plan import Push


MAX_NOISE = 16 << 20
"""Characters that rc files may print before the session says that it is ready."""


def push_while_locked(delivery: Delivery, push: Push, how: str, first: bytes, bring: Callable[[str], None]) -> None:
    """Bring ``push``: ``how`` and ``first`` are what ``apply.sh`` takes; ``bring`` gets its directory, and brings.

    Raises:
        TreeRefused: the server's tree is not what it builds on.
        SyncError: not everything arrived.
    """
    line = delivery.line
    script = build_apply_script(delivery.project, push, how, line.facts.stat)
    command = build_remote_command(f"mtr-{push.run_id}", script, ())
    streams: list[bytes] = []

    def once() -> Ended:
        held = line.hold(command)
        try:
            ended, streams[:] = _carry(held, first, bring)
        finally:
            held.close()
        return ended

    ended = line.attempt(once)
    if not ended.arrived:
        message = f"the line to {line.label} broke during the sync; the next one resumes it"
        raise SyncError(message, detail=ended.words, hint="run it again")
    delivery.check_applied(ended.status, streams[0], streams[1])


def _carry(held: Held, first: bytes, bring: Callable[[str], None]) -> tuple[Ended, list[bytes]]:
    """Hand over ``first``, bring the files once the lock is held, and return how the session ended."""
    try:
        held.write(first)
    except BrokenPipeError:
        pass  # Its status and words say why.
    said, passed = held.read_line(), 0
    while said and not said.startswith("mtr-"):
        passed += len(said)
        if passed > MAX_NOISE:
            raise SyncError("the server prints something else without end", hint="look at the rc files there")
        said = held.read_line()
    is_ready = said.startswith("mtr-ready ")
    if is_ready:
        # Where the lock is held, whatever rc files make of HOME or the directory of another session.
        try:
            bring(said[10:].rstrip("\n"))
        except RemoteDiskFull:
            # What has arrived is kept for the next time, but not on a disk that is full of it.
            held.feed(lambda write: write(b"full\n"))
            held.finish()
            raise
    held.feed(lambda write: write(b"done\n") if is_ready else None)
    ended, (stdout, stderr) = held.finish()
    return ended, [said.encode() + stdout, stderr]
