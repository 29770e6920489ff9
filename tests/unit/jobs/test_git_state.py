"""What git says of the code, on real repositories: the patch gives back what was synced, and nothing else."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from mtr.jobs.details import Origin, parse_origin
from mtr.jobs.git_state import pack_state
from tests.lab.disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["a", "b c", "-x", "d/e", "d/f g", "q'\"$(x)`", "new\nline", "\udcff\udcfe", "*", ":(top)z", "ü", "d/deep/er"]


class Repository:
    """A repository whose directory ``inner`` is the project."""

    def __init__(self, top: Path, inner: str, *options: str) -> None:
        self.top, self.inner = top, inner
        self.root = top / inner
        self.root.mkdir(parents=True)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "HOME": str(top.parent), "XDG_STATE_HOME": str(top.parent / "state"), "GIT_CONFIG_NOSYSTEM": "1",
        }  # fmt: skip
        self.git("init", "-q", "-b", "main", *options)
        self.git("config", "user.name", "n")
        self.git("config", "user.email", "e@x")

    def git(self, *words: str, stdin: bytes = b"", cwd: Path | None = None) -> bytes:
        """Run git there."""
        argv = ["git", *words]
        return subprocess.run(
            argv, cwd=cwd or self.top, env=self.environ, input=stdin, check=True, stdout=subprocess.PIPE
        ).stdout

    def commit(self) -> None:
        """Commit all that is there."""
        self.git("add", "-A")
        self.git("commit", "-qm", "m", "--allow-empty")

    def write(self, name: str, data: bytes) -> None:
        """Make a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_bytes(data)

    def list_files(self) -> dict[bytes, bytes]:
        """Return what the project holds: paths, and what is in them or where they lead to."""
        found = {}
        for folder, _, names in os.walk(os.fsencode(self.root)):
            for name in names:
                path = os.path.join(folder, name)
                short = os.path.relpath(path, os.fsencode(self.root))
                if not short.startswith(b".git/"):
                    found[short] = read(path)
        return found

    def tell(self, synced: set[bytes]) -> Origin:
        """Return what is told where ``synced`` is."""
        before = self.git("status", "--porcelain=v2")
        told = parse_origin(pack_state(str(self.root), synced, self.environ))
        assert self.git("status", "--porcelain=v2") == before
        assert list((self.top.parent / "state").rglob("origin*")) == []
        return told


def read(path: bytes) -> bytes:
    """Return what a file holds, or where a link leads to."""
    if os.path.islink(path):
        return b"-> " + os.readlink(path)
    with open(path, "rb") as file:
        return file.read()


def change(repository: Repository, chance: random.Random) -> None:
    """Change something of the project, and stage it, or not."""
    name, root = chance.choice(NAMES), repository.root
    act = chance.randrange(6)
    try:
        if act == 0 and (root / name).exists():
            (root / name).unlink()
        elif act == 1 and not os.path.lexists(root / name):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to("nowhere")
        elif act == 2:
            repository.git("rm", "-rqf", "--cached", "--ignore-unmatch", "--", f":(literal){repository.inner}/{name}")
        elif act == 3:
            repository.write(name, chance.randbytes(300))
        else:
            repository.write(name, "".join(f"{chance.randrange(9)}\n" for _ in range(20)).encode())
    except (NotADirectoryError, IsADirectoryError, FileExistsError):
        pass
    if chance.random() < 0.3:
        repository.git("add", "-A")


@pytest.mark.parametrize("seed", range(30))
def test_the_patch_gives_back_what_was_synced(tmp_path: Path, seed: int) -> None:
    """On the commit, whatever was changed, staged, made, removed or linked; of what is not synced there is no trace."""
    chance = random.Random(seed)
    inner = chance.choice([".", "sub/project"])
    repository = Repository(tmp_path / "top", inner, *(["--object-format=sha256"] if seed % 5 == 0 else []))
    (repository.top / "beside").write_text("not the project's\n")
    for _ in range(chance.randrange(8)):
        change(repository, chance)
    repository.commit()
    base = repository.list_files()
    for _ in range(chance.randrange(1, 10)):
        change(repository, chance)
    (repository.top / "beside").write_text("changed beside\n")
    now = repository.list_files()
    left_out = {path for path in now if chance.random() < (0.3 if seed % 2 else 0)}
    told = repository.tell(set(now) - left_out)
    assert told.state == "whole"
    assert told.commit == repository.git("rev-parse", "HEAD").decode().strip()
    assert {path for _, path in told.dirty} <= {*NAMES, "beside"}

    other = tmp_path / "other"
    repository.git("clone", "-q", "--no-hardlinks", str(repository.top), str(other))
    clone = Repository.__new__(Repository)
    clone.top, clone.root = other, other / inner
    if told.patch:
        where = chance.choice([clone.root if clone.root.exists() else other, other])
        subprocess.run(["git", "apply"], cwd=where, env=repository.environ, input=told.patch, check=True)
    after = clone.list_files()
    after.pop(b"beside", None)
    expected = {path: data for path, data in now.items() if path not in left_out}
    expected |= {path: base[path] for path in left_out if path in base}
    expected.pop(b"beside", None)
    assert after == expected


def test_a_worktree_has_an_index_elsewhere(tmp_path: Path) -> None:
    """What .git is there is a file."""
    repository = Repository(tmp_path / "top", ".")
    repository.write("a", b"1\n")
    repository.commit()
    repository.git("worktree", "add", "-q", str(tmp_path / "tree"))
    (tmp_path / "tree" / "b").write_bytes(b"new\n")
    (tmp_path / "tree" / "a").write_bytes(b"2\n")
    told = parse_origin(pack_state(str(tmp_path / "tree"), {b"a", b"b"}, repository.environ))
    assert (told.branch, set(told.dirty)) == ("tree", {("M", "a"), ("?", "b")})
    assert b"+new" in told.patch
    assert b"+2" in told.patch


def test_a_conflict(tmp_path: Path) -> None:
    """Both sides as they stand in the file; a file that one side has removed is told of."""
    repository = Repository(tmp_path / "top", ".")
    for name in ("a", "b"):
        repository.write(name, b"1\n")
    repository.commit()
    repository.git("checkout", "-qb", "other")
    repository.write("a", b"2\n")
    (repository.root / "b").unlink()
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.write("a", b"3\n")
    repository.write("b", b"4\n")
    repository.commit()
    with pytest.raises(subprocess.CalledProcessError):
        repository.git("merge", "-q", "other")
    told = repository.tell({b"a", b"b"})
    assert set(told.dirty) == {("U", "a"), ("U", "b")}
    assert b"+2" in told.patch


@pytest.mark.parametrize("damage", ["index", "HEAD", "objects", "blob"])
def test_a_repository_that_is_broken(tmp_path: Path, damage: str) -> None:
    """Nothing is told, or what can be, and that it is not all; never an error."""
    repository = Repository(tmp_path / "top", ".")
    repository.write("a", b"1\n")
    repository.commit()
    repository.write("a", b"2\n")
    repository.write("b", b"3\n")
    path = repository.root / ".git" / damage
    blob = repository.git("rev-parse", "HEAD:a").decode().strip()
    if damage == "blob":
        (repository.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(b"\xff\0garbage")
    data = pack_state(str(repository.root), {b"a", b"b"}, repository.environ)
    assert parse_origin(data).state == ("broken" if damage == "blob" else "none")


def test_what_is_tracked_no_more_is_new(tmp_path: Path) -> None:
    """It is there, and was synced: the patch changes it, and removes nothing."""
    repository = Repository(tmp_path / "top", ".")
    repository.write("a", b"1\n")
    repository.commit()
    repository.git("rm", "-q", "--cached", "a")
    assert repository.tell({b"a"}).patch == b""
    repository.write("a", b"2\n")
    patch = repository.tell({b"a"}).patch
    assert b"\n-1\n+2\n" in patch
    assert b"deleted" not in patch


def test_without_room_for_a_copy_of_the_index_names_are_told(tmp_path: Path) -> None:
    """Commit, branch and what has changed; that the patch is not whole is known, and nothing stays here."""
    repository = Repository(tmp_path / "top", ".")
    repository.write("a", b"1\n")
    repository.commit()
    repository.write("b", b"2\n")
    (tmp_path / "state" / "mtr").mkdir(parents=True)
    with small_disk(tmp_path / "state" / "mtr", "4k", inodes=1):
        told = parse_origin(pack_state(str(repository.root), {b"a", b"b"}, repository.environ))
        assert list((tmp_path / "state" / "mtr").iterdir()) == []
    assert (told.state, told.branch, told.dirty) == ("broken", "main", (("?", "b"),))
    assert told.commit == repository.git("rev-parse", "HEAD").decode().strip()


def test_what_a_user_has_set_for_a_git_elsewhere(tmp_path: Path) -> None:
    """Neither another repository nor another way to show differences."""
    repository, other = Repository(tmp_path / "top", "."), Repository(tmp_path / "other", ".")
    repository.write("a", b"1\n")
    repository.commit()
    other.commit()
    repository.write("a", b"2\n")
    repository.git("config", "diff.noprefix", "true")
    repository.git("config", "color.ui", "always")
    repository.git("config", "diff.external", "false")
    environ = {**repository.environ, "GIT_DIR": str(other.top / ".git"), "GIT_EXTERNAL_DIFF": "false"}
    told = parse_origin(pack_state(str(repository.root), {b"a"}, environ))
    assert told.commit == repository.git("rev-parse", "HEAD").decode().strip()
    assert told.patch.startswith(b"diff --git a/a b/a\n")
    assert b"\n-1\n+2\n" in told.patch


def test_outside_of_any_repository(tmp_path: Path) -> None:
    """Also where there is no git at all."""
    for environ in ({"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, {"PATH": str(tmp_path)}):
        told = pack_state(str(tmp_path), {b"a"}, {**environ, "XDG_STATE_HOME": str(tmp_path)})
        assert parse_origin(told) == Origin()
