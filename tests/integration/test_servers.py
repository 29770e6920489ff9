"""``mtr servers``: a table that fits, and that a broken configuration does not hide."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

import pexpect
import pytest

from mtr.cli.table import Cell, measure, render_table, shorten
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

LONG = "/data/" + "deep/" * 20 + "project"


def add_servers(project: Path, **servers: object) -> Path:
    """Add ``servers`` to the project's file."""
    path = project / ".mtr" / "config.yaml"
    data = json.loads(path.read_text())
    data["servers"] |= servers
    path.write_text(json.dumps(data))
    return path


def show(home: Home, project: Path, *, width: int = 80, **environ: str) -> str:
    """Return what a terminal ``width`` columns wide gets of ``mtr servers``."""
    home.environ |= environ
    child = home.spawn_mtr(["servers"], project, dimensions=(24, width))
    child.expect(pexpect.EOF)
    return child.before.decode().replace("\r\n", "\n")  # type: ignore[no-any-return]


def test_the_table_has_what_one_needs(home: Home, project: Path) -> None:
    """Name, address, state and directory; the server that runs go to is marked; a session that goes on is counted."""
    add_servers(project, other={"host": "10.0.0.9", "remote_dir": "/data/x"})
    running = home.popen_mtr(["--no-sync", "sh", "-c", "echo started; exec cat"], project, stdin=-1)
    assert running.stdout
    assert running.stdout.readline() == b"started\n"
    head, lab, other = home.run_mtr(["servers"], project).stdout.decode().splitlines()
    assert head.split() == ["NAME", "ADDRESS", "STATE", "DIRECTORY"]
    assert lab.startswith("*  lab    bash@127.0.0.1")
    assert ", 1 session  ~/" in lab
    assert other.split() == ["other", "10.0.0.9", "down", "/data/x"]
    running.communicate(timeout=30)
    wait_until(lambda: b"session " not in home.run_mtr(["servers"], project).stdout, "the session to end")
    (row, _) = json.loads(home.run_mtr(["servers", "--json"], project).stdout)["data"]
    assert (row["state"], row["sessions"], row["is_default"]) == ("up", 0, True)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal_and_keeps_the_end_of_a_directory(home: Home, project: Path, width: int) -> None:
    """No line is wider; a directory gives way by its beginning, since its end tells projects apart."""
    add_servers(project, other={"host": "10.0.0.9", "remote_dir": LONG}, 日本={"host": "a"})
    lines = show(home, project, width=width, NO_COLOR="1").splitlines()
    assert max(map(measure, lines)) <= width
    assert "deep/project" in lines[2]
    assert "…" in lines[2]
    assert LONG in home.run_mtr(["servers"], project).stdout.decode()


def test_colours_are_for_terminals_that_want_them(home: Home, project: Path) -> None:
    """None in a pipe, none with NO_COLOR or TERM=dumb."""
    assert "\x1b[" in show(home, project)
    assert b"\x1b[" not in home.run_mtr(["servers"], project).stdout
    assert "\x1b[" not in show(home, project, TERM="dumb")
    assert "\x1b[" not in show(home, project, TERM="xterm", NO_COLOR="1")


def test_a_broken_server_hides_no_other(home: Home, project: Path) -> None:
    """It shows as wrong, the others with their state; the error comes as well, in JSON beside the data."""
    assert home.run_mtr(["up"], project).returncode == 0
    add_servers(project, other={"host": "a", "prot": 22})
    done = home.run_mtr(["servers"], project)
    assert done.returncode == 125
    lab, other = done.stdout.decode().splitlines()[1:]
    assert " up " in lab
    assert other.split()[:2] == ["other", "wrong"]
    assert b"did you mean 'port'?" in done.stderr
    found = json.loads(home.run_mtr(["servers", "--json"], project).stdout)
    assert (found["ok"], found["error"]["code"]) == (False, "config")
    assert [(row["name"], row["state"], bool(row["problem"])) for row in found["data"]] == [
        ("lab", "up", False),
        ("other", "down", True),
    ]


def test_a_file_that_is_no_yaml_hides_no_connection_and_down_closes_all(home: Home, project: Path) -> None:
    """What is open shows, and ``mtr down --all`` needs no configuration."""
    assert home.run_mtr(["up"], project).returncode == 0
    (project / ".mtr" / "config.yaml").write_text("servers: [")
    done = home.run_mtr(["servers"], project)
    assert done.returncode == 125
    assert b" up " in done.stdout
    assert b"config.yaml:" in done.stderr
    down = home.run_mtr(["down", "--all"], project)
    assert (down.returncode, b"closed lab" in down.stderr) == (0, True)
    assert home.run_mtr(["servers"], project).stdout == b""


def test_down_of_a_server_by_name_in_a_broken_project_says_how(home: Home, project: Path) -> None:
    """The configuration's error, as everywhere."""
    (project / ".mtr" / "config.yaml").write_text("servers: [")
    assert home.run_mtr(["down", "lab"], project).returncode == 125


def test_names_cannot_write_to_the_terminal(home: Home, project: Path) -> None:
    """A server's name with control characters, in a file that is wrong because of it, shows escaped."""
    (project / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"a\x1b[2J": {"prot": 1}}}))
    done = home.run_mtr(["servers"], project)
    assert b"\x1b" not in done.stdout + done.stderr


def test_wide_and_combining_characters_stay_in_line() -> None:
    """What takes two columns counts as two, an accent as none."""
    rows = [[Cell("日本"), Cell("x")], [Cell("e\u0301"), Cell("x")]]
    lines = render_table(rows, yields=(), width=None, has_colour=False).splitlines()
    assert [measure(line[: line.index("x")]) for line in lines] == [6, 6]
    assert measure(shorten("日本語", 4)) <= 4
    assert unicodedata.normalize("NFC", "e\u0301") == "é"
