"""`mtr mcp install`: what is in a client's configuration stays, what is written is what the client reads."""

from __future__ import annotations

import codecs
import json
import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mtr.errors import MtrError, UsageError
from mtr.mcp.clients import CLIENTS, build_entry, find_client, install, plan_installation

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.mcp.clients import Installation

PROGRAM = ["/opt/bin/mtr"]


def plan(tmp_path: Path, name: str, scope: str = "user", **more: Any) -> Installation:
    """Plan to tell client ``name`` of mtr, for a home and a project in ``tmp_path``."""
    client, root = CLIENTS[name], str(tmp_path / "proj")
    given = {"directory": None, "server": None} | more
    entry = build_entry(client, PROGRAM, scope=scope, root=root, **given)
    return plan_installation(client, scope, root, entry, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "scope"),
    [(name, scope) for name, client in CLIENTS.items() for scope in ("user", "project") if getattr(client, scope)],
)
def test_every_client_finds_mtr_where_it_looks(tmp_path: Path, name: str, scope: str) -> None:
    """In a file that was not there; once more changes nothing."""
    planned = plan(tmp_path, name, scope, server="gpu-01")
    install(planned)
    with open(planned.path, "rb") as file:
        data = tomllib.load(file) if planned.path.endswith(".toml") else json.load(file)
    found = data[CLIENTS[name].key]["mtr"]
    assert found["command"] == ("mtr" if scope == "project" else "/opt/bin/mtr")
    assert found["args"][:2] == ["-s", "gpu-01"]
    assert found["args"][-1] == "mcp"
    assert stat.S_IMODE(os.stat(planned.path).st_mode) == 0o600
    again = plan(tmp_path, name, scope, server="gpu-01")
    assert again.is_there


def test_what_else_is_in_the_file_stays(tmp_path: Path) -> None:
    """Other servers, other keys, their order, the indentation, the mode, a link to it, and fields of our own entry."""
    kept = tmp_path / "dotfiles.json"
    kept.write_text(
        '{\n\t"zeta": "ü",\n\t"mcpServers": {"other": {"command": "x"}, "mtr": {"command": "x", "env": {"A": "1"}}},\n'
        '\t"alpha": [1.5, null]\n}\n'
    )
    kept.chmod(0o640)
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").symlink_to(kept)
    install(plan(tmp_path, "cursor"))
    data = json.loads(kept.read_text())
    assert [*data] == ["zeta", "mcpServers", "alpha"]
    assert data["mcpServers"]["other"] == {"command": "x"}
    assert data["mcpServers"]["mtr"]["env"] == {"A": "1"}
    assert data["mcpServers"]["mtr"]["command"] == "/opt/bin/mtr"
    assert '\n\t"zeta": "ü",' in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert (tmp_path / ".cursor" / "mcp.json").is_symlink()


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // mine\n  "context_servers": {}\n}\n',
        '{"context_servers": {},}',
        '{"a": 1, "a": 2}',
        '{"context_servers": []}',
        "[]",
        "\xff",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        "[" * 100_000,
        "null",
    ],
)
def test_a_file_that_is_not_understood_whole_is_left_and_shown_what_to_do(tmp_path: Path, text: str) -> None:
    """Comments, keys that stand twice, another shape, another encoding."""
    path = tmp_path / ".config" / "zed" / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    planned = plan(tmp_path, "zed")
    assert planned.after is None
    assert planned.problem
    assert json.loads(planned.snippet)["context_servers"]["mtr"]["command"] == "/opt/bin/mtr"


@pytest.mark.parametrize("text", ["", "\ufeff", "\ufeff{}", '{\r\n "a": 1.0\r\n}\r\n'])
def test_the_mark_and_the_ends_of_lines_of_an_editor_stay(tmp_path: Path, text: str) -> None:
    """As some editors write them; an empty file is none that is wrong."""
    path = tmp_path / ".claude.json"
    path.write_bytes(text.encode())
    install(plan(tmp_path, "claude-code"))
    data = path.read_bytes()
    assert data.startswith(codecs.BOM_UTF8) == text.startswith("\ufeff")
    assert data.count(b"\n") == (data.count(b"\r\n") if "\r" in text else data.count(b"\n") - data.count(b"\r"))
    assert json.loads(data.decode("utf-8-sig"))["mcpServers"]["mtr"]
    assert plan(tmp_path, "claude-code").is_there


def test_a_file_that_may_not_be_written_is_left(tmp_path: Path) -> None:
    """It would be replaced in spite of its mode; what is no file at all is an error."""
    path = tmp_path / ".claude.json"
    path.write_text("{}")
    path.chmod(0o400)
    assert plan(tmp_path, "claude-code").problem == "it is read-only"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MtrError, match="no file"):
        plan(tmp_path, "claude-code")


def test_toml_keeps_its_comments(tmp_path: Path) -> None:
    """A table comes behind what is there; one that is there already, and differs, stays."""
    path = tmp_path / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "x" # mine\n\n[mcp_servers.other]\ncommand = "y"\n')
    install(plan(tmp_path, "codex"))
    text = path.read_text()
    assert text.startswith('model = "x" # mine\n')
    assert tomllib.loads(text)["mcp_servers"] == {
        "other": {"command": "y"},
        "mtr": {"command": "/opt/bin/mtr", "args": ["mcp"]},
    }
    assert plan(tmp_path, "codex").is_there
    assert "already" in plan(tmp_path, "codex", server="other").problem
    for text in ("mcp_servers = {}\n", "mcp_servers = [1]\n", "mcp_servers.mtr = 1\n"):
        path.write_text(text)
        assert "mcp_servers" in plan(tmp_path, "codex").problem
    path.write_text("a = \n")
    assert "not TOML" in plan(tmp_path, "codex").problem
    path.write_bytes(b'model = "x"\r\n')
    install(plan(tmp_path, "codex"))
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")


def test_the_server_learns_of_the_project(tmp_path: Path) -> None:
    """By where it is started, by the client's variable, or by its path; -C for one project wherever the client is."""
    root = str(tmp_path / "proj")
    assert plan(tmp_path, "claude-code").entry["args"] == ["mcp"]
    assert plan(tmp_path, "vscode", "project").entry["args"] == ["-C", "${workspaceFolder}", "mcp"]
    assert plan(tmp_path, "claude-desktop").entry["args"] == ["-C", root, "mcp"]
    assert plan(tmp_path, "claude-code", directory="x").entry["args"] == ["-C", root, "mcp"]


def test_what_cannot_be_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    """A client that is none, a scope that it does not have, a file that another program has just changed."""
    with pytest.raises(UsageError, match="emacs"):
        find_client("emacs")
    with pytest.raises(UsageError, match="project"):
        plan(tmp_path, "claude-desktop", "project")
    planned = plan(tmp_path, "claude-code")
    (tmp_path / ".claude.json").write_text('{"new": 1}')
    with pytest.raises(MtrError, match="just been changed"):
        install(planned)
    assert (tmp_path / ".claude.json").read_text() == '{"new": 1}'
