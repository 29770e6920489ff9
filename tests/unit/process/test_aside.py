"""What is done beside mtr: out of its reach, and of the terminal's, but not of the one that it was begun by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mtr.process.aside import begin_aside, hold
from mtr.process.piped import is_ready
from tests.lab.processes import wait_until

BESIDE = """
import os, sys
from mtr.process.aside import begin_aside
secret = os.open("/dev/null", os.O_RDONLY)

def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False

def act(out):
    kept = {number for number in range(50) if is_open(number)} - {0, 1, 2, out}
    os.write(out, f"{os.getppid()} {os.getsid(0)} {len(kept)}".encode())
    raise ValueError("nobody sees that")

read_end, write_end = os.pipe()
group = begin_aside(act, [write_end])
os.close(write_end)
parent, session, kept = os.read(read_end, 1000).decode().split()
assert int(session) == group != os.getsid(0), (session, group)
assert int(parent) != os.getpid(), "it would be a dead child of a script that goes on"
assert kept == "0", "whoever waits for the end of mtr's output would wait for it"
assert os.read(read_end, 1) == b""
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("well")
"""


def test_a_process_of_its_own() -> None:
    """Nobody's child, a session of its own, nothing open but what it was given; a fault in it is nobody's output."""
    done = subprocess.run([sys.executable, "-c", BESIDE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")


def test_it_is_ended_by_its_group() -> None:
    """TERM ends it wherever it is; what it has to clear away, it does."""
    code = (
        "import os, time, sys\nfrom mtr.process.aside import begin_aside\n"
        "def act(out):\n try:\n  os.write(out, b'up')\n  time.sleep(1000)\n finally:\n  os.write(out, b'cleared')\n"
        "read_end, write_end = os.pipe()\ngroup = begin_aside(act, [write_end])\nos.close(write_end)\n"
        "assert os.read(read_end, 2) == b'up'\nos.killpg(group, 15)\nsys.stdout.write(os.read(read_end, 99).decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("cleared", "")


def test_where_threads_run_it_is_one_of_them() -> None:
    """A fork would take over their locks; it has copies of the descriptors, and closes them."""
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    read_end, write_end = os.pipe()

    def act(out: int) -> None:
        os.write(out, f"{os.getpid()} {threading.current_thread().daemon}".encode())
        os.close(out)

    try:
        assert begin_aside(act, [write_end]) == 0
        os.close(write_end)
        assert os.read(read_end, 100).decode() == f"{os.getpid()} True"
        assert os.read(read_end, 1) == b""
    finally:
        stop.set()
        other.join()
        os.close(read_end)


def test_without_room_for_a_thread_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wanted it decides what then, as where there is no room for a process."""
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    monkeypatch.setattr(threading.Thread, "start", refuse_thread)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="can't start new thread"):
        begin_aside(lambda _out: None, [1])
    assert os.listdir("/proc/self/fd") == before


def refuse_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_session_is_held_until_the_other_end_goes() -> None:
    """Or for as long as is said; what comes is dropped."""
    read_end, write_end = os.pipe()
    holder = threading.Thread(target=hold, args=(read_end, 60.0))
    holder.start()
    os.write(write_end, b"words")
    wait_until(lambda: not is_ready(read_end, timeout_s=0.0), "the words to be taken")
    assert holder.is_alive()
    os.close(write_end)
    holder.join(20)
    assert not holder.is_alive()
    os.close(read_end)
    read_end, write_end = os.pipe()
    began_s = time.monotonic()
    hold(read_end, 0.2)
    assert time.monotonic() - began_s >= 0.2
    os.close(read_end)
    os.close(write_end)


def test_without_room_for_a_process_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wanted it decides what then."""
    refused = OSError(11, os.strerror(11))

    def refuse() -> int:
        raise refused

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="temporarily unavailable"):
        begin_aside(lambda: None, [])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
