"""OpenSSH's own regression scenarios with ``mtr`` in the place of ``ssh``: host keys, certificates, agents, algorithms.

Each docstring says what ssh's suite claims, by the name of its script, and what mtr must do. Not repeated here:

- a host key that has changed: test_logins.test_a_changed_host_key_and_the_command_that_accepts_it
- a new host key: test_logins.test_a_new_host_key_is_shown_once
- an agent with too many keys: test_logins.test_an_agent_with_twenty_keys
- a key exchange with nothing in common: test_logins.test_no_algorithm_in_common
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import end_tree, wait_until
from tests.lab.scenario import expect_failure, expect_run, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

    MakeServer = Callable[..., SshServer]
    MakeProject = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("nothing_of_a_run_left")


def test_host_keys_of_every_type(home: Home, make_server: MakeServer) -> None:
    """keytype, try-hostkeys: a new server of any type is stored once with its fingerprint, then known."""
    for kind in ("ecdsa", "rsa"):
        key = home.dir / f"host-{kind}"
        make_key(key, kind)
        home.use_server(
            make_server(
                f"HostKey {key}", f"HostKeyAlgorithms {'ecdsa-sha2-nistp256' if kind == 'ecdsa' else 'rsa-sha2-512'}"
            )
        )
        home.known_hosts.write_text("")
        project = home.make_project(kind)
        shown = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, check=True).stdout.split()[1].decode()
        expect_run(home, project, shown)
        assert home.run_mtr(["down"], project).returncode == 0
        expect_run(home, project)


def test_a_known_server_with_a_key_of_another_type(home: Home, make_server: MakeServer) -> None:
    """hostkey-rotate: the stored type is gone and another one is offered: nothing is sent."""
    key = home.dir / "host-ecdsa"
    make_key(key, "ecdsa")
    other = make_server(f"HostKey {key}", "HostKeyAlgorithms ecdsa-sha2-nistp256")
    home.use_server(other)
    words = expect_failure(home, home.make_project("other"))
    assert "host key" in words


def test_further_host_keys_are_learnt(home: Home, make_server: MakeServer) -> None:
    """hostkey-rotate: with UpdateHostKeys the server's other keys are stored, and open it later without a word."""
    key = home.dir / "host-ecdsa"
    public = make_key(key, "ecdsa").split()[1]
    server = make_server(f"HostKey {key}")
    home.use_server(server)
    home.known_hosts.write_text(f"[127.0.0.1]:{server.port} {(server.dir / 'host.pub').read_text()}")
    home.write_ssh_config("Host *\n  UpdateHostKeys yes\n")
    project = home.make_project("rotated")
    expect_run(home, project)
    wait_until(lambda: public in home.known_hosts.read_text(), "the second key to be stored")
    assert home.run_mtr(["down"], project).returncode == 0
    home.write_ssh_config("Host *\n  HostKeyAlgorithms ecdsa-sha2-nistp256\n")
    expect_run(home, project)


def test_hashed_known_hosts(home: Home, make_server: MakeServer) -> None:
    """keygen-knownhosts: hashed names are found; a new one is stored hashed, a changed one is told with both."""
    server = make_server()
    home.use_server(server)
    home.write_ssh_config("Host *\n  HashKnownHosts yes\n")
    home.known_hosts.write_text("")
    project = home.make_project("hashed")
    expect_run(home, project, "SHA256:")
    assert str(server.port) not in home.known_hosts.read_text()
    assert home.run_mtr(["down"], project).returncode == 0
    expect_run(home, project)
    assert home.run_mtr(["down"], project).returncode == 0
    line = home.known_hosts.read_text().split()
    line[2] = make_key(home.dir / "changed").split()[1]
    home.known_hosts.write_text(" ".join(line) + "\n")
    words = expect_failure(home, project)
    assert words.count("SHA256:") == 2
    assert "ssh-keygen -R" in words


def test_a_host_certificate(home: Home, make_server: MakeServer) -> None:
    """cert-hostkey: a server is known by the authority that signed its key; by another authority it is not."""
    authority, key = home.dir / "ca", home.dir / "host"
    public = make_key(authority)
    make_key(key)
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "lab", "-h", "-n", "127.0.0.1", f"{key}.pub"]
    subprocess.run(sign, check=True)
    home.use_server(make_server(f"HostKey {key}", f"HostCertificate {key}-cert.pub"))
    home.known_hosts.write_text(f"@cert-authority * {public}")
    project = home.make_project("certified")
    expect_run(home, project)
    assert home.run_mtr(["down"], project).returncode == 0
    home.known_hosts.write_text(f"@cert-authority * {make_key(home.dir / 'ca2')}")
    home.write_ssh_config("Host *\n  StrictHostKeyChecking yes\n")
    assert "host key" in expect_failure(home, project)


def test_a_user_certificate(home: Home, make_server: MakeServer) -> None:
    """cert-userkey, cert-file: a key that the server does not know, signed by an authority that it trusts."""
    authority, key = home.dir / "ca", home.home / ".ssh" / "signed"
    make_key(authority)
    make_key(key)
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "lab", "-n", "bash", f"{key}.pub"]
    home.use_server(make_server(f"TrustedUserCAKeys {authority}.pub", "PasswordAuthentication no"))
    project = home.make_project("signed")
    home.write_ssh_config(key=key)
    assert "accepts no login" in expect_failure(home, project)
    subprocess.run(sign, check=True)
    expect_run(home, project)


def test_known_hosts_from_a_command(home: Home, make_project: MakeProject) -> None:
    """knownhosts-command: a key that a command prints is known: nothing is stored, nothing is said of it."""
    project = make_project()
    elsewhere = home.dir / "elsewhere"
    elsewhere.write_text(home.known_hosts.read_text())
    home.known_hosts.write_text("")
    home.write_ssh_config(f"Host *\n  KnownHostsCommand /bin/cat {elsewhere}\n  StrictHostKeyChecking yes\n")
    expect_run(home, project)
    assert home.known_hosts.read_text() == ""


def test_a_host_key_alias(home: Home, make_project: MakeProject) -> None:
    """connect by another name: HostKeyAlias and CheckHostIP are ssh's to decide, and mtr's message names the alias."""
    project = make_project()
    home.known_hosts.write_text("")
    home.write_ssh_config("Host *\n  HostKeyAlias by-this-name\n  HashKnownHosts no\n")
    expect_run(home, project, "SHA256:")
    assert home.known_hosts.read_text().startswith("by-this-name ")


@pytest.fixture
def agent(home: Home, server: SshServer) -> Iterator[str]:
    """An agent that holds the lab's key; yields its socket."""
    path = str(home.dir / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    wait_until(lambda: os.path.exists(path), "the agent's socket")
    environ = {**os.environ, "SSH_AUTH_SOCK": path}
    subprocess.run(["ssh-add", "-q", str(server.key)], env=environ, check=True, capture_output=True)
    yield path
    end_tree(process.pid)
    process.wait()


@pytest.mark.parametrize("forward", ["yes", "socket"])
def test_an_agent_logs_in_and_is_forwarded(
    home: Home, project: Path, agent: str, server: SshServer, forward: str
) -> None:
    """agent: IdentityAgent logs in, ForwardAgent lets the run there list the key; without it, nothing is forwarded."""
    config = home.home / ".ssh" / "config"
    hosts = (
        f"\nHost *\n  UserKnownHostsFile {home.known_hosts}\n  GlobalKnownHostsFile /dev/null\n  IdentityFile none\n"
    )
    config.write_text(f"Host *\n  IdentityAgent {agent}\n{hosts}")
    assert home.run_mtr(["sh", "-c", 'echo "${SSH_AUTH_SOCK-none}"'], project).stdout == b"none\n"
    wanted = agent if forward == "socket" else "yes"
    config.write_text(f"Host *\n  IdentityAgent {agent}\n  ForwardAgent {wanted}\n{hosts}")
    key = server.key.with_suffix(".pub").read_text().split()[1]
    for words in ([], ["--tty"]):
        done = home.run_mtr([*words, "ssh-add", "-L"], project, environ={"SSH_AUTH_SOCK": agent})
        assert done.returncode == 0, done.stderr
        assert key in done.stdout.decode()


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_compression(home: Home, make_project: MakeProject, server: SshServer, compression: str) -> None:
    """try-ciphers, compression: on or off, what compresses well and what does not arrive as they are."""
    project = make_project(f"Compression {compression}")
    home.write_ssh_config("Host *\n  Compression yes\n", key=server.key)
    data = b"all the same " * 200_000 + os.urandom(1_000_000)
    done = home.run_mtr(["--no-sync", "cat"], project, stdin=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


ALGORITHMS = (
    "Ciphers aes256-ctr",
    "Ciphers aes128-gcm@openssh.com",
    "Ciphers chacha20-poly1305@openssh.com",
    "MACs hmac-sha2-512-etm@openssh.com",
    "MACs umac-64@openssh.com",
    "KexAlgorithms diffie-hellman-group14-sha256",
    "KexAlgorithms ecdh-sha2-nistp521",
)


@pytest.mark.parametrize("line", ALGORITHMS, ids=lambda line: re.sub(r"\W+", "-", line))
def test_one_algorithm_alone(home: Home, make_project: MakeProject, line: str) -> None:
    """try-ciphers, kextype, integrity: the server allows one alone, which may stand in the configuration here, too."""
    project = make_project(line)
    name, _, value = line.partition(" ")
    for options in ({}, {name: value}):
        home.configure(project, ssh_options=options)
        done = home.run_mtr(["cat", "-", "a.txt"], project, stdin=b"in\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"in\none\n", b"")


@pytest.mark.parametrize(("there", "here"), [("Ciphers aes256-ctr", "Ciphers aes128-ctr"), ("MACs hmac-sha2-256", "")])
def test_no_cipher_and_no_mac_in_common(home: Home, make_project: MakeProject, there: str, here: str) -> None:
    """try-ciphers: with none in common it is said which the server offers, and nothing starts."""
    project = make_project(there, "Ciphers aes256-ctr")
    options = [here] if here else ["Ciphers aes256-ctr", "MACs hmac-sha2-512"]
    home.configure(project, ssh_options=dict(option.split() for option in options))
    done = home.run_mtr(["touch", "started"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"no algorithm in common" in done.stderr
    assert there.split()[1].encode() in done.stderr
    assert not home.remote(project).exists()
