"""The processes of one command, found and ended: also those that have left its session and lost their parents.

A process belongs to a command if it carries the command's mark in its environment (which is inherited, and which Linux
shows to its owner), if its parent belongs, or if it shares the session or the process group of the leader. What was
seen once still belongs when its parent has died. The mark is what finds daemons, and what a leader that has ended
has left behind. Only a process that has left the session, lost its parent and cleared its environment before anybody
looked is not found; nor, where there is no /proc (macOS), one that has done the first two.

A pid is reused some time, so what is known is pid and time of start, and a signal is sent through a pidfd where the
system has them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from mtr.process.piped import run_piped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "MTR_COMMAND"
"""The variable whose value tells whose process it is."""

PROC = "/proc"
TICK_S = 0.02
KILLING_S = 5.0
"""How long a killed process may take to vanish; one that hangs in the kernel does not."""


class Process(NamedTuple):
    """One row of the table of processes."""

    pid: int
    parent: int
    group: int
    session: int
    started: str
    """In clock ticks since boot; empty where that is not known."""

    @property
    def age(self) -> tuple[int, int]:
        """Sorts by age, and what was started within one tick by pid."""
        return int(self.started or 0), self.pid


def end_tree(leaders: Iterable[int], mark: str, *, grace_s: float) -> list[int]:
    """End every process of some commands: TERM, after ``grace_s`` KILL; return the pids that are left after all.

    ``leaders`` are those that have not ended: the pid of another one may be a stranger's. ``mark`` is the value of
    ``MTR_COMMAND``, or how it begins.
    """
    sessions = set(leaders)
    if sys.platform == "win32":
        from mtr.process import windows

        return windows.end_tree(sessions)
    term_end_s = time.monotonic() + grace_s
    kill_end_s = term_end_s + KILLING_S
    seen: set[tuple[int, str]] = set()
    told: set[tuple[int, str]] = set()
    # Twice, since a look takes a while, in which the last one seen may have forked.
    while members := _look(sessions, mark, seen) or _look(sessions, mark, seen):
        now_s = time.monotonic()
        is_killing = now_s >= term_end_s
        if now_s >= kill_end_s:
            return sorted(process.pid for process in members)
        for process in members:
            if is_killing:
                _send(process, signal.SIGKILL)
            elif (process.pid, process.started) not in told:
                _send(process, signal.SIGTERM)
                _send(process, signal.SIGCONT)  # A stopped process takes no TERM.
        told |= seen
        time.sleep(TICK_S)
    return []


def _look(sessions: set[int], mark: str, seen: set[tuple[int, str]]) -> list[Process]:
    """Return what is alive of some commands.

    A process that has no descriptor left cannot look: it kills the groups that it knows, which gives it some back.
    """
    try:
        return find_members(sessions, mark, seen)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        for leader in sessions:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)
        return [Process(pid, 0, pid, pid, "") for pid in sessions] or [Process(0, 0, 0, 0, "")]


def find_members(sessions: set[int], mark: str, seen: set[tuple[int, str]]) -> list[Process]:
    """Return what is alive of some commands, the oldest first: a shell that is ended after its children tells of them.

    ``seen`` are those known to belong, and grows; from ``sessions`` go those whose number has been given away.
    """
    processes = {process.pid: process for process in _list_processes()}
    if seen:  # While somebody is in a session its number is kept: with a new owner, all of it had ended.
        sessions -= {pid for pid in sessions if pid in processes and (pid, processes[pid].started) not in seen}
    processes.pop(os.getpid(), None)
    pids = {pid for pid, process in processes.items() if _belongs(process, sessions, mark, seen)}
    while more := {p.pid for p in processes.values() if p.parent in pids} - pids:
        pids |= more
    seen |= {(pid, processes[pid].started) for pid in pids}
    return sorted((processes[pid] for pid in pids), key=lambda process: (process.pid not in sessions, process.age))


def _belongs(process: Process, sessions: set[int], mark: str, seen: set[tuple[int, str]]) -> bool:
    """Tell whether a process belongs by itself, whatever its parent does."""
    is_in_session = not sessions.isdisjoint((process.pid, process.session, process.group))
    return is_in_session or (process.pid, process.started) in seen or _is_marked(process.pid, mark)


def _send(process: Process, number: int) -> None:
    """Signal exactly this process: not another one that has got its pid since."""
    if not process.pid:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # Who is left is told at the end.
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # Another system, an older Linux, no descriptor left.
            os.kill(process.pid, number)
            return
        try:
            now = _read_stat(process.pid)
            if now is not None and now.started == process.started:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _list_processes() -> Iterator[Process]:
    """Return every process but zombies."""
    if not os.path.isdir(f"{PROC}/self"):
        yield from _ask_ps()
        return
    for name in os.listdir(PROC):
        if name.isdigit() and (process := _read_stat(int(name))):
            yield process


def has_ended(pid: int) -> bool:
    """Tell whether a process of a machine with proc(5) has ended, also where nobody reaps it: in a bare container."""
    return _read_stat(pid) is None


def _read_stat(pid: int) -> Process | None:
    """Return a process from proc(5); its name, in parentheses, may hold anything."""
    try:
        with open(f"{PROC}/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode())


def _ask_ps() -> Iterator[Process]:
    """Return the same from ps(1), whose columns POSIX names; it knows no session, so a group stands for it."""
    words = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat="]
    for line in run_piped(words, timeout_s=10).stdout.decode(errors="replace").splitlines():
        pid, parent, group, state = line.split()[:4]
        if not state.startswith("Z"):
            yield Process(int(pid), int(parent), int(group), int(group), "")


def _is_marked(pid: int, mark: str) -> bool:
    try:
        with open(f"{PROC}/{pid}/environ", "rb") as file:
            return f"\0{MARK}={mark}".encode() in b"\0" + file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, another user's, or no such file at all
        return False
