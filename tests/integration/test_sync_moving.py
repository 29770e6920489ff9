"""Files that change here while a push is under way: it ends, says what it must, and the next one is right."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.kills import find_role, list_left, list_remote
from tests.lab.processes import wait_until
from tests.lab.trees import BULK_BYTES, read_tree, settle_clock

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home

SIZES = {"tar": 12_000_000, "rsync": BULK_BYTES, "sftp": 12_000_000}
TAIL_BYTES = 2_000_000

LONGEST_S = 60.0
"""Whatever a file does, a push of so little ends within this on a busy machine."""


def find_receivers(transport: str, home: Home, run: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes on the server that take the files of this transport just now."""
    if transport == "sftp":
        return [pid for pid, argv in list_remote(home).items() if b"internal-sftp" in b" ".join(argv)]
    return find_role({"tar": "tool", "rsync": "rsync there"}[transport], home, run)


def vanish(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    os.truncate(path, 1000)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(os.urandom(500_000))


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def become_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("a.txt")


CHANGES = (vanish, shrink, grow, become_fifo, become_directory, become_link)


@pytest.mark.parametrize("transport", SIZES)
@pytest.mark.parametrize(
    ("which", "change"), [("first.bin", shrink), ("first.bin", grow), *(("last.bin", change) for change in CHANGES)]
)
def test_a_file_that_changes_while_it_travels(
    home: Home, transport: str, which: str, change: Callable[[Path], None]
) -> None:
    """The file that is just being read, and one whose turn comes later; what is none any more stays there."""
    project = home.make_project("moving", **({"sync": "sftp"} if transport == "sftp" else {}))
    assert home.run_mtr(["true"], project).returncode == 0
    (project / "first.bin").write_bytes(os.urandom(SIZES[transport]))
    (project / "last.bin").write_bytes(os.urandom(TAIL_BYTES))
    settle_clock()
    started_s = time.monotonic()
    run = home.popen_mtr(["sh", "-c", "cat a.txt"], project)
    wait_until(lambda: find_receivers(transport, home, run) or run.poll() is not None, "the push to begin")
    stopped = find_receivers(transport, home, run)
    assert stopped, "the push ended before anything could change"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    change(project / which)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    out, err = run.communicate(timeout=2 * LONGEST_S)
    assert time.monotonic() - started_s < LONGEST_S
    assert (run.returncode, out) in [(0, b"one\n"), (125, b"")], err
    assert b"Traceback" not in err
    assert run.returncode == 0 or which.encode() in err or b"run it again" in err
    wait_until(lambda: not list_left(home), "the server's side to end")
    settle_clock()
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"one\n"), done.stderr
    there = read_tree(home.remote(project))
    if change is become_fifo:
        there.pop(which, None)
    assert there == read_tree(project)
    left = [path.name for path in (home.remote(project) / ".mtr").iterdir()]
    assert not [name for name in left if name.startswith(("in.", "busy.", "partial", "no."))]


def test_a_small_file_that_never_stands_still(home: Home, project: Path) -> None:
    """Replaced, removed, and turned into other things all the time: each run ends well; the last one is right."""
    path, is_over = project / "restless", threading.Event()

    def be_restless() -> None:
        while not is_over.is_set():
            for change in CHANGES:
                path.write_bytes(os.urandom(4000))
                change(path)
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)

    restless = threading.Thread(target=be_restless)
    restless.start()
    try:
        for _ in range(8):
            done = home.run_mtr(["cat", "a.txt"], project)
            assert b"Traceback" not in done.stderr
            assert (done.returncode, done.stdout) == (0, b"one\n"), done.stderr
    finally:
        is_over.set()
        restless.join()
    path.write_text("still\n")
    settle_clock()
    assert home.run_mtr(["cat", "restless"], project).stdout == b"still\n"
    assert read_tree(home.remote(project)) == read_tree(project)
