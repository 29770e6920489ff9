"""What a warm run loads: every import between `mtr true` and its output has a reason, and this is the list."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import wait_until

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

DETACHED = {"process.aside", "job_start", "jobs", "jobs.noted", "jobs.origin", "jobs.start"}
"""Besides those, to start a job."""

KNOWN = {"names", "aliases"}
"""Besides those, for an alias that leads to another server."""

ANSWERED = {
    "cli", "cli.shell_init", "cli.tree", "completion", "completion.candidates", "completion.line", "completion.start",
    "aliases", "names", "command_line", "errors", "process", "process.piped", "process.signals", "quoting", "route",
    "scripts", "ssh", "ssh.facts", "ssh.gate", "state", "sync", "sync.delivery", "sync.manifest", "sync.plan", "warm",
}  # fmt: skip
"""For the start of a shell, and for a TAB."""

START = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); from mtr.warm import main; main()"


def list_loaded(home: Home, project: Path, *words: str) -> set[str]:
    """Run `mtr true` as a process would, without this environment's own site-packages; return what it loads."""
    argv = [sys.executable, "-I", "-S", "-Ximporttime", "-c", START, *(words or ("--no-tty", "true"))]
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


def test_a_job_starts_as_warm_as_a_run(home: Home, project: Path) -> None:
    """A few modules more, and nothing of Python's."""
    for _ in range(2):
        assert home.run_mtr(["true"], project).returncode == 0
    assert foreign(list_loaded(home, project, "-d", "true"), STARTED | DETACHED) == set()
    (job,) = (home.home / ".state/mtr/jobs").iterdir()
    assert home.run_mtr(["job", "wait", job.name], project).returncode == 0
    assert home.run_mtr(["job", "rm", job.name], project).returncode == 0


def test_a_look_at_a_job_reads_no_configuration(home: Home, project: Path) -> None:
    """Neither YAML nor the schema: the server is known from the run that started it."""
    for _ in range(2):
        job = home.run_mtr(["-d", "true"], project).stdout.decode().strip()
    for words in (("wait", job), ("logs", job), ("show", job), ("logs", "-s", "lab", job), ("rm", job)):
        assert not import_of(home, project, "job", *words) & {"yaml", "jsonschema", "mtr.config.load"}, words
    assert "jsonschema" not in import_of(home, project, "job", "list"), "it was found valid before"


def import_of(home: Home, project: Path, *words: str) -> set[str]:
    """Return what a verb of click's loads."""
    argv = [sys.executable, "-Ximporttime", "-m", "mtr", *words]
    done = subprocess.run(argv, cwd=project, env=home.environ, check=True, capture_output=True, text=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


def test_an_edit_loads_the_writer_of_archives(home: Home, project: Path) -> None:
    """A changed file costs one more module."""
    for _ in range(2):
        assert home.run_mtr(["true"], project).returncode == 0
    (project / "a.txt").write_text("changed\n")
    assert foreign(list_loaded(home, project), STARTED | BROUGHT) == set()


def test_an_alias_costs_its_own_module(home: Home, project: Path) -> None:
    """Which aliases there are is known without YAML; also where one leads to another server."""
    path = project / ".mtr" / "config.yaml"
    servers = json.loads(path.read_text())["servers"]
    aliases = {"short": "true", "there": "-s other true"}
    path.write_text(json.dumps({"servers": {**servers, "other": servers["lab"]}, "aliases": aliases}))
    # What was written just now is not kept: it could change again unseen.
    wait_until(lambda: time.time() - path.stat().st_ctime > 0.1, "a file that is older than a tick")
    for word, more in (("there", KNOWN), ("short", {"aliases"})):
        for _ in range(2):
            assert home.run_mtr([word], project).returncode == 0
        assert foreign(list_loaded(home, project, word), STARTED | more) == set()


@pytest.mark.parametrize("line", ["mtr ", "mtr -s ", "mtr sync --", "mtr cat "])
def test_a_shell_waits_for_neither_yaml_nor_click(home: Home, project: Path, line: str) -> None:
    """Neither when it starts nor at a TAB, once the configuration has been read."""
    complete = ["shell-init", "--complete", "bash", line]
    for words in (["shell-init", "bash"], complete):
        home.run_mtr(words, project)
        assert foreign(list_loaded(home, project, *words), ANSWERED) == set()
