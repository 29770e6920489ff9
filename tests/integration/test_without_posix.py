"""A client that lacks what only POSIX systems have, as on Windows: a login for each run, in mtr's own process.

The modules are made unimportable, and so are the means to share a connection; what is left is what such a system has.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.home import Home

ROOT = Path(__file__).resolve().parents[2]

START = """\
import os, sys
for name in ("sh", "fcntl", "termios", "tty", "pwd", "grp", "resource"):
    sys.modules[name] = None
import _socket, select, signal, socket
for module in (_socket, socket):
    for name in ("AF_UNIX", "SCM_RIGHTS"):
        if hasattr(module, name):
            delattr(module, name)
for name in ("poll", "epoll"):
    if hasattr(select, name):
        delattr(select, name)
for name in ("posix_spawn", "posix_spawnp", "fork", "mkfifo"):
    delattr(os, name)
import _signal
for module in (_signal, signal):
    for name in ("SIGHUP", "SIGQUIT", "SIGPIPE", "SIGXFSZ", "SIGALRM", "SIGWINCH"):
        delattr(module, name)
sys.path.insert(0, {root!r})
from mtr.warm import main
main()
"""


def run(home: Home, project: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run mtr on such a system."""
    argv = [sys.executable, "-c", START.format(root=str(ROOT)), *words]
    environ = {**home.environ, "USERNAME": "me"}
    return subprocess.run(argv, cwd=project, env=environ, input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("sync", ["auto", "sftp"])
def test_a_run_works(home: Home, sync: str) -> None:
    """Files, streams, statuses, an edit and a delete; and no process is left behind."""
    project = home.make_project(f"without-{sync}", client="paramiko", sync=sync)
    done = run(home, project, "cat", "a.txt", "src/b.py")
    assert (done.returncode, done.stdout) == (0, b"one\nprint('two')\n"), done.stderr
    done = run(home, project, "sh", "-c", "cat; echo e >&2; exit 7", stdin=b"\0in")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\0in", b"e\n")
    (project / "a.txt").write_text("edited\n")
    (project / "src" / "b.py").unlink()
    done = run(home, project, "cat a.txt; ls src")
    assert (done.returncode, done.stdout) == (0, b"edited\n"), done.stderr
    done = run(home, project, "get", "a.txt", str(home.dir / "got"))
    assert done.returncode == 0, done.stderr
    assert (home.dir / "got").read_text() == "edited\n"


def test_every_module_that_it_needs_can_be_loaded(home: Home, project: Path) -> None:
    """The commands beside a run say something sensible."""
    home.configure(project, client="paramiko")
    for words in (["--help"], ["--version"], ["--dry-run", "true"], ["why", "a.txt"], ["sync", "--dry-run"]):
        done = run(home, project, *words)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), (words, done.stderr)


def test_doctor_examines_such_a_system(home: Home) -> None:
    """One place after the other, in one process; what has no meaning there is left out."""
    project = home.make_project("without", client="paramiko")
    done = run(home, project, "doctor")
    words = done.stdout.decode()
    assert (done.returncode, "nothing failed" in words) == (0, True), words + done.stderr.decode()
    assert "`true` leaves 0, `exit 7` leaves 7" in words
    assert "runtime-dir" not in words
