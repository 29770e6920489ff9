"""What a pattern names on a server is what bash would expand it to there; OpenSSH's own SFTP server lists the names."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mtr.ssh.sftp import Sftp, SftpError
from mtr.sync.remote_glob import expand, match_name, split_pattern
from tests.lab.sftp_here import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASH = r'LC_ALL=C; shopt -s globstar nullglob; IFS=; cd "$1" && set -- $2 && for name; do printf "%s\0" "$name"; done'


@pytest.fixture(scope="module")
def session() -> Iterator[Sftp]:
    """One session for all patterns."""
    with Sftp(Served(), "here") as opened:  # type: ignore[arg-type]
        yield opened


def ask_bash(root: Path, pattern: bytes) -> set[bytes]:
    argv = ["bash", "-c", BASH, "bash", str(root), pattern]
    done = subprocess.run(argv, capture_output=True, check=True)
    found = {name.rstrip(b"/") for name in done.stdout.split(b"\0") if name}
    # Before 5.2, bash takes . and .. for names; and what it takes for no pattern it leaves as it is.
    found = {path for path in found if not {b".", b".."} & {*path.split(b"/")}}
    return {path for path in found if os.path.lexists(os.fsencode(root) + b"/" + path)}


def ask_mtr(session: Sftp, root: Path, pattern: bytes) -> set[bytes]:
    def refuse(error: SftpError) -> None:
        raise error

    fixed, parts = split_pattern(pattern)
    found = expand(session, os.fsencode(root) + b"/" + fixed, parts, refuse)
    paths = {fixed + b"/" + name if fixed else name for name in found}
    return {path for path in paths if os.path.lexists(os.fsencode(root) + b"/" + path)}


NAMES = st.text("ab.[]!-", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
WILD = st.text("ab.*?", min_size=1, max_size=4) | st.sampled_from(
    ["[ab]", "[!a]*", "[a", "*[", "[a-b]?", "[]]", "[!]a]"]
)
PARTS = st.lists(WILD | st.just("**"), min_size=1, max_size=4).filter(
    lambda parts: not {".", ".."} & {*parts} and set(parts[-1]) != {"*"}
)


@given(st.lists(PATHS, max_size=12), PARTS.map("/".join))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["a/b/a", "b/a", ".a/a", "a/.b/a"], "**/a")
@example([".a", "a", ".b/a"], ".*")
def test_expands_as_bash(
    tmp_path_factory: pytest.TempPathFactory, session: Sftp, paths: list[str], pattern: str
) -> None:
    """Stars, sets, hidden names, any number of directories."""
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        place = root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        except OSError:
            pass  # a file stands in the place of a directory
    if not set(pattern) & {*"*?["}:
        return
    assert ask_mtr(session, root, os.fsencode(pattern)) == ask_bash(root, os.fsencode(pattern))


def test_a_backslash_takes_a_character_as_it_is() -> None:
    """Also the dot that makes a name hidden."""
    assert match_name(rb"\*", b"*")
    assert not match_name(rb"\*", b"a")
    assert match_name(rb"\.*", b".a")
    assert split_pattern(rb"a\b/c*/d") == (b"ab", [b"c*", b"d"])


def test_mtrs_own_directory_is_never_found(session: Sftp, tmp_path: Path) -> None:
    """Whatever the pattern is, and however it is written."""
    for name in (".mtr", ".MTR"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    assert ask_mtr(session, tmp_path, b".*") == ask_mtr(session, tmp_path, b".[mM]*/x") == set()
