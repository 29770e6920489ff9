"""Every fault is a row: injected for real, seen as a user sees it, timed, and what it left behind counted.

``MTR_FAULT_TABLE=1`` prints the table after the tests. Each row ends with one more run, which finds equal trees and
leaves nothing. Further faults stand in ``test_faults.py`` (bad input), ``test_sync_kills.py`` (kills at random) and
``test_fault_disks.py``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.faults import COUNT, kill_and_wait
from tests.lab.home import MTR
from tests.lab.kills import is_sshd, list_remote, read_argv
from tests.lab.processes import children_of, end_tree, is_alive, wait_until
from tests.lab.relay import Relay
from tests.lab.trees import edit_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.faults import Fault
    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

LOST = 125
BOTH = pytest.mark.parametrize("client", ["openssh", "paramiko"])
"""What carries the connection: ssh, or the master by paramiko that stands in for it."""


@pytest.fixture
def relay(home: Home, project: Path) -> Iterator[Relay]:
    """The way to the server leads through a relay."""
    made = Relay(home.server.port)
    home.configure(project, port=made.port)
    yield made
    for pid in home.masters():
        end_tree(pid)
    made.close()


def connections(home: Home) -> list[int]:
    """Return the server's processes of this home's connections."""
    return [pid for pid, argv in list_remote(home).items() if is_sshd(argv)]


# -- between two runs


@BOTH
def test_the_master_is_killed(fault: Fault, client: str) -> None:
    """The next run opens another one and does not mention it."""
    fault.injected = f"kill -9 of the master, between two runs ({client})"
    fault.home.configure(fault.project, client=client)
    fault.warm()
    kill_and_wait(fault.home.masters())
    done = fault.run(["sh", "-c", COUNT])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")
    fault.mend(ran=1)


@BOTH
def test_the_connections_process_on_the_server_is_killed(fault: Fault, client: str) -> None:
    """The master ends with it; the next run opens another."""
    fault.injected = f"kill -9 of the server's connection process, between two runs ({client})"
    fault.home.configure(fault.project, client=client)
    fault.warm()
    kill_and_wait(connections(fault.home))
    done = fault.run(["sh", "-c", COUNT])
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    fault.mend(ran=1)


def test_the_server_restarts(fault: Fault, make_server: Callable[..., SshServer]) -> None:
    """Sshd and all its sessions end; once it listens again, the next run goes over a new login."""
    fault.injected = "sshd killed with everything of it, and started again"
    other = make_server()
    fault.home.configure(fault.project, port=other.port)
    fault.home.known_hosts.write_text("")
    assert fault.home.run_mtr(["true"], fault.project).returncode == 0
    other.kill()
    other.start()
    assert fault.run(["sh", "-c", "exit 3"]).returncode == 3
    assert fault.home.run_mtr(["true"], fault.project).returncode == 0


@BOTH
def test_the_master_is_stopped(fault: Fault, client: str) -> None:
    """A wedged master: noticed within about 5 s, killed first so that nothing runs twice, replaced."""
    fault.injected = f"SIGSTOP of the master, between two runs ({client})"
    fault.home.configure(fault.project, client=client)
    fault.warm()
    (master,) = fault.home.masters()
    os.kill(master, signal.SIGSTOP)
    done = fault.run(["sh", "-c", COUNT])
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    assert b"connecting anew" in done.stderr
    assert not is_alive(master)
    fault.mend(ran=1)


@BOTH
def test_the_connections_process_on_the_server_is_stopped(fault: Fault, client: str) -> None:
    """The line is open and silent: noticed within about 5 s and replaced; what is stopped stays the server's."""
    fault.injected = f"SIGSTOP of the server's connection process, between two runs ({client})"
    fault.home.configure(fault.project, client=client)
    fault.warm()
    stopped = connections(fault.home)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    done = fault.run(["sh", "-c", COUNT])
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    kill_and_wait(stopped)
    fault.mend(ran=1)


@BOTH
def test_an_hour_of_sleep(fault: Fault, relay: Relay, client: str) -> None:
    """The laptop wakes up: the server has given the connection up, and nobody has told this end."""
    fault.injected = (
        f"suspended for an hour: the connection is forgotten by network and server, the master was stopped ({client})"
    )
    fault.home.configure(fault.project, port=relay.port, client=client)
    fault.warm()
    (master,) = fault.home.masters()
    os.kill(master, signal.SIGSTOP)
    relay.forget()
    os.kill(master, signal.SIGCONT)
    done = fault.run(["sh", "-c", COUNT])
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    fault.mend(ran=1)


# -- while a command runs


def lose_the_line(fault: Fault, break_it: Callable[[], object]) -> bytes:
    """Break the line under a command; mtr says that it is lost, and this returns its words."""
    fault.warm()
    process = fault.start_counting()
    fault.inject()
    break_it()
    status, _, err = fault.finish(process)
    assert status == LOST
    assert b"broke while the command ran" in err
    return err


@BOTH
def test_mtr_is_killed(fault: Fault, client: str) -> None:
    """Nobody can act at that moment; the next contact ends what the command was doing, and says so."""
    fault.injected = f"kill -9 of mtr, in mid-command ({client})"
    fault.home.configure(fault.project, client=client)
    fault.warm()
    process = fault.start_counting()
    fault.inject()
    kill_and_wait([process.pid])
    fault.finish_killed(process)
    assert any("sleep" in line or "sh" in line for line in fault.left)
    done = fault.home.run_mtr(["true"], fault.project)
    assert done.returncode == 0
    assert b"what the run of sh at" in done.stderr
    fault.mend(ran=1)


def test_mtr_is_killed_and_nothing_of_the_command_is_left(fault: Fault) -> None:
    """It ended by itself: then there is nothing to say at the next contact."""
    fault.injected = "kill -9 of mtr; the command ends by itself before the next contact"
    fault.warm()
    process = fault.start(["sh", "-c", f"{COUNT}; read line"], stdin=-1)
    assert process.stdout
    process.stdout.readline()
    fault.inject()
    kill_and_wait([process.pid])
    fault.finish_killed(process)
    wait_until(
        lambda: not [line for line in fault.list_remains() if line.startswith("there")], "the end of the command"
    )
    assert fault.home.run_mtr(["true"], fault.project).stderr == b""
    fault.mend(ran=1)


@BOTH
def test_the_master_is_killed_in_mid_command(fault: Fault, client: str) -> None:
    """Told at once: 125, and that it is not known whether the command has ended; it is not run again."""
    fault.injected = f"kill -9 of the master, in mid-command ({client})"
    fault.home.configure(fault.project, client=client)
    err = lose_the_line(fault, lambda: kill_and_wait(fault.home.masters()))
    assert b"try: mtr up lab" in err
    assert b"had left there" in fault.home.run_mtr(["up"], fault.project).stderr
    fault.mend(ran=1)


def test_the_connections_process_is_killed_in_mid_command(fault: Fault) -> None:
    """The same from the other end."""
    fault.injected = "kill -9 of the server's connection process, in mid-command"
    lose_the_line(fault, lambda: kill_and_wait(connections(fault.home)))
    fault.mend(ran=1)


def test_the_listening_sshd_is_killed_in_mid_command(fault: Fault, make_server: Callable[..., SshServer]) -> None:
    """Connections live on without it, and so do new runs over the master that stands."""
    fault.injected = "kill -9 of the listening sshd, in mid-command"
    other = make_server()
    fault.home.configure(fault.project, port=other.port)
    fault.home.known_hosts.write_text("")
    process = fault.start(["sh", "-c", "echo started; read line; exit 7"], stdin=-1)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    fault.inject()
    sessions = [pid for pid in children_of(other.pid) if is_alive(pid)]
    kill_and_wait([other.pid])
    assert fault.home.run_mtr(["echo", "fine"], fault.project).stdout == b"fine\n"
    _, err = process.communicate(b"\n", timeout=60)
    fault.note(process.returncode, err)
    assert process.returncode == 7
    for pid in sessions:
        if is_alive(pid):
            end_tree(pid)


def test_the_gate_is_killed(fault: Fault) -> None:
    """What stands before the command on the server: the command goes on and is heard; no status can come of it."""
    fault.injected = "kill -9 of the login shell on the server, in mid-command"
    fault.warm()
    process = fault.start(["sh", "-c", f"{COUNT}; read line; echo ended"], stdin=-1)
    assert process.stdout
    assert process.stdout.readline() == b"1\n"
    gates = [pid for pid, argv in list_remote(fault.home).items() if any(b"mtr-" in word for word in argv[3:5])]
    fault.inject()
    kill_and_wait(gates)
    out, err = process.communicate(b"\n", timeout=60)
    fault.note(process.returncode, err)
    assert (process.returncode, out) == (LOST, b"ended\n")
    assert b"ended without a status" in err
    fault.mend(ran=1)


def test_the_master_is_stopped_for_a_while_in_mid_command(fault: Fault) -> None:
    """A short sleep of the laptop: nothing is lost, and mtr says nothing."""
    fault.injected = "SIGSTOP of mtr and its master in mid-command, then SIGCONT"
    fault.warm()
    done_file = fault.home.dir / "written"
    process = fault.start(["sh", "-c", f"echo started; read line; seq 200000; echo >{done_file}; exit 5"], stdin=-1)
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"started\n"
    fault.inject()
    pids = [process.pid, *fault.home.masters()]
    process.stdin.write(b"\n")
    process.stdin.flush()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    status, out, _ = fault.finish(process)
    assert status == 5
    assert out == b"".join(b"%d\n" % number for number in range(1, 200_001))
    fault.mend()


@BOTH
def test_the_line_is_cut_in_mid_command(fault: Fault, relay: Relay, client: str) -> None:
    """125, what is known, and what ends the rest; the command is not run again."""
    fault.injected = f"relay cut in mid-command ({client})"
    fault.home.configure(fault.project, port=relay.port, client=client)
    lose_the_line(fault, relay.cut)
    fault.mend(ran=1)


def test_the_line_stalls_for_a_while_in_mid_command(fault: Fault, relay: Relay) -> None:
    """A tunnel of the railway: late, and whole."""
    fault.injected = "relay stalled in mid-command, then resumed"
    fault.warm()
    process = fault.start(["sh", "-c", "echo started; read line; seq 200000; exit 5"], stdin=-1)
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == b"started\n"
    fault.inject()
    relay.stall()
    process.stdin.write(b"\n")
    process.stdin.flush()
    relay.resume()
    status, out, _ = fault.finish(process)
    assert (status, len(out.splitlines())) == (5, 200_000)
    fault.mend()


@BOTH
def test_the_line_dies_silently_in_mid_command(fault: Fault, relay: Relay, client: str) -> None:
    """No byte and no reset: the keepalive of the connection ends it."""
    fault.injected = (
        f"({client}) "
        "connection forgotten by the network in mid-command (keepalive 1 s, twice; 15 s, four times by default)"
    )
    fault.home.configure(
        fault.project, port=relay.port, client=client, ssh_options={"ServerAliveInterval": 1, "ServerAliveCountMax": 2}
    )
    lose_the_line(fault, relay.forget)
    fault.mend(ran=1)


def test_a_slow_line_is_not_a_dead_one(fault: Fault, relay: Relay) -> None:
    """A session that opens late behind 1.5 MB of another run's: it waits, and nobody's connection is ended."""
    fault.injected = "a second run behind 1.5 MB of output, at 150 kB/s"
    fault.warm()
    (master,) = fault.home.masters()
    relay.bytes_per_s = 150_000
    first = fault.start(["--no-sync", "head", "-c", "1500000", "/dev/zero"])
    assert first.stdout
    assert first.stdout.read(1) == b"\0"
    fault.inject()
    second = fault.start(["--no-sync", "echo", "fine"])
    assert len(first.stdout.read()) == 1_499_999
    assert fault.finish(second)[:2] == (0, b"fine\n")
    first.communicate(timeout=60)
    assert (first.returncode, fault.home.masters()) == (0, [master])
    relay.bytes_per_s = 0
    fault.mend()


def test_two_runs_with_the_same_large_push(fault: Fault, relay: Relay) -> None:
    """One brings it, the other waits for that: both end well, and rsync's work is not disturbed."""
    fault.injected = "two runs at once, with the same push of 20 MB"
    fault.warm()
    relay.bytes_per_s = 8_000_000
    (fault.project / "big.bin").write_bytes(os.urandom(20_000_000))
    fault.inject()
    before = relay.passed_bytes
    first = fault.start(["sh", "-c", "wc -c <big.bin"])
    wait_until(lambda: relay.passed_bytes > before + 1_000_000, "some of it to be there")
    second = fault.start(["sh", "-c", "wc -c <big.bin"])
    for run in (first, second):
        status, out, err = fault.finish(run)
        assert (status, out.strip()) == (0, b"20000000"), err
    relay.bytes_per_s = 0
    fault.mend()


# -- while the files travel


@pytest.mark.parametrize(("transport", "size"), [("payload", 60_000), ("tar", 3_000_000), ("rsync", 20_000_000)])
@pytest.mark.parametrize("how", ["cut", "forgotten", "mtr killed"])
def test_a_sync_is_broken(fault: Fault, relay: Relay, transport: str, size: int, how: str) -> None:
    """The command does not start on half a tree; what is there stays; the next run brings the rest."""
    fault.injected = f"{how} half-way through a sync by {transport}"
    fault.home.configure(
        fault.project, port=relay.port, ssh_options={"ServerAliveInterval": 1, "ServerAliveCountMax": 2}
    )
    fault.warm()
    (fault.project / "a.txt").write_text("two\n")
    (fault.project / "big.bin").write_bytes(os.urandom(size))
    relay.bytes_per_s = size
    before = relay.passed_bytes
    process = fault.start(["sh", "-c", f"{COUNT}; cat a.txt"])
    wait_until(lambda: relay.passed_bytes > before + size // 3, "a third of it to be there")
    fault.inject()
    if how == "mtr killed":
        kill_and_wait([process.pid])
    else:
        relay.cut() if how == "cut" else relay.forget()
    relay.bytes_per_s = 0
    status, out, err = fault.finish(process)
    # Where no session of the command had opened, it was asked for again over a new connection, and ran.
    assert (status, out) in [(0, b"1\ntwo\n"), (LOST, b""), (-9, b"")], err
    fault.mend(ran=1 if status == 0 else None)


def test_ctrl_c_while_the_files_travel(fault: Fault, relay: Relay) -> None:
    """In a terminal: it ends the sync at once, nothing is in place, the command does not start."""
    fault.injected = "Ctrl-C in a terminal, half-way through a sync of 3 MB"
    fault.warm()
    (fault.project / "big.bin").write_bytes(os.urandom(3_000_000))
    relay.bytes_per_s = 200_000
    before = relay.passed_bytes
    child = fault.home.spawn_mtr(["sh", "-c", COUNT], fault.project)
    wait_until(lambda: relay.passed_bytes > before + 400_000, "some of it to be there")
    fault.inject()
    child.sendintr()
    child.expect(pexpect.EOF, timeout=20)
    child.close()
    relay.bytes_per_s = 0
    fault.note(child.exitstatus or 0, b"")
    assert child.exitstatus == 130
    assert not (fault.home.remote(fault.project) / "big.bin").exists()
    fault.mend(ran=0)


def test_mtr_is_killed_in_a_terminal(fault: Fault) -> None:
    """Its ssh goes with it, and the terminal is the shell's again: what is typed is no longer the command's."""
    fault.injected = "kill -9 of mtr in a terminal, in mid-command"
    fault.warm()
    shell = pexpect.spawn("bash", ["--norc"], env=fault.home.environ, cwd=str(fault.project), timeout=30)
    shell.sendline(f"PS1='ready> '; {' '.join(MTR)} sh -c '{COUNT}; echo start\"\"ed; exec sleep 4321'")
    shell.expect("started")
    fault.inject()
    (mtr,) = (pid for pid in children_of(shell.pid) if b"mtr" in read_argv(pid))
    kill_and_wait([mtr])
    shell.expect("ready> ")
    shell.sendline("stty -a | grep -o ' icanon'; echo mi''ne")
    shell.expect("icanon")
    shell.expect("mine")
    fault.note(-9, b"")
    shell.sendline("exit")
    shell.expect(pexpect.EOF)
    shell.close()
    fault.mend(ran=1)


def test_a_master_is_stopped_for_good_in_mid_command(fault: Fault) -> None:
    """It would never tell how the command ended: asked three times in vain it is ended, and mtr says so."""
    fault.injected = "SIGSTOP of the master in mid-command, for good (asked every second; 20 s by default)"
    fault.warm()
    code = "from mtr.ssh import wire; wire.ASK_EVERY_S = 1.0; from mtr.ssh import master; master.CHECK_TIMEOUT_S = 1.0;"
    code += "from mtr.warm import main; main()"
    argv = [sys.executable, "-c", code, "sh", "-c", f"{COUNT}; echo started; sleep 4321"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(argv, cwd=fault.project, env=fault.home.environ, **pipes)
    assert process.stdout
    assert [process.stdout.readline() for _ in range(2)][1] == b"started\n"
    fault.inject()
    for pid in fault.home.masters():
        os.kill(pid, signal.SIGSTOP)
    status, _, err = fault.finish(process)
    assert status == LOST
    assert b"no answer from lab" in err
    fault.mend(ran=1)


def test_mtrs_directory_is_removed_on_the_server(fault: Fault) -> None:
    """Somebody has tidied up, or mounted an empty disk over it: everything is compared, and brought."""
    fault.injected = "rm -rf of the project's files and .mtr on the server, the directory itself left"
    for transport in ("payload", "tar", "rsync"):
        fault.warm()
        remote = fault.home.remote(fault.project)
        shutil.rmtree(remote)
        remote.mkdir()
        edit_for(transport, fault.project / "bulk.bin")
        done = fault.run(["cat", "a.txt"])
        assert (done.returncode, done.stdout) == (0, b"one\n"), (transport, done.stderr)
        assert fault.took_s < 8
        fault.mend()


# -- while connecting


@pytest.mark.parametrize("size", [30, 1500, 3000])
def test_the_line_is_cut_while_it_connects(fault: Fault, relay: Relay, size: int) -> None:
    """In the banner, in the key exchange, in the login: a clear error, and nothing is left."""
    fault.injected = f"relay cut after {size} bytes of the login"
    relay.cut_after(size)
    done = fault.run(["true"])
    assert done.returncode == LOST
    assert b"try: " in done.stderr
    fault.mend()


def test_the_line_stalls_while_it_connects(fault: Fault, relay: Relay) -> None:
    """ConnectTimeout is 10 s unless the user has another; the test's is 2."""
    fault.injected = "relay stalled in the login (ConnectTimeout 2 s; 10 s by default)"
    fault.home.configure(fault.project, port=relay.port, ssh_options={"ConnectTimeout": 2})
    relay.stall()
    done = fault.run(["true"])
    assert done.returncode == LOST
    assert b"try: " in done.stderr
    relay.resume()
    fault.mend()


# -- while a file is fetched


@pytest.mark.parametrize("how", ["cut", "forgotten"])
def test_a_download_is_broken(fault: Fault, relay: Relay, how: str) -> None:
    """The file of yesterday stays as it was; what came of the new one is hidden, and getting it again goes on there."""
    fault.injected = f"{how} half-way through a download"
    fault.home.configure(
        fault.project, port=relay.port, ssh_options={"ServerAliveInterval": 1, "ServerAliveCountMax": 2}
    )
    fault.warm()
    data = os.urandom(20_000_000)
    result = fault.home.remote(fault.project) / "result.bin"
    result.write_bytes(data)
    os.utime(result, (1_600_000_000, 1_600_000_000))
    local = fault.home.dir / "result.bin"
    local.write_bytes(b"yesterday's")
    os.utime(local, (0, 0))
    relay.bytes_per_s = 6_000_000
    before = relay.passed_bytes
    process = fault.start(["get", "result.bin", str(local)])
    wait_until(lambda: relay.passed_bytes > before + 3_000_000, "a part of it to be there")
    fault.inject()
    relay.cut() if how == "cut" else relay.forget()
    relay.bytes_per_s = 0
    status, _, err = fault.finish(process)
    assert status == LOST, err
    assert local.read_bytes() == b"yesterday's"
    assert [path.name for path in fault.home.dir.iterdir() if path.name.startswith("result")] == ["result.bin"]
    assert fault.home.run_mtr(["get", "result.bin", str(local)], fault.project).returncode == 0
    assert local.read_bytes() == data
    assert [path for path in fault.home.dir.iterdir() if "result" in path.name] == [local]
    result.unlink()
    fault.mend()


# -- many at once


@pytest.mark.parametrize("warm", [True, False])
def test_thirty_runs_at_once(fault: Fault, make_server: Callable[..., SshServer], warm: bool) -> None:
    """More than sshd gives one connection: further masters; each run ends with its own status and its own output."""
    fault.injected = f"30 runs at once, MaxSessions 10, {'warm' if warm else 'none connected yet'}"
    server = make_server("MaxSessions 10")
    fault.home.configure(fault.project, port=server.port)
    fault.home.known_hosts.write_text("")
    if warm:
        assert fault.home.run_mtr(["true"], fault.project).returncode == 0
    fault.inject()
    with ThreadPoolExecutor(30) as pool:
        script = "sleep 1; echo $1; exit $1"
        runs = [pool.submit(fault.home.run_mtr, ["sh", "-c", script, "x", str(n)], fault.project) for n in range(30)]
        found = [(run.result().returncode, run.result().stdout) for run in runs]
    assert found == [(n, b"%d\n" % n) for n in range(30)]
    fault.note(0, b"")
    assert fault.left == []
