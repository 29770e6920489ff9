"""Random edits here and on the server, sync after sync, against the model of what a sync must leave there.

Every sequence is decided by its seed; a failure prints what was done up to it. ``MTR_MODEL_SEEDS`` says how many
sequences each engine gets, 12 unless told.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.lab.home import Home
from tests.lab.model import Model, Snapshot, list_differences, list_missing_trash, look_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.model import Look
    from tests.lab.sshd import SshServer

ENGINES = ("auto", "tar", "rsync", "sftp")
SEEDS = range(int(os.environ.get("MTR_MODEL_SEEDS", "12")))
STEPS = 15
SETTLED_NS = 30_000_000
"""A file that changed this long before a run does not count as changed any more after it."""

LARGE_BYTES = 300_000
"""Random bytes of this size are too many for the command's own session."""

PUSHES = 20
THREADS = 8
RUNS_EACH = 3

MODES = (0o644, 0o755, 0o600)
NAMES = (
    b"a.txt", b"A.TXT", b"d", b"D", b"sp ace", b"q'\"$(x)`", b"new\nline", b"-rf", b"\xff\xfe", b"*", b"back\\slash",
    b"~", b"#h", b"|.a", b"x.log",
)  # fmt: skip
FOLDERS = (b"d", b"D", b"e e", b"-d", b"n\nl", b"\xfd", b"build", b"src")
RULES = (b"*.log\nbuild/\n", b"*.log\nbuild/\na.txt\n", b"*.log\nbuild/\nd/\n", b"build/\n/src\n", b"*\n!.gitignore\n")


class Editor:
    """Somebody who changes a tree at random, and notes what they did."""

    def __init__(self, root: bytes, choice: random.Random, note: Callable[[str], None], *, is_here: bool) -> None:
        self.root, self.choice, self.note, self.is_here = root, choice, note, is_here
        self.counter = 0
        self.acts: list[Callable[[], None]] = [
            *[self.write_new] * 4, *[self.overwrite] * 3, *[self.delete] * 2, *[self.rename] * 2, self.append,
            self.chmod, self.link, self.file_to_folder, self.folder_to_file, self.make_folder, self.delete_tree,
            self.touch, self.write_ignored,
        ]  # fmt: skip
        if is_here:
            self.acts += [self.change_rules, self.folder_to_link]

    def edit(self, count: int) -> None:
        """Do ``count`` things; what cannot be done, since nothing is there to do it to, is left."""
        os.makedirs(self.root, exist_ok=True)
        for _ in range(count):
            self.choice.choice(self.acts)()

    # -- finding places

    def _walk(self, folder: bytes = b"") -> Iterator[tuple[bytes, bool]]:
        for name in sorted(os.listdir(os.path.join(self.root, folder))):
            path = folder + b"/" + name if folder else name
            if path in {b".mtr", b".git"} or name == b".gitignore":
                continue
            is_folder = os.path.isdir(self._at(path)) and not os.path.islink(self._at(path))
            yield path, is_folder
            if is_folder:
                yield from self._walk(path)

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self.root, path)

    def _pick(self, *, folder: bool = False, regular: bool = False) -> bytes | None:
        found = [path for path, is_folder in self._walk() if is_folder == folder]
        if regular:
            found = [path for path in found if not os.path.islink(self._at(path))]
        return self.choice.choice(found) if found else None

    def _pick_folder(self) -> bytes:
        """Return a directory, an old or a new one, the root more often than others."""
        old = self.choice.choice((None, self._pick(folder=True))) or b""
        if self.choice.random() < 0.25 and old.count(b"/") < 3:
            return os.path.join(old, self.choice.choice(FOLDERS))
        return old

    def _pick_free(self) -> bytes | None:
        """Return a path at which nothing is, and whose parents can be made."""
        path = os.path.join(self._pick_folder(), self.choice.choice(NAMES))
        above = path.rpartition(b"/")[0]
        if os.path.lexists(self._at(path)):
            return None
        try:
            os.makedirs(self._at(above), exist_ok=True)
        except OSError:
            return None
        return path

    def _make_data(self) -> bytes:
        self.counter += 1
        mark = b"%s %d\n" % (b"here" if self.is_here else b"there", self.counter)
        if self.choice.random() < 0.08:
            return mark + self.choice.randbytes(LARGE_BYTES)
        return mark * self.choice.choice((0, 1, 1, 1, 7))

    def _write(self, path: bytes, data: bytes, *, atomic: bool | None = None) -> None:
        place = self._at(path)
        if atomic if atomic is not None else self.choice.random() < 0.5:
            with open(self._at(b".mtr-new"), "wb") as file:
                file.write(data)
            os.replace(self._at(b".mtr-new"), place)
        else:
            with open(place, "wb") as file:
                file.write(data)

    # -- what they do

    def write_new(self) -> None:
        path = self._pick_free()
        if path is not None:
            data = self._make_data()
            self._write(path, data)
            self.note(f"write {path!r} {len(data)}")

    def overwrite(self) -> None:
        path = self._pick(regular=True)
        if path is None:
            return
        before = os.stat(self._at(path))
        data = self._make_data()
        how = self.choice.choice(("any size", "same size", "same size and time"))
        if how != "any size":
            data = (data * (before.st_size // max(len(data), 1) + 1))[: before.st_size].ljust(before.st_size, b".")
        self._write(path, data)
        if how == "same size and time":
            os.utime(self._at(path), ns=(before.st_atime_ns, before.st_mtime_ns))
        self.note(f"overwrite {path!r}, {how}")

    def append(self) -> None:
        path = self._pick(regular=True)
        if path is not None:
            with open(self._at(path), "ab") as file:
                file.write(b"more\n")
            self.note(f"append {path!r}")

    def delete(self) -> None:
        path = self._pick()
        if path is not None:
            os.unlink(self._at(path))
            self.note(f"delete {path!r}")

    def rename(self) -> None:
        is_folder = self.choice.random() < 0.3
        old = self._pick(folder=is_folder)
        new = self._pick_free() if is_folder or self.choice.random() < 0.5 else self._pick()
        if old is None or new is None or old == new or (new + b"/").startswith(old + b"/"):
            return
        with contextlib.suppress(OSError):  # into itself, through a link
            os.rename(self._at(old), self._at(new))
            self.note(f"rename {old!r} to {new!r}")

    def chmod(self) -> None:
        path = self._pick(regular=True)
        if path is not None:
            mode = self.choice.choice(MODES)
            os.chmod(self._at(path), mode)
            self.note(f"chmod {mode:o} {path!r}")

    def link(self) -> None:
        path = self._pick() if self.choice.random() < 0.3 else self._pick_free()
        if path is None:
            return
        # A link on the server to a directory is followed, which is another story.
        targets = [b"not/there %d" % self.choice.randrange(9)]
        targets += [b"a.txt", b"../a.txt", b"d", b"../src"] if self.is_here else []
        target = self.choice.choice(targets)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._at(path))
        os.symlink(target, self._at(path))
        self.note(f"link {path!r} to {target!r}")

    def file_to_folder(self) -> None:
        path = self._pick()
        if path is not None:
            os.unlink(self._at(path))
            inside = os.path.join(path, self.choice.choice(NAMES))
            os.mkdir(self._at(path))
            self._write(inside, self._make_data())
            self.note(f"file to directory with {inside!r}")

    def folder_to_file(self) -> None:
        path = self._pick(folder=True)
        if path is not None and not path.endswith(b"build"):
            shutil.rmtree(self._at(path))
            self._write(path, self._make_data())
            self.note(f"directory to file {path!r}")

    def folder_to_link(self) -> None:
        path = self._pick(folder=True)
        if path is not None:
            target = self.choice.choice((b"src", b"d", b"../d", b"not/there"))
            shutil.rmtree(self._at(path))
            os.symlink(target, self._at(path))
            self.note(f"directory to link {path!r} to {target!r}")

    def make_folder(self) -> None:
        path = self._pick_folder()
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            os.makedirs(self._at(path))
            self.note(f"mkdir {path!r}")

    def delete_tree(self) -> None:
        path = self._pick(folder=True)
        if path is not None:
            shutil.rmtree(self._at(path))
            self.note(f"rmtree {path!r}")

    def touch(self) -> None:
        path = self._pick(regular=True)
        if path is not None:
            seconds = 1_500_000_000 + self.choice.randrange(10**8)
            os.utime(self._at(path), (seconds, seconds))
            self.note(f"touch {path!r} {seconds}")

    def write_ignored(self) -> None:
        path = os.path.join(self._pick_folder(), self.choice.choice((b"x.log", b"build/out", b"build/x/y")))
        with contextlib.suppress(OSError):
            os.makedirs(self._at(os.path.dirname(path)), exist_ok=True)
            self._write(path, self._make_data(), atomic=False)
            self.note(f"write ignored {path!r}")

    def change_rules(self) -> None:
        folder = self.choice.choice((b"", b"", self._pick(folder=True) or b""))
        path = os.path.join(folder, b".gitignore")
        rules = self.choice.choice(RULES)
        if folder and os.path.exists(self._at(path)) and self.choice.random() < 0.5:
            os.unlink(self._at(path))
            self.note(f"no rules any more in {path!r}")
            return
        self._write(path, rules, atomic=False)
        self.note(f"rules in {path!r}: {rules!r}")


class Sequence:
    """One project through its steps: edits there, edits here, a run, a look at everything."""

    def __init__(self, home: Home, engine: str, seed: int) -> None:
        self.home = home
        self.choice = random.Random(f"{engine} {seed}")
        self.delete = "never" if seed % 4 == 3 else "tracked"
        self.project = home.make_project(f"{engine}{seed}", sync=engine, delete=self.delete)
        self.remote = home.remote(self.project)
        (self.project / ".gitignore").write_bytes(RULES[0])
        self.model = Model(self.delete)
        self.history: list[str] = []
        here, there = os.fsencode(self.project), os.fsencode(self.remote)
        self.here = Editor(here, self.choice, lambda text: self.history.append(f"  here:  {text}"), is_here=True)
        self.there = Editor(there, self.choice, lambda text: self.history.append(f"  there: {text}"), is_here=False)

    def run_step(self, number: int) -> None:
        """Edit, run, compare."""
        choice = self.choice
        if number > 0 or choice.random() < 0.3:
            self.there.edit(choice.choice((0, 0, 1, 2, 4)))
        self.here.edit(choice.choice((0, 1, 1, 2, 3, 6)))
        settle()
        words = choice.choice((*[["true"]] * 4, *[["sync"]] * 2, ["sync", "--full"]))
        self.history.append(f"{number}: mtr {' '.join(words)}")
        stderr = self._run(words)
        if choice.random() < 0.2:
            self._run_unchanged()
        self.history.append(f"  {stderr!r}")

    def _run(self, words: list[str]) -> str:
        here, there = look_here(self.project, self.home), Snapshot(self.remote)
        expected = self.model.expect(here, there, full="--full" in words)
        done = self.home.run_mtr(words, self.project)
        stderr = done.stderr.decode(errors="replace")
        assert (done.returncode, done.stdout) == (0, b""), stderr
        after = Snapshot(self.remote)
        wrong = list_differences(expected, after) + list_missing_trash(self.remote, expected.kept)
        assert not wrong, "\n".join([*wrong, stderr])
        if expected.surprises:
            assert "went to the trash" in stderr, expected.surprises
        elif not expected.excused:
            assert "went to the trash" not in stderr
        assert "not as this machine left it" not in stderr
        self.model.learn(here, after, expected)
        return stderr

    def _run_unchanged(self) -> None:
        """Nothing has changed since: nothing is brought, the token is the same."""
        token, before = read_tokens(self.remote), Snapshot(self.remote)
        self._run(["true"])
        assert read_tokens(self.remote) == token, "something was brought"
        assert Snapshot(self.remote).files == before.files

    def check_trash(self) -> None:
        """What once went to the trash is there still, as it was."""
        missing = list_missing_trash(self.remote, self.model.trash)
        assert not missing, "\n".join(missing)


def settle() -> None:
    """Wait until what was just written has an old enough time."""
    end_ns = time.time_ns() + SETTLED_NS
    while (left_ns := end_ns - time.time_ns()) > 0:
        time.sleep(left_ns / 1_000_000_000)


def read_tokens(remote: Path) -> list[str]:
    """Return the tokens of the tree there; there is one."""
    return sorted(path.name for path in (remote / ".mtr").glob("t.*"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_random_edits_on_both_sides(home: Home, engine: str, seed: int) -> None:
    """Whatever was done here and there, each run leaves there what the rules say, and loses nothing."""
    sequence = Sequence(home, engine, seed)
    try:
        for number in range(STEPS):
            sequence.run_step(number)
        sequence.check_trash()
    except BaseException:
        print(*sequence.history, sep="\n")  # noqa: T201  pytest shows it with the failure
        raise


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_is_never_missing_nor_half_there(home: Home, engine: str) -> None:
    """Whoever reads a file on the server while it is replaced again and again sees one whole version or the next."""
    project = home.make_project(f"hot-{engine}", sync=engine)
    remote = home.remote(project) / "hot.bin"
    versions = [b"%06d\n" % number * 30_000 for number in range(PUSHES + 1)]
    (project / "hot.bin").write_bytes(versions[0])
    assert home.run_mtr(["true"], project).returncode == 0
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = remote.read_bytes()
            seen.append(versions.index(data))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for number in range(1, PUSHES + 1):
                if number % 3 == 0:
                    # Changed there too: it goes to the trash on the way.
                    theirs = remote.with_name("theirs")
                    theirs.write_bytes(versions[number - 1])
                    theirs.replace(remote)
                (project / "hot.bin").write_bytes(versions[number])
                ended = home.run_mtr(["true"] if number % 2 else ["sync"], project)
                assert ended.returncode == 0, ended.stderr
        finally:
            done.set()
        reading.result()
    assert seen == sorted(seen)
    assert remote.read_bytes() == versions[PUSHES]
    assert len(list(remote.parent.glob(".mtr/trash/*/hot.bin"))) == PUSHES // 3


def test_two_machines_share_a_directory(home: Home, other_home: Home) -> None:
    """Two clones that sync into one directory in turn: each sees its own files, loses none of the other's, is told."""
    homes = (home, other_home)
    projects = [one.make_project("clone", remote_dir="~/shared/clone") for one in homes]
    for project in projects:
        # The same file with another time is no other content, and needs no keeping.
        os.utime(project / "src" / "b.py", (1_700_000_000, 1_700_000_000))
    remote = home.server.home_of("bash") / "shared" / "clone"
    kept: list[tuple[bytes, Look]] = []
    for turn in range(6):
        mine, theirs = projects[turn % 2], projects[1 - turn % 2]
        (mine / "a.txt").write_text(f"turn {turn}\n")
        (mine / f"new{turn}").write_text(f"new {turn}\n")
        settle()
        before = Snapshot(remote)
        done = homes[turn % 2].run_mtr(["cat", "a.txt"] if turn % 3 else ["sync"], mine)
        assert (done.returncode, done.stdout) == (0, f"turn {turn}\n".encode() if turn % 3 else b""), done.stderr
        assert (b"is not as this machine left it" in done.stderr) == (turn > 1), done.stderr
        after = Snapshot(remote)
        for path, look in look_here(mine, homes[turn % 2]).files.items():
            assert after.files[path].value == look.value
        for path, look in look_here(theirs, homes[1 - turn % 2]).files.items():
            assert path in after.files or turn == 0
            if turn and look.value != after.files[path].value:
                assert before.files[path].value == look.value
                kept.append((path, before.files[path]))
        assert (b"went to the trash" in done.stderr) == (turn > 0)
        missing = list_missing_trash(remote, kept)
        assert not missing, missing
    shutil.rmtree(remote.parent)


def test_many_runs_at_once_while_a_file_changes(home: Home, project: Path) -> None:
    """Each run prints a content that was current at its start or later, and they agree on what the tree is."""
    begun, written = 0, 0
    (project / "a.txt").write_text("0\n")
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"0\n"
    done = threading.Event()

    def write() -> None:
        nonlocal begun, written
        while not done.wait(0.05):
            begun += 1
            (project / ".mtr" / "a.txt").write_text(f"{begun}\n")
            (project / ".mtr" / "a.txt").replace(project / "a.txt")
            written = begun

    def read() -> list[str]:
        wrong = []
        for _ in range(RUNS_EACH):
            oldest = written
            ended = home.run_mtr(["cat", "a.txt"], project)
            newest = begun
            if ended.returncode != 0 or not oldest <= int(ended.stdout) <= newest:
                wrong.append(f"{oldest} <= {ended.stdout!r} <= {newest}: {ended.returncode} {ended.stderr!r}")
        return wrong

    with ThreadPoolExecutor(THREADS + 1) as pool:
        writing = pool.submit(write)
        reading = [pool.submit(read) for _ in range(THREADS)]
        try:
            wrong = [line for one in reading for line in one.result()]
        finally:
            done.set()
        writing.result()
    assert not wrong, "\n".join(wrong)
    settle()
    assert home.run_mtr(["cat", "a.txt"], project).stdout == f"{written}\n".encode()
    token = read_tokens(home.remote(project))
    assert len(token) == 1
    assert home.run_mtr(["true"], project).returncode == 0
    assert read_tokens(home.remote(project)) == token
    assert look_here(project, home).files.keys() == Snapshot(home.remote(project)).files.keys()


@pytest.fixture
def other_home(server: SshServer) -> Iterator[Home]:
    """Another machine of the same person."""
    made = Home(server)
    yield made
    made.close()
