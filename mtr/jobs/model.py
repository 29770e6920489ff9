"""A job as its server tells of it, and how the server's answer is read. Pure.

The answer is that of ``shell/remote/job/list.sh``; what is on disk there is described in ``start.sh``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mtr.errors import MtrError, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DIGITS = frozenset("0123456789abcdef")
"""Of an id: it stands in paths and commands, and a server may tell anything."""

ALIVE = ("queued", "running")
_STATUS = re.compile("[0-9]{1,3}")
_LATEST_S = 1e11
"""What is beyond it is no time."""

WHYS = {"exit": "", "stopped": "stopped", "timeout": "timed out", "failed": "could not be started"}


class JobError(MtrError):
    """A job cannot be found, started, followed or stopped."""

    code = "job"


class JobNotFound(JobError):
    """No job has that id or name, or more than one has."""

    code = "job-not-found"


@dataclass(frozen=True, slots=True)
class Job:
    """One job on one server.

    ``state`` is ``queued``, ``running``, ``done`` (status 0), ``failed`` (another status), ``stopped``, ``timeout``, or
    ``lost``: its first process has gone without a word, and ``reason`` says what is known of that. ``status`` is as a
    shell reports it (128+n for a signal), None while there is none. Times are seconds since the epoch by the server's
    clock; ``runs_s`` is how long it has run, ``age_s`` how long ago it began. ``out_bytes`` and ``err_bytes`` are what
    it has printed so far.
    """

    id: str
    server: str
    state: str
    reason: str = ""
    status: int | None = None
    name: str = ""
    command: str = ""
    is_pty: bool = False
    started_s: float | None = None
    ended_s: float | None = None
    runs_s: float | None = None
    age_s: float | None = None
    out_bytes: int = 0
    err_bytes: int = 0
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ALIVE

    @property
    def explanation(self) -> str:
        """What ``reason`` says beyond ``state``, "" for nothing."""
        return "" if self.state in ("stopped", "timeout") else self.reason


def parse_listing(text: str, server: str) -> list[Job]:
    """Return the jobs of the answer ``text``, the oldest first.

    Raises:
        JobError: it is not such an answer.
    """
    # Not splitlines(): what is in the files there may hold any control character.
    lines = iter(text.split("\n"))
    now = next((line for line in lines if line.startswith("now ")), None)
    if now is None:
        raise JobError(f"{server} did not tell of its jobs", detail=text[-500:], hint=f"mtr doctor -s {server}")
    words = now.split(" ", 2)
    blocks: list[dict[str, Any]] = []
    sizes: dict[str, int] = {}
    for line in lines:
        key, _, value = line.partition(" ")
        if key == "job":
            if not value or set(value) - _DIGITS:
                raise JobError(f"{server} tells of a job with the id {value!r}, which is none")
            blocks.append({"job": value, "marks": set()})
        elif line == "sizes":
            sizes = dict(_parse_sizes(lines))
        elif blocks and key == "mark":
            blocks[-1]["marks"].add(value)
        elif blocks:
            blocks[-1][key] = value
    found = [
        (
            _find_start(block),
            _build_job(block, server, _to_float(words[1]) or 0.0, words[2] if words[2:] else "", sizes),
        )
        for block in blocks
    ]
    return [job for _, job in sorted(found, key=lambda pair: (pair[1].started_s or 0, pair[0], pair[1].id))]


def _find_start(block: Mapping[str, Any]) -> int:
    """Return when the keeper was started as the kernel counts it: what tells jobs of one second apart.

    Linux counts in hundredths of a second since the boot (proc(5)); elsewhere there is nothing finer.
    """
    words = block.get("keeper", "").split()
    return int(words[1]) if words[1:] and words[1].isascii() and words[1].isdecimal() and len(words[1]) < 20 else 0


def _parse_sizes(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Yield name and size of the lines that ``ls -ln`` prints: mode, links, owner, group, size, …, name."""
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[4].isdecimal():
            yield words[-1], int(words[4])


def _build_job(block: dict[str, Any], server: str, now_s: float, boot: str, sizes: dict[str, int]) -> Job:
    about = _parse_about(block.get("about", ""))
    at = block.get("at", "").split(".")
    keeper = block.get("keeper", "").split()
    since_s, ran_s = (_to_float(keeper[number]) if keeper[number:] else None for number in (3, 4))
    began_s = ran_s or since_s
    state, reason, status, ended_s = _judge(at, keeper, boot, is_alive="alive" in block, marks=block["marks"])
    if state == "queued" and not reason:
        reason = f"waits for {render_waits(about)}" if render_waits(about) else ""
        reason += f": {trouble}" if (trouble := sanitize(block.get("trouble", ""))[:200]) else ""
    ends_s = ended_s if ended_s is not None else now_s if state in ALIVE else None
    return Job(
        id=block["job"],
        server=server,
        state=state,
        reason=reason,
        status=status,
        name=str(about.get("name") or ""),
        command=str(about.get("command") or ""),
        is_pty=bool(about.get("pty")),
        started_s=began_s,
        ended_s=ended_s,
        runs_s=max(0.0, ends_s - began_s) if ends_s is not None and began_s is not None else None,
        age_s=max(0.0, now_s - began_s) if began_s is not None else None,
        out_bytes=sizes.get(f"{block['job']}/out", 0),
        err_bytes=sizes.get(f"{block['job']}/err", 0),
        about=about,
    )


def _judge(
    at: list[str], keeper: list[str], boot: str, *, is_alive: bool, marks: set[str]
) -> tuple[str, str, int | None, float | None]:
    """Return state, reason, status and end of a job."""
    if at[0] == "ended" and len(at) == 4 and _STATUS.fullmatch(at[1]) and int(at[1]) <= 255:
        status, why = int(at[1]), at[3]
        state = {"stopped": "stopped", "timeout": "timeout"}.get(why, "failed" if status or why == "failed" else "done")
        return state, WHYS.get(why, why), status, _to_float(at[2])
    if at[0] in ALIVE and is_alive:
        return at[0], "being stopped" if "stopping" in marks else "", None, None
    if at[0] not in ALIVE:
        return "lost", "what says how it stands has been removed", None, None
    if not keeper:
        return ("queued", "being started", None, None) if "fresh" in marks else ("lost", "it never started", None, None)
    if keeper[2:] and boot and keeper[2] != boot:
        return "lost", "the server was restarted", None, None
    return "lost", "its first process was killed", None, None


def render_waits(about: Mapping[str, Any]) -> str:
    """Return what a job was told to wait for, "" for nothing: ``job 3f2a91bc, 2 GPUs``."""
    waits = [f"job {word}" for word in str(about.get("after") or "").split(",") if word]
    wanted = str(about.get("gpus") or "")
    return ", ".join([*waits, f"{wanted} GPU{'' if wanted == '1' else 's'}"] if wanted else waits)


def _parse_about(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _to_float(text: object) -> float | None:
    try:
        found = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < _LATEST_S else None
