"""What runs that were cut off have left: on the server, ended and told at the next contact with it; files here."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from mtr.errors import ConnectError, MtrError, sanitize
from mtr.ssh.journal import name_machine
from mtr.state import ensure_runtime_dir, ensure_state_dir, remove_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.ssh.line import Line

UNWRITTEN_S = 60.0
"""A half-written file of another machine's pid is being written, unless it is older than this."""

YOUNG_S = 30.0
"""A run that was cut off so lately may still stand before its gate: a slow rc file."""

KEPT_S = 14 * 86400.0
"""The run of another machine, or on a server that nobody has gone to since, is forgotten after this."""

TIMEOUT_S = 20.0

BUDGET_S = 10.0
"""What the next command waits at most for the ends of others; what is left is left to the next contact."""


# -- files here


def collect_files(environ: Mapping[str, str]) -> None:
    """Remove here what those leave who are killed: half-written files, logs, questions of a login, old notes of runs.

    Their names hold the pid of who made them: ``NAME.PID.tmp``, ``run.PID.RANDOM.log``, ``ask.PID.RANDOM``,
    ``origin.PID.RANDOM``.
    """
    for top in (ensure_runtime_dir(environ), ensure_state_dir(environ)):
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                path = f"{folder}/{name}"
                is_run = folder.endswith("/mtr/runs") and _age_s(path) > KEPT_S
                if is_run or ((pid := _find_maker(name)) and _is_gone(pid, path)):
                    _remove(path)


def _find_maker(name: str) -> int:
    """Return the pid in the name of a passing file, 0 for any other file."""
    words = name.split(".")
    is_partial, is_passing = words[-1] == "tmp", words[0] in ("ask", "run", "origin")
    pid = words[-2] if is_partial and len(words) > 2 else words[1] if is_passing and len(words) > 2 else ""
    return int(pid) if pid.isascii() and pid.isdigit() and len(pid) < 10 else 0


def _remove(path: str) -> None:
    import shutil

    try:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else remove_file(path)
    except OSError:
        pass  # a disk that takes nothing, or somebody else's; it is in nobody's way


def _is_gone(pid: int, path: str) -> bool:
    """Tell whether who made ``path`` has gone: a directory that machines share holds pids of others as well."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return not path.endswith(".tmp") or _age_s(path) > UNWRITTEN_S
    except (PermissionError, OverflowError):
        pass  # somebody else's by now; a later look may tell
    return False


def _age_s(path: str) -> float:
    try:
        return time.time() - os.lstat(path).st_mtime
    except OSError:
        return 0.0


# -- runs on the server


def end_cut_off(line: Line, found: Sequence[tuple[str, int]]) -> None:
    """End what is left of the runs in the journal's files ``found``, and say of which.

    A run of another machine that shares the directory is left alone: whether its mtr lives cannot be told from here.

    Raises:
        ConnectError: the server cannot be reached, and so the next run will end them.
    """
    end_s = time.monotonic() + BUDGET_S
    try:
        for path, descriptor in found:
            if time.monotonic() < end_s:
                _settle(line, path, descriptor)
    except ConnectError:
        raise
    except MtrError as error:
        line.says(f"what a run that was cut off has left on {line.label} could not be ended: {error.message}")
    finally:
        for _, descriptor in found:
            os.close(descriptor)
    collect_files(line.environ)


def _settle(line: Line, path: str, descriptor: int) -> None:
    words = os.read(descriptor, 4096).decode(errors="replace").split("\n")
    age_s = time.time() - os.fstat(descriptor).st_mtime
    if len(words) >= 4 and words[0] != name_machine():
        return
    _end_run(line, path.rpartition(".")[2], words, looks=20 if age_s < YOUNG_S else 1)
    remove_file(path)


def _end_run(line: Line, run_id: str, words: Sequence[str], *, looks: int) -> None:
    """End the run; what had ended by itself is not mentioned, what will not end is mentioned once."""
    half = len(run_id) // 2
    arguments = [run_id[:half], run_id[half:], "TERM", str(looks), "spare"]
    found = line.run_script("remote/reap.sh", arguments, timeout_s=TIMEOUT_S)
    said = found.stdout.decode(errors="replace").strip()
    if said.startswith("gone"):
        line.says(f"ended on {line.label} what {_render_run(words)} had left there")
    elif said.startswith("kept"):
        line.says(f"{_render_run(words)} goes on on {line.label}: it ignores hangups, as nohup has it; pids{said[4:]}")
    elif said.startswith("left"):
        line.says(f"processes of {_render_run(words)} that would not end on {line.label}:{said[4:]}")


def _render_run(words: Sequence[str]) -> str:
    """Return ``the run of python at 14:02 that was cut off``, with the day where it is not today's."""
    if len(words) < 4 or not words[1].isdigit() or len(words[1]) > 11:
        return "a run that was cut off"
    started = time.localtime(int(words[1]))
    is_today = started[:3] == time.localtime()[:3]
    when = time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", started)
    return f"the run of {sanitize(words[2])} at {when} that was cut off"
