"""Which files belong to the project: the promises, one by one."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from trees import run_git, write_tree

from mtr.errors import ProjectError
from mtr.sync.ignore import Rules, list_files, list_tree

if TYPE_CHECKING:
    from pathlib import Path

PLACES = ["repository", "plain"]


@pytest.fixture(params=PLACES)
def project(request, tree: Path) -> Path:
    """A project, once in a repository of its own and once outside any."""
    if request.param == "repository":
        run_git(tree, "init", "-q")
    return tree


def test_gitignore_files_count_with_and_without_a_repository(project: Path):
    """What .gitignore leaves out is not listed, nested ignore files included, whether or not git knows the tree."""
    write_tree(project, {".gitignore": "*.log\nbuild/\n", "a.py": "", "a.log": "", "build/o": "", "sub/keep.log": ""})
    write_tree(project, {"sub/.gitignore": "!keep.log\n"})
    assert list_files(project, Rules()) == [b".gitignore", b"a.py", b"sub/.gitignore", b"sub/keep.log"]


def test_unanchored_middle_slash_is_not_a_name_pattern(project: Path):
    """data/* leaves out data/x at the root only: src/data/x.py stays."""
    write_tree(project, {".gitignore": "data/*\n", "data/x": "", "src/data/x.py": ""})
    assert list_files(project, Rules()) == [b".gitignore", b"src/data/x.py"]


def test_include_beats_exclude_beats_mtrignore_beats_gitignore(project: Path):
    """The stronger rule decides, in each of the three steps."""
    write_tree(
        project, {".gitignore": "*.a\n", ".mtrignore": "!*.a\n*.b\n", "1.a": "", "1.b": "", "2.b": "", "1.c": ""}
    )
    assert list_files(project, Rules()) == [b".gitignore", b".mtrignore", b"1.a", b"1.c"]
    with_exclude = Rules(exclude=("!*.b", "*.a", "*.c"))
    assert list_files(project, with_exclude) == [b".gitignore", b".mtrignore", b"1.b", b"2.b"]
    with_include = Rules(exclude=("!*.b", "*.a", "*.c"), include=("1.*",))
    assert list_files(project, with_include) == [b".gitignore", b".mtrignore", b"1.a", b"1.b", b"1.c", b"2.b"]


def test_include_reaches_below_excluded_directories(project: Path):
    """An include pattern finds a file although a directory above it is ignored and excluded."""
    write_tree(project, {".gitignore": "out/\n", "out/deep/model.bin": "", "out/deep/other": "", "venv/lib/x": ""})
    rules = Rules(exclude=("venv/",), include=("model.bin", "/venv/lib/"))
    assert list_files(project, rules) == [b".gitignore", b"out/deep/model.bin", b"venv/lib/x"]


def test_exclude_applies_to_tracked_files(tree: Path):
    """What is tracked, git lists whatever is ignored; exclude and .mtrignore leave it out all the same."""
    write_tree(tree, {"a.bin": "", "b.bin": "", "c.bin": "", ".gitignore": "*.bin\n", ".mtrignore": "b.bin\n"})
    run_git(tree, "init", "-q")
    run_git(tree, "add", "-f", ".")
    assert list_files(tree, Rules(exclude=("a.bin",))) == [b".gitignore", b".mtrignore", b"c.bin"]


def test_nested_mtrignore_speaks_about_its_directory(project: Path):
    """Anchored and floating patterns of sub/.mtrignore stay below sub/, and the deeper file wins."""
    write_tree(project, {"sub/.mtrignore": "/top\nany\na/b\n", "sub/a/.mtrignore": "!any\n"})
    names = ["top", "any", "sub/top", "sub/x/top", "sub/any", "sub/x/any", "sub/a/any", "sub/a/b", "sub/x/a/b"]
    write_tree(project, dict.fromkeys(names, ""))
    expected = ["any", "sub/.mtrignore", "sub/a/.mtrignore", "sub/a/any", "sub/x/a/b", "sub/x/top", "top"]
    assert list_files(project, Rules()) == [name.encode() for name in expected]


def test_mtrignore_that_is_ignored_itself_still_counts(project: Path):
    """A personal .mtrignore hidden by .gitignore works, and is not synced."""
    write_tree(project, {".gitignore": ".*\n", "sub/.mtrignore": "x\n", "sub/x": "", "sub/y": ""})
    assert list_files(project, Rules()) == [b"sub/y"]


def test_mtrignore_below_a_directory_that_another_brings_back(project: Path):
    """An ignore file that only shows once a shallower one has lifted a ban counts too."""
    write_tree(
        project, {".gitignore": "gen/\n", ".mtrignore": "!gen/\n", "gen/.mtrignore": "x\n", "gen/x": "", "gen/y": ""}
    )
    assert list_files(project, Rules()) == [b".gitignore", b".mtrignore", b"gen/.mtrignore", b"gen/y"]


def test_odd_directory_names_are_no_globs(project: Path):
    """A .mtrignore in a directory whose name looks like a pattern speaks about that directory alone."""
    write_tree(
        project, {"a[b]*/.mtrignore": "x\n", "a[b]*/x": "", "abc/x": "", "#d/.mtrignore": "x\n", "#d/x": "", "!e/x": ""}
    )
    assert list_files(project, Rules()) == [b"!e/x", b"#d/.mtrignore", b"a[b]*/.mtrignore", b"abc/x"]


def test_own_directory_is_never_listed(project: Path):
    """.mtr/ at the root stays here, whatever is included or tracked; a deeper one is the project's own business."""
    write_tree(project, {".mtr/config.yaml": "", ".mtr/local.yaml": "", "sub/.mtr/config.yaml": "", "a": ""})
    rules = Rules(exclude=("!.mtr/", "!.mtr/**"), include=(".mtr/", "*.yaml"))
    assert list_files(project, rules) == [b"a", b"sub/.mtr/config.yaml"]


def test_git_directory_only_by_name(tree: Path):
    """The repository itself is listed when include spells .git, and by no wildcard."""
    write_tree(tree, {"a": ""})
    run_git(tree, "init", "-q")
    assert list_files(tree, Rules(include=("*",))) == [b"a"]
    chosen = list_files(tree, Rules(exclude=(".git/",), include=(".git/",)))
    assert {b".git/HEAD", b".git/config", b"a"} <= set(chosen)


def test_gitignore_can_be_disregarded(project: Path):
    """With respect_gitignore off only mtr's own rules leave files out."""
    write_tree(project, {".gitignore": "*.log\n", "a.log": "", ".mtrignore": "b.log\n", "b.log": ""})
    assert list_files(project, Rules(respect_gitignore=False)) == [b".gitignore", b".mtrignore", b"a.log"]


def test_files_that_are_gone_are_not_listed(tree: Path):
    """A tracked file deleted from disk is no part of the project."""
    write_tree(tree, {"a": "", "b": ""})
    run_git(tree, "init", "-q")
    run_git(tree, "add", ".")
    (tree / "a").unlink()
    assert list_files(tree, Rules()) == [b"b"]


def test_tracked_file_behind_a_link_is_not_listed(tree: Path):
    """Where a directory has become a symbolic link, the link is the project's, not what lies behind it."""
    write_tree(tree, {"d/x": "", "e/x": ""})
    run_git(tree, "init", "-q")
    run_git(tree, "add", ".")
    (tree / "d" / "x").unlink()
    (tree / "d").rmdir()
    (tree / "d").symlink_to("e")
    assert list_files(tree, Rules()) == [b"d", b"e/x"]


def test_submodules_and_nested_repositories_each_by_their_own_rules(tree: Path, tmp_path: Path):
    """A submodule and an untracked repository are listed file by file, by their own ignore files, without .git."""
    library = tmp_path / "library"
    write_tree(library, {"lib.c": "", ".gitignore": "*.o\n"})
    run_git(library, "init", "-q")
    run_git(library, "add", ".")
    run_git(library, "commit", "-qm", "x")
    run_git(tree, "init", "-q")
    run_git(tree, "submodule", "add", "-q", str(library), "vendor/lib")
    write_tree(
        tree, {"vendor/lib/new.o": "", "vendor/lib/new.c": "", "tool/main.c": "", "tool/x.log": "", "main.o": ""}
    )
    write_tree(tree, {"tool/.gitignore": "*.log\n"})
    run_git(tree / "tool", "init", "-q")
    lib = [b"vendor/lib/.gitignore", b"vendor/lib/lib.c", b"vendor/lib/new.c"]
    assert list_files(tree, Rules()) == [b".gitmodules", b"main.o", b"tool/.gitignore", b"tool/main.c", *lib]
    assert list_files(tree, Rules(exclude=("/vendor/*/lib.c", "tool/"))) == [b".gitmodules", b"main.o", lib[0], lib[2]]


def test_mtrignore_lifts_a_ban_of_a_nested_repository(tree: Path):
    """The project's .mtrignore outranks the .gitignore of a repository inside it."""
    write_tree(tree, {".mtrignore": "!/dep/build/\n", "dep/.gitignore": "build/\n", "dep/build/o": "", "dep/a": ""})
    run_git(tree, "init", "-q")
    run_git(tree / "dep", "init", "-q")
    assert list_files(tree, Rules()) == [b".mtrignore", b"dep/.gitignore", b"dep/a", b"dep/build/o"]


def test_repositories_in_a_plain_directory(tree: Path):
    """A folder of checkouts lists every one of them by its own rules."""
    for name in ("one", "two"):
        write_tree(tree, {f"{name}/.gitignore": "x\n", f"{name}/x": "", f"{name}/y": ""})
        run_git(tree / name, "init", "-q")
        run_git(tree / name, "add", ".")
    assert list_files(tree, Rules()) == [b"one/.gitignore", b"one/y", b"two/.gitignore", b"two/y"]


def test_root_below_the_top_of_a_repository(tree: Path):
    """A root inside a repository lists only itself; rules above count, patterns speak about the root."""
    write_tree(
        tree, {".gitignore": "*.log\n", "build/app/a": "", "build/app/b/c": "", "build/app/x.log": "", "other": ""}
    )
    write_tree(tree, {"build/app/.mtrignore": "/a\n"})
    run_git(tree, "init", "-q")
    assert list_files(tree / "build/app", Rules(exclude=("build",))) == [b".mtrignore", b"b/c"]


def test_root_that_its_repository_ignores(tree: Path):
    """A project in a directory that the repository around it ignores is listed as if it stood alone."""
    write_tree(
        tree, {".gitignore": "scratch/\n", "scratch/p/a": "", "scratch/p/x.log": "", "scratch/p/.gitignore": "*.log\n"}
    )
    run_git(tree, "init", "-q")
    assert list_files(tree / "scratch/p", Rules()) == [b".gitignore", b"a"]


def test_unreadable_repository_is_listed_as_plain_with_a_warning(tree: Path):
    """A repository that git refuses is listed by its .gitignore files, and git's words are passed on."""
    write_tree(tree, {".gitignore": "*.log\n", "a": "", "a.log": ""})
    run_git(tree, "init", "-q")
    (tree / ".git" / "index").write_bytes(b"garbage, no index")
    listing = list_tree(tree, Rules())
    assert listing.files == [b".gitignore", b"a"]
    assert "index" in " ".join(listing.warnings)


def test_repository_of_another_user(tree: Path, monkeypatch):
    """A repository that git distrusts because of its owner is listed as plain, with a warning that says so."""
    write_tree(tree, {".gitignore": "*.log\n", "a": "", "a.log": ""})
    run_git(tree, "init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch: only root could give it away
    listing = list_tree(tree, Rules())
    assert listing.files == [b".gitignore", b"a"]
    assert "dubious ownership" in " ".join(listing.warnings)


def test_variables_of_another_repository_do_not_leak_in(tree: Path, tmp_path: Path, monkeypatch):
    """Run from a git hook, which exports GIT_DIR and GIT_INDEX_FILE, the listing is still the project's."""
    write_tree(tmp_path / "other", {"x": ""})
    run_git(tmp_path / "other", "init", "-q")
    write_tree(tree, {"a": ""})
    run_git(tree, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert list_files(tree, Rules()) == [b"a"]


def test_listing_writes_nothing_into_the_tree(tree: Path):
    """The user's index and tree are as before, to the byte and the time of change."""
    write_tree(tree, {"a": "", "sub/b": "", ".mtrignore": "x\n"})
    run_git(tree, "init", "-q")
    run_git(tree, "add", ".")
    os.utime(tree / "a", (1, 1))  # stale index entries are what git likes to refresh
    before = {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]}
    list_files(tree, Rules(exclude=("*.o",), include=("*.p",)))
    assert {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]} == before


def test_special_files_are_skipped_with_a_warning(project: Path):
    """FIFOs and sockets neither travel nor block; each is named, unless the rules leave it out anyway."""
    write_tree(project, {"a": "", ".gitignore": "*.sock\n"})
    os.mkfifo(project / "pipe")
    os.mkfifo(project / ".mtrignore")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(project, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/s.sock" if os.path.exists("/proc/self/fd") else str(project / "s.sock"))
        os.close(here)
    listing = list_tree(project, Rules())
    assert listing.files == [b".gitignore", b"a"]
    assert listing.warnings == (".mtrignore is a FIFO: not synced", "pipe is a FIFO: not synced")


def test_links_are_listed_as_links(project: Path):
    """A symbolic link is an entry of its own, dangling or pointing to a directory alike."""
    write_tree(project, {"d/x": ""})
    (project / "to_dir").symlink_to("d")
    (project / "dangling").symlink_to("/nowhere")
    entries = {entry.path: entry.kind for entry in list_tree(project, Rules()).entries}
    assert entries == {b"d/x": "file", b"to_dir": "symlink", b"dangling": "symlink"}


def test_any_name_is_listed(project: Path):
    """Spaces, quotes, newlines, leading dashes, globs and bytes that are no UTF-8 come out as they are."""
    names = [
        b"a b",
        b"q'\"",
        b"new\nline",
        b"-rf",
        b"*",
        b"\xff\xfe",
        b":(top)x",
        b" lead",
        b"trail ",
        b"#h",
        b"!n",
        b"\\b",
    ]
    for name in names:
        with open(os.path.join(os.fsencode(project), name), "wb"):
            pass
    assert list_files(project, Rules()) == sorted(names)
    assert list_files(project, Rules(exclude=("*",), include=("*",))) == sorted(names)


@pytest.mark.parametrize("make", [False, True])
def test_empty_or_missing_root_is_refused(tmp_path: Path, make: bool):
    """Nothing at all is what an unmounted disk looks like: it is refused, not mirrored."""
    root = tmp_path / "gone"
    if make:
        root.mkdir()
    with pytest.raises(ProjectError):
        list_files(root, Rules())


def test_root_without_syncable_files_is_an_empty_project(tree: Path):
    """A project of configuration alone is fine; it has nothing to sync."""
    write_tree(tree, {".mtr/config.yaml": ""})
    assert list_files(tree, Rules()) == []


@pytest.fixture
def without_git(tmp_path: Path, monkeypatch) -> Path:
    """A PATH that leads to no git; programs can be put into the directory returned."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def test_without_git_the_rules_still_hold(without_git: Path, tree: Path):
    """Where git is not installed the same precedence holds, and the same directories stay out."""
    write_tree(tree, {".gitignore": "*.a\nout/\n", ".mtrignore": "!1.a\n*.b\n", "sub/.mtrignore": "!x.b\n"})
    write_tree(tree, dict.fromkeys(["1.a", "2.a", "1.b", "sub/x.b", "out/c", "v/x", ".git/HEAD", ".mtr/c", "k"], ""))
    listed = list_files(tree, Rules(exclude=("v/",), include=("out/",)))
    assert listed == [b".gitignore", b".mtrignore", b"1.a", b"k", b"out/c", b"sub/.mtrignore", b"sub/x.b"]


def test_a_git_that_does_not_work_is_named(without_git: Path, tree: Path):
    """A git that is only a stub, as on a fresh macOS, does not stop a sync; its words are passed on."""
    stub = without_git / "git"
    stub.write_text("#!/bin/sh\necho 'xcrun: error: invalid active developer path' >&2\nexit 1\n")
    stub.chmod(0o755)
    write_tree(tree, {".gitignore": "*.log\n", "a": "", "a.log": ""})
    listing = list_tree(tree, Rules())
    assert listing.files == [b".gitignore", b"a"]
    assert "invalid active developer path" in " ".join(listing.warnings)
