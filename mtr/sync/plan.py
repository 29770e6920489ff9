"""The plan of a sync: what to put where. Pure; whoever made the entries looked at the disk, an engine acts.

Paths are bytes relative to the root, parts joined by ``/``: names on disk are bytes, in any encoding or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Kind = Literal["file", "symlink"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the project as ``lstat`` saw it; times in nanoseconds, ``mode`` the permission bits."""

    path: bytes
    kind: Kind
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    mode: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine does: bring ``upload`` from ``root`` into ``remote_dir``, then remove ``delete`` there."""

    root: Path
    remote_dir: str
    upload: tuple[Entry, ...]
    delete: tuple[bytes, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def bytes_total(self) -> int:
        """Return the size of everything to upload, in bytes."""
        return sum(entry.size_bytes for entry in self.upload)


def build_plan(entries: Iterable[Entry], *, root: Path, remote_dir: str, warnings: tuple[str, ...] = ()) -> Plan:
    """Return the plan that brings ``entries`` to the server, ordered by path.

    Nothing is known yet about what the server has: every entry is in the plan and the engine compares.
    """
    return Plan(root, remote_dir, tuple(sorted(entries, key=lambda entry: entry.path)), warnings=warnings)
