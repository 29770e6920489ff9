"""Bringing back what the newest push that replaced or deleted something had sent to the trash on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh.gate import new_run_id

if TYPE_CHECKING:
    from mtr.process.piped import Captured
    from mtr.ssh.line import Line


def undo(line: Line, remote_dir: str) -> tuple[str, tuple[str, ...]]:
    """Bring back what the newest push that took something away had taken from ``remote_dir``.

    Returns when that push was (UTC, for people) and the paths, () if there is nothing to bring back.

    What stands in the place of a path now goes to the trash in turn, so that an undo can be undone.

    Raises:
        SyncError: not all of it could be brought back.
    """
    found = _run_undo(line, remote_dir)
    if found.status == 5:
        # It takes over the lock of a run that has died.
        line.run_script("remote/list.sh", [remote_dir, new_run_id(), "", "", "none"], timeout_s=600)
        found = _run_undo(line, remote_dir)
    if found.status == 3:
        return "", ()
    lines = found.stdout.decode(errors="replace").split("\n")
    paths = tuple(text.removeprefix("mtr-back ") for text in lines if text.startswith("mtr-back "))
    if found.status == 5:
        hint = "wait for the other run, then: mtr undo"
        raise SyncError(f"{line.label}: somebody's sync to {remote_dir} does not end", hint=hint)
    if found.status != 0 or "mtr-done" not in lines:
        detail = found.stderr.decode(errors="replace")
        raise SyncError(f"{line.label}: only {len(paths)} paths could be brought back", detail=detail, hint="mtr undo")
    started = next((text for text in lines if text.startswith("mtr-from ")), "").rpartition("/")[2].split("-")
    return (_render_time(started[1]) if len(started) > 1 else ""), paths


def _run_undo(line: Line, remote_dir: str) -> Captured:
    run_id = new_run_id()
    # Under this name list.sh finds the owner of the lock.
    command = build_remote_command(f"mtr-{run_id}", load_script("remote/undo.sh"), [remote_dir, run_id])
    return line.run_captured(command, timeout_s=600)


def _render_time(stamp: str) -> str:
    """Return ``20261121T101500Z`` as people write it; anything else as it is."""
    if len(stamp) != 16 or not stamp[:8].isdigit():
        return stamp
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]} UTC"
