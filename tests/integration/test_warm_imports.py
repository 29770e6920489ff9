"""What a warm run loads: every import between `mtr true` and its output has a reason, and this is the list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.home import Home

ROOT = Path(__file__).resolve().parents[2]

STARTED = {
    "warm", "errors", "command_line", "process", "process.signals",
    "run", "route", "state", "voice", "quoting", "scripts",
    "process.piped", "process.spawn",
    "ssh", "ssh.facts", "ssh.foreground", "ssh.gate", "ssh.journal", "ssh.line", "ssh.mux", "ssh.outcome", "ssh.wire",
    "sync", "sync.delivery", "sync.manifest", "sync.plan", "sync.result",
}  # fmt: skip
"""mtr's own modules on the way of an unchanged run."""

BROUGHT = {"sync.archive"}
"""Besides those, for a push that rides in the command's own session."""

BUILTIN = {
    "__future__", "_socket", "_struct", "binascii", "errno", "fcntl", "gc", "marshal", "select", "struct", "time",
    "zlib",
}  # fmt: skip
"""What may be loaded of Python, besides what the interpreter has loaded by itself."""

START = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); from mtr.warm import main; main()"


def list_loaded(home: Home, project: Path) -> set[str]:
    """Run `mtr true` as a process would, without this environment's own site-packages; return what it loads."""
    argv = [sys.executable, "-I", "-S", "-Ximporttime", "-c", START, "--no-tty", "true"]
    done = subprocess.run(
        argv, cwd=project, env=home.environ, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    names = [line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line]
    return set(names[names.index("os") + 1 :])


def foreign(found: set[str], own: set[str]) -> set[str]:
    """Return what of ``found`` is on no list."""
    return found - {"mtr", *(f"mtr.{name}" for name in own), *BUILTIN}


def test_an_unchanged_run_loads_what_it_needs_and_no_more(home: Home, project: Path) -> None:
    """No YAML, no click, no dataclasses, no regular expressions: mtr's own short list and builtin modules."""
    for _ in range(2):
        assert home.run_mtr(["true"], project).returncode == 0
    assert foreign(list_loaded(home, project), STARTED) == set()


def test_an_edit_loads_the_writer_of_archives(home: Home, project: Path) -> None:
    """A changed file costs one more module."""
    for _ in range(2):
        assert home.run_mtr(["true"], project).returncode == 0
    (project / "a.txt").write_text("changed\n")
    assert foreign(list_loaded(home, project), STARTED | BROUGHT) == set()
