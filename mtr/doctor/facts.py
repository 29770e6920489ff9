"""What ``shell/remote/doctor.sh`` says of a server, read strictly. Pure.

Lines ``mtr-doctor KEY VALUE``, among whatever rc files print. Of a key that is said twice the first counts; what does
not look as it must is dropped, so that a server can leave out, but not slip in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_LINE = r"[^\x00-\x1f\x7f]{0,400}"
_PATTERNS = {
    "start": "1",
    "end": "1",
    # BSD's date knows no nanoseconds and says N, busybox's says nothing.
    "clock": r"(?P<s>\d{9,11})(?:\.(?P<ns>\d{9})?N?)?",
    "system": _ONE_LINE,
    "user": r"[^\s:]{1,64} \d{1,10}",
    "shell": _ONE_LINE,
    "payload": "LC_MTR|XMODIFIERS",
    "missing": "[a-z0-9]{1,16}",
    "installer": "apt-get|dnf|yum|zypper|apk|pacman|pkg|brew",
    "rsync": _ONE_LINE,
    "gpus": r"\d{1,3}",
    "linger": "yes|no",
    "kills": "yes|no",
    "nearest": _ONE_LINE,
    "place": "there|missing",
    "link": _ONE_LINE,
    "written": "yes",
    "refused": _ONE_LINE,
    "blocks": _ONE_LINE,
    "inodes": _ONE_LINE,
}
_KEYS_OF_MANY = frozenset(("missing",))
_DF = re.compile(r"\s(\d+)\s+(\d+)\s+(-?\d+)\s+(?:\d+%|-)\s+/")
"""Size, used, available, percentage, mount point (df(1) of POSIX); the name in front may hold anything."""

KIB = 1024


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A server as ``doctor.sh`` found it.

    ``clock_s`` is seconds since the epoch, known to ``clock_grain_s``. ``nearest`` is the directory that was tried: the
    project's own where it ``is_there``, else the nearest above it; ``refused`` are the words with which it was refused,
    "" where it took a file. ``link`` is a symbolic link where mtr's own directory should be. Of what was not said, the
    texts are "" and the numbers None; a file system without a limit of ``free_inodes`` says none.
    """

    clock_s: float | None = None
    clock_grain_s: float = 1.0
    system: str = ""
    user: str = ""
    is_root: bool = False
    shell: str = ""
    payload: str = "file"
    missing: tuple[str, ...] = ()
    installer: str = ""
    rsync: str = ""
    gpus: int | None = None
    lingers: bool | None = None
    kills_processes: bool | None = None
    nearest: str = ""
    is_there: bool = False
    link: str = ""
    refused: str = ""
    is_written: bool = False
    free_bytes: int | None = None
    free_inodes: int | None = None


def parse_facts(text: str) -> ServerFacts | None:
    """Return what ``doctor.sh`` said; None where it has not come to its end."""
    said: dict[str, list[str]] = {}
    for line in text.split("\n"):
        mark, _, rest = line.partition(" ")
        key, _, value = rest.partition(" ")
        pattern = _PATTERNS.get(key) if mark == "mtr-doctor" else None
        if pattern and ("start" in said or key == "start") and re.fullmatch(pattern, value):
            said.setdefault(key, []).append(value)
    if "start" not in said or "end" not in said:
        return None
    one = {key: values[0] for key, values in said.items() if key not in _KEYS_OF_MANY}
    user, _, uid = one.get("user", "").partition(" ")
    clock_s, grain_s = _parse_clock(one.get("clock", ""))
    return ServerFacts(
        clock_s=clock_s,
        clock_grain_s=grain_s,
        user=user,
        is_root=uid == "0",
        missing=tuple(dict.fromkeys(said.get("missing", ()))),
        gpus=int(one["gpus"]) if "gpus" in one else None,
        lingers=_parse_yes(one.get("linger")),
        kills_processes=_parse_yes(one.get("kills")),
        is_there=one.get("place") == "there",
        is_written="written" in one,
        free_bytes=None if (free := _parse_free(one.get("blocks", ""))) is None else free * KIB,
        free_inodes=_parse_free(one.get("inodes", "")),
        payload=one.get("payload", "file"),
        **{key: one.get(key, "") for key in ("system", "shell", "installer", "rsync", "nearest", "link", "refused")},
    )


def name_rsync(line: str) -> str:
    """Return the first line of ``rsync --version`` without the version of its protocol; others keep all of it."""
    words = line.split()
    return " ".join(words[:3] if words[:2] == ["rsync", "version"] else words)


def _parse_clock(value: str) -> tuple[float | None, float]:
    found = re.fullmatch(_PATTERNS["clock"], value)
    if found is None:
        return None, 1.0
    if found["ns"]:
        return int(found["s"]) + int(found["ns"]) / 1e9, 0.0
    # Whole seconds are cut off, not rounded: the middle of the second is the best guess.
    return int(found["s"]) + 0.5, 0.5


def _parse_yes(value: str | None) -> bool | None:
    return None if value is None else value == "yes"


def _parse_free(line: str) -> int | None:
    """Return what a line of ``df`` says is free; None where it says nothing, or there is no such limit."""
    found = _DF.search(line)
    return max(0, int(found[3])) if found and int(found[1]) > 0 else None
