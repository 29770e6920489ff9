"""A cloned project's configuration runs nothing here, and hands out nothing, before the user allows it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

API = "import mtr; mtr.connect()"


def make_hostile(home: Home, **more: object) -> tuple[Path, Path]:
    """Make a project whose configuration runs a program here; return it, and the file that the program makes."""
    mark = home.dir / "ran"
    root = home.make_project()
    keys = {"password_command": f"touch {mark}", **more}
    home.configure(root, is_trusted=False, **keys)
    return root, mark


OPTIONS = {
    "ProxyCommand": "touch {mark}; exec nc %h %p",
    "proxycommand": "touch {mark}; exec nc %h %p",
    "KnownHostsCommand": "/usr/bin/touch {mark}",
    "LocalCommand": "touch {mark}",
    "PKCS11Provider": "{mark}.so",
    "SecurityKeyProvider": "{mark}.so",
    "XAuthLocation": "{mark}.sh",
}
HOSTILE = [{"password_command": "touch {mark}"}, *({"ssh_options": {name: text}} for name, text in OPTIONS.items())]
WAYS = [["true"], ["--no-sync", "true"], ["sync"], ["sync", "--dry-run"], ["sync", "--full"], ["get", "a.txt"]]
WAYS += [["up"], ["undo"], ["-s", "lab", "true"]]


@pytest.mark.parametrize("client", ["auto", "paramiko"])
@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_every_way_in_asks(home: Home, way: list[str], client: str) -> None:
    """In batch it fails at once, with the value and where it is written, nothing has run, nobody has logged in."""
    root, mark = make_hostile(home, client=client)
    done = home.run_mtr(way, root)
    words = done.stderr.decode()
    assert done.returncode == 125
    assert re.search(r"config\.yaml:\d+:\d+: servers\.lab\.password_command: touch ", words), words
    assert re.search(r"try: mtr trust; in CI: MTR_TRUST=[0-9a-f]{64}\n", words)
    assert not mark.exists()
    assert not home.masters()


@pytest.mark.parametrize("keys", HOSTILE, ids=str)
def test_what_needs_no_trust_runs_nothing(home: Home, keys: dict[str, object]) -> None:
    """``--dry-run``, ``servers``, ``down`` and ``why`` show the project as it is."""
    root, mark = make_hostile(home)
    for client in ("auto", "paramiko"):
        filled = json.loads(json.dumps(keys).replace("{mark}", str(mark)))
        home.configure(root, is_trusted=False, client=client, **filled)
        for way in (["--dry-run", "true"], ["servers"], ["servers", "--json"], ["down"], ["why", "a.txt"]):
            home.run_mtr(way, root)
        assert not mark.exists()
    home.configure(root, is_trusted=False, password_command=f"touch {mark}")
    shown = home.run_mtr(["--dry-run", "true"], root)
    assert shown.returncode == 0
    assert b"# needs `mtr trust` first: " in shown.stdout


def test_the_python_api_asks_too(home: Home) -> None:
    """It raises an error of mtr's tree."""
    root, mark = make_hostile(home)
    done = subprocess.run(
        [sys.executable, "-c", API],
        cwd=root,
        env=home.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert b"mtr.errors.NotTrusted" in done.stderr
    assert not mark.exists()


def test_a_destination_of_the_command_line_gets_no_untrusted_defaults(home: Home) -> None:
    """``-s user@host`` takes ``defaults`` of the project as well."""
    root = home.make_project()
    options = {"ProxyCommand": f"touch {home.dir}/ran"}
    (root / ".mtr" / "config.yaml").write_text(json.dumps({"defaults": {"ssh_options": options}}))
    done = home.run_mtr(["-s", f"bash@127.0.0.1:{home.server.port}", "true"], root)
    assert b"needs your trust" in done.stderr
    assert not (home.dir / "ran").exists()


def test_mtr_trust_shows_and_allows(home: Home) -> None:
    """It prints the values, keeps them, and the run goes on; an edit of one asks again, of another key does not."""
    root = home.make_project(user=PASSWORD_USER)
    (home.dir / "secret").write_text(PASSWORD)
    command = f"cat {home.dir}/secret"
    keys = {"user": PASSWORD_USER, "host": "127.0.0.1", "port": home.server.port, "password_command": command}

    def write(**more: object) -> None:
        (root / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"lab": keys | more}}))

    write()
    refused = home.run_mtr(["trust"], root)
    assert (refused.returncode, b"nobody can be asked" in refused.stderr) == (2, True)
    shown = home.run_mtr(["trust", "--yes"], root)
    assert command in shown.stdout.decode(), shown.stderr
    assert home.run_mtr(["cat", "a.txt"], root).stdout == b"one\n"
    write(env={"A": "b"})
    assert home.run_mtr(["printenv", "A"], root).stdout == b"b\n"
    write(password_command=f"{command}; :")
    assert home.run_mtr(["true"], root).returncode == 125
    write()
    assert home.run_mtr(["true"], root).returncode == 0
    assert b"is trusted no more" in home.run_mtr(["trust", "--revoke"], root).stderr
    assert home.run_mtr(["true"], root).returncode == 125  # the warm route does not outlive the trust


def test_a_hash_in_the_environment_allows_as_long_as_it_is_set(home: Home) -> None:
    """``mtr trust --show`` prints the assignment; the route that was kept asks when it is gone."""
    root = home.make_project(user=PASSWORD_USER)
    home.configure(root, PASSWORD_USER, is_trusted=False, ssh_options={"SendEnv": "LANG"})
    line = home.run_mtr(["trust", "--show"], root).stdout.decode().splitlines()[-1]
    name, _, value = line.partition("=")
    for _ in range(2):
        assert home.run_mtr(["true"], root, environ={name: f"0,{value}"}).returncode == 0
    assert home.run_mtr(["true"], root).returncode == 125
    assert home.run_mtr(["true"], root, environ={name: "0" * 64}).returncode == 125


def test_a_warm_run_asks_after_an_edit(home: Home) -> None:
    """The kept route of a plain configuration does not let a new value in, over the master that stands."""
    root = home.make_project()
    assert home.run_mtr(["true"], root).returncode == 0
    home.configure(root, is_trusted=False, ssh_options={"SendEnv": "SECRET*"})
    done = home.run_mtr(["printenv", "SECRET_X"], root, environ={"SECRET_X": "hunter2"})
    assert (done.returncode, done.stdout) == (125, b"")


def spawn(home: Home, words: list[str], root: Path) -> pexpect.spawn:
    return home.spawn_mtr(words, root, dimensions=(50, 300))


def test_on_a_terminal_it_asks_once(home: Home) -> None:
    """Yes goes on and is kept; no ends with the error, and asks the next time."""
    root = home.make_project()
    home.configure(root, is_trusted=False, ssh_options={"SendEnv": "LANG"})
    for answer in ("n", ""):
        child = spawn(home, ["cat", "a.txt"], root)
        child.expect_exact("servers.lab.ssh_options.SendEnv: LANG")
        child.expect_exact("[y/N]")
        child.sendline(answer)
        child.expect_exact("try: mtr trust")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 125
    child = spawn(home, ["cat", "a.txt"], root)
    child.expect_exact("[y/N]")
    child.sendline("y")
    child.expect_exact("one\r\n")
    child.expect(pexpect.EOF)
    child.close()
    child = spawn(home, ["cat", "a.txt"], root)
    assert child.expect_exact(["one\r\n", "[y/N]"]) == 0
    child.expect(pexpect.EOF)
    child.close()
    assert home.run_mtr(["cat", "a.txt"], root).stdout == b"one\n"


def test_what_is_shown_cannot_write_to_the_terminal(home: Home) -> None:
    """Escape sequences, line ends and direction marks of a value show as text."""
    root = home.make_project()
    text = 'servers: {lab: {host: h, ssh_options: {ProxyCommand: "a\\u009b2J\\u202eb"}}}'
    (root / ".mtr" / "config.yaml").write_text(text)
    for words in (["trust", "--show"], ["true"], ["--dry-run", "true"]):
        done = home.run_mtr(words, root)
        said = done.stdout + done.stderr
        assert b"a\\x9b2J\\u202eb" in said
        assert not {"\u202e", "\u009b"} & set(said.decode())
