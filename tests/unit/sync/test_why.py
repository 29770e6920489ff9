"""Why a path is synced or not: the answer agrees with the listing, and names a line that is there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_ignore_oracle import grown, ignore_files, lines, trees
from trees import run_git, write_tree

from mtr.config.model import Position
from mtr.errors import UsageError
from mtr.sync.ignore import Rules, list_files
from mtr.sync.why import UNNAMED, Origins, explain_paths, resolve_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mtr.sync.why import Why

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Few names and plain patterns, so that rules meet: bans, bans lifted again, and what is tracked below them.
few_directories = st.sampled_from(["", "a", "b", "a/b", "b/a", "a/b/a"])
few_lines = st.sampled_from(
    ["a", "b", "c", "a/", "b/", "a/b", "*", "*/", "/a", "*c", "!a", "!b", "!c", "!a/", "!b/", "!a/b", "!*", "!*/"]
)
few_texts = st.lists(few_lines, min_size=1, max_size=3).map("\n".join)
few_files = st.tuples(few_directories, st.sampled_from("abcd")).map(lambda parts: "/".join(filter(None, parts)))


@st.composite
def grounds(draw: st.DrawFn) -> tuple[list[str], dict[str, str], dict[str, str], Rules]:
    """Files, ``.gitignore`` files, ``.mtrignore`` files and configured patterns, of one of two vocabularies."""
    is_plain = draw(st.booleans())
    paths = st.lists(few_files, min_size=1, max_size=14, unique=True) if is_plain else trees
    ignores = st.dictionaries(few_directories, few_texts, max_size=3) if is_plain else ignore_files
    patterns = few_lines if is_plain else lines
    rules = Rules(
        exclude=tuple(draw(st.lists(patterns, max_size=2))),
        include=tuple(draw(st.lists(st.one_of(patterns, st.just(".git/hooks/")), max_size=1))),
        respect_gitignore=draw(st.sampled_from([True, True, True, False])),
    )
    return draw(paths), draw(ignores), draw(ignores), rules


@contextlib.contextmanager
def grown_ground(paths: Sequence[str], ignores: dict[str, str], own: dict[str, str]) -> Iterator[Path]:
    """The tree of a ground; of two paths that cannot both be, the first stays."""
    with grown(paths or ["a"], ignores) as root:
        for directory, text in own.items():
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                write_tree(root, {f"{directory}/.mtrignore" if directory else ".mtrignore": text})
        yield root


def explain(root: Path, path: str, rules: Rules | None = None) -> Why:
    return explain_paths(root, rules or Rules(), [os.fsencode(path)]).answers[0]


def render(answer: Why) -> str:
    """The parts of an answer, in the order of the command line."""
    return " | ".join(part for part in (answer.verdict, answer.source, answer.rule, answer.reason) if part)


def find_all(root: Path) -> list[bytes]:
    """Every file and link of a tree, whatever the rules."""
    found = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(os.fsencode(path.relative_to(root)) for path in found)


def assert_agrees(root: Path, rules: Rules) -> None:
    """For every file the answer is the listing's, and a rule could be named for it that is written there."""
    listed = set(list_files(root, rules))
    paths = find_all(root)
    answers = explain_paths(root, rules, paths).answers
    assert {path for path, why in zip(paths, answers, strict=True) if why.is_synced} == listed
    for why in answers:
        assert UNNAMED not in why.reason, why
        if why.source and why.source != "configured":
            file, _, number = why.source.rpartition(":")
            line = Path(root, file).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")[int(number) - 1]
            assert os.fsdecode(line).rstrip(" \r").rstrip("\\") == why.rule.rstrip(" \r").rstrip("\\")


def track(root: Path, paths: Sequence[str]) -> None:
    for path in paths:
        if (root / path).is_file():
            run_git(root, "--literal-pathspecs", "add", "-f", "--", path)


@contextlib.contextmanager
def no_git() -> Iterator[None]:
    with mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
        yield


@settings(quick, max_examples=120)
@given(grounds(), st.sets(st.integers(0, 13)))
def test_in_a_repository_the_answer_is_the_listings(ground, tracked):
    """Any ignore files of both kinds, any configured patterns, any tracked files, ignore files among them."""
    *files, rules = ground
    with grown_ground(*files) as root:
        everything = find_all(root)
        run_git(root, "init", "-q")
        track(root, [os.fsdecode(path) for index, path in enumerate(everything) if index in tracked])
        assert_agrees(root, rules)


@quick
@given(grounds(), st.booleans())
def test_outside_a_repository_the_answer_is_the_listings(ground, has_git):
    """In a plain directory, and where git is not installed."""
    *files, rules = ground
    with grown_ground(*files) as root, contextlib.nullcontext() if has_git else no_git():
        assert_agrees(root, rules)


@quick
@given(grounds(), st.sets(few_directories, max_size=3), st.sets(st.integers(0, 13)))
def test_with_nested_repositories_the_answer_is_the_listings(ground, nested, tracked):
    """Repositories in repositories and in plain directories, each tracking some of its files."""
    *files, rules = ground
    with grown_ground(*files) as root:
        # The outermost first: what it tracks may later lie in a directory with a repository of its own.
        for directory in sorted((name for name in nested if (root / name).is_dir()), key=len):
            inner = [os.fsdecode(path) for path in find_all(root / directory)]
            run_git(root / directory, "init", "-q")
            track(root / directory, [path for index, path in enumerate(inner) if index in tracked])
        assert_agrees(root, rules)


PRECEDENCE = {
    "x.o": "not synced | .gitignore:2 | *.o",
    "keep.o": "synced | .gitignore:3 | !keep.o",
    "x.bin": "not synced | .mtrignore:2 | *.bin",
    "sub/x.bin": "synced | sub/.mtrignore:1 | !x.bin",
    "x.tmp": "not synced | /c.yaml:3:5 | exclude *.tmp",
    "__pycache__/m": "not synced | built in | exclude __pycache__/",
    "notes.tmp": "synced | /c.yaml:5:5 | include notes.tmp",
    "plain": "synced | no rule leaves it out",
    ".mtr/config.yaml": "not synced | mtr's own directory is never synced",
    ".git/HEAD": "not synced | a repository's own, synced only if `include` spells .git",
    "link": "synced | no rule leaves it out",
    "link/x": "not synced | behind the symbolic link link",
    "pipe": "not synced | a FIFO is never synced",
    "pipe.o": "not synced | .gitignore:2 | *.o",
}


@pytest.fixture
def project(tree: Path) -> Path:
    """A tree in which every kind of rule decides about a file."""
    names = [name for name in PRECEDENCE if not name.startswith(("link", "pipe"))]
    write_tree(tree, dict.fromkeys(names, ""))
    write_tree(tree, {".gitignore": "# objects\n*.o\n!keep.o\n", ".mtrignore": "\n*.bin\n!*.tmp\n"})
    write_tree(tree, {"sub/.mtrignore": "!x.bin\n"})
    (tree / "link").symlink_to("sub")
    os.mkfifo(tree / "pipe")
    os.mkfifo(tree / "pipe.o")
    return tree


@pytest.mark.parametrize("place", ["repository", "plain", "no git"])
def test_each_rule_is_named_where_it_stands(project: Path, place: str):
    """Kind, file and line of what decides; the same with git, without a repository, and without git."""
    rules = Rules(exclude=("__pycache__/", "*.tmp"), include=("notes.tmp",))
    file = Path("/c.yaml")
    origins = Origins(exclude=(None, Position(file, 3, 5)), include=(Position(file, 5, 5),))
    if place == "repository":
        (project / ".git/HEAD").unlink()
        (project / ".git").rmdir()
        run_git(project, "init", "-q")
    with no_git() if place == "no git" else contextlib.nullcontext():
        found = explain_paths(project, rules, map(os.fsencode, PRECEDENCE), origins).answers
    assert {why.path: render(why) for why in found} == PRECEDENCE


def test_a_tracked_file_is_synced_in_spite_of_gitignore(tree: Path):
    """The line that would leave it out is named; exclude and .mtrignore count for it all the same."""
    write_tree(tree, {".gitignore": "out/\n*.o\n", "out/a": "", "b": "", "c.o": "", ".mtrignore": "c.o\n"})
    run_git(tree, "init", "-q")
    run_git(tree, "add", "-f", "out/a", "b", "c.o")
    assert render(explain(tree, "out/a")) == "synced | tracked by git, in spite of .gitignore:1: out/"
    assert render(explain(tree, "b")) == "synced | tracked by git"
    assert render(explain(tree, "c.o")) == "not synced | .mtrignore:1 | c.o"
    assert render(explain(tree, "b", Rules(exclude=("b",)))) == "not synced | configured | exclude b"
    assert render(explain(tree, "out")) == "not entered | .gitignore:1 | out/ | yet 1 file in it is synced"


def test_an_ignore_file_in_an_ignored_directory_counts_if_tracked(tree: Path):
    """git does not look into the directory, so only a tracked .mtrignore there is found."""
    write_tree(tree, {".gitignore": "out/\n", "out/a": "", "out/.mtrignore": "a\n"})
    run_git(tree, "init", "-q")
    run_git(tree, "add", "-f", "out/a")
    assert render(explain(tree, "out/a")) == "synced | tracked by git, in spite of .gitignore:1: out/"
    assert b"out/a" in list_files(tree, Rules())
    run_git(tree, "add", "-f", "out/.mtrignore")
    assert render(explain(tree, "out/a")) == "not synced | out/.mtrignore:1 | a"
    assert b"out/a" not in list_files(tree, Rules())


def test_below_a_directory_that_mtrignore_brings_back(tree: Path):
    """The .gitignore line about the file itself is named, not the one about the directory that was lifted."""
    write_tree(
        tree, {".gitignore": "gen/\n*.o\n", ".mtrignore": "!gen/\n", "gen/x.o": "", "gen/y": "", "gen/s/z.o": ""}
    )
    run_git(tree, "init", "-q")
    assert render(explain(tree, "gen")) == "entered | .mtrignore:1 | !gen/ | 1 file in it is synced"
    assert render(explain(tree, "gen/x.o")) == "not synced | .gitignore:2 | *.o"
    assert render(explain(tree, "gen/s/z.o")) == "not synced | .gitignore:2 | *.o"
    assert render(explain(tree, "gen/y")) == "synced | no rule leaves it out"


def test_a_rule_that_cannot_be_named_is_admitted(tree: Path):
    """Below a lifted directory, git's own exclude file still counts: the decision is right, without a line."""
    write_tree(tree, {".gitignore": "gen/\n", ".mtrignore": "!gen/\n", "gen/x": ""})
    run_git(tree, "init", "-q")
    (tree / ".git/info/exclude").write_text("x\n")
    assert render(explain(tree, "gen/x")) == f"not synced | {UNNAMED}"


def test_gits_other_files_are_named(tree: Path, tmp_path: Path, monkeypatch):
    """``.git/info/exclude``, the user's global file, and a .gitignore above the project."""
    write_tree(tree, {"p/a": "", "p/b": "", "p/c": "", "p/.mtr/config.yaml": "", ".gitignore": "\nc\n"})
    run_git(tree, "init", "-q")
    (tree / ".git/info/exclude").write_text("a\n")
    everywhere = tmp_path / "everywhere"
    everywhere.write_text("# mine\nb\n")
    (tmp_path / "config").write_text(f"[core]\nexcludesFile = {everywhere}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    root = tree / "p"
    assert render(explain(root, "a")) == f"not synced | {tree}/.git/info/exclude:1 | a"
    assert render(explain(root, "b")) == f"not synced | {everywhere}:2 | b"
    assert render(explain(root, "c")) == f"not synced | {tree}/.gitignore:2 | c"


def test_nested_repositories_by_their_own_rules(tree: Path, tmp_path: Path):
    """The inner ignore file is named with its place in the project; an absent submodule says so."""
    library = tmp_path / "library"
    write_tree(library, {"lib.c": "", ".gitignore": "*.o\n"})
    run_git(library, "init", "-q")
    run_git(library, "add", ".")
    run_git(library, "commit", "-qm", "x")
    run_git(tree, "init", "-q")
    run_git(tree, "submodule", "add", "-q", str(library), "lib")
    run_git(tree, "submodule", "add", "-q", str(library), "gone")
    run_git(tree, "submodule", "deinit", "-f", "-q", "gone")
    write_tree(tree, {"lib/x.o": "", "gone/file": "", "tool/y.log": "", "tool/.gitignore": "*.log\n"})
    run_git(tree / "tool", "init", "-q")
    assert render(explain(tree, "lib/lib.c")) == "synced | tracked by git"
    assert render(explain(tree, "lib/x.o")) == "not synced | lib/.gitignore:1 | *.o"
    assert render(explain(tree, "tool/y.log")) == "not synced | tool/.gitignore:1 | *.log"
    assert render(explain(tree, "tool")) == "entered | no rule leaves it out, 1 file in it is synced"
    assert render(explain(tree, "gone/file")) == "not synced | the submodule gone is not checked out"
    assert not explain(tree, "gone").is_synced
    assert_agrees(tree, Rules(exclude=("/lib/*.c",)))


def test_a_git_directory_that_is_no_repository(tree: Path, tmp_path: Path):
    """A plain directory keeps the rules around it; a submodule is a directory of its own all the same."""
    write_tree(tmp_path / "library", {"lib.c": ""})
    run_git(tmp_path / "library", "init", "-q")
    run_git(tmp_path / "library", "add", ".")
    run_git(tmp_path / "library", "commit", "-qm", "x")
    run_git(tree, "init", "-q")
    run_git(tree, "submodule", "add", "-q", str(tmp_path / "library"), "lib")
    write_tree(tree, {".gitignore": "*.o\n", "odd/x.o": "", "lib/x.o": ""})
    (tree / "lib/.git").unlink()
    for name in ("odd", "lib"):
        (tree / name / ".git").mkdir()
    assert render(explain(tree, "odd/x.o")) == "not synced | .gitignore:1 | *.o"
    assert render(explain(tree, "lib/x.o")) == "synced | no rule leaves it out"
    assert_agrees(tree, Rules())


def test_a_repository_that_git_refuses(tree: Path):
    """Its .gitignore files decide, as in the listing, and git's words are passed on."""
    write_tree(tree, {".gitignore": "*.log\n", "a": "", "a.log": ""})
    run_git(tree, "init", "-q")
    (tree / ".git/index").write_bytes(b"garbage, no index")
    found = explain_paths(tree, Rules(), [b"a", b"a.log"])
    assert list(map(render, found.answers)) == ["synced | no rule leaves it out", "not synced | .gitignore:1 | *.log"]
    assert "index" in " ".join(found.warnings)


@pytest.mark.parametrize("has_git", [True, False])
def test_what_does_not_exist_still_has_a_rule(tree: Path, has_git: bool):
    """A trailing slash makes it a directory; directories on the way need not exist either."""
    write_tree(tree, {".gitignore": "*.o\nout/\n", "a": ""})
    with contextlib.nullcontext() if has_git else no_git():
        assert render(explain(tree, "x.o")) == "does not exist; would not be synced | .gitignore:1 | *.o"
        assert render(explain(tree, "out/x")) == "does not exist; would not be synced | .gitignore:2 | out/"
        assert render(explain(tree, "out/")) == "does not exist; would not be synced | .gitignore:2 | out/"
        assert render(explain(tree, "out")) == "does not exist; would be synced | no rule leaves it out"
        assert render(explain(tree, "a/b")) == "does not exist; would be synced | no rule leaves it out"
    assert not explain(tree, "out").is_synced


def test_a_directory_says_whether_it_is_entered(tree: Path):
    """And how much of it is synced: nothing in an empty one, an included file in an excluded one."""
    write_tree(tree, {"a/x": "", "a/y": "", "b/x": "", "b/deep/model": ""})
    (tree / "empty").mkdir()
    rules = Rules(exclude=("b/",), include=("model",))
    assert render(explain(tree, "a", rules)) == "entered | no rule leaves it out, 2 files in it are synced"
    assert render(explain(tree, "empty", rules)) == "entered | no rule leaves it out, nothing in it is synced"
    assert render(explain(tree, "b/", rules)) == "not entered | configured | exclude b/ | yet 1 file in it is synced"
    assert explain(tree, "", rules).is_synced


def test_names_that_are_no_text(tree: Path):
    """Newlines, globs, magic of git's and bytes that are no UTF-8 are paths like any other."""
    names = [b"new\nline", b"*", b":(top)x", b"\xff\xfe", b"-rf", b"#h", b"!n", b" lead", b"trail ", b"\\b"]
    for name in names:
        Path(tree, os.fsdecode(name)).touch()
    (tree / ".gitignore").write_text("new*\n")
    run_git(tree, "init", "-q")
    found = explain_paths(tree, Rules(), names).answers
    assert [why.is_synced for why in found] == [False] + [True] * 9


def test_paths_are_relative_to_where_one_stands(tree: Path, tmp_path: Path):
    """Also absolute, with dots, and through a link to the project; a link inside it is not followed."""
    (tree / "sub").mkdir()
    (tree / "link").symlink_to("sub")
    (tmp_path / "other").symlink_to(tree)
    here = tree / "sub"
    assert resolve_path(tree, here, "x") == b"sub/x"
    assert resolve_path(tree, here, "../x/") == b"x/"
    assert resolve_path(tree, here, "..") == b""
    assert resolve_path(tree, here, str(tree / "a/b")) == b"a/b"
    assert resolve_path(tree, here, str(tmp_path / "other/a")) == b"a"
    assert resolve_path(tree, here, "../link/x") == b"link/x"
    for outside in ("../../x", "/etc/passwd", str(tree) + "2", ""):
        with pytest.raises(UsageError):
            resolve_path(tree, here, outside)


def test_sources_are_relative_to_where_one_stands(tree: Path):
    """From ``sub/`` the rule's file is ``../.gitignore``."""
    write_tree(tree, {".gitignore": "*.o\n", "sub/x.o": ""})
    (why,) = explain_paths(tree, Rules(), [b"sub/x.o"], start=tree / "sub").answers
    assert (why.path, why.source) == ("sub/x.o", "../.gitignore:1")
