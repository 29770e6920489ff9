"""Every file that mtr keeps for itself, damaged in every way, and then ``mtr true``: it heals, or says what to do.

Whatever happens, no traceback, nothing waits, and the server's tree is right: this machine's files as they were or as
they are, and what only the server has untouched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.scale import pick
from tests.lab.processes import end_tree, is_alive
from tests.lab.trees import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.home import Home

RUN_S = 45.0


def cut(path: Path) -> None:
    """Its first half."""
    data = path.read_bytes()
    replace(path, data[: len(data) // 2])


def flip(path: Path) -> None:
    """One bit in the middle is another."""
    data = bytearray(path.read_bytes() or b"x")
    data[len(data) // 2] ^= 0x10
    replace(path, bytes(data))


def replace(path: Path, data: bytes) -> None:
    """Other bytes, whatever it was before."""
    clear(path)
    path.write_bytes(data)


def clear(path: Path) -> None:
    """Nothing is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def stand_in(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else is there: what ``make`` makes."""

    def fault(path: Path) -> None:
        clear(path)
        make(path)

    return fault


def _fill(path: Path) -> None:
    path.mkdir()
    (path / "x").write_text("")


def _grow(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(3 << 30)


FAULTS: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: replace(path, b""),
    "noise": lambda path: replace(path, b"\xff\0\n{[" * 500),
    "json": lambda path: replace(path, b"[" * 5000),
    "gone": clear,
    "directory": stand_in(_fill),
    "fifo": stand_in(os.mkfifo),
    "dangling": stand_in(lambda path: path.symlink_to("nowhere/at/all")),
    "device": stand_in(lambda path: path.symlink_to("/dev/zero")),
    "circle": stand_in(lambda path: path.symlink_to(path)),
    "huge": stand_in(_grow),
    "closed": lambda path: path.chmod(0),
}

STATE = ("sync/KEY", "sync/KEY.pending", "sync/KEY.id", "sync/KEY.lock", "routes/KEY", "said")
RUNTIME = ("KEY.0.json", "KEY.0", "KEY.0.log", "KEY.0.lock", "config", "no-repository.git")
PLACES = (*STATE, *RUNTIME)


class Kept:
    """A project that has been synced, what is kept of it, and the masters that it has ever had."""

    def __init__(self, home: Home, root: Path) -> None:
        self.home, self.root, self.there = home, root, home.remote(root)
        self._count, self._masters = 0, set[int]()
        self.run()
        (self.there / "theirs.txt").write_text("made there\n")

    def find(self, place: str) -> Path:
        """Return the path of a file that is kept, ``KEY`` filled in."""
        folder = self.home.runtime if place in RUNTIME else self.home.home / ".state" / "mtr"
        above = folder / Path(place).parent
        plain = Path(place).name.replace("KEY", "")
        names = [name for name in os.listdir(above) if name.split(".")[0].isalnum() and len(name.split(".")[0]) == 16]
        return above / (names[0].split(".")[0] + plain if "KEY" in place else plain)

    def run(self) -> tuple[int, str]:
        """Edit, make and delete a file, run ``mtr true``; return its status and its words."""
        self._count += 1
        (self.root / "a.txt").write_text(f"edit {self._count}\n")
        (self.root / f"new-{self._count}.txt").write_text("new\n")
        (self.root / f"new-{self._count - 1}.txt").unlink(missing_ok=True)
        done = self.home.run_mtr(["true"], self.root, timeout_s=RUN_S)
        self._masters |= set(self.home.masters())
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()

    def is_equal(self, *, but_deleted: bool) -> bool:
        """Tell whether the server has what is here; ``but_deleted`` allows more: a lost manifest forgets deletes."""
        here, there = read_tree(self.root), read_tree(self.there)
        assert there.pop("theirs.txt") == b"made there\n"
        more = set(there) - set(here)
        assert all(name.startswith("new-") for name in more)
        return all(there.get(name) == data for name, data in here.items()) and (but_deleted or not more)

    def check(self, fault: Callable[[Path], None], path: Path, *others: Path) -> None:
        """Damage ``path``; a run goes well, or says what is wrong, and then goes well without it and ``others``."""
        with contextlib.suppress(OSError):
            fault(path)  # Half of a socket is none.
        status, words = self.run()
        assert "Traceback" not in words, words
        if status == 0:
            assert self.is_equal(but_deleted=True), words
        else:
            assert status == 125, words
            assert words.startswith("mtr: "), words
            assert "try: " in words, words
            self.is_equal(but_deleted=True)
        for one in (path, *others):
            if status or "cannot note here" in words or one.is_symlink() or one.is_fifo():
                clear(one)
        status, words = self.run()
        assert (status, self.is_equal(but_deleted=True)) == (0, True), words
        for file in self.there.glob("new-*"):
            if not (self.root / file.name).exists():
                file.unlink()
        status, words = self.run()
        assert (status, self.is_equal(but_deleted=False)) == (0, True), words

    def close(self) -> None:
        """End the masters that no record leads to any more."""
        for pid in filter(is_alive, self._masters):
            end_tree(pid)


@pytest.fixture
def kept(home: Home, project: Path) -> Iterator[Kept]:
    """A project of a home, synced once."""
    made = Kept(home, project)
    yield made
    made.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_file_is_healed_or_named(kept: Kept, place: str) -> None:
    """Cut, flipped, emptied, replaced by noise, a directory, a FIFO, links to nothing and to no end, or huge."""
    for fault in pick([*FAULTS.values()], 2, PLACES.index(place)):
        path = kept.find(place)
        if not path.exists():
            path.write_bytes(b"left by somebody")
        kept.check(fault, path)


@settings(settings.get_profile("fuzz-programs"))
@given(data=st.data())
def test_any_damage_to_any_files(kept: Kept, data: st.DataObject) -> None:
    """Several at once, anywhere."""
    places = data.draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True))
    paths = [kept.find(place) for place in places]
    names = [data.draw(st.sampled_from(sorted(FAULTS))) for _ in paths]
    for path, name in zip(paths[1:], names[1:], strict=True):
        with contextlib.suppress(OSError):
            FAULTS[name](path)
    kept.check(FAULTS[names[0]], *paths)
