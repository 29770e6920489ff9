"""Trees: files that make a run choose the transport that a test is about, and what a tree holds."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

TRANSPORTS = ("payload", "tar", "rsync", "sftp")

BULK_BYTES = 20_000_000
"""More than a tar stream takes where there is rsync."""

_SIZES = {"payload": 100, "tar": 3_000_000, "rsync": BULK_BYTES, "sftp": 300_000}


def edit_for(transport: str, path: Path) -> None:
    """Write a file of random bytes of which the next push takes ``transport``; for sftp the project has to ask."""
    path.write_bytes(os.urandom(_SIZES[transport]))


def settle_clock() -> None:
    """Wait until what was written last is older than a tick of the kernel's clock."""
    start_ns = time.time_ns()
    wait_until(lambda: time.time_ns() > start_ns + 30_000_000, "the clock")


def read_tree(root: Path) -> dict[str, bytes]:
    """Return every file and link below ``root``, without mtr's, git's, and what does not travel."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name.split("/", maxsplit=1)[0] not in {".mtr", ".git"} and (path.is_symlink() or path.is_file()):
            found[name] = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    return found
