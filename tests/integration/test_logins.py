"""What can go wrong with a login, with ssh and without: each its own error, and nothing half done."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.processes import end_tree, wait_until
from tests.lab.sshd import PASSWORD, PASSWORD_USER, SshServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home

CLIENTS = ("openssh", "paramiko")
both = pytest.mark.parametrize("client", CLIENTS)


def fail(home: Home, project: Path, **environ: str) -> str:
    """Run something that cannot work; return what is said, the command not having started."""
    done = home.run_mtr(["touch", "started"], project, environ=environ)
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    assert not (home.remote(project) / "started").exists()
    return done.stderr.decode()


@both
def test_no_algorithm_in_common(home: Home, project: Path, client: str, make_server: Callable[..., SshServer]) -> None:
    """Said with the algorithms, or at least as such."""
    other = make_server("KexAlgorithms sntrup761x25519-sha512@openssh.com")
    home.configure(project, port=other.port, client=client, ssh_options={"KexAlgorithms": "curve25519-sha256"})
    if client == "paramiko":
        home.configure(project, port=other.port, client=client)
    words = fail(home, project)
    assert "kex" in words.lower() or "key exchange" in words or "algorithm" in words


@both
def test_a_wrong_passphrase(home: Home, project: Path, client: str) -> None:
    """On a terminal: asked, wrong, refused; nothing is left of the attempt."""
    key = home.dir / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "right", "-f", key], check=True)
    home.write_ssh_config("Host *\n  PasswordAuthentication no", key=key)
    home.configure(project, client=client)
    child = home.spawn_mtr(["up"], project)
    while child.expect(["assphrase", "accepts no login"]) == 0:
        child.sendline("wrong")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 125
    assert not list(home.runtime.glob("*.json"))


@both
def test_a_refused_code(home: Home, client: str, server: SshServer, lab_dirs: set[str]) -> None:
    """The password was right, the code is not: one attempt."""
    with SshServer(key_from=server, with_code=True) as other:
        lab_dirs.add(str(other.dir))
        project = home.make_project(user=PASSWORD_USER, client=client, port=other.port)
        child = home.spawn_mtr(["up"], project)
        child.expect("One-time")
        child.sendline("000000")
        while child.expect(["One-time", "assword", "mtr:[^ ]* lab"]) != 2:
            child.sendline("000000")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 125


@pytest.fixture
def full_agent(home: Home) -> Iterator[str]:
    """An agent with twenty keys that no server knows."""
    socket = str(home.dir / "agent")
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(socket), "the agent's socket")
    for number in range(20):
        key = home.dir / f"key{number}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        environ = {**os.environ, "SSH_AUTH_SOCK": socket}
        subprocess.run(["ssh-add", "-q", key], env=environ, check=True, capture_output=True)
    yield socket
    end_tree(agent.pid)
    agent.wait()


@both
def test_an_agent_with_twenty_keys(home: Home, project: Path, client: str, full_agent: str) -> None:
    """sshd cuts the login off after six: said as such, with what helps; and that does help."""
    config = home.home / ".ssh" / "config"
    config.write_text(config.read_text().replace("IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK"))
    home.configure(project, client=client)
    words = fail(home, project, SSH_AUTH_SOCK=full_agent)
    assert "too many keys" in words
    assert "key_filename" in words
    home.configure(project, client=client, key_filename=str(home.server.key))
    done = home.run_mtr(["cat", "a.txt"], project, environ={"SSH_AUTH_SOCK": full_agent})
    assert done.stdout == b"one\n", done.stderr


@both
def test_two_jump_hosts(home: Home, project: Path, client: str, make_server: Callable[..., SshServer]) -> None:
    """The way of ~/.ssh/config, over two hosts, and the error when one of them is down."""
    first, second = make_server(), make_server()
    block = (
        f"Host far\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User zsh\n  ProxyJump near\n"
        f"Host near\n  HostName 127.0.0.1\n  Port {second.port}\n  User dash\n  ProxyJump door\n"
        "Host door\n  HostName 127.0.0.1\n  Port {}\n  User bash\n"
    )
    home.write_ssh_config(block.format(first.port))
    config = project / ".mtr" / "config.yaml"
    config.write_text(f"servers: {{lab: {{host: far, remote_dir: ~/far, client: {client}}}}}\n")
    logins = [server.log.read_text().count("Accepted publickey") for server in (first, second)]
    done = home.run_mtr(["sh", "-c", "echo $USER"], project)
    assert done.stdout == b"zsh\n", done.stderr
    assert [server.log.read_text().count("Accepted publickey") for server in (first, second)] == [n + 1 for n in logins]
    home.write_ssh_config(block.format(free_port()))
    assert "refused" in fail(home, project)


@both
def test_addresses_in_order(home: Home, project: Path, client: str) -> None:
    """The first that answers: the one in front is not there today."""
    home.write_ssh_config(
        f"Host lan\n  HostName 127.0.0.1\n  Port {free_port()}\nHost vpn\n  HostName 127.0.0.1\n"
        f"  Port {home.server.port}\n"
    )
    config = project / ".mtr" / "config.yaml"
    config.write_text(
        f"servers: {{lab: {{host: [lan, vpn], user: bash, remote_dir: ~/{home.dir.name}/proj, client: {client}}}}}\n"
    )
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"one\n"


@both
def test_a_banner_and_rc_files_that_print(
    home: Home, project: Path, client: str, make_server: Callable[..., SshServer]
) -> None:
    """Nothing of them in stdout, and no transfer minds them."""
    (home.dir / "banner").write_text("authorized\nuse only\n")
    other = make_server(f"Banner {home.dir}/banner")
    rc = other.home_of("bash") / ".bashrc"
    rc.write_text("echo welcome\n")
    for sync in ("tar", "sftp"):
        home.configure(project, port=other.port, client=client, sync=sync)
        (project / "a.txt").write_text(f"by {sync}\n")
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout.removeprefix(b"welcome\n")) == (0, f"by {sync}\n".encode()), done.stderr


@both
def test_sftp_is_off(home: Home, project: Path, client: str, make_server: Callable[..., SshServer]) -> None:
    """Without the subsystem: said, whoever asks for it; a run that needs none goes on."""
    other = make_server("Subsystem sftp /nonexistent/sftp-server")
    home.configure(project, port=other.port, client=client, sync="sftp")
    assert "no SFTP with lab" in fail(home, project)
    done = home.run_mtr(["get", "a.txt"], project)
    assert done.returncode == 125
    assert b"no SFTP with lab" in done.stderr
    home.configure(project, port=other.port, client=client)
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"one\n"


@both
def test_a_new_host_key_is_shown_once(
    home: Home, project: Path, client: str, make_server: Callable[..., SshServer]
) -> None:
    """With its fingerprint, as ssh-keygen says it."""
    other = make_server()
    home.configure(project, port=other.port, client=client)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", other.dir / "host.pub"], capture_output=True, text=True, check=True
    )
    first = home.run_mtr(["true"], project).stderr.decode()
    assert f"ED25519 {shown.stdout.split()[1]}" in first
    home.run_mtr(["down"], project)
    assert "SHA256" not in home.run_mtr(["true"], project).stderr.decode()
    home.home.joinpath(".ssh", "known_hosts").unlink()
    home.write_ssh_config("Host *\n  StrictHostKeyChecking yes")
    home.run_mtr(["down", "--all"], project)
    assert "not known" in fail(home, project)


@both
def test_a_changed_host_key_and_the_command_that_accepts_it(
    home: Home, project: Path, client: str, make_server: Callable[..., SshServer]
) -> None:
    """Both fingerprints; the command, typed as it is shown, and the next run accepts the new one."""
    other = make_server()
    old = (home.server.dir / "host.pub").read_text()
    home.known_hosts.write_text(f"[127.0.0.1]:{other.port} {old}")
    home.configure(project, port=other.port, client=client)
    words = fail(home, project)
    prints = [
        subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, text=True, check=True).stdout.split()[1]
        for path in (other.dir / "host.pub", home.server.dir / "host.pub")
    ]
    assert all(found in words for found in prints)
    command = words.partition("confirms the new key: ")[2].strip()
    subprocess.run(["sh", "-c", command], env=home.environ, check=True, capture_output=True)
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"one\n"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ProxyCommand nc %h %p", "proxycommand"),
        ("CertificateFile ~/.ssh/cert", "certificatefile"),
        ("RevokedHostKeys /etc/ssh/revoked", "revokedhostkeys"),
        ("PKCS11Provider /usr/lib/pkcs11.so", "pkcs11provider"),
    ],
)
def test_what_paramiko_cannot_honour_is_refused(home: Home, project: Path, line: str, named: str) -> None:
    """By its name: a login by other rules than the user's would be worse than none."""
    home.write_ssh_config(f"Host *\n  {line}")
    home.configure(project, client="paramiko")
    assert named in fail(home, project)


def test_an_include_is_read_without_ssh_too(home: Home, project: Path) -> None:
    """At the top level as ssh reads it; inside a block it is refused."""
    (home.home / ".ssh" / "more").write_text(
        f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User mksh\n"
    )
    (project / ".mtr" / "config.yaml").write_text("servers: {lab: {host: box, remote_dir: ~/box, client: paramiko}}\n")
    home.write_ssh_config("Include more")
    assert home.run_mtr(["sh", "-c", "echo $USER"], project).stdout == b"mksh\n"
    home.write_ssh_config("Host box\n  Include more")
    assert "Include" in fail(home, project)


def test_runs_share_the_login_of_paramiko(home: Home, project: Path) -> None:
    """One login for all runs, at once and in turn; ``mtr down`` ends it, and nothing is left."""
    home.configure(project, client="paramiko")
    logins = home.server.log.read_text().count("Accepted publickey")
    assert home.run_mtr(["true"], project).returncode == 0
    runs = [home.popen_mtr(["sh", "-c", f"sleep 0.3; exit {number}"], project) for number in range(6)]
    assert [run.wait(60) for run in runs] == list(range(6))
    for run in runs:
        run.communicate()
    assert home.server.log.read_text().count("Accepted publickey") == logins + 1
    assert b"up" in home.run_mtr(["servers"], project).stdout
    assert home.run_mtr(["down"], project).returncode == 0
    assert not list(home.runtime.glob("*.0"))


def test_a_password_where_a_person_sits(home: Home) -> None:
    """No password anywhere: ssh and paramiko ask on the terminal."""
    for client in CLIENTS:
        project = home.make_project(client, user=PASSWORD_USER, client=client)
        home.configure(project, user=PASSWORD_USER, client=client, password=None)
        config = (project / ".mtr" / "config.yaml").read_text().replace('"password": null,', "")
        (project / ".mtr" / "config.yaml").write_text(config.replace('"password": null', ""))
        home.write_ssh_config("Host *\n  PubkeyAuthentication no")
        child = home.spawn_mtr(["up"], project)
        child.expect("assword:")
        child.sendline(PASSWORD)
        child.expect("is up")
        child.expect(pexpect.EOF)
        child.close()
        assert home.run_mtr(["down"], project).returncode == 0


@both
def test_the_jump_host_does_not_get_the_servers_password(
    home: Home, client: str, make_server: Callable[..., SshServer]
) -> None:
    """It asks for one, and is told that nobody is there."""
    jump = make_server("PubkeyAuthentication no")
    # Another name than the server's: ssh says user and host when it asks, and nothing else tells them apart.
    home.write_ssh_config(f"Host hop\n  HostName localhost\n  Port {jump.port}\n  User {PASSWORD_USER}\n")
    project = home.make_project(user=PASSWORD_USER, client=client, ssh_options={"ProxyJump": "hop"})
    done = home.run_mtr(["true"], project)
    assert done.returncode == 125
    log = jump.log.read_text()
    assert "Accepted password" not in log
    assert "Failed password" not in log


@both
def test_a_password_and_a_key(home: Home, client: str, make_server: Callable[..., SshServer]) -> None:
    """The server wants both, in this order."""
    other = make_server("AuthenticationMethods password,publickey")
    project = home.make_project(
        user=PASSWORD_USER,
        client=client,
        port=other.port,
        ssh_options={"PreferredAuthentications": "password,publickey", "PubkeyAuthentication": "yes"},
    )
    done = home.run_mtr(["cat", "a.txt"], project)
    assert done.stdout == b"one\n", done.stderr


@both
def test_a_master_keeps_nothing_that_it_inherits(home: Home, project: Path, client: str) -> None:
    """Somebody who waits for the end of a pipe waits for the command, not for the master."""
    home.configure(project, client=client)
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    started = subprocess.run(
        [sys.executable, "-m", "mtr", "up"],
        cwd=project,
        env=home.environ,
        pass_fds=[write_end],
        capture_output=True,
        check=False,
    )
    os.close(write_end)
    assert started.returncode == 0
    assert select.select([read_end], [], [], 5)[0], "the master still holds the pipe"
    os.close(read_end)


def test_output_that_cannot_be_written_ends_the_run(home: Home, project: Path) -> None:
    """A full disk here, over paramiko: an error, not a wait for ever."""
    home.configure(project, client="paramiko")
    with open("/dev/full", "wb") as full:
        run = home.popen_mtr(["head", "-c", "9000000", "/dev/zero"], project, stdout=full)
        assert run.wait(30) != 0
        run.communicate()


def test_bytes_cross_paramiko_exactly(home: Home, project: Path) -> None:
    """Thirty megabytes there and back."""
    home.configure(project, client="paramiko")
    assert home.run_mtr(["true"], project).returncode == 0
    data = os.urandom(30_000_000)
    done = home.run_mtr(["cat"], project, stdin=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")
    run = home.popen_mtr(["yes"], project)
    assert run.stdout
    assert run.stdout.readline() == b"y\n"
    run.stdout.close()
    assert run.wait(20) == 141
    assert run.stderr
    with run.stderr as said:
        assert said.read() == b""


def test_a_thousand_files_with_python_alone(home: Home, project: Path) -> None:
    """A PATH without ssh, rsync, git or a shell: said once, synced, run, edited, run again."""
    bare = home.dir / "bare"
    bare.mkdir()
    (bare / "python3").symlink_to(sys.executable)
    (project / ".gitignore").write_text("*.log\n")
    for number in range(1000):
        path = project / f"d{number % 20}" / f"f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n")
    (project / "d0" / "x.log").write_text("")
    environ = {"PATH": str(bare)}
    count = ["find d* -type f | wc -l"]
    done = home.run_mtr(count, project, environ=environ)
    assert (done.returncode, done.stdout) == (0, b"1000\n"), done.stderr
    assert done.stderr.count(b"by paramiko") == 1
    (project / "d3" / "f3").unlink()
    done = home.run_mtr(count, project, environ=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"999\n", b"")


@pytest.mark.parametrize("keys", [{"sync": "tar"}, {"sync": "sftp"}, {"sync": "sftp", "client": "paramiko"}], ids=str)
def test_links_in_a_circle_and_a_file_that_grows(home: Home, project: Path, keys: dict[str, str]) -> None:
    """Links travel as links and are never followed, there and back; a log that grows meanwhile is whole lines."""
    home.configure(project, **keys)
    (project / "here").symlink_to(".")
    (project / "a").symlink_to("b")
    (project / "b").symlink_to("a")
    over = threading.Event()

    def grow() -> None:
        with (project / "log").open("ab", buffering=0) as log:
            while not over.wait(0.005):
                log.write(b"line\n" * 200)

    writer = threading.Thread(target=grow)
    writer.start()
    done = home.run_mtr(["sync"], project)
    over.set()
    writer.join()
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    remote = home.remote(project)
    assert [os.readlink(remote / name) for name in ("here", "a", "b")] == [".", "b", "a"]
    assert home.run_mtr(["sync"], project).returncode == 0
    assert (remote / "log").read_bytes() == (project / "log").read_bytes()
    assert home.run_mtr(["get", ".", "back/"], project).returncode == 0
    assert os.readlink(project / "back" / "here") == "."
