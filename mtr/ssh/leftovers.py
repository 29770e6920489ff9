"""What runs that were cut off have left: on the server, ended and told at the next contact with it; files here."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from mtr.errors import MtrError, sanitize
from mtr.state import ensure_runtime_dir, ensure_state_dir, lock_file, remove_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.ssh.line import Line

UNWRITTEN_S = 60.0
"""A file of the journal without words is being written, unless it is older than this."""

TIMEOUT_S = 20.0


def collect_files(environ: Mapping[str, str]) -> None:
    """Remove here what those leave who are killed: half-written files, logs, questions of a login.

    Their names hold the pid of who made them: ``NAME.PID.tmp``, ``run.PID.RANDOM.log``, ``ask.PID.RANDOM``.
    """
    for top in (ensure_runtime_dir(environ), ensure_state_dir(environ)):
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                words = name.split(".")
                is_partial = words[-1] == "tmp" and len(words) > 2
                pid = words[-2] if is_partial else words[1] if words[0] in ("ask", "run") else ""
                if pid.isdigit() and _is_gone(int(pid), f"{folder}/{name}"):
                    _remove(f"{folder}/{name}")


def _remove(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else remove_file(path)


def _is_gone(pid: int, path: str) -> bool:
    """Tell whether who made ``path`` has gone: a directory that machines share holds pids of others as well."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return not path.endswith(".tmp") or _is_old(path)
    except (PermissionError, OverflowError):
        pass  # somebody else's by now; a later look may tell
    return False


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.lstat(path).st_mtime > UNWRITTEN_S
    except OSError:
        return False


def end_cut_off(line: Line, entries: Sequence[str]) -> None:
    """End what is left of the runs in the journal's files ``entries`` whose mtr has gone, and say of which.

    A run of another machine that shares the directory is left alone: whether its mtr lives cannot be told from here.
    """
    was_cut_off = False
    for path in entries:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # it has ended meanwhile
        try:
            if lock_file(descriptor, wait=False) and os.fstat(descriptor).st_nlink:
                _settle(line, path, descriptor)
                was_cut_off = True
        finally:
            os.close(descriptor)
    if was_cut_off:
        collect_files(line.environ)


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
