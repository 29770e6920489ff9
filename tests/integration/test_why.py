"""``mtr why`` as a user meets it: lines on stdout, a status, and places that can be opened."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

CONFIG = """\
defaults:
  exclude:
    - data/
servers:
  lab:
    host: 127.0.0.1
    exclude: ["*.tmp", foo]
    include:
      - notes.tmp
  other:
    host: 127.0.0.1
    include: [data/]
"""


def configure(root: Path) -> None:
    (root / ".mtr" / "config.yaml").write_text(CONFIG)
    (root / ".gitignore").write_text("build/\n*.o\n")
    for name in ("data/big.bin", "build/x.o", "x.tmp", "notes.tmp", "foo"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("")


def test_each_line_names_the_rule(home: Home, project: Path) -> None:
    """Configuration by line and column of the very item, git's files by line; 1 because one is not synced."""
    configure(project)
    home.git(project, "add", "src")
    words = ["src/b.py", "build/x.o", "data/big.bin", "x.tmp", "foo", "notes.tmp", "a.txt", "build", "x.pyc/"]
    done = home.run_mtr(["why", *words, "__pycache__/"], project)
    assert done.stdout.decode().splitlines() == [
        "src/b.py: synced (tracked by git)",
        "build/x.o: not synced: .gitignore:1: build/",
        "data/big.bin: not synced: .mtr/config.yaml:3:7: exclude data/",
        "x.tmp: not synced: .mtr/config.yaml:7:15: exclude *.tmp",
        "foo: not synced: .mtr/config.yaml:7:24: exclude foo",
        "notes.tmp: synced: .mtr/config.yaml:9:9: include notes.tmp",
        "a.txt: synced (no rule leaves it out)",
        "build: not entered: .gitignore:1: build/",
        "x.pyc/: does not exist; would be synced (no rule leaves it out)",
        "__pycache__/: does not exist; would not be synced: built in: exclude __pycache__/",
    ]
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_answer_is_the_servers(home: Home, project: Path) -> None:
    """``-s`` before and behind the verb; 0 where everything is synced."""
    configure(project)
    for words in (["-s", "other", "why", "data/big.bin", "x.tmp"], ["why", "-s", "other", "data/big.bin", "x.tmp"]):
        done = home.run_mtr(words, project)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"data/big.bin: synced: .mtr/config.yaml:12:15: include data/\n")


def test_patterns_of_the_users_own_file_come_first(home: Home, project: Path) -> None:
    """Lists of several files add up, and each item keeps its own file."""
    configure(project)
    own = home.home / ".config" / "mtr" / "config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults:\n  exclude: ['*.mine']\n")
    done = home.run_mtr(["why", "a.mine", "data/"], project)
    assert done.stdout.decode().splitlines() == [
        f"a.mine: does not exist; would not be synced: {own}:2:13: exclude *.mine",
        "data/: not entered: .mtr/config.yaml:3:7: exclude data/",
    ]


def test_paths_start_where_one_stands(home: Home, project: Path) -> None:
    """In a subdirectory, and in the directory of ``-C``."""
    configure(project)
    expected = b"../build/x.o: not synced: ../.gitignore:1: build/\nb.py: synced (no rule leaves it out)\n"
    assert home.run_mtr(["why", "../build/x.o", "b.py"], project / "src").stdout == expected
    assert home.run_mtr(["why", "-C", str(project / "src"), "../build/x.o", "b.py"], home.dir).stdout == expected


def test_json_for_programs(home: Home, project: Path) -> None:
    """Paths relative to the root, in the order that was asked."""
    configure(project)
    done = home.run_mtr(["why", "--json", "../x.tmp", "b.py"], project / "src")
    first, second = json.loads(done.stdout)["data"]
    assert first == {
        "path": "x.tmp",
        "is_synced": False,
        "verdict": "not synced",
        "reason": "",
        "rule": "exclude *.tmp",
        "source": "../.mtr/config.yaml:7:15",
    }
    assert (second["path"], second["is_synced"]) == ("src/b.py", True)
    assert done.returncode == 1


def test_names_cannot_write_on_the_terminal(home: Home, project: Path) -> None:
    """Escapes, newlines and bytes that are no text are made visible, on one line."""
    name = b"a\x1b[2Jb\nc\xff"
    with open(os.path.join(os.fsencode(project), name), "wb"):
        pass
    done = home.run_mtr(["why", name], project)
    assert done.stdout == b"a\\x1b[2Jb\\nc\\udcff: synced (no rule leaves it out)\n"
    assert b"\x1b" not in home.run_mtr(["why", "--json", name], project).stdout


def test_mistakes_are_errors(home: Home, project: Path) -> None:
    """A path outside the project, none at all, an option that means nothing: status 2 and nothing on stdout."""
    for words, message in (
        (["why", "../x"], b"lies outside the project"),
        (["why"], b"PATH"),
        (["--dry-run", "why", "a.txt"], b"takes no --dry-run"),
    ):
        done = home.run_mtr(words, project)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in done.stderr


def test_without_git_the_walk_decides(home: Home, project: Path) -> None:
    """Where git is not installed, ignore files count as they stand."""
    configure(project)
    done = home.run_mtr(["why", "build/x.o", "a.txt"], project, environ={"PATH": "/nowhere"})
    assert done.stdout == b"build/x.o: not synced: .gitignore:1: build/\na.txt: synced (no rule leaves it out)\n"
