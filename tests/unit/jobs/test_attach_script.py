"""``shell/remote/job/attach.sh`` under each shell that may stand behind /bin/sh, with GNU's tail and busybox's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import termios
from fcntl import ioctl
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from tests.lab.processes import children_of, is_alive, wait_until
from tests.unit.shells import POSIX_SHELLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = "0123abcd"
LIFE = load_script("remote/job/life.sh")
NOTE = LIFE + 'find_start "$1"; printf "%s %s %s 1\\n1\\n" "$1" "$mtr_start" "$mtr_boot"'


class Terminal:
    """A job's directory with a FIFO, a terminal and a keeper, as terminal.py leaves it; the command is this test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dir = home / ".mtr" / "jobs" / JOB
        self.dir.mkdir(parents=True)
        os.mkfifo(self.dir / "in", 0o600)
        self.keyboard = os.open(self.dir / "in", os.O_RDWR | os.O_NONBLOCK)
        self.master, self.slave = os.openpty()
        (self.dir / "tty").write_text(os.ttyname(self.slave) + "\n")
        (self.dir / "out").write_bytes(b"first\n\x1b[?25l\x1b[?2004;1h")
        self.attached: list[subprocess.Popen[bytes]] = []
        self.keeper = subprocess.Popen(["sleep", "4330"])
        note = subprocess.run(["sh", "-c", NOTE, "sh", str(self.keeper.pid)], check=True, capture_output=True)
        (self.dir / "running").write_bytes(note.stdout)

    def attach(self, shell: list[str], path: str, *words: str) -> subprocess.Popen[bytes]:
        """Run the script in a session of its own, as sshd does."""
        program = shutil.which(shell[0])
        assert program, f"{shell[0]} is not installed: make test installs it"
        argv = [program, *shell[1:], "-c", LIFE + load_script("remote/job/attach.sh"), "mtr-jobs", JOB, *words]
        environ = {"HOME": str(self.home), "PATH": path}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            argv, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, bufsize=0
        )
        self.attached.append(process)
        return process

    @property
    def size(self) -> tuple[int, ...]:
        """Rows and columns of the terminal."""
        return struct.unpack("HHHH", ioctl(self.slave, termios.TIOCGWINSZ, b"\0" * 8))[:2]

    def read_typed(self) -> bytes:
        """Return what has been typed so far."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.keyboard, 65536)
        return b""

    def close(self) -> None:
        """End the keeper, and with it whoever has joined."""
        self.keeper.kill()
        self.keeper.wait()
        for process in self.attached:
            process.wait(30)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        for descriptor in (self.keyboard, self.master, self.slave):
            os.close(descriptor)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A job that has a terminal."""
    made = Terminal(tmp_path)
    yield made
    made.close()


@pytest.fixture(params=["gnu", "busybox"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PATH with the usual programs, or with busybox's alone."""
    if request.param == "gnu":
        return os.environ["PATH"]
    folder = tmp_path / "bin"
    folder.mkdir()
    busybox = shutil.which("busybox")
    assert busybox
    for name in ("awk", "cat", "grep", "head", "printf", "sleep", "stty", "tail", "tr", "wc", "ps"):
        (folder / name).symlink_to(busybox)
    return str(folder)


def read_until(process: subprocess.Popen[bytes], end: bytes) -> bytes:
    """Return what comes up to ``end``."""
    assert process.stdout
    found = b""
    while not found.endswith(end):
        byte = process.stdout.read(1)
        assert byte, found
        found += byte
    return found


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_both_ways_and_to_both_ends(terminal: Terminal, path: str, shell: str) -> None:
    """Output from the offset on, keys to the FIFO, the size, the modes; nothing is left when the client goes."""
    process = terminal.attach(POSIX_SHELLS[shell], path, "-1000", "30", "99", "")
    assert process.stdin
    head, *rest = read_until(process, b"\x1b[?2004;1h").split(b"\n")[1:]
    assert (head.split()[:3], rest[0]) == ([b"mtr-from", b"0", b"22"], b"first")
    assert {*head.split()[3].strip(b",").split(b",")} == {b"25l", b"2004h", b"1h"}
    wait_until(lambda: terminal.size == (30, 99), "the size")
    typed = b"\x03\x1a\0" + "grüße\n".encode()
    process.stdin.write(typed)
    process.stdin.flush()
    found = b""

    def has_come() -> bool:
        nonlocal found
        found += terminal.read_typed()
        return found == typed

    wait_until(has_come, "what is typed")
    with (terminal.dir / "out").open("ab") as file:
        file.write(b"second\n")
    assert read_until(process, b"second\n") == b"second\n"
    family = [process.pid, *children_of(process.pid)]
    process.stdin.close()
    wait_until(lambda: process.poll() is not None and not any(map(is_alive, family)), "the end of what served it")
    assert terminal.keeper.poll() is None


@pytest.mark.parametrize("shell", POSIX_SHELLS)
def test_it_ends_with_the_job(terminal: Terminal, path: str, shell: str) -> None:
    """Whatever is printed last comes, and nothing hangs on a FIFO that nobody reads."""
    process = terminal.attach(POSIX_SHELLS[shell], path, "6", "24", "80", "redraw")
    assert process.stdin
    read_until(process, b"mtr-from 6 22 \n")
    with (terminal.dir / "out").open("ab") as file:
        file.write(b"last words")
    terminal.keeper.send_signal(signal.SIGKILL)
    terminal.keeper.wait()
    # Its stdin stays open: the client has not gone. sshd closes it then.
    assert process.wait(10) == 0
    process.stdin.close()
    assert process.stdout
    assert process.stdout.read().endswith(b"last words")
    again = terminal.attach(POSIX_SHELLS[shell], path, "27", "24", "80", "")
    assert again.communicate(timeout=30)[0] == b"\nmtr-from 27 32 \nwords"
    assert again.returncode == 0


@pytest.mark.parametrize(("words", "status"), [(["0"], 5), (["999"], 4)])
def test_what_cannot_be_joined_is_told(terminal: Terminal, words: list[str], status: int) -> None:
    """No terminal there; an offset beyond the end; no job."""
    if status == 5:
        (terminal.dir / "in").unlink()
    process = terminal.attach(["sh"], os.environ["PATH"], *words, "24", "80", "")
    process.communicate(timeout=30)
    assert process.returncode == status
    shutil.rmtree(terminal.dir)
    process = terminal.attach(["sh"], os.environ["PATH"], *words, "24", "80", "")
    process.communicate(timeout=30)
    assert process.returncode == 3
