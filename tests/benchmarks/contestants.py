"""Who is measured: bare ssh, the pair that people type by hand, and mtr.

All of them go over a master that is open already; the pair and bare ssh share one, mtr has its own.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.benchmarks.ground import Ground, Line
    from tests.benchmarks.trees import Tree

LEFT_OUT = ("--exclude=/.git", "--exclude=/.mtr")
"""What mtr does not sync either; without it the pair would also carry git's own files."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Contestant:
    """A program to run; ``before`` and ``after`` each run stand outside the measured time."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    environ: Mapping[str, str]
    before: Callable[[], None] = _nothing
    after: Callable[[], None] = _nothing
    missing: str = ""
    """Why it cannot run at all."""


def build_bare(ground: Ground, line: Line, *command: str, before: Callable[[], None] = _nothing) -> Contestant:
    """``ssh HOST true``: what nothing on the same line can beat."""
    argv = (*ground.ssh, line.name, *(command or ("true",)))
    return Contestant("bare ssh", argv, ground.home.dir, ground.environ, before)


def build_rsync(ground: Ground, tree: Tree, line: Line, target: str, *options: str) -> str:
    """Return the words of an rsync of the tree into a directory of the server."""
    via = shlex.join(ground.ssh)
    words = ["rsync", *options, *LEFT_OUT, "-e", via, f"{tree.root}/", f"{line.name}:{ground.remote(target)}/"]
    return shlex.join(words)


def build_pair(ground: Ground, tree: Tree, line: Line, before: Callable[[], None] = _nothing) -> Contestant:
    """``rsync -az --delete … && ssh HOST true``, as people type it."""
    rsync = build_rsync(ground, tree, line, f"pair-{tree.files}-{line.round_trip_ms}", "-az", "--delete")
    argv = ("/bin/sh", "-c", f"{rsync} && {shlex.join([*ground.ssh, line.name, 'true'])}")
    return Contestant("rsync && ssh", argv, tree.root, ground.environ, before)


def build_mtr(ground: Ground, tree: Tree, line: Line, *words: str, before: Callable[[], None] = _nothing) -> Contestant:
    """``mtr true``, in the project, for the server of this line."""
    environ = {**ground.environ, "MTR_SERVER": line.name}
    return Contestant("mtr", (str(ground.mtr), *(words or ("true",))), tree.root, environ, before)
