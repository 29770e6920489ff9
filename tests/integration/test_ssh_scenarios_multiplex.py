"""OpenSSH's own regression scenarios with ``mtr`` in the place of ``ssh``: the master, forwarding, keys exchanged anew.

Each docstring says what ssh's suite claims, by the name of its script, and what mtr must do. Not repeated here:

- multiplex, -O exit and -O check: test_connection.test_runs_share_one_master_and_down_closes_it
- multiplex, -O stop while a command runs: test_connection.test_down_lets_running_commands_end
- multiplex, a master that died with its socket left: test_connection.test_a_killed_master_is_replaced_unseen
- multiplex, a stopped master: test_connection.test_a_stopped_master_is_replaced_and_the_command_runs_once
- multiplex, MaxSessions: test_connection.test_more_runs_than_max_sessions
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.lab.kills import is_script, list_outliving, list_remote
from tests.lab.processes import end_tree, is_alive, wait_until
from tests.lab.sshd import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

    MakeProject = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("nothing_of_a_run_left")

LOST = b"broke while the command ran"


def start_waiting(home: Home, project: Path, mark: str = "4340") -> subprocess.Popen[bytes]:
    """Start a command that says that it runs, and then sleeps."""
    process = home.popen_mtr(["--no-sync", "sh", "-c", f"echo started; exec sleep {mark}"], project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    return process


def end_left(home: Home) -> None:
    """End what still runs on the server without a line to it: mtr has said that it may."""
    for pid in list_outliving(home):
        end_tree(pid)


def test_the_environment_over_a_standing_master(home: Home, make_project: MakeProject, server: SshServer) -> None:
    """multiplex, envpass: what SendEnv names is taken from the session's own environment, not from the master's."""
    project = make_project("AcceptEnv SENT_* SET_*")
    home.write_ssh_config("Host *\n  SendEnv SENT_*\n  SetEnv SET_ONE='first value'\n", key=server.key)
    for value in ("one", "two words", "$HOME '*' \"é\"", ""):
        done = home.run_mtr(["sh", "-c", 'printf "%s|" "$SENT_X" "$SET_ONE"'], project, environ={"SENT_X": value})
        assert done.stdout == f"{value}|first value|".encode(), done.stderr
    assert home.run_mtr(["sh", "-c", 'echo "${SENT_X-unset}"'], project).stdout == b"unset\n"
    assert len(home.masters()) == 1


def test_one_large_file_four_times_at_once(home: Home, project: Path) -> None:
    """multiplex, transfer: four sessions of one master carry the same bytes at once, there and back."""
    data = os.urandom(8_000_000)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(home.run_mtr, ["--no-sync", "cat"], project, stdin=data) for _ in range(4)]
        found = [hashlib.sha256(run.result().stdout).digest() for run in runs]
    assert found == [hashlib.sha256(data).digest()] * 4
    assert len(home.masters()) == 1


def test_statuses_of_many_sessions_of_one_master(home: Home, project: Path) -> None:
    """multiplex, status: every session has the status of its own command, those that end at once as well."""
    assert home.run_mtr(["up"], project).returncode == 0
    wanted = [0, 1, 4, 5, 44, 254, 255, 126]
    with ThreadPoolExecutor(len(wanted)) as pool:
        runs = [pool.submit(home.run_mtr, ["--no-sync", "sh", "-c", f"exit {n}"], project) for n in wanted]
        assert [run.result().returncode for run in runs] == wanted
    assert len(home.masters()) == 1


def test_a_master_killed_under_its_sessions(home: Home, project: Path) -> None:
    """multiplex: without their master all its sessions end, each is told, and the next run has a new one."""
    running = [start_waiting(home, project, f"434{n}") for n in range(3)]
    (master,) = home.masters()
    os.kill(master, signal.SIGKILL)
    for process in running:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (125, b"")
        assert LOST in err
    done = home.run_mtr(["echo", "again"], project)
    assert (done.returncode, done.stdout) == (0, b"again\n")
    assert done.stderr.count(b"that was cut off had left there") == 3
    end_left(home)


def test_a_session_killed_under_a_living_master(home: Home, project: Path) -> None:
    """multiplex: a client that is killed takes neither the master nor the other sessions with it."""
    killed, other = start_waiting(home, project, "4344"), start_waiting(home, project, "4345")
    masters = home.masters()
    killed.kill()
    assert killed.wait(timeout=30) == -signal.SIGKILL
    for stream in (killed.stdout, killed.stderr):
        # The master holds its other end as long as the command there does: no end of file comes.
        assert stream
        stream.close()
    done = home.run_mtr(["--no-sync", "echo", "alive"], project)
    assert (done.stdout, home.masters()) == (b"alive\n", masters)
    assert other.poll() is None
    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=30)
    assert other.returncode == 128 + signal.SIGTERM
    end_left(home)


def test_a_session_killed_on_the_server(home: Home, project: Path) -> None:
    """multiplex, the other end: what stands for the run there is killed: no status, said as such, the master lives."""
    process = start_waiting(home, project, "4346")
    (gate,) = [pid for pid, argv in list_remote(home).items() if is_script(argv)]
    masters = home.masters()
    os.kill(gate, signal.SIGKILL)
    end_left(home)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (125, b"")
    assert b"ended without a status" in err
    assert home.run_mtr(["--no-sync", "echo", "alive"], project).stdout == b"alive\n"
    assert home.masters() == masters


def test_a_master_asked_to_end_by_ssh_itself(home: Home, project: Path) -> None:
    """multiplex, -O exit by hand: mtr's socket speaks to the user's own ssh, and the next run opens a new master."""
    assert home.run_mtr(["up"], project).returncode == 0
    (master,) = home.masters()
    (path,) = [found.with_suffix("") for found in home.runtime.glob("*.json")]
    done = subprocess.run(["ssh", "-O", "exit", "-S", str(path), "any"], capture_output=True, check=False)
    assert b"Exit request sent" in done.stderr
    wait_until(lambda: not is_alive(master), "the master to end")
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
    assert home.masters() != [master]


def test_down_and_a_new_master_beside_the_old_one(home: Home, project: Path) -> None:
    """multiplex, -O stop: the old master ends with its last session, a new one takes the runs meanwhile."""
    process = home.popen_mtr(["--no-sync", "cat"], project, stdin=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"1\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"1\n"
    (old,) = home.masters()
    assert home.run_mtr(["down"], project).returncode == 0
    assert home.run_mtr(["echo", "new"], project).stdout == b"new\n"
    assert is_alive(old)
    assert home.masters() != [old]
    assert process.communicate(b"2\n", timeout=30) == (b"2\n", b"")
    assert process.returncode == 0
    wait_until(lambda: not is_alive(old), "the old master to end")


CONTROLS = (
    ("AllowTcpForwarding no", "AllowStreamLocalForwarding no"),
    ("DisableForwarding yes",),
    ("PermitOpen none", "PermitListen none"),
    ("AllowAgentForwarding no", "X11Forwarding no", "PermitTunnel no", "PermitTTY no"),
)


@pytest.mark.parametrize("lines", CONTROLS, ids=lambda lines: lines[0].replace(" ", "-"))
def test_a_server_that_forwards_nothing(home: Home, make_project: MakeProject, lines: tuple[str, ...]) -> None:
    """forward-control: mtr needs none of it; syncs by every way, runs and gets."""
    project = make_project(*lines)
    (project / "big").write_bytes(os.urandom(3_000_000))
    for sync in ("auto", "sftp"):
        home.configure(project, sync=sync)
        (project / "a.txt").write_text(f"{sync}\n")
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout) == (0, f"{sync}\n".encode()), done.stderr
    assert home.run_mtr(["get", "big"], project).returncode == 0
    assert (project / "downloads" / "big").read_bytes() == (project / "big").read_bytes()


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens already."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_the_users_own_forwards_are_not_opened(home: Home, project: Path, taken_port: int) -> None:
    """forwarding, dynamic-forward: lines for ssh are not for mtr's master: none is opened, none can fail."""
    ports = [free_port() for _ in range(3)]
    home.write_ssh_config(
        f"Host *\n  LocalForward {ports[0]} 127.0.0.1:1\n  RemoteForward {ports[1]} 127.0.0.1:1\n"
        f"  DynamicForward {ports[2]}\n  LocalForward {taken_port} 127.0.0.1:1\n"
        f"  RemoteForward {taken_port} 127.0.0.1:1\n"
        f"  LocalForward {home.dir}/forward 127.0.0.1:1\n  ExitOnForwardFailure yes\n  GatewayPorts yes\n  Tunnel yes\n"
    )
    for words in (["cat", "a.txt"], ["--tty", "cat", "a.txt"]):
        done = home.run_mtr(words, project)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not (home.dir / "forward").exists()


@pytest.mark.parametrize("side", ["client", "server"])
def test_keys_are_exchanged_anew_under_thirty_megabytes(
    home: Home, make_project: MakeProject, side: str, server: SshServer
) -> None:
    """rekey: with a small RekeyLimit on either side, 30 MB through a session are the same bytes."""
    project = make_project(*(["RekeyLimit 512k", "LogLevel DEBUG1"] if side == "server" else ["LogLevel DEBUG1"]))
    home.write_ssh_config("Host *\n  RekeyLimit 512k\n" if side == "client" else "", key=server.key)
    data = os.urandom(30_000_000)
    # At that level of its log sshd mentions things on the stderr of sessions, too.
    done = home.run_mtr(["--no-sync", "cat"], project, stdin=data)
    assert (done.returncode, done.stdout == data) == (0, True), done.stderr
    (project / "big").write_bytes(data[:5_000_000])
    done = home.run_mtr(["sha256sum", "big"], project)
    assert done.stdout.split()[0] == hashlib.sha256(data[:5_000_000]).hexdigest().encode(), done.stderr
    assert home.server.log.read_text().count("SSH2_MSG_NEWKEYS received") > 20


def test_sshd_reads_its_configuration_again(home: Home, make_project: MakeProject) -> None:
    """reconfigure: SIGHUP while a master stands: runs go on over it, a new one opens by the new rules."""
    project = make_project()
    running = start_waiting(home, project, "4350")
    (master,) = home.masters()
    config = home.server.dir / "sshd_config"
    config.write_text(f"SetEnv RECONFIGURED=yes\n{config.read_text()}")
    listening = home.server.log.read_text().count("Server listening")
    os.kill(home.server.pid, signal.SIGHUP)
    wait_until(lambda: home.server.log.read_text().count("Server listening") > listening, "sshd to listen again")
    show = ["sh", "-c", 'echo "${RECONFIGURED-no}"']
    assert home.run_mtr(show, project).stdout == b"no\n"
    assert home.masters() == [master]
    assert home.run_mtr(["down"], project).returncode == 0
    assert home.run_mtr(show, project).stdout == b"yes\n"
    assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert running.returncode == 128 + signal.SIGTERM
    end_left(home)


def test_sshd_started_anew(home: Home, make_project: MakeProject) -> None:
    """reexec: sshd ends with all its sessions and starts again: the run is told, the next one works unseen."""
    project = make_project()
    running = start_waiting(home, project, "4351")
    home.server.kill()
    _, err = running.communicate(timeout=30)
    assert running.returncode == 125
    assert LOST in err
    done = home.run_mtr(["true"], project)
    assert (done.returncode, b"connection refused" in done.stderr) == (125, True), done.stderr
    home.server.start()
    wait_until(lambda: not home.masters(), "the old master to end")
    done = home.run_mtr(["sh", "-c", "cat a.txt"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")


def test_a_channel_that_times_out(home: Home, make_project: MakeProject) -> None:
    """channel-timeout: a session that sshd closes for its silence is told as such, never as a status; others go on."""
    project = make_project("ChannelTimeout session:*=2s")
    done = home.run_mtr(["--no-sync", "sh", "-c", "echo started; exec sleep 4352"], project)
    assert (done.returncode, done.stdout) == (125, b"started\n")
    assert b"ended without a status" in done.stderr
    text = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.5; done; exit 23"
    done = home.run_mtr(["--no-sync", "sh", "-c", text], project)
    assert (done.returncode, done.stdout) == (23, b"1\n2\n3\n4\n5\n6\n"), done.stderr
    end_left(home)


def test_an_unused_connection_that_times_out(home: Home, make_project: MakeProject) -> None:
    """connection-timeout: sshd ends a master without sessions; the next run opens another without a word."""
    project = make_project("UnusedConnectionTimeout 1s")
    for count in (1, 2):
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
        assert home.server.log.read_text().count("Accepted publickey") == count
        wait_until(lambda: not home.masters(), "sshd to end the idle master")
