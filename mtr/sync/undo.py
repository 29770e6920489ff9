"""Bringing back what the newest push that replaced or deleted something had sent to the trash on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh.line import new_run_id

if TYPE_CHECKING:
    from mtr.ssh.line import Line


def undo(line: Line, remote_dir: str) -> tuple[str, ...]:
    """Bring back what the last push took away in ``remote_dir``; return its paths, () if there is nothing.

    What stands in the place of a path now goes to the trash in turn, so that an undo can be undone.

    Raises:
        SyncError: not all of it could be brought back.
    """
    found = line.run_script("remote/undo.sh", [remote_dir, new_run_id()], timeout_s=600)
    if found.status == 3:
        return ()
    lines = found.stdout.decode(errors="replace").split("\n")
    paths = tuple(text.removeprefix("mtr-back ") for text in lines if text.startswith("mtr-back "))
    if found.status == 5:
        hint = "wait for the other run, then: mtr undo"
        raise SyncError(f"{line.label}: somebody's sync to {remote_dir} does not end", hint=hint)
    if found.status != 0 or "mtr-done" not in lines:
        detail = found.stderr.decode(errors="replace")
        raise SyncError(f"{line.label}: only {len(paths)} paths could be brought back", detail=detail, hint="mtr undo")
    return paths
