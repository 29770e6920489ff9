"""All that is known of one job beyond its line in the list: where its files are, and the code that it was started with.

The answer is that of ``shell/remote/job/show.sh``; what the client has told of its code, that of ``git_state``.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.jobs.ask import build_job_command, ensure_there
from mtr.jobs.git_state import END, PATCH_BYTES
from mtr.jobs.model import JobError

if TYPE_CHECKING:
    from mtr.jobs.model import Job
    from mtr.ssh.wire import Wire

MAX_ORIGIN_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The code that a job was started with, as git told of it.

    ``state`` is ``whole``, ``cut`` (the patch was longer than 16 MiB), ``broken`` (the line broke before all had come,
    or git failed), or ``none`` (no repository, no git, or nothing was synced). ``dirty`` are status and path of what
    differs from ``commit``: ``M`` changed, ``A`` added, ``D`` deleted, ``?`` not tracked; ``patch`` has the differences
    of what of it was synced.
    """

    state: str = "none"
    commit: str = ""
    branch: str = ""
    dirty: tuple[tuple[str, str], ...] = ()
    patch: bytes = b""


@dataclass(frozen=True, slots=True)
class Details:
    """One job with its places on the server.

    ``directory`` is the one of its command, ``job_directory`` that of what is kept of it.
    ``tree`` is the copy that it runs in, "" for none; ``base`` is the directory that ``mtr get --job`` counts from;
    ``manifest_files`` is how many files had been synced, None where nothing was.
    """

    job: Job
    directory: str
    job_directory: str
    tree: str
    base: str
    gpus: str
    manifest_files: int | None
    size_bytes: int
    origin: Origin


def load_details(line: Wire, job: Job) -> Details:
    """Return what the server has of ``job``; one round trip.

    Raises:
        JobNotFound: it has been removed.
    """
    limit = str(MAX_ORIGIN_BYTES)
    found = line.run_captured(build_job_command("show", [job.id, limit]), timeout_s=120.0)
    ensure_there(line, job.id, found.status)
    head, mark, data = found.stdout.partition(b"\norigin\n")
    if found.status != 0 or not mark:
        raise JobError(f"{line.label} did not tell of job {job.id}", detail=found.stderr.decode(errors="replace"))
    fields = dict(text.split(" ", 1) for text in head.decode(errors="surrogateescape").splitlines() if " " in text)
    tree = fields.get("tree", "")
    files, kib = fields.get("manifest", ""), fields.get("kib", "")
    return Details(
        job,
        str(job.about.get("directory") or ""),
        fields.get("directory", ""),
        tree,
        tree or str(job.about.get("root") or job.about.get("directory") or "~"),
        fields.get("gpus", ""),
        int(files) if files.isdecimal() else None,
        int(kib) * 1024 if kib.isdecimal() else 0,
        parse_origin(data),
    )


def parse_origin(data: bytes) -> Origin:
    """Return what ``data``, as it was sent, tells of the code."""
    text, is_whole = _unpack(data)
    body, end, _ = text.rpartition(END)
    is_whole = is_whole and bool(end)
    # Without anything to tell, the empty line comes first.
    told, _, patch = (b"\0" + (body if end else text)).partition(b"\0\n")
    records = told.decode(errors="surrogateescape").split("\0")
    headers = dict(words.removeprefix("# ").split(" ", 1) for words in records if words.startswith("# branch."))
    if "branch.oid" not in headers:
        return Origin("none" if is_whole else "broken")
    commit, branch = headers["branch.oid"], headers.get("branch.head", "")
    state = "broken" if not is_whole else "cut" if len(patch) >= PATCH_BYTES else "whole"
    dirty = tuple(found for record in records if (found := _parse_change(record)))
    return Origin(
        state, "" if commit == "(initial)" else commit, "" if branch == "(detached)" else branch, dirty, patch
    )


def _unpack(data: bytes) -> tuple[bytes, bool]:
    """Return what gzip has packed, and whether all of it is there; what it has not packed, as it is."""
    if data[:2] != b"\x1f\x8b":
        return data, True
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, MAX_ORIGIN_BYTES)
    except zlib.error:
        return b"", False
    return text, unpacking.eof


def _parse_change(record: str) -> tuple[str, str] | None:
    """Return status and path of a record of git-status(1)'s format 2, None for another one."""
    kind, _, rest = record.partition(" ")
    fields = {"1": 7, "u": 9}
    if kind == "?":
        return "?", rest
    if kind not in fields:
        return None
    words = rest.split(" ", fields[kind])
    if len(words) <= fields[kind]:
        return None
    status = words[0].replace(".", "")[:1] or "M"
    return "U" if kind == "u" else status, words[-1]
