"""Which jobs may go: those that have ended long ago, and the oldest of those that take too much room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.errors import UsageError
from mtr.jobs.model import JobError
from mtr.quoting import build_remote_command
from mtr.scripts import load_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.jobs.model import Job
    from mtr.ssh.wire import Wire

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "B": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}


def load_sizes(line: Wire) -> tuple[dict[str, int], float]:
    """Return how many bytes each job takes on the server of ``line``, with its copy of the tree; and the time there.

    Raises:
        JobError: the server has not told.
    """
    command = build_remote_command("mtr-jobs", load_script("remote/job/sizes.sh"), [])
    found = line.run_captured(command, timeout_s=600.0)
    sizes, now_s = {}, 0.0
    for text in found.stdout.decode(errors="replace").splitlines():
        kib, _, job_id = text.partition("\t")
        if text.startswith("now ") and text[4:].isdecimal():
            now_s = float(text[4:])
        elif kib.isdecimal() and job_id:
            sizes[job_id] = int(kib) * 1024
    if not now_s:
        raise JobError(f"{line.label} did not tell what its jobs take", detail=found.stderr.decode(errors="replace"))
    return sizes, now_s


def choose_prunable(
    jobs: Sequence[Job],
    sizes: Mapping[str, int],
    now_s: float,
    *,
    older_s: float | None = None,
    keep_bytes: int | None = None,
) -> list[Job]:
    """Return those of one server's ``jobs`` that may go, the oldest first; never one that waits or runs.

    Those that have ended more than ``older_s`` before ``now_s``, and of the others the oldest until what is left takes
    no more than ``keep_bytes``. One that is lost counts from when it was started, and one of which not even that is
    known is the oldest.
    """
    ended = sorted((job for job in jobs if not job.is_alive), key=lambda job: (_find_end(job), job.id))
    gone = [job for job in ended if older_s is not None and now_s - _find_end(job) > older_s]
    left = [job for job in ended if job not in gone]
    total = sum(sizes.get(job.id, 0) for job in jobs) - sum(sizes.get(job.id, 0) for job in gone)
    while keep_bytes is not None and left and total > keep_bytes:
        total -= sizes.get(left[0].id, 0)
        gone.append(left.pop(0))
    return gone


def _find_end(job: Job) -> float:
    return job.ended_s if job.ended_s is not None else job.started_s or 0.0


def parse_age(text: str) -> float:
    """Return the seconds of e.g. ``14d``, ``12h``, ``90m``; a bare number counts days.

    Raises:
        UsageError: it is none.
    """
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _SECONDS else (text, "d")
    if not _is_number(number):
        raise UsageError(f"--older takes an age such as 14d, 12h or 90m, not {text}", hint="mtr job prune --older 14d")
    return float(number) * _SECONDS[unit]


def parse_size(text: str) -> int:
    """Return the bytes of e.g. ``5GB``, ``500M`` or ``1.5GiB``.

    Raises:
        UsageError: it is none.
    """
    word = text.strip().upper().removesuffix("B")
    is_binary = word.endswith("I")
    word = word.removesuffix("I")
    number, unit = (word[:-1], word[-1:]) if word[-1:] in _BYTES and word[-1:] else (word, "")
    if not _is_number(number) or (is_binary and not unit):
        message = f"--keep-size takes a size such as 5GB or 500M, not {text}"
        raise UsageError(message, hint="mtr job prune --keep-size 5GB")
    factor = 1024 ** "BKMGT".index(unit) if is_binary else _BYTES[unit]
    return int(float(number) * factor)


def _is_number(text: str) -> bool:
    whole, _, part = text.strip().partition(".")
    return text.isascii() and whole.isdecimal() and len(whole) < 16 and (part.isdecimal() or "." not in text)
