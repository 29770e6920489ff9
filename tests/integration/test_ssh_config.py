"""``mtr ssh-config`` with the real scp, sftp, rsync, git and ssh: one login, whoever comes first, and no harm done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.processes import is_alive, processes_mentioning, wait_until
from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer


class Person:
    """Someone at their own ssh, whose configuration is the home's; ssh itself would look in the password database."""

    def __init__(self, home: Home, project: Path) -> None:
        self.home = home
        self.project = project
        self.config = home.home / ".ssh" / "config"
        self.file = home.home / ".config" / "mtr" / "ssh_config"
        self.environ = {**home.environ, "GIT_SSH_COMMAND": f"ssh -F {self.config}"}

    def run(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program of the ssh family, or one that calls it; it must go well."""
        words = [argv[0], *(["-F", str(self.config)] if argv[0] in ("ssh", "scp", "sftp") else []), *argv[1:]]
        done = subprocess.run(
            words, cwd=self.project, env=self.environ, input=stdin, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done
        return done

    def mtr(self, *argv: str, status: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run mtr in the project."""
        done = self.home.run_mtr(argv, self.project)
        assert done.returncode == status, done
        return done

    def count_logins(self) -> int:
        """Return how many logins the server has seen."""
        return self.home.server.log.read_text().count("Accepted ")

    def resolve(self, name: str) -> dict[str, str]:
        """Return what the person's ssh says of ``name``."""
        lines = self.run("ssh", "-G", name).stdout.decode().splitlines()
        return dict(line.partition(" ")[::2] for line in lines)


@pytest.fixture
def person(home: Home, project: Path) -> Iterator[Person]:
    """A person whose project has been installed in their ssh; whatever ssh has opened is closed."""
    made = Person(home, project)
    made.mtr("ssh-config", "--install")
    yield made
    home.run_mtr(["down", "--all"], home.dir)
    marks = [f"{home.runtime}/"]
    wait_until(lambda: not [p for p, a in processes_mentioning(marks).items() if "[mux]" in a], "masters of ssh to end")


def test_scp_sftp_rsync_and_git_go_over_the_connection_of_mtr(person: Person, home: Home) -> None:
    """One login for all of them, by the server's own name."""
    person.mtr("up")
    logins = person.count_logins()
    person.run("scp", "a.txt", "lab:by-scp")
    person.run("sftp", "-b", "-", "lab", stdin=b"get by-scp back.txt\n")
    assert (person.project / "back.txt").read_text() == "one\n"
    person.run("rsync", "-e", f"ssh -F {person.config}", "a.txt", "lab:by-rsync")
    assert person.run("ssh", "lab", "cat by-scp by-rsync").stdout == b"one\none\n"
    there = f"lab:{home.dir.name}.git"
    person.run("ssh", "lab", f"git init -q --bare -b main {home.dir.name}.git")
    person.run("git", "add", "a.txt")
    person.run("git", "commit", "-qm", "first")
    person.run("git", "push", "-q", there, "HEAD:main")
    person.run("git", "clone", "-q", there, "cloned")
    assert (person.project / "cloned" / "a.txt").read_text() == "one\n"
    assert person.count_logins() == logins


def test_a_connection_that_scp_has_opened_is_taken_by_mtr(person: Person) -> None:
    """The other way round: scp logs in, mtr shows the connection, runs over it, and closes it."""
    logins = person.count_logins()
    person.run("scp", "a.txt", "lab:by-scp")
    assert b" up " in person.mtr("servers").stdout
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert b"127.0.0.1" in person.mtr("servers").stdout
    assert person.count_logins() == logins + 1
    (master,) = person.home.masters()
    assert b"closed lab" in person.mtr("down").stderr
    wait_until(lambda: not is_alive(master), "the master to end")
    person.run("scp", "a.txt", "lab:by-scp")
    assert person.count_logins() == logins + 2


def test_a_terminal_goes_over_it_too(person: Person) -> None:
    """``ssh lab``: a shell with a terminal, of its size, over the connection that stands."""
    person.mtr("up")
    logins = person.count_logins()
    argv = ["-F", str(person.config), "-t", "lab", "stty size; echo done"]
    child = pexpect.spawn("ssh", argv, env=person.environ, dimensions=(31, 97), timeout=30)
    child.expect("31 97\r\ndone")
    child.expect(pexpect.EOF)
    child.close()
    assert person.count_logins() == logins


def test_a_master_that_was_killed_is_replaced_by_ssh_and_found_by_mtr(person: Person) -> None:
    """Its socket is left over: ssh opens another in its place, and mtr, whose record is of the old one, uses that."""
    person.mtr("up")
    (master,) = person.home.masters()
    os.kill(master, signal.SIGKILL)
    wait_until(lambda: not is_alive(master), "the master to end")
    logins = person.count_logins()
    assert person.run("ssh", "lab", "echo hello").stdout == b"hello\n"
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert b" up " in person.mtr("servers").stdout
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert person.count_logins() == logins + 1


def test_a_master_of_ssh_that_is_wedged_is_replaced_by_mtr(person: Person) -> None:
    """It answers nobody; the next run ends it and opens another, as with one of its own."""
    person.run("ssh", "lab", "true")
    person.mtr("true")
    (master,) = person.home.masters()
    os.kill(master, signal.SIGSTOP)
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert not is_alive(master)
    assert person.run("ssh", "lab", "echo hello").stdout == b"hello\n"


def test_a_server_that_takes_one_session_alone(home: Home, make_project: Callable[..., Path]) -> None:
    """MaxSessions: beside a run that goes on, scp gets there by a login of its own, and nothing is broken."""
    person = Person(home, make_project("MaxSessions 1"))
    person.mtr("ssh-config", "--install")
    running = home.popen_mtr(["--no-sync", "sh", "-c", "echo started; sleep 60"], person.project)
    assert running.stdout
    assert running.stdout.readline() == b"started\n"
    person.run("scp", "a.txt", "lab:by-scp")
    assert person.run("ssh", "lab", "cat by-scp").stdout == b"one\n"
    running.terminate()
    running.communicate(timeout=30)
    assert person.mtr("cat", "a.txt").stdout == b"one\n"


def test_mtr_and_ssh_at_once_leave_one_connection(person: Person) -> None:
    """Whoever loses the race joins the winner or goes alone; nothing stays that nobody can reach."""
    for _ in range(4):
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(person.run, "ssh", "lab", "echo ssh"), pool.submit(person.mtr, "cat", "a.txt")] * 2
            assert {job.result().stdout for job in jobs} == {b"ssh\n", b"one\n"}
        assert person.mtr("cat", "a.txt").stdout == b"one\n"
        person.mtr("down", "--all")
        wait_until(
            lambda: not [a for a in processes_mentioning([f"{person.home.runtime}/"]).values() if a.startswith("ssh")],
            "every ssh to end",
        )


def test_the_socket_that_lost_its_directory(person: Person) -> None:
    """After a reboot the runtime directory is gone: ssh makes it anew, for its user alone, and works."""
    for path in person.home.runtime.iterdir():
        path.unlink()
    person.home.runtime.rmdir()
    assert person.run("ssh", "lab", "echo hello").stdout == b"hello\n"
    assert person.home.runtime.stat().st_mode & 0o777 == 0o700
    assert b" up " in person.mtr("servers").stdout


def test_the_file_follows_the_configuration(person: Person, server: SshServer) -> None:
    """An edit of the project's or of ssh's own configuration is in the file with the next run, and shared again."""
    person.mtr("true")
    person.home.configure(person.project, "dash")
    person.mtr("true")
    assert person.resolve("lab")["user"] == "dash"
    before = person.file.read_text()
    person.config.write_text(person.config.read_text() + "\nHost elsewhere\n  User somebody\n")
    person.mtr("true")
    assert person.file.read_text() != before
    logins = person.count_logins()
    person.run("scp", "a.txt", "lab:by-scp")
    assert person.count_logins() == logins
    assert server.home_of("dash").joinpath("by-scp").exists()


def test_a_host_of_the_users_own_is_never_frozen(person: Person) -> None:
    """A server that is just a Host of ~/.ssh/config: when that is edited, mtr and ssh both go where it says now."""
    block = "\nHost box\n  HostName 127.0.0.1\n  Port {}\n  User {}\n"
    start = person.config.read_text()
    person.config.write_text(start + block.format(person.home.server.port, "bash"))
    (person.project / ".mtr" / "config.yaml").write_text("servers: {box: {remote_dir: ~/box-test}}\n")
    person.mtr("ssh-config", "--write")
    assert person.mtr("sh", "-c", "echo $USER").stdout == b"bash\n"
    person.config.write_text(start + block.format(person.home.server.port, "dash"))
    assert person.mtr("sh", "-c", "echo $USER").stdout == b"dash\n"
    assert person.run("ssh", "box", "echo $USER").stdout == b"dash\n"


def test_the_file_changes_nothing_for_mtr(home: Home, project: Path) -> None:
    """With and without it mtr uses the same connection: no login more after an install, a refresh or an uninstall."""
    person = Person(home, project)
    person.mtr("true")
    logins = person.count_logins()
    for words in (["--write"], ["--install"], ["--uninstall"]):
        person.mtr("ssh-config", *words)
        person.mtr("true")
    assert person.count_logins() == logins


def test_install_touches_one_line_and_uninstall_takes_it_back(home: Home, project: Path) -> None:
    """Byte for byte, through a link, with the mode as it was, and once however often it is asked for."""
    person = Person(home, project)
    real = home.home / "dotfiles-config"
    person.config.rename(real)
    person.config.symlink_to(real)
    real.chmod(0o640)
    before = real.read_bytes()
    for _ in range(2):
        person.mtr("ssh-config", "--install")
    assert person.config.is_symlink()
    assert real.read_bytes() == f"Include {person.file}\n\n".encode() + before
    assert (real.stat().st_mode & 0o777, person.file.stat().st_mode & 0o777) == (0o640, 0o600)
    assert (home.home / "dotfiles-config.before-mtr").read_bytes() == before
    person.mtr("ssh-config", "--uninstall")
    assert real.read_bytes() == before
    assert not person.file.exists()


def test_install_without_a_configuration_of_ssh_makes_one(home: Home, project: Path) -> None:
    """For its user alone; nothing is kept of what was not there."""
    person = Person(home, project)
    person.config.unlink()
    person.mtr("ssh-config", "--install")
    assert person.config.read_text() == f"Include {person.file}\n\n"
    assert person.config.stat().st_mode & 0o777 == 0o600
    assert not [path for path in (home.home / ".ssh").iterdir() if "before" in path.name]


def test_write_says_which_line_is_missing_and_edits_nothing(home: Home, project: Path) -> None:
    """``--write`` alone, and printing, leave ~/.ssh/config as it is; printing is the file and nothing else."""
    person = Person(home, project)
    before = person.config.read_bytes()
    shown = person.mtr("ssh-config").stdout
    said = person.mtr("ssh-config", "--write").stderr.decode()
    assert person.file.read_bytes() == shown
    assert f"Include {person.file}\n" in said
    assert "ssh lab: bash@127.0.0.1" in said
    assert person.config.read_bytes() == before


HOSTILE = {
    "*": {"host": "evil.example"},
    "!git": {"host": "evil.example"},
    "github.com": {"host": "evil.example"},
    "known": {"host": "evil.example"},
    "localhost": {"host": "evil.example"},
    "mine": {"host": "evil.example"},
    "box": {"host": "evil.example"},
    "proxied": {"host": "evil.example", "ssh_options": {"ProxyCommand": "touch /tmp/never"}},
    "fine": {"host": "10.0.0.1"},
}
"""Servers of a project that somebody else has written."""


def test_a_project_does_not_say_where_the_users_names_lead(home: Home, project: Path) -> None:
    """Patterns, names with a dot, Hosts of ~/.ssh/config, known hosts, own servers: each is left out, and said."""
    person = Person(home, project)
    person.config.write_text(person.config.read_text() + "\nHost box\n  HostName 10.9.9.9\n")
    known = home.known_hosts
    known.write_text(known.read_text() + "known " + (home.server.dir / "host.pub").read_text())
    own = home.home / ".config" / "mtr" / "config.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("servers: {mine: {host: 10.1.1.1}}\n")
    (project / ".mtr" / "config.yaml").write_text(json.dumps({"servers": HOSTILE}))
    said = person.mtr("ssh-config", "--install").stderr.decode()
    hosts = [line for line in person.file.read_text().splitlines() if line.startswith("Host ")]
    assert hosts == ["Host mine", "Host fine"]
    for name in (*HOSTILE,):
        assert f"mtr: {name} is left out: " in said or name == "fine"
    found = {name: person.resolve(name)["hostname"] for name in ("github.com", "known", "mine", "box", "fine")}
    assert found == {
        "github.com": "github.com",
        "known": "known",
        "mine": "10.1.1.1",
        "box": "10.9.9.9",
        "fine": "10.0.0.1",
    }
    assert "ProxyCommand" not in person.file.read_text()


def test_what_is_trusted_goes_in_and_a_clone_gets_in_by_no_run(person: Person, home: Home) -> None:
    """Trust is asked for as for a run; another project that one merely runs in adds nothing to the user's ssh."""
    config = person.home.home / "plain"
    config.write_text(f"Host *\n  IdentityFile {home.server.key}\n  UserKnownHostsFile {home.known_hosts}\n")
    proxy = f"ssh -F {config} -p %p -W %h:%p bash@127.0.0.1"
    key = {"ssh_options": {"ProxyCommand": proxy}}
    home.configure(person.project, is_trusted=False, **key)
    assert b"needs `mtr trust` first" in person.mtr("ssh-config", "--write").stderr
    home.trust(person.project)
    person.mtr("ssh-config", "--write")
    assert f"  ProxyCommand {proxy}\n" in person.file.read_text()
    assert person.run("ssh", "lab", "echo hello").stdout == b"hello\n"
    other = home.make_project("other")
    data = json.loads((other / ".mtr" / "config.yaml").read_text())
    (other / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"cloned": data["servers"]["lab"]}}))
    assert home.run_mtr(["true"], other).returncode == 0
    assert "cloned" not in person.file.read_text()


def test_two_projects_share_the_file(person: Person, home: Home) -> None:
    """Each keeps its servers there; one name stands for one server, of the project that was written last."""
    other = home.make_project("other")
    data = json.loads((other / ".mtr" / "config.yaml").read_text())["servers"]["lab"]
    (other / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"second": data}}))
    assert home.run_mtr(["ssh-config", "--write"], other).returncode == 0
    assert person.file.read_text().count("\nHost ") == 2
    (other / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"lab": {**data, "user": "dash"}}}))
    assert home.run_mtr(["ssh-config", "--write"], other).returncode == 0
    assert person.file.read_text().count("\nHost ") == 1
    assert person.resolve("lab")["user"] == "dash"


ODD_VALUES: Sequence[dict[str, object]] = (
    {"key_filename": '/tmp/a dir/with "quotes" and 100%/key\'s'},
    {"ssh_options": {"SetEnv": 'A="b c" D=e'}},
    {"ssh_options": {"IdentityFile": "/tmp/x#y"}},
    {"ssh_options": {"ProxyCommand": "sh -c 'nc \"%h\" %p' # not a comment"}},
    {"ssh_options": {"SetEnv": "A=\u2028Host *"}},
    {"user": "dev\\me"},
    {"user": "DOMAIN user"},
)


@pytest.mark.parametrize("more", ODD_VALUES, ids=lambda more: str(*more.values())[:30])
def test_odd_values_arrive_or_the_server_is_left_out(home: Home, project: Path, more: dict[str, object]) -> None:
    """Whatever a value holds, ssh says of the name what it says of the server, or is not told of it at all."""
    person = Person(home, project)
    data = json.loads((project / ".mtr" / "config.yaml").read_text())
    data["servers"]["lab"] |= more
    if key := more.get("key_filename"):
        path = project / str(key).removeprefix("/tmp/")
        path.parent.mkdir(parents=True)
        path.write_bytes(home.server.key.read_bytes())
        path.chmod(0o600)
        data["servers"]["lab"]["key_filename"] = str(path)
    (project / ".mtr" / "config.yaml").write_text(json.dumps(data))
    home.trust(project)
    said = person.mtr("ssh-config", "--install").stderr.decode()
    assert person.resolve("anything")["hostname"] == "anything"
    if "lab is left out" in said:
        assert "Host lab" not in person.file.read_text()
        assert "u2028" in repr(more)
    else:
        found = person.resolve("lab")
        assert (found["hostname"], found["port"]) == ("127.0.0.1", str(home.server.port))
        assert found["user"] == more.get("user", "bash")


def test_a_password_stays_with_mtr(home: Home, make_project: Callable[..., Path]) -> None:
    """It is in no file of ssh's; while mtr's connection is up nobody is asked."""
    person = Person(home, make_project(user=PASSWORD_USER))
    person.mtr("ssh-config", "--install")
    assert PASSWORD not in person.file.read_text()
    assert "mtr up lab" in person.file.read_text()
    person.mtr("up")
    logins = person.count_logins()
    person.run("scp", "a.txt", "lab:by-scp")
    assert person.count_logins() == logins


def test_a_jump_host(home: Home, project: Path) -> None:
    """The way there goes into the block, and the connection is shared all the same."""
    person = Person(home, project)
    hop = f"\nHost hop\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User dash\n"
    person.config.write_text(person.config.read_text() + hop)
    home.configure(project, ssh_options={"ProxyJump": "hop"})
    person.mtr("ssh-config", "--install")
    assert "  ProxyJump hop\n" in person.file.read_text()
    person.run("scp", "a.txt", "lab:by-scp")
    logins = person.count_logins()
    assert person.mtr("cat", "a.txt").stdout == b"one\n"
    assert person.count_logins() == logins
    person.mtr("down", "--all")


def test_nonsense_together_is_refused(home: Home, project: Path) -> None:
    """Two of the three things it can do at once."""
    done = home.run_mtr(["ssh-config", "--write", "--uninstall"], project)
    assert (done.returncode, done.stdout) == (2, b"")
