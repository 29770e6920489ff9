"""Trees to list, and git as the oracle of what belongs to one."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def run_git(cwd: Path, *arguments: str) -> bytes:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    argv = ["git", *identity, "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True).stdout


def list_oracle(cwd: Path) -> list[bytes]:
    """What git itself says belongs to the repository at ``cwd``, less what is gone."""
    found = run_git(cwd, "ls-files", "-c", "-o", "--exclude-standard", "-z").split(b"\0")
    return sorted({path for path in found if path and os.path.lexists(os.fsencode(cwd) + b"/" + path)})
