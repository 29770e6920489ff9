"""`mtr doctor` against set-ups that are broken for real: each is named, with the command that mends it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from tests.lab.clock import HOUR_S, shift_clock
from tests.lab.disk import small_disk
from tests.lab.garbage import GarbageServer
from tests.lab.processes import children_of, end_tree, is_alive, wait_until
from tests.lab.sshd import PASSWORD_USER, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

    Row = Callable[[str, object], None]

HERE = "this machine"


def diagnose(home: Home, cwd: Path, *args: str, **environ: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Let a program ask; return the checks by place and id. The status is 1 exactly when one fails."""
    done = home.run_mtr(["doctor", "--json", *args], cwd, environ=environ)
    envelope = json.loads(done.stdout)
    assert (envelope["kind"], envelope["ok"]) == ("doctor", True)
    checks = envelope["data"]
    assert all(set(check) == {"id", "place", "state", "found", "remedy", "took_ms"} for check in checks)
    assert all(check["remedy"] for check in checks if check["state"] in ("warn", "fail")), checks
    assert done.returncode == any(check["state"] == "fail" for check in checks), done.stderr
    found = {(check["place"], check["id"]): check for check in checks}
    assert len(found) == len(checks)
    return found


def expect(
    found: dict[tuple[str, str], dict[str, Any]],
    place: str,
    name: str,
    state: str,
    words: str,
    remedy: str,
) -> None:
    """See that one check says ``words`` and tells ``remedy``."""
    check = found[place, name]
    assert check["state"] == state, check
    assert words in check["found"], check
    assert remedy in check["remedy"], check


def list_bad(found: dict[tuple[str, str], dict[str, Any]]) -> set[str]:
    """Return the ids of what is neither well nor skipped; whether mtr is in PATH depends on who runs the tests."""
    return {name for (_, name), check in found.items() if check["state"] in ("warn", "fail")} - {"command"}


@pytest.fixture(autouse=True)
def _told(home: Home, record_property: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what doctor has said of each set-up, for a table."""
    rows: list[tuple[str, str, str]] = []
    record_property("doctor", rows)
    run = home.run_mtr

    def keep(args: Any, cwd: Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
        done = run(args, cwd, **more)
        if args[:2] == ["doctor", "--json"]:
            bad = [
                c for c in json.loads(done.stdout)["data"] if c["state"] in ("warn", "fail") and c["id"] != "command"
            ]
            rows.extend((f"{c['state']} {c['id']}", c["found"], c["remedy"]) for c in bad)
        return done

    monkeypatch.setattr(home, "run_mtr", keep)


def list_tree(root: Path) -> list[str]:
    """Return every path below ``root``."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# -- where all is well


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_healthy_set_up(home: Home, project: Path, client: str) -> None:
    """Nothing is wrong, everything was tried, and nothing is left: no directory there, no file here."""
    home.configure(project, client=client)
    before = list_tree(home.server.home_of("bash")), home.known_hosts.read_bytes()
    found = diagnose(home, project)
    assert list_bad(found) == set()
    assert not [check for check in found.values() if check["state"] == "skip"]
    tried = {name for place, name in found if place == "lab"}
    assert tried >= {"name", "port", "login", "session", "output", "directory", "clock", "sftp", "sessions", "run"}
    assert (list_tree(home.server.home_of("bash")), home.known_hosts.read_bytes()) == before
    assert not home.remote(project).exists()
    assert not [path for path in home.runtime.iterdir() if path.name.startswith(("doctor.", "run.", "ask."))]
    # The connection is the one that a run uses.
    assert len(home.masters()) == 1
    expect(diagnose(home, project), "lab", "login", "ok", "was open already", "")


def test_a_warm_one_takes_a_moment(home: Home, project: Path) -> None:
    """Every check of the server, one after the other, takes about half a second; the bound is for a loaded machine."""
    diagnose(home, project)
    found = diagnose(home, project)
    assert sum(check["took_ms"] for (place, _), check in found.items() if place == "lab") < 5000


def test_no_project_and_no_configuration(home: Home) -> None:
    """Any destination; and without one, this machine alone is looked at."""
    home.write_ssh_config(f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User bash")
    found = diagnose(home, home.dir, "-s", "box")
    assert list_bad(found) == set()
    expect(found, "box", "run", "ok", "leaves 7", "")
    found = diagnose(home, home.dir)
    expect(found, HERE, "server", "warn", "no server is configured", "mtr init")
    assert {place for place, _ in found} == {HERE}


def test_a_project_that_has_been_synced(home: Home, project: Path) -> None:
    """Its directory is tried in mtr's own corner there, and stays as it is, its times too."""
    assert home.run_mtr(["true"], project).returncode == 0
    remote = home.remote(project)
    before = list_tree(remote), remote.stat().st_mtime_ns
    expect(diagnose(home, project), "lab", "directory", "ok", "takes files", "")
    assert (list_tree(remote), remote.stat().st_mtime_ns) == before


def test_why_this_server(home: Home, project: Path) -> None:
    """The option, the variable, `default` with its place, or the first."""
    expect(diagnose(home, project), HERE, "server", "ok", "lab: it is the first one under `servers`", "")
    expect(diagnose(home, project, MTR_SERVER="lab"), HERE, "server", "ok", "lab: MTR_SERVER names it", "")
    expect(diagnose(home, project, "lab"), HERE, "server", "ok", "lab: you have named it", "")
    config = project / ".mtr" / "config.yaml"
    config.write_text(f"default: lab\n{config.read_text()[1:].replace('servers', 'servers', 1).strip()[:-1]}")
    expect(diagnose(home, project), HERE, "server", "ok", "config.yaml:1:10", "")


# -- the login shell there


@pytest.mark.parametrize(("user", "file"), [("bash", ".bashrc"), ("zsh", ".zshenv")])
def test_an_rc_file_that_prints(home: Home, make_server: Callable[..., SshServer], user: str, file: str) -> None:
    """Told with the bytes and the file to open; the rest is looked at all the same."""
    home.use_server(make_server())
    project = home.make_project(user=user)
    (home.server.home_of(user) / file).write_text("echo Welcome to the lab\n")
    found = diagnose(home, project)
    expect(found, "lab", "output", "fail", "prints 19 bytes to stdout: 'Welcome to the lab\\n'", f"vi ~/{file}")
    expect(found, "lab", "run", "ok", "leaves 7", "")


def test_a_login_shell_that_runs_nothing(home: Home, make_server: Callable[..., SshServer]) -> None:
    """An account with nologin: the login is told as mtr tells it, and what needs it was not tried."""
    home.use_server(make_server())
    project = home.make_project()
    users = home.server.dir / "passwd"
    users.write_text(users.read_text().replace(f"bash:{shutil.which('bash')}", f"bash:{shutil.which('nologin')}"))
    found = diagnose(home, project)
    expect(found, "lab", "login", "fail", "the login shell ran nothing", "ssh -l bash")
    assert "account is currently not available" in found["lab", "login"]["found"]
    expect(found, "lab", "run", "skip", "needs login", "")


def test_what_a_server_says_cannot_write_to_the_terminal(home: Home, make_server: Callable[..., SshServer]) -> None:
    """Escape sequences, and lines that pass for doctor's own, are shown as what they are."""
    home.use_server(make_server())
    project = home.make_project(user="zsh")
    rc = "printf '\\033]0;title\\007\\n  ok    login\\nmtr-doctor shell \\033[2J\\n'\n"
    (home.server.home_of("zsh") / ".zshenv").write_text(rc)
    done = home.run_mtr(["doctor"], project)
    assert done.returncode == 1
    assert not {b"\x1b", b"\x07"} & {bytes([byte]) for byte in done.stdout + done.stderr}
    assert b"'\\x1b]0;title\\x07\\n  ok    login" in done.stdout, done.stdout.decode()
    assert b"\n  ok    login\n" not in done.stdout


# -- the directory there


def test_a_directory_that_cannot_be_written(home: Home, project: Path) -> None:
    """On a file system that is read-only, there or to be made; with the words of the server."""
    with small_disk(home.dir / "small") as disk:
        (disk.path / "there").mkdir()
        for name in ("there", "missing/below"):
            home.configure(project, remote_dir=f"{disk.path}/{name}")
            with disk.read_only():
                found = diagnose(home, project)
            expect(found, "lab", "directory", "fail", "Read-only file system", f"ls -ld {disk.path}")
        assert list_tree(disk.path) == ["there"]
        for pid in home.masters():
            end_tree(pid)


def test_a_directory_below_a_file(home: Home, project: Path) -> None:
    """What stands in the way is named."""
    home.configure(project, remote_dir="/etc/passwd/proj")
    expect(diagnose(home, project), "lab", "directory", "fail", "/etc/passwd is not a directory", "ls -ld /etc/passwd")


@pytest.mark.parametrize("what", ["space", "inodes"])
def test_a_disk_there_that_is_full(home: Home, project: Path, what: str) -> None:
    """No bytes, or no inodes: told by trying it, and by what df says."""
    with small_disk(home.dir / "small", "4m", inodes=20 if what == "inodes" else 0) as disk:
        home.configure(project, remote_dir=f"{disk.path}/proj")
        if what == "space":
            disk.fill()
        else:
            for number in range(17):
                (disk.path / f"f{number}").touch()
        before = list_tree(disk.path)
        found = diagnose(home, project)
        if what == "space":
            expect(found, "lab", "directory", "fail", "No space left on device", "df -h")
        expect(found, "lab", "disk", "fail", "free", f"df -h {disk.path}")
        assert list_tree(disk.path) == before
        for pid in home.masters():
            end_tree(pid)


def test_a_link_in_the_place_of_mtrs_own_directory(home: Home, project: Path) -> None:
    """mtr would refuse to write through it; so says doctor, with the command that removes it."""
    remote = home.remote(project)
    remote.mkdir(parents=True)
    (remote / ".mtr").symlink_to("/tmp")
    expect(diagnose(home, project), "lab", "directory", "fail", "is a symbolic link", f"rm {remote}/.mtr")


# -- clocks


@pytest.mark.parametrize(("shift_s", "words"), [(HOUR_S * 3, "3 h ahead of"), (-HOUR_S * 3, "3 h behind")])
def test_a_clock_there_that_is_off(home: Home, make_server: Callable[..., SshServer], shift_s: int, words: str) -> None:
    """By how much, and which way."""
    variables = " ".join(f"{name}={value}" for name, value in shift_clock(shift_s).items())
    home.use_server(make_server(f"SetEnv {variables}"))
    found = diagnose(home, home.make_project())
    expect(found, "lab", "clock", "warn", words, "timedatectl set-ntp true")


# -- the way there, and the login


def test_a_name_that_does_not_resolve(home: Home, project: Path) -> None:
    """Told as such; nothing that needs it was tried."""
    home.configure(project, host="nowhere.invalid")
    found = diagnose(home, project)
    expect(found, "lab", "name", "fail", "nowhere.invalid does not resolve", "getent hosts nowhere.invalid")
    expect(found, "lab", "login", "skip", "needs name", "")


def test_a_port_that_is_closed(home: Home, project: Path) -> None:
    """In mtr's own words for it, with its hint."""
    port = free_port()
    home.configure(project, port=port)
    found = diagnose(home, project)
    expect(found, "lab", "port", "fail", "connection refused", f"ssh -v -l bash -p {port} 127.0.0.1 true")
    expect(found, "lab", "login", "skip", "needs port", "")


def test_a_server_that_says_nothing(home: Home, project: Path) -> None:
    """Whoever takes the connection and stays silent is given up."""
    home.write_ssh_config("Host *\n  ConnectTimeout 2")
    with GarbageServer(b"", silent=True) as garbage:
        home.configure(project, port=garbage.port)
        found = diagnose(home, project)
    assert found["lab", "port"]["state"] == "fail" or found["lab", "login"]["state"] == "fail"


def test_a_wrong_key(home: Home, project: Path) -> None:
    """The server refuses it: ssh's words, and what shows more."""
    key = home.dir / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    home.write_ssh_config(key=key)
    found = diagnose(home, project)
    expect(found, "lab", "login", "fail", "Permission denied", "mtr up -s lab")
    expect(found, "lab", "port", "ok", "answers", "")


def test_a_wrong_password(home: Home) -> None:
    """One attempt, and the password shows nowhere."""
    project = home.make_project(user=PASSWORD_USER, password="not this")
    found = diagnose(home, project)
    expect(found, "lab", "login", "fail", "the password of the configuration was among", "mtr up -s lab")
    assert "not this" not in json.dumps([*found.values()])


def test_keys_that_cannot_be_used(home: Home, project: Path) -> None:
    """One that others can read, and one with a passphrase that no agent holds."""
    key = home.dir / "own"
    shutil.copy(home.server.key, key)
    key.chmod(0o644)
    home.write_ssh_config(key=key)
    found = diagnose(home, project)
    expect(found, "lab", "keys", "fail", "can be read by others (mode 0644)", f"chmod 600 {key}")
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key], check=True, capture_output=True)
    found = diagnose(home, project)
    expect(found, "lab", "keys", "warn", "needs its passphrase", f"ssh-add {key}")
    expect(found, "lab", "login", "fail", "needs its passphrase", "mtr up -s lab")


def test_a_connection_that_hides_a_broken_login(home: Home, project: Path) -> None:
    """The master stands, the key has gone: runs work until it ends, and doctor says that the next login will not."""
    diagnose(home, project)
    home.write_ssh_config(key=home.server.key)
    auth = home.server.dir / "client.pub"
    kept = auth.read_text()
    auth.write_text("")
    try:
        found = diagnose(home, project)
    finally:
        auth.write_text(kept)
    expect(found, "lab", "new-login", "warn", "it does not work once the open connection has gone", "mtr up lab")
    expect(found, "lab", "run", "ok", "leaves 7", "")


def test_a_host_key_that_has_changed(home: Home, project: Path) -> None:
    """Both fingerprints, and the command that accepts the new one; nothing is stored."""
    other = home.dir / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    home.known_hosts.write_text(f"[127.0.0.1]:{home.server.port} {other.with_suffix('.pub').read_text()}")
    before = home.known_hosts.read_bytes()
    found = diagnose(home, project)
    expect(found, "lab", "login", "fail", "is not the one that was stored", "ssh-keygen -R")
    assert found["lab", "login"]["found"].count("SHA256:") == 2
    assert home.known_hosts.read_bytes() == before


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_server_behind_a_jump_host(home: Home, project: Path, client: str) -> None:
    """Its name is looked up on the way, where it means something, and not here."""
    at = f"HostName 127.0.0.1\n  Port {home.server.port}\n"
    home.write_ssh_config(f"Host far\n  {at}  User zsh\n  ProxyJump door\nHost door\n  {at}  User bash")
    (project / ".mtr" / "config.yaml").write_text(f"servers: {{lab: {{host: far, client: {client}}}}}\n")
    found = diagnose(home, project)
    expect(found, "lab", "name", "ok", "behind a jump host", "")
    expect(found, "lab", "shell", "ok", "zsh", "")
    assert list_bad(found) == set()


# -- what sshd allows


def test_one_session_at_a_time(home: Home, make_server: Callable[..., SshServer]) -> None:
    """MaxSessions 1: counted by opening them, with the line for sshd_config; everything else still works."""
    home.use_server(make_server("MaxSessions 1"))
    found = diagnose(home, home.make_project())
    expect(found, "lab", "sessions", "warn", "only 1 at once", "MaxSessions 10")
    assert list_bad(found) == {"sessions"}


def test_no_sftp(home: Home, make_server: Callable[..., SshServer]) -> None:
    """A server without the subsystem."""
    home.use_server(make_server("Subsystem other internal-sftp"))
    found = diagnose(home, home.make_project())
    expect(found, "lab", "sftp", "fail", "no SFTP with lab", "Subsystem sftp internal-sftp")
    assert list_bad(found) == {"sftp"}


def test_no_variable_is_accepted(home: Home, make_server: Callable[..., SshServer]) -> None:
    """AcceptEnv without LC_*: it works, slower."""
    home.use_server(make_server(accept_env="NOTHING"))
    found = diagnose(home, home.make_project())
    expect(found, "lab", "environment", "warn", "AcceptEnv takes neither", "AcceptEnv LC_MTR*")
    expect(found, "lab", "run", "ok", "the environment arrives", "")


# -- programs


def make_bare(home: Home, *lacking: str) -> Path:
    """Return a directory with links to every program of this machine's PATH but ``lacking``."""
    bare = home.dir / "bare"
    bare.mkdir()
    for folder in ("/usr/bin", "/bin", "/usr/local/bin"):
        for name in os.listdir(folder):
            if name not in lacking and not (bare / name).is_symlink():
                (bare / name).symlink_to(f"{folder}/{name}")
    return bare


def test_programs_that_are_missing_there(home: Home, make_server: Callable[..., SshServer]) -> None:
    """No rsync: large files do not resume. No tar: files go one by one. With the installer that is there."""
    home.use_server(make_server(f"SetEnv PATH={make_bare(home, 'rsync', 'tar')}"))
    found = diagnose(home, home.make_project())
    expect(found, "lab", "rsync", "warn", "not installed", "mtr -s lab --no-sync 'apt-get install -y rsync'")
    expect(found, "lab", "tools", "warn", "missing: tar; files go over SFTP", "apt-get install -y tar")


def test_a_vital_program_that_is_missing_there(home: Home, make_server: Callable[..., SshServer]) -> None:
    """Without mv nothing can be synced."""
    home.use_server(make_server(f"SetEnv PATH={make_bare(home, 'mv')}"))
    expect(diagnose(home, home.make_project()), "lab", "tools", "fail", "missing: mv", "apt-get install -y coreutils")


OPENRSYNC = """\
#!/bin/sh
for word; do
  case $word in
    --info=* | -s | --ignore-missing-args | --modify-window=*)
      echo "rsync: unrecognized option \\`$word'" >&2
      exit 1 ;;
    --version) echo 'openrsync: protocol version 29'; exit 0 ;;
  esac
done
exec /usr/bin/rsync "$@"
"""


def test_an_rsync_that_lacks_options_here(home: Home, project: Path) -> None:
    """As macOS ships it: which options it refuses was tried."""
    folder = home.dir / "bin"
    folder.mkdir()
    (folder / "rsync").write_text(OPENRSYNC)
    (folder / "rsync").chmod(0o755)
    found = diagnose(home, project, PATH=f"{folder}:{home.environ['PATH']}")
    words = "it refuses --modify-window, -s, --ignore-missing-args, --info"
    expect(found, HERE, "rsync", "warn", words, "apt-get install -y rsync")


def test_programs_that_are_missing_here(home: Home, project: Path) -> None:
    """Neither ssh nor rsync nor git: paramiko stands in, and all is told with what installs it."""
    path = make_bare(home, "ssh", "rsync", "git")
    found = diagnose(home, project, PATH=str(path))
    expect(found, HERE, "ssh", "warn", "paramiko stands in", "apt-get install -y openssh-client")
    expect(found, HERE, "rsync", "warn", "not installed", "apt-get install -y rsync")
    expect(found, HERE, "git", "warn", "not installed", "apt-get install -y git")
    expect(found, "lab", "run", "ok", "leaves 7", "")


def test_another_mtr_comes_first(home: Home, project: Path) -> None:
    """The network tool: told with its path, and what to type instead."""
    tool, own = home.dir / "sbin", home.dir / "bin"
    for folder, name, text in (
        (tool, "mtr", "#!/bin/sh\necho mtr 0.95\n"),
        (own, "mtr", "#!/usr/bin/env python3\nfrom mtr.warm import main\n"),
    ):
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    # An environment that is active while the tests run has both names.
    path = ":".join(p for p in home.environ["PATH"].split(":") if not os.path.exists(f"{p}/mtremote"))
    found = diagnose(home, project, PATH=f"{tool}:{own}:{path}")
    words = f"another program comes first in PATH: {tool}/mtr"
    expect(found, HERE, "command", "warn", words, f'export PATH={own}:"$PATH"')
    found = diagnose(home, project, PATH=f"{own}:{tool}:{path}")
    expect(found, HERE, "command", "ok", f"mtr is {own}/mtr", "")
    (own / "mtr").rename(own / "mtremote")
    found = diagnose(home, project, PATH=f"{tool}:{own}:{path}")
    expect(found, HERE, "command", "warn", "mtremote is this one", "mtremote doctor")


# -- the configuration


def test_a_configuration_that_is_wrong(home: Home, project: Path) -> None:
    """With its place and the editor; no server can be tried."""
    config = project / ".mtr" / "config.yaml"
    config.write_text("servers:\n  lab:\n    hots: 127.0.0.1\n")
    found = diagnose(home, project)
    expect(found, HERE, "config", "fail", "config.yaml:3:5: servers.lab", f"+3 {config}")
    expect(found, HERE, "server", "skip", "needs config", "")
    assert {place for place, _ in found} == {HERE}


def test_a_password_that_others_can_read(home: Home) -> None:
    """As ssh refuses such a key."""
    project = home.make_project(user=PASSWORD_USER)
    config = project / ".mtr" / "config.yaml"
    config.chmod(0o644)
    expect(diagnose(home, project), HERE, "config", "fail", "can be read by others", f"chmod 600 {config}")


def test_a_server_that_is_not_configured(home: Home, project: Path) -> None:
    """A name with a slip of the hand."""
    expect(diagnose(home, project, "lap"), HERE, "server", "fail", "did you mean lab?", "mtr -s lab CMD")


def test_a_project_that_is_not_trusted(home: Home, project: Path) -> None:
    """What it asks for is listed; doctor asks nobody, and runs nothing of it."""
    home.configure(project, is_trusted=False, password_command=f"touch {home.dir}/ran; echo secret")
    found = diagnose(home, project)
    expect(found, HERE, "trust", "warn", "runs a program here", "mtr trust")
    expect(found, "lab", "login", "fail", "has not got it", "mtr trust")
    assert not (home.dir / "ran").exists()


def test_an_ssh_configuration_that_is_careless(home: Home, project: Path) -> None:
    """What works against the user is named, after ssh has decided what counts."""
    home.write_ssh_config("Host 127.0.0.1\n  StrictHostKeyChecking no\nHost *\n  ServerAliveInterval 0")
    found = diagnose(home, project)
    expect(found, "lab", "ssh-config", "warn", "StrictHostKeyChecking no: a changed host key", "~/.ssh/config")
    assert "ServerAliveInterval 0" in found["lab", "ssh-config"]["found"]
    home.write_ssh_config("Host 127.0.0.1\n  NoSuchOption yes")
    expect(diagnose(home, project), "lab", "ssh-config", "fail", "Bad configuration option", "ssh -G 127.0.0.1")


def test_a_pre_cmd_that_fails(home: Home, project: Path) -> None:
    """Every run would fail: told with its status, and where to try it."""
    home.configure(project, pre_cmd="cd /nowhere 2>/dev/null")
    expect(diagnose(home, project), "lab", "pre_cmd", "fail", "pre_cmd ended with status", "log in with ssh")


def test_a_python_environment(home: Home, project: Path) -> None:
    """One that is not there fails every run: told with what was looked for; one that is there is entered."""
    home.configure(project, python="conda:nowhere")
    expect(diagnose(home, project), "lab", "python", "fail", "there is no conda:nowhere there", "mtr config show lab")
    venv = home.server.home_of("bash") / "env"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/usr/bin/env")
    (venv / "pyvenv.cfg").touch()
    home.configure(project, python="venv:~/env")
    expect(diagnose(home, project), "lab", "python", "ok", "venv:~/env is there", "")


# -- this machine


def test_a_runtime_directory_of_somebody_else(home: Home, project: Path) -> None:
    """A link in its place: nothing in it can be trusted, and no connection is opened."""
    target = home.dir / "elsewhere"
    target.mkdir()
    home.runtime.symlink_to(target)
    found = diagnose(home, project)
    expect(found, HERE, "runtime-dir", "fail", "is not a directory of yours", f"ls -ld {home.runtime}")
    assert list_tree(target) == []
    home.runtime.unlink()


def test_a_state_directory_that_takes_nothing(home: Home, project: Path) -> None:
    """Read-only, and full."""
    with small_disk(home.home / ".state", "2m") as disk:
        disk.path.chmod(0o700)
        diagnose(home, project)
        with disk.read_only():
            found = diagnose(home, project)
        expect(found, HERE, "state-dir", "fail", "Read-only file system", "df -h")
        disk.fill()
        expect(diagnose(home, project), HERE, "disk", "fail", "0 B free", "df -h")


def test_an_agent_that_does_not_answer(home: Home, project: Path) -> None:
    """A socket that nobody serves any more."""
    found = diagnose(home, project, SSH_AUTH_SOCK=f"{home.dir}/gone")
    expect(found, HERE, "agent", "warn", "nobody answers", "unset SSH_AUTH_SOCK")


# -- remedies


@pytest.fixture
def paste(home: Home, project: Path) -> Callable[[str], None]:
    """Type a remedy as it stands, in a shell of the person whose PATH has mtr."""
    folder = home.dir / "typed"
    folder.mkdir()
    (folder / "mtr").write_text(f'#!/bin/sh\nexec {sys.executable} -m mtr "$@"\n')
    (folder / "mtr").chmod(0o755)
    environ = {**home.environ, "PATH": f"{folder}:{home.environ['PATH']}"}

    def run(remedy: str) -> None:
        subprocess.run(["/bin/sh", "-c", remedy], cwd=project, env=environ, check=True, capture_output=True)

    return run


def break_key(home: Home, project: Path) -> None:
    """Let others read the key."""
    key = home.dir / "own key"
    shutil.copy(home.server.key, key)
    key.chmod(0o640)
    home.configure(project, key_filename=str(key))


def break_mode(home: Home, project: Path) -> None:
    """Let others read a password."""
    home.configure(project, PASSWORD_USER)
    (project / ".mtr" / "config.yaml").chmod(0o644)


def break_link(home: Home, project: Path) -> None:
    """Put a link where mtr's directory goes, below a name that a shell would take apart."""
    home.configure(project, remote_dir=f"~/{home.dir.name}/it's $HOME; rm")
    remote = home.server.home_of("bash") / home.dir.name / "it's $HOME; rm"
    remote.mkdir(parents=True)
    (remote / ".mtr").symlink_to("/tmp")


def break_host_key(home: Home, project: Path) -> None:
    """Store another host key than the server's."""
    other = home.dir / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    home.known_hosts.write_text(f"[127.0.0.1]:{home.server.port} {other.with_suffix('.pub').read_text()}")


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (break_key, "keys"),
        (break_mode, "config"),
        (break_link, "directory"),
        (break_host_key, "login"),
    ],
)
def test_a_remedy_that_is_pasted_mends_it(
    home: Home, project: Path, paste: Callable[[str], None], break_it: Callable[[Home, Path], None], name: str
) -> None:
    """What doctor says, typed as it stands, and doctor has nothing left to say."""
    break_it(home, project)
    bad = [check for check in diagnose(home, project).values() if check["id"] == name]
    assert [check["state"] != "ok" for check in bad] == [True], bad
    # For a changed host key, the command stands behind the condition that a person has to see to.
    paste(bad[0]["remedy"].removeprefix("if its administrator confirms the new key: "))
    assert list_bad(diagnose(home, project)) == set()


# -- many servers, people, and ends


def test_all_servers_side_by_side(home: Home, project: Path) -> None:
    """One of three is broken: each has its own checks, in the order of the configuration, and the status is 1."""
    config = json.loads((project / ".mtr" / "config.yaml").read_text())
    lab = config["servers"]["lab"]
    config["servers"] = {"closed": {**lab, "port": free_port()}, "lab": lab, "other": {**lab, "user": "zsh"}}
    (project / ".mtr" / "config.yaml").write_text(json.dumps(config))
    found = diagnose(home, project, "--all")
    assert list(dict.fromkeys(place for place, _ in found)) == [HERE, "closed", "lab", "other"]
    expect(found, "closed", "port", "fail", "connection refused", "ssh -v")
    expect(found, "other", "shell", "ok", "zsh", "")
    assert home.run_mtr(["doctor", "--all", "lab"], project).returncode == 2


def test_what_a_person_sees(home: Home, project: Path) -> None:
    """Groups, marks that need no colour, one line for what was not tried, the remedy below, and a summary."""
    home.configure(project, port=free_port())
    done = home.run_mtr(["doctor"], project)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (1, b"")
    assert text.startswith("This machine\n  ok    python       3.")
    assert f"\n\nlab (bash@127.0.0.1:{_port_of(text)})\n" in text
    assert re.search(r"\n  fail  port         cannot reach lab .*\n {21}ssh: .*\n {21}try: ", text), text
    assert "\n  skip  not tried: needs port: login, session, output," in text
    assert re.search(r"\n\n1 of \d+ checks failed: port \(lab\); \d warnings?, \d+ not tried\n$", text), text
    assert "\x1b" not in text


def _port_of(text: str) -> str:
    found = re.search(r"bash@127\.0\.0\.1:(\d+)", text)
    assert found
    return found[1]


@pytest.mark.parametrize("plain", [False, True])
def test_on_a_terminal(home: Home, project: Path, plain: bool) -> None:
    """Colour on a terminal alone, and none with NO_COLOR."""
    home.environ |= {"NO_COLOR": "1"} if plain else {}
    child = home.spawn_mtr(["doctor"], project, dimensions=(60, 100))
    child.expect(pexpect.EOF)
    child.close()
    shown = child.before.decode()
    assert child.exitstatus == 0, shown
    assert "\nnothing failed: " in shown
    assert ("\x1b[32mok" in shown) is not plain


def test_a_login_that_asks(home: Home, project: Path) -> None:
    """On a terminal it asks, as `mtr up` does, and goes on with the answer."""
    key = home.dir / "locked"
    shutil.copy(home.server.key, key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key], check=True, capture_output=True)
    home.write_ssh_config(key=key)
    child = home.spawn_mtr(["doctor"], project, dimensions=(60, 120))
    child.expect("assphrase for key")
    child.sendline("secret")
    child.expect("leaves 7")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_an_interrupt_ends_all(home: Home, project: Path) -> None:
    """Ctrl-C in the middle of a login: 130 at once, and no process is left."""
    home.write_ssh_config("Host *\n  ConnectTimeout 50")
    with GarbageServer(b"", silent=True) as garbage:
        home.configure(project, port=garbage.port)
        running = home.popen_mtr(["doctor"], project)
        wait_until(lambda: len(children_of(running.pid)) >= 2, "the ssh of the login")
        family = children_of(running.pid)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 128 + signal.SIGINT
        wait_until(lambda: not any(map(is_alive, family)), "the end of what doctor has started")
        running.communicate()


def test_a_name_that_is_gone_under_an_open_connection(home: Home, project: Path) -> None:
    """Names are no longer looked up, the connection stands: runs work, and doctor says both."""
    home.configure(project, host="box.test")
    home.known_hosts.write_text(home.known_hosts.read_text().replace("127.0.0.1", "box.test"))
    hosts = home.dir / "hosts"
    hosts.write_text("127.0.0.1 box.test\n")
    wrapped = {"LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_HOSTS": str(hosts)}
    expect(diagnose(home, project, **wrapped), "lab", "name", "ok", "box.test is 127.0.0.1", "")
    found = diagnose(home, project)
    expect(found, "lab", "name", "warn", "box.test does not resolve", "getent hosts box.test")
    expect(found, "lab", "run", "ok", "leaves 7", "")
