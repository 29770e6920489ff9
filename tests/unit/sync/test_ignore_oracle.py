"""Random trees and ignore files, listed by mtr and by git itself."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trees import list_oracle, run_git, write_tree

from mtr.sync import walk
from mtr.sync.git import match_patterns
from mtr.sync.ignore import Rules, list_files
from mtr.sync.patterns import parse_ignore_file, parse_patterns, relocate_patterns, render_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NAMES = ["a", "b", "ab", "c.txt", "a.log", "build", "x y", "[a]", "#h", "!n", "e ", "é", "a\\b", "*"]
directories = st.lists(st.sampled_from(["a", "b", "ab", "build", "[a]", "x y", "é"]), max_size=3).map("/".join)
files = st.tuples(directories, st.sampled_from(NAMES)).map(lambda parts: "/".join(part for part in parts if part))

PARTS = [
    "a",
    "b",
    "ab",
    "a*",
    "*b",
    "*.txt",
    "*.log",
    "?",
    "a?",
    "[ab]",
    "[!a]",
    "[^b]*",
    "[a-c].*",
    "build",
    "x y",
    "*",
]
PARTS += [
    "**",
    "\\[a\\]",
    "[[]a]",
    "\\#h",
    "#h",
    "\\!n",
    "e\\ ",
    "é",
    "a\\\\b",
    "\\*",
    "[[:alpha:]]",
    "***",
    "\\a",
]
bodies = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
lines = st.tuples(
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    bodies,
    st.sampled_from(["", "", "/", "/**", "/*", " ", "  ", "\\ ", "\r", "//", "\\"]),
).map("".join)
# Before 2.41 git compares unrelated pointers on `x**/y`, and what it matches is chance: no such pattern here.
odd_lines = st.sampled_from(
    ["", "#comment", "!", "/", "//", " ", "\\", "[", "[a", "a[", "!/", "**/", "/**", "\\ ", "é*", "a**", "**b"]
)
ignore_texts = st.lists(st.one_of(lines, lines, lines, odd_lines), max_size=5).map("\n".join)
bom = st.sampled_from(["", "", "\ufeff"])
ignore_files = st.dictionaries(
    directories, st.tuples(bom, ignore_texts, st.sampled_from(["", "\n"])).map("".join), max_size=3
)
trees = st.lists(files, min_size=1, max_size=14, unique=True)


@contextlib.contextmanager
def grown(paths: Sequence[str], ignores: dict[str, str], name: str = ".gitignore") -> Iterator[Path]:
    """A tree of ``paths``; where one of them would need another as its directory, the first made stays."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        root.mkdir()
        for path in paths:
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                write_tree(root, {path: ""})
        for directory, text in ignores.items():
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                write_tree(root, {f"{directory}/{name}" if directory else name: text})
        yield root


@quick
@given(trees, ignore_files, st.sets(st.integers(0, 13)))
def test_in_a_repository_the_list_is_gits_own(paths, ignores, tracked):
    """Any ignore files, any tracked files: mtr lists what git lists."""
    with grown(paths, ignores) as root:
        run_git(root, "init", "-q")
        for path in [path for index, path in enumerate(paths) if index in tracked and (root / path).is_file()]:
            run_git(root, "--literal-pathspecs", "add", "-f", "--", path)
        assert list_files(root, Rules()) == list_oracle(root)


@quick
@given(trees, ignore_files)
def test_outside_a_repository_the_list_is_what_git_would_say(paths, ignores):
    """Without a repository the list is the one that git gives once there is one."""
    with grown(paths or ["a"], ignores) as root:
        listed = list_files(root, Rules())
        run_git(root, "init", "-q")
        assert listed == list_oracle(root)


@quick
@given(trees, ignore_files)
def test_mtrignore_means_what_gitignore_means(paths, ignores):
    """Rename every .gitignore to .mtrignore, and the same files are left out."""
    with grown(paths, ignores, ".mtrignore") as root, grown(paths, ignores) as twin:
        listed = list_files(root, Rules())
        run_git(twin, "init", "-q")
        assert [path.replace(b".mtrignore", b".gitignore") for path in listed] == list_oracle(twin)


@quick
@given(trees, ignore_files, st.lists(lines, max_size=3))
def test_rules_do_not_depend_on_where_the_root_lies(paths, ignores, exclude):
    """A tree at the top, and the same tree deep in a repository, list alike."""
    rules = Rules(exclude=tuple(exclude))
    with grown(paths, ignores) as root, tempfile.TemporaryDirectory() as place:
        inner = Path(place, "a/[b]*/build")
        shutil.copytree(root, inner)
        run_git(Path(place), "init", "-q")
        assert list_files(inner, rules) == list_files(root, rules)


@quick
@given(trees, st.lists(lines, min_size=1, max_size=4))
def test_included_is_what_git_matches(paths, include):
    """What include forces in is what git takes for ignored by those patterns."""
    with grown(paths, {}) as root:
        run_git(root, "init", "-q")
        patterns = parse_patterns(include)
        excludes = [f"--exclude={render_pattern(pattern)}" for pattern in patterns]
        oracle = run_git(root, "ls-files", "-o", "-i", "-z", *excludes) if excludes else b""
        matched = match_patterns(walk.walk_tree(bytes(root), enter_git=False), patterns)
        assert matched == {path for path in oracle.split(b"\0") if path}


@quick
@given(trees, st.lists(lines, min_size=1, max_size=4), st.sampled_from(["a", "a/b", "build/a/b", "[a]"]))
def test_relocated_patterns_say_the_same(paths, exclude, directory):
    """Seen from a nested directory that is not itself left out, patterns leave out the same files."""
    patterns = parse_patterns(exclude)
    beside = [f"{directory}/{path}" for path in paths]
    with grown([*beside, f"{directory}/zz"], {}) as root:
        run_git(root, "init", "-q")
        parents = [*Path(directory).parents][:-1]
        spared = [f"--exclude=!/{escape(str(parent))}/" for parent in [*reversed(parents), Path(directory)]]
        outside = [f"--exclude={render_pattern(pattern)}" for pattern in patterns]
        moved = relocate_patterns(patterns, directory.encode())
        inside = [f"--exclude={render_pattern(pattern, directory.encode())}" for pattern in moved]
        whole = run_git(root, "ls-files", "-o", "-z", *outside, *spared, "--", f":(literal){directory}")
        assert whole == run_git(root, "ls-files", "-o", "-z", *inside, "--", f":(literal){directory}")


def escape(path: str) -> str:
    return path.replace("[", "\\[")


@settings(quick, max_examples=120)
@given(trees, ignore_files)
def test_without_git_the_patterns_mean_the_same(paths, ignores):
    """Where git is missing, ignore files leave out the same files."""
    with grown(paths, ignores) as root:
        listed = sorted(walk.list_by_walk(bytes(root), (), respect_gitignore=True))
        run_git(root, "init", "-q")
        assert listed == list_oracle(root)


def read_globs() -> st.SearchStrategy[bytes]:
    """Garbage that is rich in what globs are made of."""
    tokens = [
        b"[",
        b"]",
        b"[^",
        b"[!",
        b"-",
        b"\\",
        b"*",
        b"**",
        b"?",
        b"/",
        b"[:alpha:]",
        b"[:",
        b":]",
        b"a",
        b"b",
        b"c",
    ]
    return st.lists(
        st.sampled_from([*tokens, b"[:space:]", b"[:punct:]", b"\xff", b"[:nope:]"]), min_size=1, max_size=8
    ).map(b"".join)


@settings(quick, max_examples=100)
@given(st.lists(read_globs(), min_size=1, max_size=6))
@example([b"**\\/]"])
def test_globs_match_what_git_matches(globs):
    """The transcription of git's glob matcher agrees with git on any pattern, well-formed or not."""
    with_letters = [
        b"".join(letters) for letters in itertools.product([b"a", b"b", b"-", b"]", b"[", b"\\", b"\xff"], repeat=2)
    ]
    paths = [
        b"a",
        b"b",
        b"-",
        b"]",
        b"[",
        b"*",
        b":",
        b" ",
        *with_letters,
        b"a/a",
        b"a/b/c",
        b"b/]",
        b"ab/a-b/c",
        b"abc",
    ]
    for glob in globs:
        if re.search(rb"[^/*]\*\*", glob):
            continue  # see above: to old gits these are chance
        patterns = parse_ignore_file(glob)
        assert walk.match_by_walk(paths, patterns) == match_patterns(paths, patterns)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_ignore_file(data):
    """Parsing never fails, and no pattern carries what an argument cannot."""
    for pattern in parse_ignore_file(data, b"sub"):
        assert "\0" not in render_pattern(pattern)
        assert pattern.body
