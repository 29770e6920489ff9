"""What a job prints: followed across lines that break, to its end however that comes, and no byte lost or repeated."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.home import MTR
from tests.lab.jobs import Jobs
from tests.lab.processes import end_tree, find_peak_kib, is_alive, wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.home import Home

MEMORY_KIB = 60 << 10

FLOOD_BYTES = int(os.environ.get("MTR_FLOOD_BYTES", "200_000_000"))
"""Of a job that prints as fast as it can; ``make soak`` asks for more."""


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


def test_every_byte_arrives_once_over_a_line_that_is_cut_twenty_times(home: Home, jobs: Jobs) -> None:
    """Printed as fast as can be: what arrives has the same SHA-256, and the follower stays small."""
    size = FLOOD_BYTES
    relay = Relay(home.server.port)
    try:
        home.configure(jobs.project, port=relay.port)
        job = jobs.start("sh", "-c", f"head -c {size} /dev/urandom | tee data; sha256sum <data; rm data")
        logins = home.server.log.read_text().count("Accepted publickey")
        follower = home.popen_mtr(["job", "logs", "-f", job], jobs.project)
        assert follower.stdout
        seen, count, cuts, peak_kib = hashlib.sha256(), 0, 0, 0
        while piece := os.read(follower.stdout.fileno(), 1 << 20):
            if count <= size:
                seen.update(piece[: size - count])
            count += len(piece)
            tail = piece
            if count > (cuts + 1) * size // 21 and cuts < 20:
                cuts += 1
                peak_kib = find_peak_kib(follower.pid)
                relay.cut()
        words = follower.communicate()[1]
        assert follower.returncode == 0, words
        assert cuts == 20
        assert count == size + 68
        assert tail[-68:].split()[0].decode() == seen.hexdigest()
        assert peak_kib <= MEMORY_KIB
        assert home.server.log.read_text().count("Accepted publickey") >= logins + 15
    finally:
        relay.close()


def test_what_comes_while_the_line_is_down_is_not_lost(home: Home, jobs: Jobs) -> None:
    """The job prints on, and ends, while nothing gets through; then all of it comes, and the follower ends."""
    relay = Relay(home.server.port)
    try:
        home.configure(jobs.project, port=relay.port)
        wait = "while [ ! -f go ]; do sleep 0.05; done"
        script = f'i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); [ $i != 1000 ] || {wait}; done'
        job = jobs.start("sh", "-c", script)
        follower = home.popen_mtr(["job", "logs", "-f", job], jobs.project)
        assert follower.stdout
        lines = [follower.stdout.readline() for _ in range(1000)]
        relay.stall()
        relay.cut()
        (home.remote(jobs.project) / "go").touch()
        jobs.ends(job)
        relay.resume()
        lines += follower.stdout.readlines()
        words = follower.communicate(timeout=60)[1]
        assert follower.returncode == 0, words
        assert b"".join(lines) == b"".join(b"line %d\n" % number for number in range(2000))
        assert b"going on at byte" in words
    finally:
        relay.close()


@pytest.mark.parametrize("how", ["exit", "command", "keeper", "held", "held keeper"])
def test_following_ends_when_the_writer_has_died(jobs: Jobs, how: str) -> None:
    """Its own end, a kill of the command, of its first process; also while others still hold the file."""
    held = "setsid sleep 1000 & " if how.startswith("held") else ""
    job = jobs.start("sh", "-c", f"{held}printf 'up\\nlast'; echo $$ >pid; while [ ! -f go ]; do sleep 0.05; done")
    jobs.prints(job, b"last")
    follower = jobs.home.popen_mtr(["job", "logs", "-f", job], jobs.project)
    assert follower.stdout
    assert follower.stdout.readline() == b"up\n"
    if how.endswith("keeper"):
        os.kill(jobs.keeper(job), signal.SIGKILL)
    elif how == "command":
        os.kill(int((jobs.home.remote(jobs.project) / "pid").read_text()), signal.SIGKILL)
    else:
        (jobs.home.remote(jobs.project) / "go").touch()
    rest = follower.stdout.read()
    words = follower.communicate(timeout=30)[1]
    assert (follower.returncode, rest, words) == (0, b"last", b"")


def test_a_server_with_busyboxs_tools_loses_nothing(jobs: Jobs) -> None:
    """No tail that watches a process, no GNU anything: the same bytes, once, to the end."""
    home = jobs.home.server.home_of("bash")
    tools = home / "tools"
    tools.mkdir()
    for name in ("tail", "head", "cat", "dd", "wc", "tr", "grep", "sleep", "date", "ls", "mv"):
        (tools / name).symlink_to("/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox")
    (home / ".bashrc").write_text(f"PATH={tools}:$PATH\n")
    try:
        job = jobs.start(
            "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); [ $((i%500)) != 0 ] || sleep 0.2; done"
        )
        assert jobs.mtr("--no-sync", "command -v tail").stdout.decode().strip() == str(tools / "tail")
        whole = b"".join(b"%d\n" % number for number in range(3000))
        assert jobs.mtr("job", "logs", "-f", job).stdout == whole
        assert jobs.mtr("job", "logs", "-f", "--offset", "7", job).stdout == whole[7:]
        assert jobs.mtr("job", "logs", "--tail", "2", job).stdout == b"2998\n2999\n"
    finally:
        (home / ".bashrc").unlink()
        for tool in tools.iterdir():
            tool.unlink()
        tools.rmdir()


def test_where_to_begin(jobs: Jobs) -> None:
    """--offset, --tail, --stderr; beyond the end and both at once are refused."""
    job = jobs.start("sh", "-c", "printf 0123456789; printf abc >&2")
    jobs.ends(job)
    for options, found in {
        (): b"0123456789",
        ("--offset", "3"): b"3456789",
        ("--offset", "10"): b"",
        ("--tail", "0"): b"",
        ("--tail", "99"): b"0123456789",
        ("--stderr", "-n", "1"): b"abc",
        ("--stderr", "-f"): b"abc",
    }.items():
        assert jobs.mtr("job", "logs", *options, job).stdout == found, options
    for offset in ("11", "99999999999999999999999"):
        done = jobs.mtr("job", "logs", "--offset", offset, job)
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"printed less than" in done.stderr
    assert jobs.mtr("job", "logs", "--offset", "1", "--tail", "1", job).returncode == 2
    assert jobs.mtr("job", "logs", "--offset", "-1", job).returncode == 2


def test_a_tail_counts_lines(jobs: Jobs) -> None:
    """As tail -n does: however long they are, empty ones, one without its end; not more of the output than it must."""
    long = b"x" * 100_000 + b"\n"
    text = "i=0; while [ $i -lt 20 ]; do head -c 100000 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done; "
    job = jobs.start(text + "printf 'a\\n\\nb'")
    jobs.ends(job)
    whole = long * 20 + b"a\n\nb"
    for count, found in {
        0: b"",
        1: b"b",
        2: b"\nb",
        3: b"a\n\nb",
        4: long + b"a\n\nb",
        13: long * 10 + b"a\n\nb",
    }.items():
        assert jobs.mtr("job", "logs", "-n", f"{count}", job).stdout == found, count
    for count in ("23", "24", "999999999999999"):
        assert jobs.mtr("job", "logs", "--tail", count, job).stdout == whole, count
    assert jobs.mtr("job", "logs", "--stderr", "--tail", "3", job).stdout == b""
    assert jobs.mtr("job", "logs", "--tail", "9" * 30, job).returncode == 2


def test_a_tail_of_a_job_that_runs_goes_on_at_the_end(jobs: Jobs) -> None:
    """--tail 0 -f: nothing of what was, all of what comes."""
    job = jobs.start("sh", "-c", "echo old; while [ ! -f go ]; do sleep 0.05; done; echo new")
    jobs.prints(job, b"old\n")
    follower = jobs.home.popen_mtr(["job", "logs", "-f", "--tail", "0", job], jobs.project)
    # It has begun once the server has a process that reads.
    wait_until(lambda: _reads(jobs.at(job) / "out"), "the follower to begin")
    (jobs.home.remote(jobs.project) / "go").touch()
    assert follower.communicate(timeout=30)[0] == b"new\n"


def _reads(path: Path) -> bool:
    """Tell whether a tail reads ``path``."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "comm").read_text() != "tail\n":
                continue
            if any(link.resolve() == path for link in (folder / "fd").iterdir()):
                return True
        except OSError:
            continue
    return False


def test_ctrl_c_stops_following_only_and_says_how_to_go_on(jobs: Jobs) -> None:
    """On a terminal: the exact place, and how to stop the job, which goes on."""
    job = jobs.start("sh", "-c", "printf 'one\\ntwo\\n'; exec sleep 1000")
    jobs.prints(job, b"two\n")
    child = jobs.home.spawn_mtr(["job", "logs", "-f", job], jobs.project)
    child.expect("two\r\n")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    words = child.before.decode()
    assert f"mtr job logs -f --offset 8 {job}" in words
    assert f"mtr job stop {job}" in words
    assert jobs.list()[job]["state"] == "running"


@pytest.mark.parametrize("kind", ["pipe", "file", "appended", "socket", "terminal"])
def test_the_place_to_resume_is_exact_wherever_a_signal_strikes(jobs: Jobs, kind: str, tmp_path: Path) -> None:
    """In the middle of a flood, read at any pace: what has arrived is as long as mtr says, and its beginning."""
    job = jobs.start("sh", "-c", "seq 1 4000000; exec sleep 1000")
    jobs.prints(job, b"\n4000000\n")
    whole = (jobs.at(job) / "out").read_bytes()
    for moment in range(4):
        found, words = _interrupt(jobs, job, kind, tmp_path / f"{moment}", 20_000 + 3_000_000 * moment)
        place = int(re.search(rb"--offset ([0-9]+)", words)[1])  # type: ignore[index]
        assert place == len(found), words
        assert found == whole[:place]


def _interrupt(jobs: Jobs, job: str, kind: str, file: Path, after_bytes: int) -> tuple[bytes, bytes]:
    """Follow, interrupt once ``after_bytes`` have come; return all that came, and what mtr said."""
    ours, theirs = _make_ends(kind, file)
    argv = [*MTR, "job", "logs", "-f", job]
    with subprocess.Popen(
        argv, cwd=jobs.project, env=jobs.home.environ, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE
    ) as follower:
        os.close(theirs)
        found = b""
        if ours is None:
            wait_until(lambda: file.stat().st_size > after_bytes, "the flood")
            follower.send_signal(signal.SIGINT)
            found = b""
        else:
            while len(found) < after_bytes:
                found += os.read(ours, 65536)
            # Nobody reads for a while: it stands in a write, or waits for room.
            threading.Timer(0.2, follower.send_signal, [signal.SIGINT]).start()
            time.sleep(0.3)
            found += _drain(ours)
            os.close(ours)
        _, words = follower.communicate(timeout=30)
        assert follower.returncode == 130
    return (file.read_bytes() if ours is None else found), words


def _make_ends(kind: str, file: Path) -> tuple[int | None, int]:
    if kind == "pipe":
        return os.pipe()
    if kind == "terminal":
        ours, theirs = os.openpty()
        subprocess.run(["stty", "raw"], stdin=theirs, check=True)
        return ours, theirs
    if kind == "socket":
        pair = socket.socketpair()
        return pair[0].detach(), pair[1].detach()
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if kind == "appended" else 0)
    return None, os.open(file, flags, 0o600)


def _drain(ours: int) -> bytes:
    found = b""
    try:
        while piece := os.read(ours, 65536):
            found += piece
    except OSError:
        pass  # A terminal that nobody has any more.
    return found


def test_a_reader_that_goes_away_ends_it_quietly(jobs: Jobs) -> None:
    """Mtr job logs -f ID | head."""
    job = jobs.start("sh", "-c", "yes; :")
    line = f"{' '.join(MTR)} job logs -f {job} | head -n 2"
    done = subprocess.run(
        ["bash", "-c", line], cwd=jobs.project, env=jobs.home.environ, capture_output=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"y\ny\n", b"")
    assert jobs.mtr("job", "stop", job).returncode == 0


def test_logs_of_a_job_that_floods_come_to_an_end(jobs: Jobs) -> None:
    """Without -f: what is there when it is asked for."""
    job = jobs.start("sh", "-c", "yes; :")
    jobs.prints(job, b"y\n")
    assert jobs.mtr("job", "logs", job).returncode == 0
    assert jobs.mtr("job", "stop", job).returncode == 0


def test_what_rc_files_print_is_not_the_jobs(jobs: Jobs) -> None:
    """A login shell that greets, without an end of line."""
    bashrc = jobs.home.server.home_of("bash") / ".bashrc"
    job = jobs.start("echo", "mine")
    jobs.ends(job)
    bashrc.write_text("printf 'welcome\\nmtr-from'\n")
    try:
        assert jobs.mtr("job", "logs", job).stdout == b"mine\n"
        rows = json.loads(jobs.mtr("job", "list", "--json").stdout)["data"]
        assert [row["id"] for row in rows] == [job]
        other = jobs.mtr("job", "stop", job)
        assert (other.returncode, other.stderr) == (0, f"mtr: job {job} had ended\n".encode())
    finally:
        bashrc.unlink()


def test_a_master_killed_under_it_is_replaced(jobs: Jobs) -> None:
    """It says so once, and goes on at the byte."""
    job = jobs.start("sh", "-c", "echo one; while [ ! -f go ]; do sleep 0.05; done; echo two")
    follower = jobs.home.popen_mtr(["job", "logs", "-f", job], jobs.project)
    assert follower.stdout
    assert follower.stdout.readline() == b"one\n"
    (master,) = jobs.home.masters()
    end_tree(master)
    wait_until(lambda: not is_alive(master) and jobs.home.masters(), "another master")
    (jobs.home.remote(jobs.project) / "go").touch()
    rest = follower.stdout.read()
    words = follower.communicate(timeout=60)[1]
    assert (follower.returncode, rest) == (0, b"two\n")
    assert words.decode().count("going on at byte 4") == 1
