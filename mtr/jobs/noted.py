"""The jobs that were started from here, as far as this machine has noted them. Builtin modules only.

``jobs/ID`` in the state directory, for each: its lines are the server and the job's name, which may be empty. A note
spares a question, and feeds completion; without it, all servers are asked. It goes when its job is removed, from here,
or from elsewhere as soon as the server has told of all its jobs.
"""

from __future__ import annotations

import os
import time

from mtr.state import drop_file, ensure_state_dir, read_regular, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping

MAX_BYTES = 4096
MAX_LISTED = 200

YOUNG_S = 86_400.0
"""A note is made before it is known whether its job is, and the server's answer to another may be older."""


def note_job(job_id: str, server: str, environ: Mapping[str, str], *, name: str = "") -> None:
    """Note on which server the job is, and how it is called."""
    try:
        folder = f"{ensure_state_dir(environ)}/jobs"
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700, exist_ok=True)
        write_atomic(f"{folder}/{job_id}", f"{server}\n{name}\n".encode(errors="surrogateescape"))
    except OSError:
        pass


def find_noted(job_id: str, environ: Mapping[str, str]) -> str:
    """Return the server that was noted for the job, "" where none was."""
    data = read_regular(f"{ensure_state_dir(environ)}/jobs/{job_id}", MAX_BYTES)
    return (data or b"").decode(errors="surrogateescape").partition("\n")[0]


def drop_note(job_id: str, environ: Mapping[str, str]) -> None:
    """Forget a job that has been removed."""
    drop_file(f"{ensure_state_dir(environ)}/jobs/{job_id}")


def drop_gone(server: str, ids: Container[str], environ: Mapping[str, str]) -> None:
    """Forget the jobs that were noted for ``server`` and are none of ``ids``, which are all that it has.

    A note of the last day stays: see ``YOUNG_S``.
    """
    folder = f"{ensure_state_dir(environ)}/jobs"
    try:
        gone = [entry for entry in os.scandir(folder) if entry.name.isalnum() and entry.name not in ids]
        for entry in gone:
            if time.time() - entry.stat().st_mtime > YOUNG_S and find_noted(entry.name, environ) == server:
                drop_file(entry.path)
    except OSError:
        pass  # Another mtr was faster; what is left goes with the next answer.


def list_noted(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return id, server and name of the newest of them."""
    folder = f"{ensure_state_dir(environ)}/jobs"
    try:
        found = [(entry.stat().st_mtime_ns, entry.name) for entry in os.scandir(folder) if entry.name.isalnum()]
    except OSError:
        return []
    noted = []
    for _, job_id in sorted(found, reverse=True)[:MAX_LISTED]:
        lines = (read_regular(f"{folder}/{job_id}", MAX_BYTES) or b"").decode(errors="surrogateescape").split("\n")
        noted.append((job_id, lines[0], lines[1] if lines[1:] else ""))
    return noted
