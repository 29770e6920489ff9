"""The journal of runs: it ends what was cut off, once, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.faults import kill_and_wait
from tests.lab.kills import read_argv
from tests.lab.processes import end_tree, processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home

DAY_S = 86_400


def journal(home: Home) -> Path:
    """Return the directory of the journal."""
    return home.home / ".state" / "mtr" / "runs"


def start(home: Home, project: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a run, and return once its command has written a line."""
    process = home.popen_mtr(words, project, stderr=subprocess.DEVNULL)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    return process


def cut_off(process: subprocess.Popen[bytes]) -> None:
    """Kill mtr alone, with SIGKILL."""
    kill_and_wait([process.pid])
    process.wait()
    assert process.stdout
    process.stdout.close()


def find_sleeping(home: Home, seconds: str) -> list[int]:
    """Return the processes that sleep so long for a run of this home."""
    found = processes_mentioning([home.dir.name])
    return [pid for pid in found if read_argv(pid) == [b"sleep", seconds.encode()]]


@pytest.fixture
def warm(home: Home, project: Path) -> Path:
    """A project whose connection stands."""
    assert home.run_mtr(["true"], project).returncode == 0
    return project


def test_what_ignores_hangups_goes_on(home: Home, warm: Path) -> None:
    """``mtr nohup CMD`` means to outlive its connection: it is left alone, said once, and forgotten."""
    cut_off(start(home, warm, "nohup", "sh", "-c", "echo started; exec sleep 4331"))
    done = home.run_mtr(["echo", "next"], warm)
    assert done.stdout == b"next\n"
    assert b"the run of nohup at" in done.stderr
    assert b"goes on" in done.stderr
    (pid,) = find_sleeping(home, "4331")
    assert home.run_mtr(["true"], warm).stderr == b""
    os.kill(pid, signal.SIGKILL)
    assert list(journal(home).iterdir()) == []


def test_a_job_in_the_background_outlives_its_run(home: Home, warm: Path) -> None:
    """The run has ended with its status: what it has left on purpose is nobody's to end."""
    assert home.run_mtr(["sleep 4332 >/dev/null 2>&1 </dev/null & exit 3"], warm).returncode == 3
    assert home.run_mtr(["true"], warm).stderr == b""
    (pid,) = find_sleeping(home, "4332")
    os.kill(pid, signal.SIGKILL)


def test_a_living_run_is_left_alone(home: Home, warm: Path) -> None:
    """Also one that is stopped, while others start, sync and end beside it."""
    process = start(home, warm, "sh", "-c", "echo started; read line; exit 6")
    process.send_signal(signal.SIGSTOP)
    for words in (["true"], ["sync"], ["up"]):
        assert home.run_mtr(words, warm).returncode == 0
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert process.returncode in (1, 6)  # stdin is empty: read fails, exit 6 follows


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_note(home: Home, warm: Path, number: signal.Signals) -> None:
    """Its run was ended on the server there and then."""
    process = start(home, warm, "sh", "-c", "echo started; sleep 4333")
    assert len(list(journal(home).iterdir())) == 1
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert list(journal(home).iterdir()) == []


def test_runs_of_a_program_are_in_it_too(home: Home, warm: Path) -> None:
    """``mtr.connect().run()``, killed: the next contact ends what it did."""
    code = "import mtr; mtr.connect('lab').run(['sh', '-c', 'touch ../running; sleep 4334'])"
    mark = home.remote(warm).parent / "running"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=warm, env=home.environ)
    wait_until(mark.exists, "the command to run")
    kill_and_wait([process.pid])
    process.wait()
    assert b"had left there" in home.run_mtr(["true"], warm).stderr
    wait_until(lambda: not processes_mentioning(["4334"]), "its end")


def test_another_machines_runs_are_not_ours_to_end(home: Home, warm: Path) -> None:
    """A home directory that machines share: whether that mtr lives cannot be told; after two weeks it is forgotten."""
    process = start(home, warm, "sh", "-c", "echo started; exec sleep 4335")
    (note,) = journal(home).iterdir()
    kept = note.read_text()
    cut_off(process)
    note.write_text(kept.replace(kept.split("\n")[0], "another-machine"))
    assert home.run_mtr(["true"], warm).stderr == b""
    assert note.exists()
    for pid in find_sleeping(home, "4335"):
        end_tree(pid)
    os.utime(note, (time.time() - 15 * DAY_S,) * 2)
    assert home.run_mtr(["down"], warm).returncode == 0
    assert home.run_mtr(["up"], warm).returncode == 0
    assert not note.exists()


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


STRANGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(b"\xff\0\x1b]0;owned\x07\n" * 300),
    "FIFO": os.mkfifo,
    "directory": lambda path: path.mkdir(),
    "link": _link,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files_in_it_harm_nobody(home: Home, warm: Path, kind: str) -> None:
    """Whatever lies there: runs go on, without a traceback or an escape sequence."""
    process = start(home, warm, "sh", "-c", "echo started; sleep 1")
    (note,) = journal(home).iterdir()
    process.communicate(timeout=30)
    place = note.name.split(".")[0]
    for name in (f"{place}.{'0' * 16}", f"{place}.", f"{place}.$(touch x)", "run", "ask", "run.x"):
        STRANGE[kind](journal(home) / name)
    for _ in range(2):
        done = home.run_mtr(["echo", "fine"], warm)
        assert (done.returncode, done.stdout) == (0, b"fine\n"), done.stderr
        assert b"\x1b" not in done.stderr
        assert b"Traceback" not in done.stderr
    assert home.run_mtr(["down"], warm).returncode == 0
    assert home.run_mtr(["true"], warm).returncode == 0


def test_a_server_that_is_gone_is_asked_once(home: Home, project: Path) -> None:
    """Several runs were cut off, and nobody answers any more: the run fails as any other, and says so once."""
    assert home.run_mtr(["true"], project).returncode == 0
    runs = [start(home, project, "sh", "-c", "echo started; exec sleep 4336") for _ in range(3)]
    for run in runs:
        cut_off(run)
    masters = home.masters()
    listener = home.server.pid
    os.kill(listener, signal.SIGSTOP)
    try:
        home.configure(project, ssh_options={"ConnectTimeout": 2})
        kill_and_wait(masters)
        done = home.run_mtr(["true"], project)
    finally:
        os.kill(listener, signal.SIGCONT)
    assert done.returncode == 125
    assert done.stderr.count(b"mtr: ") == 1, done.stderr
    done = home.run_mtr(["true"], project)
    assert done.returncode == 0
    assert done.stderr.count(b"had left there") == 3


def test_a_lock_that_is_not_given_back_changes_no_status(home: Home, warm: Path) -> None:
    """Another mtr is stopped with the manifest's lock in its hand: said, and the command's status stands."""
    (manifest,) = (path for path in (home.home / ".state" / "mtr" / "sync").iterdir() if "." not in path.name)
    (warm / "a.txt").write_text("edited\n")
    process = home.popen_mtr(["sh", "-c", "cat a.txt; sleep 2; exit 5"], warm)
    assert process.stdout
    assert process.stdout.readline() == b"edited\n"
    hold = "import sys, time, mtr.state\nwith mtr.state.hold_lock(sys.argv[1]): print(flush=True); time.sleep(99)"
    argv = [sys.executable, "-c", hold, f"{manifest}.lock"]
    holder = subprocess.Popen(argv, env=home.environ, stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    try:
        _, err = process.communicate(timeout=60)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert process.returncode == 5
    assert b"Traceback" not in err
    assert list(journal(home).iterdir()) == []


def test_busyboxs_setpriv_is_done_without(home: Home, warm: Path) -> None:
    """It cannot bind a program to its parent: rsync then runs as it is."""
    tools = home.dir / "bin"
    tools.mkdir()
    (tools / "setpriv").write_text('#!/bin/sh\necho "setpriv: unrecognized option" >&2\nexit 1\n')
    (tools / "setpriv").chmod(0o755)
    (warm / "big.bin").write_bytes(os.urandom(18_000_000))
    done = home.run_mtr(["wc -c <big.bin"], warm, environ={"PATH": f"{tools}:{home.environ['PATH']}"})
    assert (done.returncode, done.stdout.strip()) == (0, b"18000000"), done.stderr
