"""A census of what mtr has made: processes, files of both sides, descriptors and memory of what lives long."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.faults import list_remains
from tests.lab.kills import list_remote

if TYPE_CHECKING:
    from tests.lab.home import Home

GROWTH_KIB = 4096
"""What a master may have grown by: its allocator keeps some of what passed through."""


@dataclass(frozen=True)
class Census:
    """What there is after a run has ended, with one master open."""

    masters: int
    left: list[str]
    files_here: int
    files_there: int
    own_bytes_there: int
    master_descriptors: int
    master_kib: int
    descriptors: int
    remote_processes: int

    def to_json(self) -> dict[str, object]:
        """Return its fields."""
        return asdict(self)

    def find_growth(self, first: Census) -> list[str]:
        """Return in words what is more than in ``first``."""
        found = [f"left behind: {self.left}"] if self.left else []
        for name in ("masters", "files_here", "files_there", "master_descriptors", "descriptors", "remote_processes"):
            before, now = getattr(first, name), getattr(self, name)
            if now > before:
                found.append(f"{name}: {now}, {before} at the beginning")
        if self.master_kib > first.master_kib + GROWTH_KIB:
            found.append(f"the master has grown from {first.master_kib} to {self.master_kib} KiB")
        if self.own_bytes_there > 4 * first.own_bytes_there + 65_536:
            found.append(f"mtr's files there have grown from {first.own_bytes_there} to {self.own_bytes_there} bytes")
        return found


def take_census(home: Home, project: Path) -> Census:
    """Count what is there now."""
    masters = home.masters()
    own = [path for path in (home.remote(project) / ".mtr").rglob("*") if "trash" not in path.parts]
    return Census(
        masters=len(masters),
        left=list_remains(home, project),
        files_here=_count(home.runtime) + _count(home.home / ".state"),
        files_there=sum(path.is_file() for path in own),
        own_bytes_there=sum(path.stat().st_size for path in own if path.is_file()),
        master_descriptors=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in masters),
        master_kib=max((_read_rss_kib(pid) for pid in masters), default=0),
        descriptors=len(os.listdir("/proc/self/fd")),
        remote_processes=len(list_remote(home)),
    )


def _count(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if not path.is_dir())


def _read_rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
