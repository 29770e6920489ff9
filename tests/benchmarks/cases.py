"""The cases: which contestants meet, on which tree, over which line, and how often.

A case's name is its key in the JSON and in the goals: ``unchanged-10000-100ms``.
"""

from __future__ import annotations

import itertools
import random
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.benchmarks.contestants import Contestant, build_bare, build_mtr, build_pair, build_rsync
from tests.benchmarks.engines import KEYS, build_first_by, build_unchanged_by
from tests.benchmarks.peers import build_peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.benchmarks.ground import Ground, Line

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Extent:
    """How much is measured: everything, or a quick look."""

    runs: int
    round_trips_ms: tuple[int, ...]
    trees: tuple[int, ...]
    big_tree_round_trips_ms: tuple[int, ...]
    first_round_trips_ms: tuple[int, ...]
    cat_bytes: int
    edits_big_tree: bool
    peer_runs: int
    case_s: float
    """A case that takes longer ends after three rounds."""


FULL = Extent(9, (0, 50, 100), (10, 10_000, 100_000), (0, 50, 100), (0, 100), 10**9, True, 3, 60)
QUICK = Extent(3, (0, 100), (10, 10_000, 100_000), (0,), (0,), 10**8, False, 2, 15)

BIG_TREE = 100_000
"""Asked for on loopback; elsewhere a third of the runs shows enough."""


@dataclass(frozen=True)
class Case:
    """``build`` makes the contestants when the case's turn comes: trees are not made for cases left out."""

    name: str
    title: str
    runs: int
    build: Callable[[Ground], Sequence[Contestant]]
    is_last_on_its_tree: bool = False


def _at(round_trip_ms: int) -> str:
    return f"{round_trip_ms} ms" if round_trip_ms else "loopback"


def build_cases(extent: Extent) -> list[Case]:
    """Return every case, in an order that reuses what is on the server."""
    cases = [_help(extent), _shell_init(extent), _completion(extent)]
    for files in extent.trees:
        is_big = files >= BIG_TREE
        for round_trip_ms in extent.big_tree_round_trips_ms if is_big else extent.round_trips_ms:
            runs = max(3, extent.runs // 3) if is_big and round_trip_ms else extent.runs
            cases += [_unchanged(files, round_trip_ms, runs)]
            cases += [_edited(files, round_trip_ms, runs)] if extent.edits_big_tree or not is_big else []
    cases += [_first(10_000, round_trip_ms, extent.runs) for round_trip_ms in extent.first_round_trips_ms]
    cases.append(_cat(extent))
    cases += [_peers(round_trip_ms, extent.peer_runs) for round_trip_ms in (0, 100)]
    return [*cases, *_list_engines(extent)]


def _list_engines(extent: Extent) -> list[Case]:
    """Return the cases of each engine; sftp's own put takes minutes over a distance, so few files go there."""
    runs = extent.peer_runs
    firsts = [("sftp", 2000, 0), ("tar", 2000, 0), ("sftp", 200, 50)]
    known = [case for case in firsts if case[2] in extent.round_trips_ms]
    cases = [_first_by(engine, files, round_trip_ms, runs) for engine, files, round_trip_ms in known]
    return cases + [_unchanged_by(engine, extent.runs) for engine in KEYS]


def _first_by(engine: str, files: int, round_trip_ms: int, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        return build_first_by(ground, engine, files, ground.lines[round_trip_ms])

    title = f"first sync by {engine}, {files:,} files, {_at(round_trip_ms)}"
    return Case(f"first-{engine}-{files}-{round_trip_ms}ms", title, runs, build, is_last_on_its_tree=True)


def _unchanged_by(engine: str, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        return build_unchanged_by(ground, engine, 1000, ground.lines[0])

    title = f"unchanged by {engine}, 1,000 files, loopback"
    return Case(f"unchanged-{engine}-1000-0ms", title, runs, build, is_last_on_its_tree=True)


def _unchanged(files: int, round_trip_ms: int, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        tree, line = ground.tree(files), ground.lines[round_trip_ms]
        return [build_bare(ground, line), build_pair(ground, tree, line), build_mtr(ground, tree, line)]

    name = f"unchanged-{files}-{round_trip_ms}ms"
    return Case(name, f"unchanged, {files:,} files, {_at(round_trip_ms)}", runs, build)


def _edited(files: int, round_trip_ms: int, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        tree, line = ground.tree(files), ground.lines[round_trip_ms]
        return [
            build_bare(ground, line),
            build_pair(ground, tree, line, tree.edit),
            build_mtr(ground, tree, line, before=tree.edit),
        ]

    name = f"edited-{files}-{round_trip_ms}ms"
    return Case(name, f"one file edited, {files:,} files, {_at(round_trip_ms)}", runs, build, is_last_on_its_tree=True)


def _first(files: int, round_trip_ms: int, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        return build_first(ground, files, ground.lines[round_trip_ms])

    name = f"first-{files}-{round_trip_ms}ms"
    return Case(name, f"first sync, {files:,} files, {_at(round_trip_ms)}", runs, build, is_last_on_its_tree=True)


def build_first(ground: Ground, files: int, line: Line) -> list[Contestant]:
    """Return ``rsync -a`` and ``mtr sync`` into directories that are not there yet.

    mtr's configuration names another remote_dir for each run, so nothing that it remembers can help; its master is
    open.
    """
    tree = ground.tree(files)
    numbers = itertools.count()
    rsync = ("/bin/sh", "-c", build_rsync(ground, tree, line, "first", "-a"))

    def rename() -> None:
        ground.configure(tree.root, f"first-{next(numbers)}")

    mtr = build_mtr(ground, tree, line, "sync", before=rename)
    after = ground.clear_remote
    return [
        Contestant("rsync -a", rsync, tree.root, ground.environ, after=after),
        Contestant("mtr", mtr.argv, mtr.cwd, mtr.environ, rename, after),
    ]


def _cat(extent: Extent) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        tree, line = ground.tree(10), ground.lines[0]
        path = ground.remote("large")
        write_noise(path, extent.cat_bytes)
        return [
            build_bare(ground, line, "cat", shlex.quote(str(path))),
            build_mtr(ground, tree, line, "--no-tty", "cat", str(path)),
        ]

    title = f"cat of {extent.cat_bytes / 1e9:g} GB, loopback"
    return Case("cat", title, min(extent.runs, 5), build, is_last_on_its_tree=True)


def write_noise(path: Path, size_bytes: int) -> None:
    """Write a file that does not compress."""
    block = random.Random(0).randbytes(BLOCK_BYTES)
    with path.open("wb") as file:
        for start in range(0, size_bytes, BLOCK_BYTES):
            file.write(block[: size_bytes - start])


def _bare_interpreter(ground: Ground) -> Contestant:
    python = ground.mtr.with_name("python")
    return Contestant("python -c pass", (str(python), "-c", "pass"), ground.home.dir, ground.environ)


def _local(ground: Ground, *words: str) -> Contestant:
    return Contestant("mtr", (str(ground.mtr), *words), ground.home.dir, ground.environ)


def _help(extent: Extent) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        return [_bare_interpreter(ground), _local(ground, "--help")]

    return Case("help", "mtr --help", extent.runs, build)


def _shell_init(extent: Extent) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        return [_bare_interpreter(ground), _local(ground, "shell-init", "bash")]

    return Case("shell-init", "mtr shell-init bash", extent.runs, build)


def _completion(extent: Extent) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        tab = _local(ground, "shell-init", "--complete", "bash", "mtr -s lab", ":=@")
        return [_bare_interpreter(ground), replace(tab, cwd=ground.tree(10).root)]

    return Case("completion", "a TAB behind mtr -s", extent.runs, build)


def _peers(round_trip_ms: int, runs: int) -> Case:
    def build(ground: Ground) -> list[Contestant]:
        tree, line = ground.tree(10), ground.lines[round_trip_ms]
        ours = [build_bare(ground, line), build_pair(ground, tree, line), build_mtr(ground, tree, line)]
        return [*ours, *build_peers(ground, tree, line)]

    name = f"peers-10-{round_trip_ms}ms"
    return Case(name, f"peers, unchanged, 10 files, {_at(round_trip_ms)}", runs, build, is_last_on_its_tree=True)


def select_cases(cases: Sequence[Case], only: Sequence[str]) -> Iterator[Case]:
    """Yield the cases with one of ``only`` in their name, or all of them."""
    return (case for case in cases if not only or any(word in case.name for word in only))
