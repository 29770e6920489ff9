"""The manifest: what has changed since, what is on disk when several write at once, what a broken file means."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mtr.errors import ProjectError
from mtr.sync import manifest as module
from mtr.sync.delivery import inside
from mtr.sync.ignore import Rules
from mtr.sync.manifest import Manifest, Tree
from mtr.sync.survey import refresh, survey

if TYPE_CHECKING:
    from pathlib import Path

RULES = Rules(exclude=(".git/",))


def wait_a_tick() -> None:
    """Let the kernel's clock move on, so that nothing written before is racy."""
    end_ns = time.time_ns() + 2 * module.TICK_NS
    while time.time_ns() < end_ns:
        time.sleep(0.002)


@pytest.fixture
def project(tree: Path) -> Path:
    for name in ("a", "b", "src/c", "src/deep/d"):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tree / ".gitignore").write_text("*.log\n")
    (tree / "empty").mkdir()
    wait_a_tick()
    return tree


def look(root: Path) -> Tree:
    with inside(str(root)):
        return survey(root, RULES)


def names(tree: Tree, indexes: list[int]) -> set[bytes]:
    return {tree.paths[index] for index in indexes}


def test_an_unchanged_tree_has_no_changes(project: Path) -> None:
    """Nothing is reported, and a tree survives being stored."""
    tree = Tree.from_tuple(look(project).to_tuple())
    with inside(str(project)):
        assert not tree.compare()
    assert tree.paths == [b".gitignore", b"a", b"b", b"src/c", b"src/deep/d"]
    assert tree.empty == [b"empty"]


def test_every_change_of_a_file_is_noticed(project: Path) -> None:
    """Content, same size with the time set back, mode, replaced by rename, a link instead; deletion apart."""
    tree = look(project)
    before = (project / "a").stat()
    (project / "a").write_text("A")
    os.utime(project / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    (project / "b").chmod(0o700)
    (project / "src" / "new").write_text("src/c")
    (project / "src" / "new").replace(project / "src" / "c")
    (project / "src" / "deep" / "d").unlink()
    with inside(str(project)):
        changes = tree.compare()
    assert names(tree, changes.changed) == {b"a", b"b", b"src/c"}
    assert names(tree, changes.gone) == {b"src/deep/d"}


def test_what_is_written_while_it_is_looked_at_counts_as_changed(project: Path) -> None:
    """A racy file: its ctime could stay the same at the next write."""
    (project / "a").write_text("now")
    tree = look(project)
    with inside(str(project)):
        assert names(tree, tree.compare().changed) == {b"a"}


@pytest.mark.parametrize("name", ["src/x", "new/x", "empty/x", "src/deep/x"])
def test_new_files_are_found_wherever_they_are(project: Path, name: str) -> None:
    """In known, new, and empty directories; ignored ones are asked about once."""
    tree = look(project)
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("")
    (project / name).with_name("x.log").write_text("")
    wait_a_tick()
    with inside(str(project)):
        tree = refresh(tree, tree.compare(), project, RULES)
        assert os.fsencode(name) in tree.paths
        assert not [path for path in tree.paths if path.endswith(b".log")]
        assert tree.to_tuple() == refresh(tree, tree.compare(), project, RULES).to_tuple()
        assert not tree.find_new(tree.compare())
    assert sorted(tree.paths) == survey_paths(project)


def survey_paths(root: Path) -> list[bytes]:
    return look(root).paths


def test_a_directory_that_became_a_link_takes_its_files_away(project: Path) -> None:
    """What lies behind the link is not the project's, though it has the same names."""
    (project / "other").mkdir()
    (project / "other" / "c").write_text("other")
    wait_a_tick()
    tree = look(project)
    (project / "src").rename(project / "was")
    (project / "src").symlink_to("other")
    with inside(str(project)):
        tree = refresh(tree, tree.compare(), project, RULES)
    assert b"src/c" not in tree.paths
    assert b"src" in tree.paths
    assert b"was/c" in tree.paths


def test_a_closed_directory_is_an_error_and_no_deletion(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lstat refuses: nothing can be said about what is in it."""
    tree = look(project)
    lstat = os.lstat

    def closed(path: bytes) -> os.stat_result:
        if path.startswith(b"src/"):
            raise PermissionError(13, "Permission denied", path)
        return lstat(path)

    monkeypatch.setattr(module.os, "lstat", closed)
    with inside(str(project)), pytest.raises(ProjectError, match="cannot look at src/"):
        tree.compare()


@pytest.mark.parametrize("damage", [b"", b"x", b"mtr1" + bytes(40), None])
def test_a_damaged_manifest_is_none(project: Path, tmp_path: Path, damage: bytes | None) -> None:
    """Cut, overwritten, of another version: everything is compared, and nothing fails."""
    file = tmp_path / "manifest"
    first = Manifest(str(file))
    first.load()
    first.confirm(look(project), "t1")
    file.write_bytes(file.read_bytes()[:-5] if damage is None else damage)
    again = Manifest(str(file))
    again.load()
    assert (again.tree, again.tokens) == (None, [])


def load(file: Path) -> Manifest:
    found = Manifest(str(file))
    found.load()
    return found


def test_what_a_push_may_have_done_is_known_until_it_is_confirmed(project: Path, tmp_path: Path) -> None:
    """Its token, its run and its paths stand beside the last confirmed tree, also for the next process."""
    file, tree = tmp_path / "manifest", look(project)
    load(file).confirm(tree, "t1")
    first = load(file)
    assert first.begin("t2", "run2", [b"a"])
    second = load(file)
    assert (second.token, second.tokens, second.runs, second.uncertain) == ("t1", ["t1", "t2"], ["run2"], [b"a"])
    assert second.begin("t3", "run3", [b"b"])
    assert load(file).uncertain == [b"a", b"b"]
    first.confirm(tree, "t2")
    assert load(file).tokens == ["t2", "t1", "t3"]
    second.confirm(tree, "t3")
    assert (load(file).tokens, load(file).uncertain) == (["t3"], [])
    first.confirm(tree, "t2")
    assert load(file).tokens == ["t3"]


def test_who_has_not_seen_the_last_push_starts_over(project: Path, tmp_path: Path) -> None:
    """Two processes that loaded the same: the second to begin is told so, and has stored nothing."""
    file = tmp_path / "manifest"
    load(file).confirm(look(project), "t1")
    one, other = load(file), load(file)
    assert one.begin("t2", "r2", [b"a"])
    assert not other.begin("t3", "r3", [b"b"])
    assert load(file).tokens == ["t1", "t2"]


def test_a_time_of_whole_seconds_is_believed_two_seconds_later() -> None:
    """Such a time comes from a file system without finer ones, where much happens within one tick."""
    written_ns = 1_700_000_000 * 1_000_000_000
    assert module.steady(written_ns, written_ns + 1_900_000_000) == 0
    assert module.steady(written_ns, written_ns + 2_100_000_000) == written_ns
    assert module.steady(written_ns + 1, written_ns + 100_000_000) == written_ns + 1
