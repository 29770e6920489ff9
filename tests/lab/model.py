"""What a sync must leave on the server, by rules that fit on a page, worked out from the two trees as they are on disk.

Knows nothing of tokens, plans or engines. ``Model.expect`` is asked before a run, ``Model.learn`` told after it.
"""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.lab.home import Home


class Look(NamedTuple):
    """One file or link: what it is, and what tells whether anybody has touched it."""

    kind: str
    data: bytes
    mode: int
    mtime_s: int
    identity: tuple[int, int, int]

    @property
    def value(self) -> tuple[str, bytes, int, int]:
        """What must travel; of a link only where it leads."""
        return self[:4] if self.kind == "file" else (self.kind, self.data, 0, 0)


class Snapshot:
    """The files and directories below a root, by path; without git's and mtr's own."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)
        self.files: dict[bytes, Look] = {}
        self.folders: set[bytes] = set()
        self.empty: set[bytes] = set()
        self.hidden: set[bytes] = set()
        self.hidden_folders: set[bytes] = set()
        """What a rule leaves out; it is in none of the sets above."""
        if os.path.isdir(self.root):
            self._walk(b"")

    def _walk(self, folder: bytes) -> int:
        count = 0
        with os.scandir(os.path.join(self.root, folder)) as entries:
            for entry in entries:
                path = folder + b"/" + entry.name if folder else entry.name
                if path in {b".mtr", b".git"}:
                    continue
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    self.folders.add(path)
                    if not self._walk(path):
                        self.empty.add(path)
                else:
                    self.files[path] = look_at(entry.path)
        return count

    def hide(self, paths: Iterable[bytes]) -> None:
        """Take out what the rules leave out."""
        self.hidden = set(paths)
        self.files = {path: look for path, look in self.files.items() if path not in self.hidden}
        self.hidden_folders = self.folders & self.hidden
        self.folders -= self.hidden
        self.empty -= self.hidden

    def stands(self, path: bytes) -> bool:
        """Tell whether there is a file or link at ``path``, left out or not."""
        return path in self.files or (path in self.hidden and not self.has_folder(path))

    def has_folder(self, path: bytes) -> bool:
        """Tell whether there is a directory at ``path``, left out or not."""
        return path in self.folders or path in self.hidden_folders


def look_at(path: bytes) -> Look:
    """Return what is at ``path``."""
    found = os.lstat(path)
    identity = (found.st_ino, found.st_size, found.st_ctime_ns)
    if stat.S_ISLNK(found.st_mode):
        return Look("link", os.readlink(path), 0, 0, identity)
    with open(path, "rb") as file:
        data = file.read()
    return Look("file", data, stat.S_IMODE(found.st_mode), int(found.st_mtime_ns // 1_000_000_000), identity)


def look_here(project: Path, home: Home) -> Snapshot:
    """Return the project as it is, without what git says is ignored."""
    found = Snapshot(project)
    asked = b"".join(b"./" + path + b"\0" for path in [*found.files, *found.folders])
    # Without --no-index git answers the same here, where nothing is ever added, but reads the index for it.
    argv = ["git", "check-ignore", "--no-index", "-z", "--stdin"]
    done = subprocess.run(argv, cwd=project, env=home.environ, input=asked, capture_output=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    found.hide(path.removeprefix(b"./") for path in done.stdout.split(b"\0")[:-1])
    return found


class Expected:
    """The server's tree after a run: ``files`` by path, each as it must look, and the directories.

    ``brought`` are the paths that must be as here; all others must not even have been touched. ``kept`` must lie in the
    trash. ``surprises`` are what the person must hear about, ``excused`` what they may hear about.
    """

    def __init__(self, there: Snapshot) -> None:
        self.files = dict(there.files)
        self.folders = set(there.folders)
        self.brought: set[bytes] = set()
        self.kept: list[tuple[bytes, Look]] = []
        self.surprises: set[bytes] = set()
        self.excused: set[bytes] = set()
        self.optional: set[bytes] = set()
        """What may as well be missing, where the rules leave it open."""

    def below(self, folder: bytes) -> Iterator[bytes]:
        """Return what is below ``folder``, files and directories."""
        return (path for path in [*self.files, *self.folders] if path.startswith(folder + b"/"))


class Model:
    """One project on one server, by the rules of ``delete: tracked``, or of ``never``."""

    def __init__(self, delete: str = "tracked") -> None:
        self.delete = delete
        self.manifest: dict[bytes, tuple[int, int, int]] | None = None
        self.folders: set[bytes] = set()
        self.empty: set[bytes] = set()
        self.put: dict[bytes, tuple[int, int, int]] = {}
        self.trash: list[tuple[bytes, Look]] = []

    def expect(self, here: Snapshot, there: Snapshot, *, full: bool = False) -> Expected:
        """Return what must be there after a run; the first is like ``--full``."""
        expected = Expected(there)
        known = self.manifest or {}
        gone = [path for path in known if not here.stands(path)]
        if full or self.manifest is None:
            changed = dict(here.files)
            made = here.empty
            if self.delete != "never":
                self._remove(expected, gone, here)
        else:
            changed = {path: look for path, look in here.files.items() if known.get(path) != look.identity}
            made = here.empty - self.empty
            # Emptied here: it has been there, and who has removed it there may have meant it.
            expected.optional |= {path for path in made if any(old.startswith(path + b"/") for old in known)}
            if self.delete != "never":
                self._remove(expected, gone, here)
        for path in sorted(made):
            self._make_folder(expected, path)
        for path in sorted(changed):
            self._bring(expected, path, changed[path])
        return expected

    def _remove(self, expected: Expected, gone: list[bytes], here: Snapshot) -> None:
        for path in gone:
            if path in expected.files:
                look = expected.files.pop(path)
                expected.kept.append((path, look))
                self._note(expected, path, look)
        for folder in sorted(self.folders, reverse=True):
            if folder not in expected.folders or any(expected.below(folder)):
                continue
            if not os.path.lexists(os.path.join(here.root, folder)):
                expected.folders.discard(folder)
            elif not here.has_folder(folder):
                expected.optional.add(folder)

    def _make_folder(self, expected: Expected, folder: bytes) -> None:
        parts = folder.split(b"/") if folder else []
        for depth in range(1, len(parts) + 1):
            above = b"/".join(parts[:depth])
            if above in expected.files:
                self._displace(expected, above)
            expected.folders.add(above)

    def _bring(self, expected: Expected, path: bytes, look: Look) -> None:
        self._make_folder(expected, path.rpartition(b"/")[0])
        if path in expected.folders:
            expected.excused.add(path)  # somebody has made a directory of it there, empty or not
            for below in list(expected.below(path)):
                if below in expected.files:
                    self._displace(expected, below)
                else:
                    expected.folders.discard(below)
                    expected.excused.add(below)
            expected.folders.discard(path)
        theirs = expected.files.get(path)
        has_same = theirs is not None and theirs[:2] == look[:2]  # the same content needs no keeping
        if theirs is not None and not has_same:
            self._displace(expected, path)
        elif theirs is not None:
            expected.excused.add(path)
        expected.files[path] = look
        expected.brought.add(path)

    def _displace(self, expected: Expected, path: bytes) -> None:
        """Ours goes where this stands: if mtr has not put it there, the trash has it and the person hears of it."""
        look = expected.files.pop(path)
        if self.put.get(path) != look.identity:
            expected.kept.append((path, look))
        self._note(expected, path, look)

    def _note(self, expected: Expected, path: bytes, look: Look) -> None:
        """The person hears of what goes to the trash, unless it was ours; no record holds a name with a newline."""
        is_theirs = self.put.get(path) != look.identity and b"\n" not in path
        (expected.surprises if is_theirs else expected.excused).add(path)

    def learn(self, here: Snapshot, there: Snapshot, expected: Expected) -> None:
        """Take what a run has left, which was as expected, for what the next one starts from."""
        self.manifest = {path: look.identity for path, look in here.files.items()}
        self.folders, self.empty = set(here.folders), set(here.empty)
        self.put |= {path: there.files[path].identity for path in expected.brought}
        self.trash += expected.kept


def list_differences(expected: Expected, there: Snapshot) -> list[str]:
    """Return what is not as it must be, a line each."""
    found = []
    for path in sorted({*expected.files, *there.files}):
        want, have = expected.files.get(path), there.files.get(path)
        if have is None and path in expected.optional:
            continue
        if want is None or have is None:
            found.append(f"{path!r}: must be {want and want.kind}, is {have and have.kind}")
        elif want.value != have.value:
            found.append(f"{path!r}: must be {render_look(want)}, is {render_look(have)}")
        elif path not in expected.brought and want.identity != have.identity:
            found.append(f"{path!r}: has been touched")
    found += [f"{path!r}: no directory" for path in sorted(expected.folders - there.folders - expected.optional)]
    found += [f"{path!r}: directory should not be there" for path in sorted(there.folders - expected.folders)]
    return found


def render_look(look: Look) -> str:
    """Return a look for a person."""
    return f"{look.kind} {look.data[:30]!r} ({len(look.data)} bytes) {look.mode:o} {look.mtime_s}"


def list_missing_trash(remote: Path, kept: Iterable[tuple[bytes, Look]]) -> list[str]:
    """Return what no trash directory has, a line each."""
    top = os.path.join(os.fsencode(remote), b".mtr", b"trash")
    trashes = [entry.path for entry in os.scandir(top)] if os.path.isdir(top) else []
    missing = []
    for path, look in kept:
        places = [os.path.join(trash, path) for trash in trashes]
        looks = [look_at(p) for p in places if os.path.lexists(p) and (os.path.islink(p) or not os.path.isdir(p))]
        if not any((found.kind, found.data) == (look.kind, look.data) for found in looks):
            missing.append(f"{path!r}: {render_look(look)} is in no trash, only {[render_look(x) for x in looks]}")
    return missing
