"""The journal of runs: which of this machine are under way, so that what a killed one has left is ended later.

A file for each run, ``STATE/runs/PLACE.RUN``: PLACE stands for the server's address, RUN is the run's id, and its
lines are the machine, the time of its start in seconds since the epoch, and the name of the program, without its
arguments. Its mtr holds a lock on it while it lives, which no death can leave behind (flock(2)), and removes it once
nothing of the run can be left on the server. What lies there without a lock was cut off: by SIGKILL, a lost line, a
dead battery.

Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import os
import time

from mtr.state import ensure_state_dir, lock_file, name_file, remove_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class entered:  # noqa: N801  read as a statement: with entered(…) as entry
    """Keep a run in the journal for as long as the block runs; its file stays behind unless it was ``settled``.

    Where the state directory takes no file the run goes on without: it is a net, and no part of the way. So does one
    without the name of a program.
    """

    def __init__(self, environ: Mapping[str, str], address: str, run_id: str, program: str) -> None:
        self._program = program
        self._descriptor = -1
        self._path = ""
        if not program:
            return
        try:
            self._path = f"{_ensure_folder(environ)}/{name_file(address)}.{run_id}"
        except OSError:
            pass

    def __enter__(self) -> entered:
        if not self._path:
            return self
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            # Whoever looks for those cut off holds a lock for a moment, and leaves a file without words alone.
            lock_file(self._descriptor)
            words = f"{os.uname().nodename}\n{time.time():.0f}\n{self._program}\n"
            os.write(self._descriptor, words.encode(errors="replace"))
        except OSError:
            self.settle()
        return self

    def settle(self) -> None:
        """Nothing of the run is left on the server: forget it."""
        if self._descriptor >= 0:
            try:
                remove_file(self._path)
            except OSError:
                pass

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def find_entries(environ: Mapping[str, str], address: str) -> list[str]:
    """Return the files of the runs at ``address`` that are under way or were cut off; whose they are is not known."""
    try:
        folder = _ensure_folder(environ)
        place = f"{name_file(address)}."
        return [f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(place)]
    except OSError:
        return []


def _ensure_folder(environ: Mapping[str, str]) -> str:
    folder = f"{ensure_state_dir(environ)}/runs"
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700, exist_ok=True)
    return folder
