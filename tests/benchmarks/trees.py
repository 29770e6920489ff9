"""Projects of many small files: git repositories, everything committed and packed, as after a clone.

A package has ten modules of up to fifty files, so that a directory looks like one that people keep. Contents come
from a fixed seed: every run has the same bytes.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES_PER_MODULE = 50
MODULES_PER_PACKAGE = 10

DISTINCT_TEXTS = 997

WORDS = ("load", "batch", "model", "layer", "shape", "epoch", "token", "shard", "queue", "cache", "state", "merge")


def _path(number: int) -> str:
    module = number // FILES_PER_MODULE
    return f"package_{module // MODULES_PER_PACKAGE:03}/module_{module % MODULES_PER_PACKAGE}/part_{number:06}.py"


def _texts(rng: random.Random) -> list[str]:
    """Return things like source code, of 0.1 to 4 kB, most of them short."""
    lines = (int(4 + 76 * rng.random() ** 3) for _ in range(DISTINCT_TEXTS))
    return ["".join(_statement(rng) for _ in range(count)) for count in lines]


def _statement(rng: random.Random) -> str:
    return f"    {rng.choice(WORDS)}_{rng.randrange(10_000)} = {rng.choice(WORDS)}(self)\n"


class Tree:
    """One project with ``files`` files."""

    def __init__(self, root: Path, files: int, environ: Mapping[str, str]) -> None:
        self.root = root
        self.files = files
        self._environ = environ
        self._edits = 0
        self._write()
        self._commit()

    def _write(self) -> None:
        texts = _texts(random.Random(0))
        known = None
        for number in range(self.files):
            path = self.root / _path(number)
            if path.parent != known:
                path.parent.mkdir(parents=True)
                known = path.parent
            path.write_text(f"# part {number}\n{texts[number % DISTINCT_TEXTS]}")
        (self.root / ".gitignore").write_text("__pycache__/\n*.log\n.venv/\n")

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.root, env=self._environ, check=True, capture_output=True)

    def _commit(self) -> None:
        """Commit everything into one pack: with this threshold, git add streams every file into it."""
        self._git("init", "-q")
        self._git("-c", "core.bigFileThreshold=1", "-c", "core.compression=1", "add", "-A")
        self._git("-c", "gc.auto=0", "commit", "-q", "-m", "Everything")

    def edit(self) -> None:
        """Change one file: another size, other bytes."""
        self._edits += 1
        with (self.root / _path(self.files // 2)).open("a") as file:
            file.write(f"# edit {self._edits}\n")

    def copy_to(self, root: Path) -> None:
        """Copy the project, without what belongs to git and mtr."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(".git", ".mtr"))


def remove(path: Path) -> None:
    """Remove a directory, as fast as the system can."""
    subprocess.run(["rm", "-rf", str(path)], check=True)
