"""What the scenarios share: a run that works, a run that cannot, a key."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def expect_run(home: Home, project: Path, *said: str) -> None:
    """A run that works, in which mtr has ``said`` this, a part of a line each, and nothing else."""
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"one\n"), done.stderr
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(said), lines
    assert all(part in line for part, line in zip(said, lines, strict=True)), lines


def expect_failure(home: Home, project: Path) -> str:
    """A run that cannot work: return what is said. The command has not started, and no master is left."""
    done = home.run_mtr(["touch", "started"], project)
    words = done.stderr.decode()
    assert (done.returncode, done.stdout) == (125, b""), words
    assert words.startswith("mtr: ")
    assert "try: " in words
    assert "Traceback" not in words
    assert not (home.remote(project) / "started").exists()
    assert not home.masters()
    return words


def make_key(path: Path, kind: str = "ed25519") -> str:
    """Make a key pair at ``path`` and return its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "lab", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()
