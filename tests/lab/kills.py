"""Who takes part in a run, found through /proc by role, and killed with SIGKILL at a moment of choice.

Only what stands below the lab's own sshd, below one mtr, or in the records of one home is ever found.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.processes import children_of, is_alive, processes_mentioning

if TYPE_CHECKING:
    import random
    import subprocess

    from tests.lab.home import Home

ROLES = ("mtr", "master", "sshd", "shell", "tool")
RSYNC_ROLES = ("rsync here", "rsync there")

LASTING = ("mtr", "master", "sshd")
"""Those that are there all the time; the others come and go."""

_MTR_SCRIPT = re.compile(rb"mtr-(script|[0-9a-f]{16})")
"""What gate, apply and the other scripts show as their $0."""


def read_argv(pid: int) -> list[bytes]:
    """Return the argv of ``pid``, [] once it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def is_sshd(argv: list[bytes]) -> bool:
    """Tell whether this is the server itself: a connection's processes, before and after the login."""
    return argv[0].split(b":")[0].rpartition(b"/")[2].startswith(b"sshd")


def is_script(argv: list[bytes]) -> bool:
    """Tell whether this is one of mtr's scripts on the server, or a subshell of one."""
    return any(_MTR_SCRIPT.fullmatch(word) for word in argv[1:5])


def _is_rsync(argv: list[bytes]) -> bool:
    return bool(argv) and argv[0].rpartition(b"/")[2] == b"rsync"


_TOOLS = {b"tar", b"gzip", b"base64", b"mv", b"awk", b"stat", b"find"}

_IS_ROLE = {
    "sshd": is_sshd,
    "shell": is_script,
    "tool": lambda argv: argv[0] in _TOOLS,
    "rsync there": _is_rsync,
}


def list_remote(home: Home) -> dict[int, list[bytes]]:
    """Return every living process below the lab's sshd, with its argv."""
    found = {pid: read_argv(pid) for pid in children_of(home.server.pid)}
    return {pid: argv for pid, argv in found.items() if argv and argv[0] and is_alive(pid)}


def list_left(home: Home) -> dict[int, list[bytes]]:
    """Return what runs on the server besides sshd's own processes."""
    return {pid: argv for pid, argv in list_remote(home).items() if not is_sshd(argv)}


def list_outliving(home: Home) -> dict[int, str]:
    """Return what runs on the server for any of its users, also what has outlived its connection."""
    return processes_mentioning([f"{home.server.dir}/home/"])


def find_role(role: str, home: Home, run: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that play ``role`` in ``run`` just now."""
    if role == "mtr":
        return [run.pid] if run.poll() is None else []
    if role == "master":
        return home.masters()
    if role == "rsync here":
        return [pid for pid in children_of(run.pid) if _is_rsync(read_argv(pid))]
    return [pid for pid, argv in list_remote(home).items() if _IS_ROLE[role](argv)]


def kill_role(
    role: str, home: Home, run: subprocess.Popen[bytes], choice: random.Random, *, after_s: float, then_s: float
) -> str:
    """Kill one process of ``role`` at the earliest ``after_s`` from now and ``then_s`` after it was first seen.

    Returns who was killed, "" if the run ended before anybody could be.
    """
    with contextlib.suppress(TimeoutError):
        _wait(run, after_s)
        while run.poll() is None:
            if find_role(role, home, run):
                _wait(run, then_s)
                if found := find_role(role, home, run):
                    return _kill(choice.choice(found))
                then_s = 0.0
            time.sleep(0.001)
    return ""


def _wait(run: subprocess.Popen[bytes], seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        if run.poll() is not None:
            raise TimeoutError
        time.sleep(min(left_s, 0.005))


def _kill(pid: int) -> str:
    shown = b" ".join(read_argv(pid))[:70].decode(errors="replace")
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return f"{pid} {shown}"
