"""How `mtr mcp` starts: before the handshake nothing is loaded that it does not need; without the SDK it says so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pexpect

from tests.benchmarks.agents import measure_start

if TYPE_CHECKING:
    from tests.lab.home import Home


def test_nothing_is_loaded_before_the_handshake_that_it_does_not_need(home: Home, project: Path) -> None:
    """Neither what talks to servers nor what reads configurations: the first call loads that."""
    argv = [sys.executable, "-Ximporttime", "-m", "mtr", "-C", str(project), "mcp"]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}) + "\n"
    done = subprocess.run(argv, cwd="/", env=home.environ, input=asked.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "mtr"
    loaded = set(re.findall(rb"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    # click and uvicorn come with the SDK.
    libraries = {b"yaml", b"paramiko", b"sh", b"dotenv"}
    assert loaded & (libraries | {b"mtr.agent", b"mtr.config", b"mtr.ssh", b"mtr.sync", b"mtr.jobs"}) == set()


def test_without_the_sdk_it_says_how_to_get_it(home: Home, project: Path) -> None:
    """In one line with the command, and 125; nothing on stdout."""
    packages = home.dir / "packages"
    packages.mkdir()
    for path in Path(click.__file__).parents[1].iterdir():
        if path.name.split("-")[0] not in {"mcp", "mcp_types", "__pycache__"}:
            (packages / path.name).symlink_to(path)
    found = {**home.environ, "PYTHONPATH": f"{packages}:{home.environ['PYTHONPATH']}"}
    argv = [sys.executable, "-S", "-m", "mtr", "mcp"]
    done = subprocess.run(argv, cwd=project, env=found, input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"the Python package mcp is not installed" in done.stderr
    assert b"-m pip install 'mtremote[mcp]'" in done.stderr


def test_a_directory_that_is_none_is_an_error_at_the_start(home: Home, project: Path) -> None:
    """Nothing would be configured there, and what was meant for a server would run on this machine."""
    done = home.run_mtr(["-C", "${workspaceFolder}", "mcp"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"${workspaceFolder} is not a directory" in done.stderr


def test_who_types_it_is_told_what_it_waits_for(home: Home, project: Path) -> None:
    """On a terminal, where no client speaks; a client is told nothing."""
    typed = home.spawn_mtr(["mcp"], project)
    typed.expect("waits for a client")
    typed.sendintr()
    typed.expect(pexpect.EOF)
    typed.close()


def test_install_writes_what_the_client_then_starts(home: Home, project: Path) -> None:
    """The file of the project, the words about it on stderr; what stands there answers the handshake."""
    done = home.run_mtr(["mcp", "install", "claude-code"], project)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert str(project / ".mcp.json").encode() in done.stderr
    entry = json.loads((project / ".mcp.json").read_text())["mcpServers"]["mtr"]
    assert (entry["command"], entry["args"]) == ("mtr", ["mcp"])
    again = home.run_mtr(["mcp", "install", "claude-code"], project)
    assert b"mtr was in" in again.stderr
    (home.home / ".config" / "zed").mkdir(parents=True)
    (home.home / ".config" / "zed" / "settings.json").write_text("{ // mine\n}\n")
    shown = home.run_mtr(["mcp", "install", "zed", "--scope", "user"], project)
    assert shown.returncode == 1
    entry = json.loads(shown.stdout)["context_servers"]["mtr"]
    assert measure_start([entry["command"], *entry["args"]], home, project)
    assert (home.home / ".config" / "zed" / "settings.json").read_text() == "{ // mine\n}\n"
