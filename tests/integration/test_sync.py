"""Sync over a real sshd: what arrives, under which names, and that a command never runs on half a tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.sshd import SHELLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

ODD_NAMES = [b"a b", b"q'\"$(x)", b"new\nline", b"-rf", b"*", b"\xff\xfe", b":(top)x", b"#h", b";s", b"back\\slash"]
ODD_DIRS = ['it\'s a "dir" $(x) *', "-rf", "a:b/c d", "deep/not/there/yet"]


def list_files(root: Path) -> set[bytes]:
    """Return the files below ``root``, without those of mtr's own directory."""
    top = os.fsencode(root)
    found = {os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names}
    return {path for path in found if not path.startswith(b".mtr/")}


@pytest.mark.parametrize("shell", SHELLS)
def test_any_name_arrives_in_every_login_shell(home: Home, shell: str) -> None:
    """Odd names of files, below remote directories with odd names that did not exist."""
    project = home.make_project(user=shell)
    for name in ODD_NAMES:
        with open(os.path.join(os.fsencode(project), name), "wb") as file:
            file.write(name)
    for remote_dir in ODD_DIRS:
        home.configure(project, shell, remote_dir=f"~/{remote_dir}")
        done = home.run_mtr(["sync"], project)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        remote = home.server.home_of(shell) / remote_dir
        assert list_files(remote) == {b"a.txt", b"src/b.py", *ODD_NAMES}
        assert (remote / os.fsdecode(b"\xff\xfe")).read_bytes() == b"\xff\xfe"


def test_a_run_sees_the_current_files_and_no_ignored_ones(home: Home) -> None:
    """Every run is on the files as they are now; ignored files, .git and .mtr stay here."""
    project = home.make_project("current")
    (project / ".gitignore").write_text("*.log\n")
    (project / "x.log").write_text("")
    for text in ("one", "two", "three"):
        (project / "a.txt").write_text(text)
        assert home.run_mtr(["cat", "a.txt"], project).stdout == text.encode()
    assert list_files(home.remote(project)) == {b".gitignore", b"a.txt", b"src/b.py"}


def test_what_stands_in_the_way_goes_to_the_trash(home: Home) -> None:
    """A directory of the server's own stands where a file belongs: yours wins, theirs is kept, and undo tells."""
    project = home.make_project("clash")
    (home.remote(project) / "a.txt").mkdir(parents=True)
    (home.remote(project) / "a.txt" / "own").write_text("x")
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"one\n")
    assert b"went to the trash" in done.stderr
    (kept,) = (home.remote(project) / ".mtr" / "trash").glob("*/a.txt/own")
    assert kept.read_text() == "x"
    assert list_files(home.remote(project)) == {b"a.txt", b"src/b.py"}


def test_a_command_does_not_start_when_the_sync_fails(home: Home) -> None:
    """A file that cannot be read here, or a directory that cannot be written there: 125, and nothing has run."""
    project = home.make_project("fails")
    home.configure(project, remote_dir="/proc/nothing/here")
    done = home.run_mtr(["touch", "ran"], project)
    assert done.returncode == 125
    assert b"/proc/nothing" in done.stderr
    assert done.stdout == b""
    assert not (project / "ran").exists()
