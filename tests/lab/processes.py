"""Looking at processes through /proc, waiting for conditions, ending what the lab started, by pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = 20.0) -> None:
    """Return once ``condition()`` holds; fail with ``what`` when it does not in time."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"waited {deadline_s:g} s in vain for: {what}"
        time.sleep(0.01)


def die_with_parent() -> None:
    """Called in a child before exec: the server ends when the test's process is killed (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def is_alive(pid: int) -> bool:
    """Tell whether ``pid`` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """Return every process below ``pid``, whatever its depth."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(") ")[2].split()[1])
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def find_peak_kib(pid: int) -> int:
    """Return the most that the process has held in memory; its rusage begins at what its parent's held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def end_tree(pid: int) -> None:
    """End ``pid`` and everything below it, and wait until they are gone."""
    family = [pid, *children_of(pid)]
    for member in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, family)), f"the end of {family}")


def processes_mentioning(words: Iterable[str]) -> dict[int, str]:
    """Return every process of ours (but this one) with one of ``words`` in its command line or environment."""
    marks = [word.encode() for word in words]
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        with contextlib.suppress(OSError):
            shown = (path / "cmdline").read_bytes()
            seen = shown + (path / "environ").read_bytes()
            if pid != os.getpid() and is_alive(pid) and any(mark in seen for mark in marks):
                found[pid] = shown.replace(b"\0", b" ").decode(errors="replace")[:200]
    return found
