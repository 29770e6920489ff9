"""What runs that were cut off have left on a server: ended, and told, at the next contact with it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from mtr.errors import MtrError, sanitize
from mtr.state import lock_file, remove_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.ssh.line import Line

UNWRITTEN_S = 60.0
"""A file of the journal without words is being written, unless it is older than this."""

TIMEOUT_S = 20.0


def end_cut_off(line: Line, entries: Sequence[str]) -> None:
    """End what is left of the runs in the journal's files ``entries`` whose mtr has gone, and say of which.

    A run of another machine that shares the directory is left alone: whether its mtr lives cannot be told from here.
    """
    for path in entries:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # it has ended meanwhile
        try:
            if lock_file(descriptor, wait=False) and os.fstat(descriptor).st_nlink:
                _settle(line, path, descriptor)
        finally:
            os.close(descriptor)


def _settle(line: Line, path: str, descriptor: int) -> None:
    words = os.read(descriptor, 4096).decode(errors="replace").split("\n")
    if len(words) < 4 and time.time() - os.fstat(descriptor).st_mtime < UNWRITTEN_S:
        return
    if len(words) >= 4 and words[0] != os.uname().nodename:
        return
    try:
        is_over = _end_run(line, path.rpartition(".")[2], words)
    except MtrError as error:
        line.says(f"what a run that was cut off has left on {line.label} could not be ended: {error.message}")
        return
    if is_over:
        remove_file(path)


def _end_run(line: Line, run_id: str, words: Sequence[str]) -> bool:
    """End the run and tell whether nothing of it is left; what had ended by itself is not mentioned."""
    half = len(run_id) // 2
    found = line.run_script("remote/reap.sh", [run_id[:half], run_id[half:], "TERM", "1"], timeout_s=TIMEOUT_S)
    said = found.stdout.decode(errors="replace").strip()
    if said.startswith("gone"):
        line.says(f"ended on {line.label} what {_render_run(words)} had left there")
    elif said.startswith("left"):
        line.says(f"processes of {_render_run(words)} that would not end on {line.label}: {sanitize(said[5:])}")
    return found.status == 0


def _render_run(words: Sequence[str]) -> str:
    """Return ``the run of python at 14:02 that was cut off``, with the day where it is not today's."""
    if len(words) < 4 or not words[1].isdigit():
        return "a run that was cut off"
    started = time.localtime(int(words[1]))
    is_today = started[:3] == time.localtime()[:3]
    when = time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", started)
    return f"the run of {sanitize(words[2])} at {when} that was cut off"
