"""What docs/security.md promises: each promise has its test, here or in the file that the document names."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from mtr.scripts import load_script
from mtr.sync import sftp_transfer
from tests.lab import hostile_sftp
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

FILE, FOLDER, LINK = 0o100644, 0o040755, 0o120777
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def modes_of(*tops: Path) -> dict[str, int]:
    """Return the modes of everything below ``tops`` but links."""
    found = [path for top in tops for path in [top, *top.rglob("*")] if not path.is_symlink()]
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in found}


# -- another user of this machine


def test_what_mtr_keeps_here_is_for_its_user_alone(home: Home) -> None:
    """State, sockets, records, logs and routes, whatever the umask."""
    root = home.make_project(ssh_options={"SendEnv": "LANG"})
    before = os.umask(0)
    try:
        for words in (["true"], ["true"], ["sync", "--full"], ["get", "a.txt"], ["servers"]):
            assert home.run_mtr(words, root).returncode == 0
    finally:
        os.umask(before)
    modes = modes_of(home.home / ".state" / "mtr", home.runtime)
    assert len(modes) > 5
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_downloads_give_nobody_more_than_reading(home: Home, project: Path) -> None:
    """Neither the bits of another user's identity nor writing for others come from a server."""
    assert home.run_mtr(["true"], project).returncode == 0
    there = home.remote(project) / "tool"
    there.write_text("x")
    there.chmod(0o6777)
    assert home.run_mtr(["get", "tool"], project).returncode == 0
    assert stat.S_IMODE((project / "downloads" / "tool").stat().st_mode) == 0o755


def test_a_runtime_directory_that_is_a_link_is_refused(home: Home, project: Path) -> None:
    """Nobody's directory in the place of mtr's own is used."""
    (home.dir / "elsewhere").mkdir()
    home.runtime.symlink_to(home.dir / "elsewhere")
    done = home.run_mtr(["true"], project)
    assert (done.returncode, b"is not a directory of yours" in done.stderr) == (125, True)
    assert os.listdir(home.dir / "elsewhere") == []
    home.runtime.unlink()


def test_directories_that_were_open_are_closed(home: Home, project: Path) -> None:
    """A runtime or state directory that others may enter is theirs no more after the first run."""
    state = home.home / ".state" / "mtr"
    for folder in (home.runtime, state):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    assert home.run_mtr(["true"], project).returncode == 0
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (home.runtime, state)] == [0o700, 0o700]


def test_a_link_in_the_place_of_a_file_of_mtrs_own_is_not_written_through(home: Home, project: Path) -> None:
    """The lock, the record and the generated configuration, whose names can be told before."""
    assert home.run_mtr(["true"], project).returncode == 0
    names = sorted(path.name for path in home.runtime.iterdir() if path.is_file())
    home.run_mtr(["down", "--all"], project)
    prey = home.dir / "prey"
    prey.write_text("mine\n")
    for name in {*names, *(f"{name}.lock" for name in names), *(f"{name}.1.tmp" for name in names)}:
        (home.runtime / name).unlink(missing_ok=True)
        (home.runtime / name).symlink_to(prey)
    home.run_mtr(["true"], project)
    assert prey.read_text() == "mine\n"


# -- a hostile project directory (what its configuration may not do is in test_trust.py)


def test_a_link_out_of_the_project_travels_as_a_link(home: Home, project: Path) -> None:
    """What it leads to is not read, with any transport."""
    (home.home / "secret").write_text("hunter2")
    (project / "link").symlink_to(home.home / "secret")
    (project / "folder").symlink_to(home.home)
    for number, engine in enumerate(("tar", "rsync", "sftp")):
        home.configure(project, sync=engine, remote_dir=f"~/{home.dir.name}/r{number}")
        assert home.run_mtr(["true"], project).returncode == 0
        there = home.server.home_of("bash") / home.dir.name / f"r{number}"
        assert [os.readlink(there / name) for name in ("link", "folder")] == [str(home.home / "secret"), str(home.home)]


def test_names_are_never_options(home: Home, project: Path) -> None:
    """Of files on the way there, and in every verb."""
    names = ["-rf", "--help", "-o ProxyCommand=x", "--rsync-path=x", "-e x", "@x", "a;touch owned", "$(touch owned)"]
    for engine in ("tar", "rsync", "sftp"):
        home.configure(project, sync=engine, remote_dir=f"~/{home.dir.name}/-{engine}")
        for name in names:
            (project / name).write_text(engine)
        done = home.run_mtr(["true"], project)
        assert done.returncode == 0, done.stderr
        there = home.server.home_of("bash") / home.dir.name / f"-{engine}"
        assert [(there / name).read_text() for name in names] == [engine] * len(names)
        assert not list(there.glob("owned")) + list(project.glob("owned"))
    for name in names:
        got = home.run_mtr(["get", "--", name, "got/"], project)
        assert (got.returncode, (project / "got" / name).read_text()) == (0, "sftp"), got.stderr
        assert home.run_mtr(["why", "--", name], project).returncode == 0


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=touch owned", "-Fx", "a;touch owned", "$(touch owned)", "`touch owned`"]
)
@pytest.mark.parametrize("key", ["host", "user"])
def test_hosts_and_users_are_never_options_nor_shell_text(home: Home, project: Path, key: str, name: str) -> None:
    """In the configuration and with -s; ssh and the user's own ProxyCommand never see them."""
    keys: dict[str, Any] = {key: name}
    home.configure(project, **keys)
    destination = name if key == "host" else f"{name}@127.0.0.1"
    for words in (["true"], ["--dry-run", "true"], ["servers"], ["-s", destination, "true"], ["up", "--", destination]):
        done = home.run_mtr(words, project)
        assert done.returncode in (2, 125), words
    assert not list(home.dir.rglob("owned"))
    (project / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {name: {"host": "127.0.0.1"}}}))
    assert home.run_mtr(["true"], project).returncode == 125


def test_downloads_stay_in_the_project(home: Home, project: Path) -> None:
    """A link in the place of the directory of downloads, as a repository may bring it, is not followed out."""
    assert home.run_mtr(["true"], project).returncode == 0
    outside = home.dir / "outside"
    outside.mkdir()
    (project / "inside").mkdir()
    for target, status in ((outside, 125), (project / ".git", 125), (project / "inside", 0)):
        (project / "downloads").unlink(missing_ok=True)
        (project / "downloads").symlink_to(target)
        done = home.run_mtr(["get", "a.txt"], project)
        assert done.returncode == status, done.stderr
    assert os.listdir(outside) == []
    assert not (project / ".git" / "a.txt").exists()
    home.configure(project, is_trusted=False, download_dir=str(outside))
    assert b"needs your trust" in home.run_mtr(["get", "a.txt"], project).stderr
    assert home.run_mtr(["true"], project).returncode == 0
    home.trust(project)
    assert home.run_mtr(["get", "a.txt"], project).returncode == 0
    assert (outside / "a.txt").exists()


def test_git_runs_nothing_that_a_repository_names(home: Home) -> None:
    """Nor does a directory that looks like a bare repository count as one."""
    mark = home.dir / "ran"
    text = f"[core]\n\tfsmonitor = touch {mark}; false\n\tworktree = .\n\tbare = false\n\thooksPath = {home.dir}\n"
    root = home.make_project()
    (root / ".git" / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n{text}")
    assert home.run_mtr(["true"], root).returncode == 0
    assert home.run_mtr(["why", "a.txt"], root).returncode == 0
    bare = home.dir / "p" / "bare"
    (bare / "objects").mkdir(parents=True)
    (bare / "refs").mkdir()
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    (bare / "config").write_text(text)
    home.configure(bare)
    assert home.run_mtr(["true"], bare).returncode == 0
    assert not mark.exists()


# -- a hostile server: what it says


def make_liar(make_server: Callable[..., SshServer], home: Home, script: str) -> SshServer:
    """Start a server that answers every command by ``script``, which finds the command in $SSH_ORIGINAL_COMMAND."""
    program = home.dir / "liar.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    liar = make_server(f"ForceCommand {program}")
    home.write_ssh_config("Host 127.0.0.1\n  StrictHostKeyChecking no\n")
    return liar


PROBE = "echo; echo mtr-probe start 1; echo mtr-probe stat c; echo mtr-probe archive tar; echo mtr-probe rsync yes"
LIES = {
    "nothing": "exit 0",
    "escapes": f"printf '{ESCAPES}'; printf '{ESCAPES}' >&2; exit 1",
    "garbage": "head -c 100000 /dev/urandom; exit 3",
    "a token that is a path": "echo mtr-token ../../x; echo mtr-known",
    "names that lead out": "echo mtr-token t; echo mtr-list; "
    "{ printf '=81a4:1:1|1:1:1|./../../x\\n=81a4:1:1|1:1:1|.//etc/x\\n'; echo mtr-end; } | gzip",
    "numbers that are none": "echo mtr-token t; echo mtr-list; { echo '=zz:a:b|c:d:e|./x'; echo mtr-end; } | gzip",
    "odd bytes": "printf 'mtr-token \\377\\nmtr-list\\n\\377'",
    "all at once": "printf '%s\\n' 'mtr-token t' mtr-unlisted 'mtr-ready /../..' 'mtr-trash x' 'mtr-from x' mtr-done",
    "a refusal without a reason": "echo push; exit 125",
    "a refusal that lies": "echo push; echo x; exit 125",
}


def snapshot(top: Path) -> dict[str, bytes]:
    """Return every file below ``top`` with what it holds."""
    return {str(path): path.read_bytes() for path in top.rglob("*") if path.is_file() and ".mtr" not in path.parts}


@pytest.mark.parametrize(
    ("lie", "engine"), [*((lie, "auto") for lie in LIES), *(("all at once", name) for name in ("tar", "rsync", "sftp"))]
)
def test_a_server_that_lies_changes_nothing_here(
    home: Home, project: Path, make_server: Callable[..., SshServer], lie: str, engine: str
) -> None:
    """Whatever it answers to the scripts: no file of the project is touched, and mtr ends with an error of its own."""
    script = f"case $SSH_ORIGINAL_COMMAND in *mtr-probe*) {PROBE} ;; *) {LIES[lie]} ;; esac"
    liar = make_liar(make_server, home, script)
    home.configure(project, port=liar.port, sync=engine, delete="mirror")
    before = snapshot(project)
    for words in (["sync"], ["sync", "--full"], ["sync", "--dry-run"], ["true"], ["undo"]):
        done = home.run_mtr(words, project)
        said = done.stderr.decode(errors="replace")
        assert "Traceback" not in said, said
        if words != ["true"]:
            assert not {"\x1b", "\x07", "\x9b"} & set(said + done.stdout.decode(errors="replace"))
    assert snapshot(project) == before
    assert not (home.dir / "x").exists()


def run_python(home: Home, project: Path, program: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``program`` in the project, as the person of ``home``."""
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, cwd=project, env=home.environ, capture_output=True, check=False, timeout=300)


def test_an_endless_answer_does_not_fill_the_memory(
    home: Home, project: Path, make_server: Callable[..., SshServer]
) -> None:
    """Neither one that goes on, nor one that is a few bytes and unpacks to gigabytes."""
    bomb = "head -c 1200000000 /dev/zero | gzip -1"
    for lie in ("yes mtr-token", f"echo mtr-token t; echo mtr-list; {bomb}"):
        script = f"case $SSH_ORIGINAL_COMMAND in *mtr-probe*) {PROBE} ;; *) {lie} ;; esac"
        liar = make_liar(make_server, home, script)
        home.configure(project, port=liar.port)
        program = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30));"
        program += "sys.argv[1:] = ['sync']; runpy.run_module('mtr', run_name='__main__')"
        done = run_python(home, project, program)
        assert done.returncode == 125
        assert b"Traceback" not in done.stderr
        assert b"too long" in done.stderr or b"MiB came where" in done.stderr, done.stderr


# -- a hostile server: what it sends


def serve_lies(
    home: Home, make_server: Callable[..., SshServer], folders: dict[str, Any], **more: dict[str, str]
) -> None:
    """Let the configured server answer SFTP with a tree of lies."""
    scene = home.dir / "scene.json"
    scene.write_text(json.dumps({"folders": folders, "files": {}, "links": {}, **more}))
    liar = make_server(f"Subsystem sftp {sys.executable} {hostile_sftp.__file__} {scene}")
    home.write_ssh_config("Host 127.0.0.1\n  StrictHostKeyChecking no\n")
    home.configure(home.dir / "p" / "proj", port=liar.port, remote_dir="~/x")


BAD_NAMES = ["../x", "/etc/x", "a/b", "", "x\0y"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_download_takes_no_name_that_leads_out(
    home: Home, project: Path, make_server: Callable[..., SshServer], name: str
) -> None:
    """Nothing of such a directory arrives."""
    serve_lies(home, make_server, {"": [[name, FILE, 5], ["fine", FILE, 5]]})
    done = home.run_mtr(["get", "top", "here/"], project)
    assert done.returncode == 125
    assert b"impossible name" in done.stderr
    assert not (project / "here" / "top" / "fine").exists()
    assert not (project / "here" / "x").exists()


def test_a_download_writes_through_no_link(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """A link out, then a directory of the same name: in one listing, and in two downloads after each other."""
    outside = home.dir / "outside"
    outside.mkdir()
    links = {"evil": str(outside)}
    twice = [["evil", LINK, 1], ["evil", FOLDER, 1]]
    serve_lies(home, make_server, {"": twice, "evil": [["x", FILE, 5]]}, links=links)
    home.run_mtr(["get", "top", "here/"], project)
    assert os.listdir(outside) == []
    assert (project / "here" / "top" / "evil").is_symlink()
    home.run_mtr(["down", "--all"], project)
    serve_lies(home, make_server, {"": [["evil", FOLDER, 1]], "evil": [["x", FILE, 5]]})
    done = home.run_mtr(["get", "top", "here/"], project)
    assert (done.returncode, b"is a link here" in done.stderr) == (125, True)
    assert os.listdir(outside) == []


def test_a_download_does_not_believe_sizes(home: Home, project: Path, make_server: Callable[..., SshServer]) -> None:
    """A file of 2**62 bytes that has five is one of five; no space is taken for what does not come."""
    serve_lies(home, make_server, {"": [["huge", FILE, 1 << 62]]})
    home.run_mtr(["get", "top", "here/"], project)
    found = project / "here" / "top" / "huge"
    assert not found.exists() or found.stat().st_size == 5
    assert [path.name for path in (project / "here" / "top").iterdir() if path.name != "huge"] == []


def test_a_directory_without_end_ends_the_download(
    home: Home, project: Path, make_server: Callable[..., SshServer]
) -> None:
    """After as many names as no directory has."""
    serve_lies(home, make_server, {"": "endless"})
    # Fewer than mtr takes: five million of them are a minute's work.
    program = "import sys; from mtr.sync import sftp_transfer; sftp_transfer.MAX_NAMES = 20000;"
    program += "sys.argv[1:] = ['get', 'top', 'here/']; from mtr.warm import main; main()"
    done = run_python(home, project, program)
    assert done.returncode == 125
    assert b"more than 20,000 names" in done.stderr
    assert sftp_transfer.MAX_NAMES == 5_000_000


def test_names_from_the_server_cannot_write_to_the_terminal(
    home: Home, project: Path, make_server: Callable[..., SshServer]
) -> None:
    """In the receipts and complaints of a download: no escape sequence, and no line of its own."""
    name = "x\n\x1b]0;owned\x07mtr: all is well"
    serve_lies(home, make_server, {"": [[name, FILE, 5]]})
    (project / "here" / "top").mkdir(parents=True)
    (project / "here" / "top" / name).write_text("newer")
    done = home.run_mtr(["get", "top", "here/"], project)
    assert done.returncode == 1
    assert b"x\\n\\x1b]0;owned\\x07mtr: all is well" in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"\nmtr: all is well" not in done.stderr


def test_names_there_cannot_write_to_the_terminal(home: Home, project: Path) -> None:
    """In what would be synced and in what was brought back."""
    name = "x\x1b[2J\ny"
    (project / name).write_text("1")
    assert b"+ x\\x1b[2J\\ny\n" in home.run_mtr(["sync", "--dry-run"], project).stdout
    assert home.run_mtr(["sync"], project).returncode == 0
    (project / name).unlink()
    assert home.run_mtr(["sync"], project).returncode == 0
    assert b"\x1b" not in home.run_mtr(["undo"], project).stdout


def test_a_refusal_there_cannot_write_to_the_terminal(home: Home, project: Path) -> None:
    """The system's own words in an error, with what a directory there is called."""
    home.configure(project, remote_dir=f"/proc/x\x9b2J{home.dir.name}")
    done = home.run_mtr(["true"], project)
    assert done.returncode == 125
    assert "\x9b" not in done.stderr.decode()
    assert b"\\x9b2J" in done.stderr


def test_what_a_login_asks_cannot_write_to_the_terminal(home: Home) -> None:
    """The server chooses the words of a question for a code or a password."""
    program = "import sys; from mtr.ssh.questions import ask_person; print(len(ask_person(sys.argv[1])))"
    for question in ("Code\x1b[2J:", "Sure\x1b[2J (yes/no)?"):
        child = pexpect.spawn(sys.executable, ["-c", program, question], env=home.environ, timeout=30)
        child.expect_exact(question.replace("\x1b", "\\x1b"))
        child.sendline("1234")
        child.expect_exact("4\r\n")
        child.expect(pexpect.EOF)
        child.close()


# -- another user of the server


def plant(home: Home, project: Path, where: str) -> Path:
    """Put a link of somebody else's into the tree there; return what it leads to."""
    prey = home.dir / "prey"
    prey.mkdir()
    (prey / "b.py").write_text("mine\n")
    link = home.remote(project) / where
    subprocess.run(["rm", "-rf", link], check=True)
    link.symlink_to(prey)
    return prey


@pytest.mark.parametrize("engine", ["auto", "tar", "rsync", "sftp"])
def test_a_planted_link_is_not_written_through(home: Home, project: Path, engine: str) -> None:
    """``src -> elsewhere``, whoever made it: it goes to the trash, and what it leads to stays as it was."""
    home.configure(project, sync=engine)
    assert home.run_mtr(["true"], project).returncode == 0
    prey = plant(home, project, "src")
    (project / "src" / "b.py").write_text("edited\n")
    done = home.run_mtr(["cat", "src/b.py"], project)
    assert (done.returncode, done.stdout) == (0, b"edited\n"), done.stderr
    assert b"went to the trash there" in done.stderr
    assert (prey / "b.py").read_text() == "mine\n"
    assert not (home.remote(project) / "src").is_symlink()


@pytest.mark.parametrize("where", ["src", "src/deep"])
def test_an_undo_does_not_follow_a_planted_link(home: Home, project: Path, where: str) -> None:
    """What it brings back goes nowhere else, and what lies there stays where it is, at whatever depth the link is."""
    (project / "src" / "deep").mkdir()
    (project / "src" / "deep" / "b.py").write_text("one\n")
    assert home.run_mtr(["true"], project).returncode == 0
    (home.remote(project) / "src" / "deep" / "b.py").write_text("changed there\n")
    (project / "src" / "deep" / "b.py").write_text("changed here\n")
    assert home.run_mtr(["true"], project).returncode == 0
    prey = plant(home, project, where)
    (prey / "deep").write_text("a file where a directory was\n")
    assert home.run_mtr(["undo"], project).returncode == 0
    assert {path.name: path.read_text() for path in prey.iterdir()} == {
        "b.py": "mine\n",
        "deep": "a file where a directory was\n",
    }
    assert (home.remote(project) / "src" / "deep" / "b.py").read_text() == "changed there\n"


@pytest.mark.parametrize(
    "name", ["busy.0", "t.0", ".gitignore", "trash/9000000-x", "partial", "partial/new", "partial/cut"]
)
@pytest.mark.parametrize("words", [["sync", "--full"], ["undo"]])
def test_no_link_in_mtrs_directory_is_followed(home: Home, project: Path, name: str, words: list[str]) -> None:
    """Whatever of it is one, what it leads to stays as it is."""
    assert home.run_mtr(["true"], project).returncode == 0
    own = home.remote(project) / ".mtr"
    (own / "trash" / "1000001-20261121T101500Z-0").mkdir(parents=True)
    prey = home.dir / "prey"
    is_file = name in {"busy.0", "t.0", ".gitignore"}
    (prey / "x").parent.mkdir()
    (prey / "x").write_text("mine\n")
    (own / name).parent.mkdir(exist_ok=True)
    (own / name).unlink(missing_ok=True)
    (own / name).symlink_to(prey / "x" if is_file else prey)
    os.utime(own / name, (0, 0), follow_symlinks=False)
    (project / "big.bin").write_bytes(os.urandom(18_000_000))
    home.run_mtr(words, project)
    assert {path.name: path.read_text() for path in prey.iterdir()} == {"x": "mine\n"}


def test_a_planted_directory_of_mtrs_own_is_refused(home: Home, project: Path) -> None:
    """``.mtr -> elsewhere``: what mtr clears away there is not mtr's."""
    prey = home.dir / "prey"
    (prey / "in.0").mkdir(parents=True)
    there = home.remote(project)
    there.mkdir(parents=True)
    (there / ".mtr").symlink_to(prey)
    done = home.run_mtr(["true"], project)
    assert (done.returncode, b".mtr is a symbolic link" in done.stderr) == (125, True), done.stderr
    assert os.listdir(prey) == ["in.0"]


def test_a_payload_that_travels_as_a_file_is_for_its_user_alone(home: Home, tmp_path: Path) -> None:
    """On servers that take no variables it lies in the home directory, for a moment, with mode 0600."""
    argv = ["sh", "-c", f"umask 0; {load_script('remote/receive.sh')}", "mtr-script", "0123"]
    subprocess.run(argv, input=b"secret", env={**home.environ, "HOME": str(tmp_path)}, check=True)
    assert stat.S_IMODE((tmp_path / ".mtr-in.0123").stat().st_mode) == 0o600


def test_the_environment_of_a_command_shows_in_no_argv(home: Home, project: Path) -> None:
    """Neither here nor there, while it runs."""
    home.configure(project, env={"TOKEN": "hunter2-configured"})
    mark = home.dir / "running"
    words = ["-e", "OTHER=hunter2-typed", "sh", "-c", f"touch {mark}; read x; echo $TOKEN $OTHER"]
    with home.popen_mtr(words, project, stdin=subprocess.PIPE) as run:
        wait_until(mark.exists, "the command to run")
        argvs = {int(path.parent.name): read_argv(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
        shown = [pid for pid, argv in argvs.items() if b"hunter2-" in argv and pid != run.pid]
        out, _ = run.communicate(b"\n", timeout=60)
    assert out == b"hunter2-configured hunter2-typed\n"
    assert shown == []


def read_argv(path: Path) -> bytes:
    """Return the argv of a process; b"" where it has gone."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
