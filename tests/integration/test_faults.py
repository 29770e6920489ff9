"""Bad input and faults: each its own error on stderr, status 125, nothing on stdout, and nothing touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.disk import small_disk
from tests.lab.sshd import PASSWORD, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

FAILED = 125


def fail(home: Home, root: Path, *args: str, status: int = FAILED, **more: object) -> str:
    """Run mtr, which must fail without a word on stdout or a traceback; return its words."""
    done = home.run_mtr(args or ("touch", "started"), root, **more)  # type: ignore[arg-type]
    words = done.stderr.decode()
    assert (done.returncode, done.stdout) == (status, b""), words
    assert words.startswith("mtr: "), words
    assert "Traceback" not in words
    assert "try: " in words
    return words


def test_without_configuration_or_destination(home: Home) -> None:
    """Neither configuration nor destination: how to start is said, and nothing is written."""
    empty = home.dir / "p" / "empty"
    empty.mkdir()
    (empty / "f").write_text("")
    assert "mtr -s user@host CMD" in fail(home, empty)
    assert os.listdir(empty) == ["f"]


def test_invalid_yaml_names_line_and_column(home: Home, project: Path) -> None:
    """``path:line:column: reason``."""
    (project / ".mtr" / "config.yaml").write_text("servers:\n  lab: [\n")
    assert f"{project}/.mtr/config.yaml:3:1:" in fail(home, project)


def test_an_unknown_key_is_named_with_what_was_meant(home: Home, project: Path) -> None:
    """Did you mean."""
    (project / ".mtr" / "config.yaml").write_text("servers:\n  lab:\n    hots: x\n")
    words = fail(home, project)
    assert "config.yaml:3:5: servers.lab.hots" in words
    assert "did you mean" in words
    assert "host" in words


def test_an_unknown_server_lists_those_there_are(home: Home, project: Path) -> None:
    """Server not found."""
    words = fail(home, project, "-s", "lbb", "true")
    assert "lbb" in words
    assert "lab" in words


def test_an_unknown_host(home: Home, project: Path) -> None:
    """A name that does not resolve."""
    home.configure(project, host="nosuch.invalid")
    words = fail(home, project)
    assert "does not resolve" in words
    assert "Could not resolve hostname" in words


def test_a_refused_connection(home: Home, project: Path) -> None:
    """Nobody listens."""
    home.configure(project, port=free_port())
    assert "connection refused" in fail(home, project)


def test_a_server_that_never_answers(home: Home, project: Path) -> None:
    """A port that accepts and stays silent: ConnectTimeout bounds it."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        home.configure(project, port=silent.getsockname()[1], ssh_options={"ConnectTimeout": 1})
        assert "no answer" in fail(home, project)


def test_a_wrong_key(home: Home, project: Path) -> None:
    """The server's words, and where to log in by hand."""
    key = home.home / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    home.configure(project, key_filename=str(key))
    home.write_ssh_config("Host *\n  IdentitiesOnly yes\n")
    config = home.home / ".ssh" / "config"
    config.write_text(config.read_text().replace(f"  IdentityFile {home.server.key}\n", ""))
    words = fail(home, project)
    assert "Permission denied" in words
    assert "mtr up -s lab" in words


def test_a_wrong_password_is_tried_once(home: Home) -> None:
    """One attempt: no account gets locked. The password is in no word of it."""
    project = home.make_project(user="pw")
    home.configure(project, user="pw", password="wrong-secret")
    before = home.server.log.read_text().count("Failed password")
    words = fail(home, project)
    assert "Permission denied" in words
    assert "wrong-secret" not in words
    assert home.server.log.read_text().count("Failed password") == before + 1


@pytest.mark.parametrize("key", ["password", "password_env", "password_command"])
def test_a_password_logs_in_and_shows_nowhere(home: Home, key: str) -> None:
    """Each way to give a password works; it is in no argv, log, dry run or file of the server."""
    project = home.make_project(user="pw")
    values = {
        "password": PASSWORD,
        "password_env": "LAB_PASSWORD",
        "password_command": 'printf "%s\\n" "$LAB_PASSWORD"',
    }
    home.configure(project, user="pw", password=PASSWORD)
    if key != "password":
        text = (project / ".mtr" / "config.yaml").read_text()
        start = text.index('"password"')
        end = text.index("\n", start)
        import json

        (project / ".mtr" / "config.yaml").write_text(text[:start] + f'"{key}": {json.dumps(values[key])}' + text[end:])
        home.trust(project)
    shown = home.run_mtr(["--dry-run", "true"], project, environ={"LAB_PASSWORD": PASSWORD})
    assert PASSWORD.encode() not in shown.stdout + shown.stderr
    done = home.run_mtr(["cat", "a.txt"], project, environ={"LAB_PASSWORD": PASSWORD})
    assert (done.returncode, done.stdout) == (0, b"one\n"), done.stderr
    assert not (home.remote(project, "pw") / ".mtr" / "config.yaml").exists()
    found = subprocess.run(
        ["grep", "-rlF", PASSWORD, home.runtime, home.server.home_of("pw")], capture_output=True, check=False
    )
    assert found.stdout == b""


def test_a_password_file_that_others_can_read_is_refused(home: Home) -> None:
    """As ssh refuses a key; the file is left as it is."""
    project = home.make_project(user="pw")
    (project / ".mtr" / "config.yaml").chmod(0o644)
    words = fail(home, project)
    assert "chmod 600" in words
    assert not home.remote(project, "pw").exists()


def test_a_missing_sshpass_changes_nothing(home: Home) -> None:
    """mtr answers ssh's question itself, or at ssh's prompt."""
    project = home.make_project(user="pw")
    tools = home.dir / "bin"
    tools.mkdir()
    for name in ("ssh", "rsync", "git", "ps", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for helper in ("", "pexpect"):
        environ = {"PATH": str(tools), "MTR_PASSWORD_HELPER": helper}
        assert home.run_mtr(["cat", "a.txt"], project, environ=environ).stdout == b"one\n"
        assert home.run_mtr(["down"], project).returncode == 0


@pytest.mark.parametrize(("tool", "kept"), [("ssh", ("rsync", "git")), ("rsync", ("ssh", "git"))])
def test_a_missing_program_here_is_said(home: Home, project: Path, tool: str, kept: tuple[str, ...]) -> None:
    """Ssh or rsync is not installed on this machine, and nothing else is wanted."""
    tools = home.dir / "bin"
    tools.mkdir()
    for name in kept:
        (tools / name).symlink_to(str(shutil.which(name)))
    home.configure(project, sync="rsync", client="openssh")
    assert f"{tool} is not installed on this machine" in fail(home, project, environ={"PATH": str(tools)})


def test_a_changed_host_key_stops_everything(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """Nothing is sent to a server that is not the one of yesterday; the command to accept it is shown."""
    other = make_server()
    home.known_hosts.write_text(f"[127.0.0.1]:{other.port} {(home.server.dir / 'host.pub').read_text()}")
    home.configure(project, port=other.port)
    words = fail(home, project)
    assert f"ssh-keygen -R '[127.0.0.1]:{other.port}'" in words
    assert not (other.home_of("bash") / home.dir.name).exists()


def test_a_remote_directory_that_cannot_be_made(home: Home, project: Path) -> None:
    """The system's own words; no command starts."""
    (home.server.home_of("bash") / "afile").write_text("")
    home.configure(project, remote_dir="~/afile/below")
    words = fail(home, project)
    assert "afile/below" in words
    assert "ot a directory" in words
    words = fail(home, project, "--no-sync", "true")
    assert "cannot enter" in words


def test_a_remote_directory_that_cannot_be_written(home: Home, project: Path) -> None:
    """A place where even root makes no file."""
    home.configure(project, remote_dir="/proc/sys")
    assert "cannot write" in fail(home, project)


def test_no_rsync_on_the_server(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """The server's PATH has neither rsync nor tar: SFTP does it, and who asks for rsync is told."""
    bare = home.dir / "bare"
    bare.mkdir()
    for name in ("sh", "bash", "mkdir", "rm", "mv", "ln", "rmdir", "date", "find", "cat"):
        (bare / name).symlink_to(str(shutil.which(name)))
    other = make_server(f"SetEnv PATH={bare}")
    home.configure(project, port=other.port, sync="rsync")
    assert "rsync is not installed on" in fail(home, project)
    home.configure(project, port=other.port)
    assert home.run_mtr(["cat", "a.txt", "src/b.py"], project).stdout == b"one\nprint('two')\n"
    (project / "a.txt").write_text("again\n")
    (project / "src" / "b.py").unlink()
    done = home.run_mtr(["cat a.txt; find ./src"], project)
    assert done.stdout == b"again\n./src\n", done.stderr


def test_a_server_without_even_mv(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """What cannot be done is said; commands still run."""
    bare = home.dir / "bare"
    bare.mkdir()
    for name in ("sh", "bash", "mkdir", "rm", "cat", "touch"):
        (bare / name).symlink_to(str(shutil.which(name)))
    other = make_server(f"SetEnv PATH={bare}")
    home.configure(project, port=other.port)
    assert "there is no mv" in fail(home, project)
    done = home.run_mtr(["--no-sync", "sh", "-c", "echo fine"], project)
    assert done.stdout == b"fine\n"


def test_a_full_disk_on_the_server(home: Home, project: Path) -> None:
    """No space left: /dev/full's kin, a file system with a few free kilobytes; the command does not start."""
    with small_disk(home.dir / "small") as small:
        home.configure(project, remote_dir=str(small.path / "proj"))
        (project / "big").write_bytes(os.urandom(300_000))
        words = fail(home, project)
        assert "No space left" in words
        assert "no space left" in words.splitlines()[0]
        assert not (small.path / "proj" / "started").exists()


def test_a_missing_root_and_a_home_directory_are_refused(home: Home) -> None:
    """A home directory is never synced; -C to nowhere is said."""
    words = fail(home, home.home, "-s", "bash@127.0.0.1", "true")
    assert "home directory" in words
    words = fail(home, home.home, "-C", "/nosuch", "-s", "a.b", "true")
    assert "/nosuch" in words


def test_an_empty_project_is_refused(home: Home) -> None:
    """An unmounted disk looks like an empty directory: it mirrors nothing."""
    empty = home.dir / "p" / "empty"
    empty.mkdir()
    words = fail(home, empty, "-s", f"bash@127.0.0.1:{home.server.port}", "true")
    assert "empty" in words or "nothing" in words


def test_an_option_that_mtr_does_not_have(home: Home, project: Path) -> None:
    """Status 2, and what was probably meant."""
    assert "--server" in fail(home, project, "--srever", "x", "true", status=2)


def test_a_pre_cmd_that_fails(home: Home, project: Path) -> None:
    """Its status is told, and the command does not start."""
    home.configure(project, pre_cmd="source /nosuch/activate")
    done = home.run_mtr(["touch", "started"], project)
    words = done.stderr.decode()
    assert (done.returncode, done.stdout) == (125, b"")
    assert "No such file" in words
    assert "mtr: lab: pre_cmd ended with status 1" in words
    assert not (home.remote(project) / "started").exists()


def test_the_commands_own_125_is_its_own(home: Home, project: Path) -> None:
    """125 from the command is passed on without a word."""
    done = home.run_mtr(["sh", "-c", "exit 125"], project)
    assert (done.returncode, done.stderr) == (125, b"")


def test_a_login_shell_that_runs_nothing(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """An rc file that exits looks like success to ssh; mtr notices when the connection opens."""
    other = make_server("ForceCommand exit 0")
    home.configure(project, port=other.port)
    assert "login shell" in fail(home, project)


@pytest.mark.parametrize("damage", ["garbage", "directory", "failing git"])
def test_git_that_fails_in_a_warm_run(home: Home, project: Path, damage: str) -> None:
    """mtr does without it, and says so; never a traceback, nor a status that could be the command's."""
    assert home.run_mtr(["true"], project).returncode == 0
    index, environ = project / ".git" / "index", {}
    if damage == "failing git":
        tools = home.dir / "bin"
        tools.mkdir()
        (tools / "git").write_text("#!/bin/sh\nexit 1\n")
        (tools / "git").chmod(0o755)
        environ = {"PATH": f"{tools}:{home.environ['PATH']}"}
    elif damage == "garbage":
        index.write_bytes(b"garbage")
    else:
        index.unlink(missing_ok=True)
        index.mkdir()
    (project / "new.txt").write_text("new\n")
    done = home.run_mtr(["cat", "new.txt", "a.txt"], project, environ=environ)
    assert (done.returncode, done.stdout) == (0, b"new\none\n"), done.stderr
    assert b"Traceback" not in done.stderr


def test_two_files_of_the_same_second_and_size(home: Home, project: Path) -> None:
    """SFTP tells whole seconds: what changed within the second of a download is brought; --force brings in any case."""
    there = home.remote(project)
    assert home.run_mtr(["true"], project).returncode == 0
    for text in ("1\n", "2\n"):
        (there / "r").write_text(text)
        (there / "folder").mkdir(exist_ok=True)
        (there / "folder" / "r").write_text(text)
        os.utime(there / "r", (10**9, 10**9))
        for name, local in (("r", "got"), ("folder", "here/")):
            force = ["--force"] if name == "r" else []
            assert home.run_mtr(["get", *force, name, f"{home.dir}/{local}"], project).returncode == 0
        assert (home.dir / "got").read_text() == text
        assert (home.dir / "here" / "folder" / "r").read_text() == text
