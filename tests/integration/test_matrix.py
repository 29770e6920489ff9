"""Every engine, with every login, in every mode: each cell against a real server."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.home import Home
from tests.lab.sshd import PASSWORD, PASSWORD_USER, SshServer, make_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES: dict[str, dict[str, str]] = {
    "rsync": {"sync": "rsync"},
    "tar": {"sync": "tar"},
    "sftp": {"sync": "sftp"},
    "paramiko": {"client": "paramiko"},
}
LOGINS = ("key", "passphrase", "password", "code")
PASSPHRASE = "open 'sesame'"
WITHIN_S = 20.0


@dataclass
class Machine:
    """A person with a project, on one engine with one login; ``codes`` counts those that were used up."""

    home: Home
    project: Path
    login: str
    user: str
    codes: int = 0

    def answer(self) -> tuple[str, str]:
        """Return what a server or a key asks, and the answer."""
        if self.login == "passphrase":
            return "assphrase", PASSPHRASE
        self.codes += 1
        return "One-time", make_code(self.codes - 1)

    def log_in(self) -> None:
        """Open the connection as a person does: ``mtr up``."""
        child = self.home.spawn_mtr(["up"], self.project)
        if self.login in ("passphrase", "code"):
            question, answer = self.answer()
            child.expect(question)
            child.sendline(answer)
        child.expect("is up")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0


def make_machine(home: Home, engine: str, login: str) -> Machine:
    """Return a machine that has never connected."""
    user = PASSWORD_USER if login in ("password", "code") else "bash"
    more: dict[str, object] = dict(ENGINES[engine])
    if login == "passphrase":
        key = home.dir / "locked"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-f", key], check=True)
        with (home.server.dir / "more_keys").open("a") as file:
            file.write(key.with_suffix(".pub").read_text())
        home.write_ssh_config(key=key)
    if login == "code":
        more["password"] = PASSWORD
    return Machine(home, home.make_project(user=user, **more), login, user)


CELLS = [
    pytest.param((engine, login), marks=pytest.mark.xdist_group(f"{engine}-{login}"), id=f"{engine}-{login}")
    for engine in ENGINES
    for login in LOGINS
]


@pytest.fixture(scope="module", params=CELLS)
def machine(request: pytest.FixtureRequest, server: SshServer, lab_dirs: set[str]) -> Iterator[Machine]:
    """One engine with one login, connected."""
    engine, login = request.param
    with_code = SshServer(key_from=server, with_code=True).start() if login == "code" else None
    home = Home(with_code or server)
    lab_dirs |= {str(home.dir), *([str(with_code.dir)] if with_code else [])}
    try:
        made = make_machine(home, engine, login)
        fails_at_once(made)
        made.log_in()
        yield made
    finally:
        home.close()
        if with_code:
            with_code.close()


def fails_at_once(machine: Machine) -> None:
    """Where somebody must be asked, batch never asks: it says why, and what to type."""
    if machine.login not in ("passphrase", "code"):
        return
    started_s = time.monotonic()
    done = machine.home.run_mtr(["true"], machine.project)
    assert done.returncode == 125
    assert b"mtr up -s lab" in done.stderr, done.stderr
    if machine.login == "code":
        assert b"One-time password" in done.stderr
    assert time.monotonic() - started_s < WITHIN_S


def test_batch(machine: Machine) -> None:
    """Streams apart, stdin whole, the exact status; and nothing of mtr's own in them."""
    words = ["sh", "-c", "cat; echo e >&2; exit 7"]
    assert machine.home.run_mtr(["true"], machine.project).returncode == 0
    done = machine.home.run_mtr(words, machine.project, stdin=b"in\0\xff")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\0\xff", b"e\n")


def test_terminal(machine: Machine) -> None:
    """A terminal of this size there, keys, and the status."""
    words = ["sh", "-c", "tty && stty size && read line && echo got $line; exit 5"]
    child = machine.home.spawn_mtr(words, machine.project, dimensions=(33, 111))
    child.expect(r"/dev/pts/\d+\r\n33 111\r\n")
    child.sendline("keys")
    child.expect("got keys")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_sync(machine: Machine) -> None:
    """An edit, a new file with an odd name and a delete are on the server."""
    project, remote = machine.project, machine.home.remote(machine.project, machine.user)
    (project / "gone").write_text("x")
    assert machine.home.run_mtr(["sync"], project).returncode == 0
    assert (remote / "gone").exists()
    (project / "gone").unlink()
    (project / "a.txt").write_text("edited\n")
    (project / "odd ' name\n").write_text("new\n")
    done = machine.home.run_mtr(["sync"], project)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (remote / "a.txt").read_text() == "edited\n"
    assert (remote / "odd ' name\n").read_text() == "new\n"
    assert not (remote / "gone").exists()


def test_get(machine: Machine) -> None:
    """A directory that was made there comes here, with its modes; a second time nothing is to be done."""
    project = machine.project
    made = "mkdir -p out/sub; printf 'a\\0b' >out/x; echo y >out/sub/y; chmod 750 out/sub/y; ln -sf x out/link"
    made += "; touch -t 202001010000 out/x out/sub/y"  # else the second of their making counts as uncertain
    assert machine.home.run_mtr([made], project).returncode == 0
    done = machine.home.run_mtr(["get", "out"], project)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    local = project / "downloads" / "out"
    assert (local / "x").read_bytes() == b"a\0b"
    assert (local / "sub" / "y").stat().st_mode & 0o777 == 0o750
    assert (local / "link").is_symlink()
    again = machine.home.run_mtr(["get", "out"], project).stderr
    assert b"got 1 file " in again, (again, sorted(local.rglob("*")))  # the link alone
