"""Limits: memory, descriptors, processes and time stay within bounds, however much there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.home import MTR
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from tests.lab.home import Home

KIB_PER_MIB = 1024
METER = Path(__file__).resolve().parents[1] / "benchmarks" / "meter.py"

LONG_LIVED = """
import json, os, threading, time, mtr
from mtr.ssh.gate import Command, new_run_id

def count():
    return [len(os.listdir("/proc/self/fd")), threading.active_count(), len(os.listdir(f"/proc/{os.getpid()}/task"))]

there = mtr.connect("lab")
def use():
    there.sync()
    assert there.run(["echo", "x"]).stdout == b"x\\n"
    heard = []
    assert there.connection.exec_command_stream(Command(new_run_id(), ("seq", "9")), heard.append, heard.append) == 0
    assert b"".join(heard).split() == [b"%d" % n for n in range(1, 10)]

for _ in range(3):
    use()
before = count()
for number in range(30):
    open("a.txt", "w").write(f"{number}")
    use()
end_s = time.monotonic() + 10
while count() > before and time.monotonic() < end_s:
    time.sleep(0.01)
print(json.dumps([before, count()]))
"""


def run_measured(home: Home, project: Path, words: list[str]) -> tuple[int, int]:
    """Run mtr with its output thrown away; return its status and the most memory it had, in MiB."""
    request = {"argv": [*MTR, *words], "cwd": str(project), "environ": home.environ, "deadline_s": 100}
    asked = json.dumps({**request, "stderr": os.devnull})
    # A process between: what a child has used at most begins with what its parent has.
    done = subprocess.run([sys.executable, "-I", "-S", METER], input=asked, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["status"], found["peak_kib"] // KIB_PER_MIB


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_the_length_of_the_output_costs_no_memory(home: Home, project: Path, stream: str) -> None:
    """300 MB of it, on either stream."""
    assert home.run_mtr(["true"], project).returncode == 0
    status, mib = run_measured(home, project, ["sh", "-c", f"head -c 300000000 /dev/zero {stream}"])
    assert (status, mib < 40) == (0, True), mib


def test_a_large_file_costs_no_memory(home: Home, project: Path) -> None:
    """Up by each transport, and down again: 150 MB through less than 80 MiB."""
    (project / "big.bin").write_bytes(os.urandom(1 << 20) * 150)
    for engine in ("tar", "rsync", "sftp"):
        home.configure(project, sync=engine)
        (project / "big.bin").touch()
        status, mib = run_measured(home, project, ["sync"])
        assert (status, mib < 80) == (0, True), (engine, mib)
    (home.remote(project) / "result.bin").hardlink_to(home.remote(project) / "big.bin")
    status, mib = run_measured(home, project, ["get", "result.bin", str(home.dir / "here")])
    assert (status, mib < 80) == (0, True), mib


def test_a_program_that_lives_long_keeps_nothing(home: Home, project: Path) -> None:
    """Thirty syncs, runs and streams of one process: descriptors and threads are those of the beginning."""
    done = subprocess.run(
        [sys.executable, "-c", LONG_LIVED], cwd=project, env=home.environ, capture_output=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)


def test_a_watch_keeps_nothing(home: Home, project: Path) -> None:
    """Saved twenty times under ``mtr sync --watch``: the descriptors and processes of the beginning."""
    watch = home.popen_mtr(["sync", "--watch"], project)
    try:
        remote = home.remote(project) / "a.txt"

        def save(number: int) -> None:
            def has_come() -> bool:
                if not remote.exists() or remote.read_text() != f"{number}":
                    (project / "a.txt").write_text(f"{number}")
                    time.sleep(0.1)
                return remote.exists() and remote.read_text() == f"{number}"

            wait_until(has_come, "the file to be there")

        watch_says = watch.stderr
        assert watch_says
        assert b"watching" in watch_says.readline()
        save(0)
        before = len(os.listdir(f"/proc/{watch.pid}/fd"))
        for number in range(1, 21):
            save(number)
        wait_until(lambda: len(os.listdir(f"/proc/{watch.pid}/fd")) <= before, "its descriptors to be closed")
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert watch.returncode == 130


def test_a_password_command_that_never_stops_talking(home: Home) -> None:
    """Its first line is the password; the rest is not kept, and what it costs in time is bounded."""
    project = home.make_project(user="pw")
    path = project / ".mtr" / "config.yaml"
    data = json.loads(path.read_text())
    del data["servers"]["lab"]["password"]
    data["servers"]["lab"]["password_command"] = 'yes "pass word\'1\\$" | head -c 50000000'
    path.write_text(json.dumps(data))
    home.trust(project)
    status, mib = run_measured(home, project, ["true"])
    assert (status, mib < 80) == (0, True), mib


def test_a_lock_that_a_stopped_mtr_holds(home: Home) -> None:
    """It is waited for, and not for ever."""
    code = (
        "import sys, mtr.state\n"
        "from mtr.errors import MtrError\n"
        "lock = mtr.state.hold_lock(sys.argv[1], 0.5)\n"
        "try:\n    lock.__enter__()\nexcept MtrError as error:\n    print(error.message)\n"
    )
    path = home.dir / "some.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import mtr.state, time\nwith mtr.state.hold_lock({str(path)!r}):\n print(flush=True)\n time.sleep(99)",
        ],
        env=home.environ,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    holder.stdout.readline()
    holder.send_signal(signal.SIGSTOP)
    try:
        done = subprocess.run([sys.executable, "-c", code, path], env=home.environ, capture_output=True, check=True)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert b"another mtr has held" in done.stdout
    with_lock = subprocess.run([sys.executable, "-c", code, path], env=home.environ, capture_output=True, check=True)
    assert with_lock.stdout == b"", "a dead one holds nothing"
