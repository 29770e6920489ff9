"""Further rows of the table of faults: disks, clocks, and servers that are none. See ``test_fault_table.py``."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.lab.clock import HOUR_S, jumping_clock, shift_clock, shift_times
from tests.lab.disk import Disk, small_disk
from tests.lab.faults import COUNT
from tests.lab.garbage import GarbageServer
from tests.lab.processes import end_tree
from tests.lab.trees import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.faults import Fault
    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

FAILED = 125


# -- disks


@contextmanager
def disk_there(fault: Fault) -> Iterator[Disk]:
    """The project lies on a small disk of the server; its masters end before that goes."""
    with small_disk(fault.home.dir / "small", "40m") as disk:
        fault.home.configure(fault.project, remote_dir=str(disk.path / "proj"))
        fault.warm()
        yield disk


def break_and_mend(fault: Fault, disk: Disk, size: int, words: bytes, *, read_only: bool) -> None:
    """Push ``size`` bytes onto a disk that takes nothing, then onto one that does."""
    remote = disk.path / "proj"
    before = read_tree(remote)
    (fault.project / "big.bin").write_bytes(os.urandom(size))
    filler = disk.fill(4096)
    if read_only:
        with disk.read_only():
            done = fault.run(["touch", "ran"])
    else:
        done = fault.run(["touch", "ran"])
    assert (done.returncode, words in done.stderr) == (FAILED, True), done.stderr
    assert read_tree(remote).items() >= {name: data for name, data in before.items() if name != ".filler"}.items()
    assert not (remote / "ran").exists()
    filler.unlink()
    assert fault.home.run_mtr(["true"], fault.project).returncode == 0
    assert read_tree(remote) == read_tree(fault.project)


def test_the_disk_there_takes_no_more_files(home: Home, project: Path) -> None:
    """Wherever a push runs out of them: the command does not start, what has arrived goes, the next run brings it."""
    with small_disk(home.dir / "small", "4m", inodes=60) as disk:
        home.configure(project, remote_dir=str(disk.path / "proj"))
        assert home.run_mtr(["true"], project).returncode == 0
        for free in range(8):
            disk.resize(inodes=len(list(disk.path.rglob("*"))) + 1 + free)
            (project / "a.txt").write_text(f"new {free}\n")
            done = home.run_mtr(["cat", "a.txt"], project)
            assert (done.returncode, done.stdout) in {(0, f"new {free}\n".encode()), (FAILED, b"")}
            assert done.returncode == 0 or b"no space left on lab" in done.stderr
            assert not list((disk.path / "proj" / ".mtr").glob("in.*")), free
        disk.resize(inodes=60)
        assert home.run_mtr(["cat", "a.txt"], project).stdout == b"new 7\n"


@pytest.mark.parametrize(("transport", "size"), [("tar", 3_000_000), ("rsync", 18_000_000)])
def test_the_disk_there_is_full(fault: Fault, transport: str, size: int) -> None:
    """Nothing of the push is in place, the command does not start, and with space all of it arrives."""
    fault.injected = f"disk of the server full, push by {transport}"
    with disk_there(fault) as disk:
        break_and_mend(fault, disk, size, b"o space left", read_only=False)


def test_the_disk_there_is_read_only(fault: Fault) -> None:
    """A file system that the kernel has made read-only after an error."""
    fault.injected = "file system of the server read-only"
    with disk_there(fault) as disk:
        break_and_mend(fault, disk, 3_000_000, b"ead-only file system", read_only=True)


@pytest.mark.parametrize(("where", "how"), [(".state", "full"), (".state", "read-only"), ("r", "full")])
def test_the_disk_here_takes_nothing(fault: Fault, where: str, how: str) -> None:
    """An unchanged tree runs, with state directory or sockets on such a disk; a cut-off run is then not noted.

    A runtime directory cannot become read-only while a master keeps its log open there.
    """
    name = {".state": "state directory", "r": "runtime directory"}[where]
    fault.injected = f"{name} of this machine {how}, nothing changed"
    folder = fault.home.home / where if where == ".state" else fault.home.dir / where
    with small_disk(folder, "2m") as disk:
        folder.chmod(0o700)
        fault.warm()
        filler = disk.fill()
        if how == "full":
            done = fault.run(["sh", "-c", COUNT])
        else:
            with disk.read_only():
                done = fault.run(["sh", "-c", COUNT])
        filler.unlink()
        assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
        fault.mend(ran=1)
        for pid in fault.home.masters():
            end_tree(pid)


def test_a_download_fills_the_disk_here(fault: Fault) -> None:
    """The error names the file and the reason; the old file stays, no half of the new one."""
    fault.injected = "disk of this machine full, in mid-download"
    fault.warm()
    (fault.home.remote(fault.project) / "result.bin").write_bytes(os.urandom(3_000_000))
    with small_disk(fault.home.dir / "small", "1m") as disk:
        local = disk.path / "result.bin"
        local.write_bytes(b"yesterday's")
        os.utime(local, (0, 0))
        done = fault.run(["get", "result.bin", str(local)])
        assert done.returncode == FAILED
        assert b"No space left on device" in done.stderr
        assert [path.name for path in disk.path.iterdir()] == ["result.bin"]
        assert local.read_bytes() == b"yesterday's"
    (fault.home.remote(fault.project) / "result.bin").unlink()
    fault.mend()


# -- clocks


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_the_clock_here_is_off(fault: Fault, shift_s: int) -> None:
    """Every edit arrives, an edit of the same size too; what changed only there stays.

    With the clock behind that of the disk, a file counts as changed until the clock has reached the file's: it may be
    written once more without a later time.
    """
    fault.injected = f"clock of this machine {shift_s // HOUR_S:+d} h"
    environ = shift_clock(shift_s)
    for path in [fault.project / "a.txt", *fault.project.rglob("*.py")]:
        shift_times(path, shift_s)
    assert fault.home.run_mtr(["true"], fault.project, environ=environ).returncode == 0
    for number in range(3):
        (fault.project / "a.txt").write_text(f"{number}\n")
        shift_times(fault.project / "a.txt", shift_s)
        done = fault.run(["cat", "a.txt"], environ=environ)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"%d\n" % number, b"")
    if shift_s > 0:
        theirs = fault.home.remote(fault.project) / "src" / "b.py"
        theirs.write_text("print('there')\n")
        done = fault.home.run_mtr(["cat", "src/b.py"], fault.project, environ=environ)
        assert done.stdout == b"print('there')\n"
        theirs.write_text("print('two')\n")
    fault.mend()


@pytest.mark.parametrize("shift_s", [HOUR_S, -HOUR_S])
def test_the_clock_there_is_off(fault: Fault, make_server: Callable[..., SshServer], shift_s: int) -> None:
    """The same for the server's: nothing that mtr decides there goes by the time of day."""
    fault.injected = f"clock of the server {shift_s // HOUR_S:+d} h"
    variables = " ".join(f"{name}={value}" for name, value in shift_clock(shift_s).items())
    other = make_server(f"SetEnv {variables}")
    fault.home.use_server(other)
    fault.home.configure(fault.project)
    assert fault.home.run_mtr(["true"], fault.project).returncode == 0
    for number in range(3):
        (fault.project / "a.txt").write_text(f"{number}\n")
        done = fault.run(["cat", "a.txt"])
        assert (done.returncode, done.stdout, done.stderr) == (0, b"%d\n" % number, b"")
    fault.mend()


def test_the_clock_here_jumps(fault: Fault) -> None:
    """Set right by an hour, to and fro, between runs and while one goes on: each edit arrives, no wait goes wrong."""
    fault.injected = "clock of this machine jumps by an hour, between runs and in mid-command"
    file = fault.home.dir / "clock"
    file.write_text("+0")
    environ = jumping_clock(file)
    for number, shift in enumerate(("+0", "+3600", "-3600", "+0")):
        file.write_text(shift)
        (fault.project / "a.txt").write_text(f"{number}\n")
        done = fault.run(["cat", "a.txt"], environ=environ)
        assert (done.returncode, done.stdout) == (0, b"%d\n" % number), done.stderr
    fault.home.environ.update(environ)
    process = fault.start(["sh", "-c", "echo started; read line; exit 4"], stdin=-1)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    fault.inject()
    file.write_text("+7200")
    out, err = process.communicate(b"\n", timeout=60)
    fault.note(process.returncode, err)
    assert (process.returncode, out) == (4, b"")
    for name in environ:
        del fault.home.environ[name]
    fault.mend()


# -- what is no server

NOISE = bytes(range(256)) * 16

GARBAGE = {
    "closes at once": (b"", False, False),
    "speaks HTTP": (
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>\x1b]0;owned\x07</html>",
        False,
        False,
    ),
    "sends noise": (NOISE, False, False),
    "sends noise without end": (NOISE, True, False),
    "speaks like ssh, then noise": (b"SSH-2.0-x\r\n" + NOISE, False, False),
    "speaks like ssh, then noise without end": (b"SSH-2.0-x\r\n" + NOISE, True, False),
    "says nothing": (b"", False, True),
    "speaks like ssh, then nothing": (b"SSH-2.0-x\r\n", False, True),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_server_that_is_none(fault: Fault, kind: str) -> None:
    """A clear error in bounded time, without its control characters."""
    words, endless, silent = GARBAGE[kind]
    fault.injected = f"a server that {kind} (ConnectTimeout 2 s)"
    with GarbageServer(words, endless=endless, silent=silent) as server:
        fault.home.configure(fault.project, port=server.port, ssh_options={"ConnectTimeout": 2})
        done = fault.run(["true"])
        assert (done.returncode, done.stdout) == (FAILED, b"")
        assert done.stderr.startswith(b"mtr: ")
        assert b"try: " in done.stderr
        assert b"\x1b" not in done.stderr
        # Once it has greeted, ssh waits for the rest as long as its keepalive does: a minute.
        assert fault.took_s < 100
    fault.home.configure(fault.project)
    fault.mend()
