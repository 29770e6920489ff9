"""Small disks that fill up, take no more files or become read-only: a tmpfs each, mounted as root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Disk:
    """A tmpfs that is mounted at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def free_bytes(self) -> int:
        """How much fits in still."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> Path:
        """Take all space but ``leave_bytes`` with one file, and return that."""
        filler = self.path / ".filler"
        filler.write_bytes(bytes(max(0, self.free_bytes - leave_bytes)))
        return filler

    def resize(self, size: str = "", *, inodes: int = 0) -> None:
        """Change how many bytes (``64k``) or files it takes."""
        options = [f"size={size}"] if size else []
        self._remount(*options, *([f"nr_inodes={inodes}"] if inodes else []))

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nobody write to it for the block."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, *options: str) -> None:
        subprocess.run(["mount", "-o", ",".join(["remount", *options]), self.path], check=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str = "64k", *, inodes: int = 0) -> Iterator[Disk]:
    """Mount a file system of ``size`` bytes, and of so many ``inodes`` if told, at ``path``, which is made."""
    path.mkdir(exist_ok=True)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.fail("this test mounts a small tmpfs: run the tests as root, as CI does")
    try:
        yield Disk(path)
    finally:
        # Lazily: a process of the server that is just ending may still stand in it.
        subprocess.run(["umount", "-l", path], check=True)
