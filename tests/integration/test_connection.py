"""Masters: shared, kept apart, replaced, multiplied; destinations with and without configuration."""

from __future__ import annotations

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import end_tree, is_alive, processes_mentioning, wait_until
from tests.lab.relay import Relay
from tests.lab.sshd import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer


def servers(home: Home, root: Path) -> dict[str, dict[str, object]]:
    """Return ``mtr servers --json`` by name."""
    done = home.run_mtr(["servers", "--json"], root)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["data"]}


def test_runs_share_one_master_and_down_closes_it(home: Home, project: Path) -> None:
    """Up, two runs, one login; down ends it and leaves no file."""
    logins = home.server.log.read_text().count("Accepted publickey")
    assert servers(home, project)["lab"]["state"] == "down"
    assert home.run_mtr(["up"], project).returncode == 0
    for _ in range(2):
        assert home.run_mtr(["true"], project).returncode == 0
    assert home.server.log.read_text().count("Accepted publickey") == logins + 1
    assert servers(home, project)["lab"]["state"] == "up"
    (master,) = home.masters()
    done = home.run_mtr(["down"], project)
    assert b"closed lab" in done.stderr
    wait_until(lambda: not is_alive(master), "the master to end")
    assert servers(home, project)["lab"]["state"] == "down"
    assert {path.name for path in home.runtime.iterdir()} <= {"config", "no-repository.git"}


def test_two_projects_share_a_connection_and_other_options_do_not(home: Home) -> None:
    """The key of a master is the set of its options."""
    one, two, three = (home.make_project(name) for name in ("one", "two", "three"))
    home.configure(three, ssh_options={"Compression": True})
    for root in (one, two):
        assert home.run_mtr(["true"], root).returncode == 0
    assert len(home.masters()) == 1
    assert home.run_mtr(["true"], three).returncode == 0
    assert len(home.masters()) == 2


def test_down_lets_running_commands_end(home: Home, project: Path) -> None:
    """Closed gently: the session in flight delivers its output and status."""
    process = home.popen_mtr(["--no-sync", "sh", "-c", "echo started; sleep 1; echo finished; exit 4"], project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    assert home.run_mtr(["down"], project).returncode == 0
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (4, b"finished\n", b"")


def test_an_edited_ssh_config_is_noticed(home: Home, project: Path) -> None:
    """A changed User reaches the new account at once, not the old one over the old master."""
    (project / ".mtr" / "config.yaml").write_text("servers:\n  lab: {host: box, remote_dir: ~/edited}\n")
    block = f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User "
    for user in ("bash", "dash"):
        home.write_ssh_config(block + user)
        assert home.run_mtr(["sh", "-c", "echo $USER"], project).stdout == f"{user}\n".encode()


def test_an_alias_of_ssh_config_needs_nothing_else(home: Home, make_server: Callable[..., SshServer]) -> None:
    """ProxyJump, port, user and key from ~/.ssh/config; ``mtr -s ALIAS`` with no configuration at all."""
    jump = make_server()
    home.write_ssh_config(
        f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User zsh\n  ProxyJump hop\n"
        f"Host hop\n  HostName 127.0.0.1\n  Port {jump.port}\n  User dash\n"
    )
    root = home.dir / "p" / "plain"
    root.mkdir()
    (root / "f.txt").write_text("plain\n")
    done = home.run_mtr(["-s", "box", "sh", "-c", "cat f.txt; echo $USER; pwd"], root)
    assert done.returncode == 0, done.stderr
    text, user, where = done.stdout.decode().splitlines()
    assert (text, user) == ("plain", "zsh")
    assert "Accepted publickey for dash" in jump.log.read_text()
    assert Path(where).parent == home.server.home_of("zsh") / "mtr"
    assert not (root / ".mtr").exists()


def test_a_destination_without_configuration(home: Home) -> None:
    """``mtr -s user@host:port CMD``, and from a home directory with --no-sync in the home directory there."""
    done = home.run_mtr(["-s", f"fish@127.0.0.1:{home.server.port}", "--no-sync", "pwd"], home.home)
    assert done.stdout.decode().strip() == str(home.server.home_of("fish")), done.stderr


def test_addresses_are_tried_in_order(home: Home, project: Path) -> None:
    """The first that answers is used, and its master next time."""
    home.write_ssh_config(f"Host gone\n  HostName 127.0.0.1\n  Port {free_port()}\n")
    config = project / ".mtr" / "config.yaml"
    home.configure(project, host=["gone", "127.0.0.1"], ssh_options={"Port": home.server.port})
    data = json.loads(config.read_text())
    del data["servers"]["lab"]["port"], data["servers"]["lab"]["ssh_options"]
    config.write_text(json.dumps(data))
    home.write_ssh_config(
        f"Host gone\n  HostName 127.0.0.1\n  Port {free_port()}\nHost 127.0.0.1\n  Port {home.server.port}\n"
    )
    for _ in range(2):
        assert home.run_mtr(["echo", "x"], project).stdout == b"x\n"
    assert len(home.masters()) == 1


def test_a_killed_master_is_replaced_unseen(home: Home, project: Path) -> None:
    """A stale socket: the next run opens a new master, and the command runs once."""
    assert home.run_mtr(["true"], project).returncode == 0
    (master,) = home.masters()
    end_tree(master)
    done = home.run_mtr(["sh", "-c", "echo x >>count; wc -l <count"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")
    assert len(home.masters()) == 1


def test_a_stopped_master_is_replaced_and_the_command_runs_once(home: Home, project: Path) -> None:
    """A wedged master is killed before its client: what it had queued never runs. mtr says so."""
    assert home.run_mtr(["true"], project).returncode == 0
    (master,) = home.masters()
    os.kill(master, signal.SIGSTOP)
    done = home.run_mtr(["--no-sync", "sh", "-c", "echo x >>count; wc -l <count"], project)
    assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    assert b"connecting anew" in done.stderr
    assert not is_alive(master)
    (master,) = home.masters()
    os.kill(master, signal.SIGSTOP)
    (project / "new.txt").write_text("new\n")
    assert home.run_mtr(["cat", "new.txt"], project).stdout == b"new\n"


def test_a_stalled_line_is_noticed_and_replaced(home: Home, project: Path) -> None:
    """Half open: the master answers, its line is dead. Nothing ran, so the run goes over a new one."""
    relay = Relay(home.server.port)
    try:
        home.configure(project, port=relay.port)
        assert home.run_mtr(["true"], project).returncode == 0
        (master,) = home.masters()
        relay.stall()
        process = home.popen_mtr(["--no-sync", "sh", "-c", "echo x >>count; wc -l <count"], project)
        wait_until(lambda: not is_alive(master), "the dead line to be given up")
        relay.resume()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, b"1\n"), err
    finally:
        for pid in home.masters():
            end_tree(pid)
        relay.close()


def test_a_line_cut_in_mid_command_is_told(home: Home, project: Path) -> None:
    """The command had started: it is not run again, the status is 125, and what is known is said."""
    relay = Relay(home.server.port)
    try:
        home.configure(project, port=relay.port)
        process = home.popen_mtr(["sh", "-c", "echo started; sleep 4325"], project)
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        relay.cut()
        _, err = process.communicate(timeout=30)
        assert process.returncode == 125
        assert b"broke while the command ran" in err
        for pid in processes_mentioning(["sleep 4325"]):
            end_tree(pid)
    finally:
        relay.close()


def test_more_runs_than_max_sessions(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """A refused session goes over a second master; every run ends with its own status."""
    small = make_server("MaxSessions 2")
    home.configure(project, port=small.port)
    assert home.run_mtr(["true"], project).returncode == 0
    with ThreadPoolExecutor(9) as pool:
        runs = [pool.submit(home.run_mtr, ["--no-sync", "sh", "-c", f"sleep 1; exit {n}"], project) for n in range(9)]
        assert [run.result().returncode for run in runs] == list(range(9))
    assert len(home.masters()) > 1


def test_a_sync_when_all_sessions_are_taken(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """Rsync's session is refused too, and goes over another master."""
    small = make_server("MaxSessions 1")
    home.configure(project, port=small.port)
    busy = home.popen_mtr(["sh", "-c", "echo started; cat"], project, stdin=-1)
    assert busy.stdout
    assert busy.stdout.readline() == b"started\n"
    (project / "new.txt").write_text("new\n")
    done = home.run_mtr(["cat", "new.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"new\n"), done.stderr
    busy.communicate(b"", timeout=30)


@pytest.mark.parametrize("accepted", ["LANG LC_*", "XMODIFIERS", "NOTHING"])
def test_the_environment_arrives_whatever_the_server_accepts(
    home: Home, project: Path, make_server: Callable[..., SshServer], accepted: str
) -> None:
    """Debian's, Fedora's and no AcceptEnv: values arrive byte for byte, no file stays there, no ps shows them."""
    other = make_server(accept_env=accepted)
    home.configure(project, port=other.port, env={"FROM_CONFIG": "it's\n$x é"})
    script = 'printf "%s|%s" "$FROM_CONFIG" "$FROM_HERE"; env | grep -c LC_MTR; ls -A "$HOME" | grep -c mtr-in'
    done = home.run_mtr(["-e", "FROM_HERE=1 2", "sh", "-c", script], project)
    assert done.stdout == "it's\n$x é|1 20\n0\n".encode(), done.stderr


def test_rc_files_that_print_do_not_matter(home: Home, project: Path) -> None:
    """A greeting in .bashrc is the server's own; the command's output is pure where the shell lets it be."""
    rc = home.server.home_of("zsh") / ".zshenv"
    rc.write_text("echo noise >&2\n")
    try:
        home.configure(project, user="zsh")
        done = home.run_mtr(["--no-sync", "echo", "x"], project)
        assert (done.returncode, done.stdout) == (0, b"x\n")
    finally:
        rc.unlink()


def test_a_greeting_is_no_refusal(home: Home, project: Path) -> None:
    """A shell that greets on stdout: 125 is the command's own, and a tree that has gone is brought again."""
    rc = home.server.home_of("bash") / ".bashrc"
    rc.write_text("echo welcome; printf more\n")
    try:
        done = home.run_mtr(["sh", "-c", "exit 125"], project)
        assert (done.returncode, done.stderr) == (125, b"")
        shutil.rmtree(home.remote(project))
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout.endswith(b"moreone\n")) == (0, True)
        assert b"not as this machine left it" in done.stderr
    finally:
        rc.unlink()


def test_a_users_own_ssh_settings_cannot_break_a_run(home: Home, project: Path) -> None:
    """RemoteCommand, RequestTTY, LocalForward, SessionType, ControlMaster of the user's own: a run is a run."""
    home.write_ssh_config(
        "Host *\n  RemoteCommand echo hijacked\n  RequestTTY force\n  ControlMaster auto\n  ControlPath /tmp/none-%C\n"
        f"  LocalForward {free_port()} localhost:1\n  PermitLocalCommand yes\n  LocalCommand echo local\n"
        "  LogLevel QUIET\n  StdinNull yes\n  ForkAfterAuthentication yes\n  SessionType none\n"
    )
    done = home.run_mtr(["cat", "-", "a.txt"], project, stdin=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"in\none\n", b"")
    assert not Path("/tmp").joinpath("none").exists()


def test_a_user_who_forks_after_authentication_can_run(home: Home, project: Path) -> None:
    """Without a command of its own, ssh refuses that option even when only asked for its configuration."""
    home.write_ssh_config("Host *\n  ForkAfterAuthentication yes\n")
    assert home.run_mtr(["echo", "x"], project).stdout == b"x\n"


def test_first_runs_at_once_open_one_master(home: Home, project: Path) -> None:
    """A burst on a cold connection logs in once; nobody is left without an answer."""
    logins = home.server.log.read_text().count("Accepted publickey")
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(home.run_mtr, ["--no-sync", "sh", "-c", f"exit {n}"], project) for n in range(8)]
        assert [run.result().returncode for run in runs] == list(range(8))
    assert home.server.log.read_text().count("Accepted publickey") == logins + 1


def test_two_names_of_one_server_share_a_connection(home: Home, project: Path) -> None:
    """Both are up when one is, and ``down`` names the one that was asked for."""
    config = project / ".mtr" / "config.yaml"
    keys = json.loads(config.read_text())["servers"]["lab"]
    config.write_text(json.dumps({"servers": {"lab": keys, "also": keys}}))
    assert home.run_mtr(["up", "also"], project).returncode == 0
    assert home.run_mtr(["servers"], project).stdout.count(b" up ") == 2
    assert b"closed lab " in home.run_mtr(["down", "lab"], project).stderr
    assert home.run_mtr(["servers"], project).stdout.count(b" down ") == 2


def test_a_line_that_breaks_while_the_last_output_is_written(home: Home, project: Path) -> None:
    """The status has come, and whoever reads is slow: all of the output comes with it, or that it did not is said."""
    relay = Relay(home.server.port)
    home.configure(project, port=relay.port)
    whole = b"".join(b"%d\n" % number for number in range(1, 20_001))
    try:
        for number in range(5):
            done = home.remote(project) / f"done{number}"
            run = home.popen_mtr(["sh", "-c", f"seq 20000; : >{done}; exit 3"], project)
            wait_until(done.exists, "the end of the command")
            relay.cut()
            run.wait(60)
            out, err = run.communicate()
            assert (run.returncode, out) == (3, whole) or (run.returncode == 125 and whole.startswith(out)), err
            assert run.returncode == 3 or b"broke" in err
    finally:
        relay.close()
