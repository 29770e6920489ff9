"""The journal of runs: which of this machine are under way, so that what a killed one has left is ended later.

A file for each run, ``STATE/runs/PLACE.RUN``: PLACE stands for the server's address, RUN is the run's id, and its
lines are the machine, the time of its start in seconds since the epoch, and the name of the program, without its
arguments. Its mtr holds a lock on it while it lives, which no death can leave behind (flock(2)), and removes it once
nothing of the run can be left on the server. What lies there without a lock was cut off: by SIGKILL, a lost line, a
dead battery. Where a system knows no such lock, there is no journal.

Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import os
import time
from stat import S_ISREG

from mtr.state import drop_file, ensure_state_dir, lock_file, name_file, read_machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FLAGS = os.O_RDWR
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
    _FLAGS |= getattr(os, _name, 0)


class entered:  # noqa: N801  read as a statement: with entered(…) as entry
    """Keep a run in the journal for as long as the block runs; its file stays behind unless it was ``settled``.

    Where the state directory takes no file the run goes on without: it is a net, and no part of the way. So does one
    without the name of a program.
    """

    def __init__(self, environ: Mapping[str, str], address: str, run_id: str, program: str) -> None:
        self._run_id = run_id
        self._program = program
        self._descriptor = -1
        self._path = ""
        if program:
            try:
                self._path = f"{_ensure_folder(environ)}/{name_file(address)}.{run_id}"
            except OSError:
                pass

    def __enter__(self) -> entered:
        if self._path:
            # Under another name until it is locked: whoever looks must never take it for one that was cut off.
            begun = f"{os.path.dirname(self._path)}/{self._run_id}.{os.getpid()}.tmp"
            try:
                self._descriptor = os.open(begun, _FLAGS | os.O_CREAT, 0o600)
                lock_file(self._descriptor)
                words = f"{name_machine()}\n{time.time():.0f}\n{self._program}\n"
                os.write(self._descriptor, words.encode(errors="replace"))
                os.rename(begun, self._path)
            except OSError:
                drop_file(begun)
        return self

    def settle(self) -> None:
        """Nothing of the run is left on the server: forget it."""
        if self._descriptor >= 0:
            drop_file(self._path)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def find_cut_off(environ: Mapping[str, str], address: str) -> list[tuple[str, int]]:
    """Return the files of runs at ``address`` whose mtr has gone, each with a descriptor that holds its lock now."""
    try:
        folder = _ensure_folder(environ)
        place = f"{name_file(address)}."
        paths = [f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(place)]
    except OSError:
        return []
    return [(path, descriptor) for path in paths if (descriptor := _take(path)) >= 0]


def _take(path: str) -> int:
    """Return a descriptor that holds the lock of a file of the journal, -1 where its mtr lives, or has just ended."""
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return -1
    try:
        found = os.fstat(descriptor)
        if S_ISREG(found.st_mode) and lock_file(descriptor, wait=False) and os.fstat(descriptor).st_nlink:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return -1


def _ensure_folder(environ: Mapping[str, str]) -> str:
    if not hasattr(os, "O_NOFOLLOW"):
        raise OSError("no locks that end with their process")
    folder = f"{ensure_state_dir(environ)}/runs"
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700, exist_ok=True)
    return folder


def name_machine() -> str:
    """Return what tells this machine from others that share the directory."""
    return read_machine_id() or os.uname().nodename
