"""``mtr init`` as a person and a script use it, with a real server, in a real terminal."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from mtr.config.load import load_config
from mtr.config.project import find_project
from tests.lab.disk import small_disk
from tests.lab.processes import processes_mentioning
from tests.lab.sshd import PASSWORD, PASSWORD_USER, SshServer, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mtr.config.model import Server
    from tests.lab.home import Home


@pytest.fixture
def fresh(home: Home) -> Path:
    """A repository without any configuration, whose user has two hosts in ~/.ssh/config."""
    root = home.dir / "p" / "demo"
    (root / "deep").mkdir(parents=True)
    home.git(root, "init", "-q")
    (root / "a.txt").write_text("one\n")
    offer(home)
    return root


def offer(home: Home, *, port: int = 0, user: str = "bash") -> None:
    """Write a ~/.ssh/config whose first host is the lab's server."""
    block = f"HostName 127.0.0.1\n  Port {port or home.server.port}\n  User {user}\n"
    home.write_ssh_config(f"Host gpu-box\n  {block}Host other\n  HostName 127.0.0.1\n  Port 1\nHost *.lan\n  Port 2\n")


@pytest.fixture
def passwords_only(home: Home, make_server: Callable[..., SshServer]) -> SshServer:
    """A server that takes no keys."""
    server = make_server("PubkeyAuthentication no")
    with home.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{server.port} {(server.dir / 'host.pub').read_text()}")
    return server


def load(home: Home, root: Path) -> Server:
    config = load_config(find_project(root, home.environ), home.environ)
    return config.servers[config.default or ""]


def finish(child: pexpect.spawn) -> tuple[int, str]:
    """Return the status and the last words."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before.decode()


def written(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".mtr").iterdir()) if (root / ".mtr").exists() else []


def test_one_key_is_enough(home: Home, fresh: Path) -> None:
    """Enter takes the first host of ~/.ssh/config; nothing else is asked, and the next command runs there."""
    child = home.spawn_mtr(["init"], fresh)
    child.expect(r"1  gpu-box\r\n +2  other\r\nServer \(its number, or user@host\) \[1\]: ")
    child.send("\r")
    status, said = finish(child)
    assert status == 0, said
    assert re.search(r"logged in to bash@127\.0\.0\.1:\d+; a command there takes \d+ ms", said)
    assert re.search(r"~/mtr/demo-[0-9a-f]{10} will be made there", said)
    assert "now try: mtr hostname" in said
    assert written(fresh) == [".gitignore", "config.yaml"]
    assert not list((home.server.home_of("bash") / "mtr").glob("demo-*"))
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


def test_a_subdirectory_sets_up_the_repository(home: Home, fresh: Path) -> None:
    """Said, with what would set up the directory alone; the script's last word works from there."""
    done = home.run_mtr(["init", "--host", "gpu-box"], fresh / "deep")
    assert done.returncode == 0, done.stderr
    assert b"the top of the git repository" in done.stderr
    assert written(fresh) == [".gitignore", "config.yaml"]
    (fresh / "deep" / ".mtr").mkdir()
    assert home.run_mtr(["init", "--host", "gpu-box"], fresh / "deep").returncode == 0
    assert written(fresh / "deep") == [".gitignore", "config.yaml"]


def test_wrong_answers_are_asked_again(home: Home, fresh: Path) -> None:
    """Each with its reason; then a server that ssh's configuration does not know, and every default."""
    child = home.spawn_mtr(["init"], fresh)
    for wrong, reason in [
        ("9", "no number 9"),
        ("a;b", "must be one word"),
        ("h:99999", "65535"),
        ("-oX=y", "begin|no destination has"),
    ]:
        child.expect(r"\[1\]: ")
        child.sendline(wrong)
        child.expect(reason)
    child.expect(r"\[1\]: ")
    child.sendline(f"bash@127.0.0.1:{home.server.port}")
    child.expect(r"Directory there \(or such as ~/projects/demo\) \[~/mtr/demo-\w+\]: ")
    child.sendline("~/../x")
    child.expect("upwards")
    child.expect(r"\]: ")
    child.sendline(f"~/{home.dir.name}/mine")
    child.expect(r"\(Enter: none\): ")
    child.sendline("torch")
    child.expect("must be conda:NAME")
    child.expect(r"\(Enter: none\): ")
    child.sendline("venv:.venv")
    status, said = finish(child)
    assert status == 0, said
    server = load(home, fresh)
    assert (server.name, server.user, server.port) == ("127.0.0.1", "bash", home.server.port)
    assert (server.remote_dir, server.python) == (f"~/{home.dir.name}/mine", "venv:.venv")
    assert "bash" not in (fresh / ".mtr/config.yaml").read_text().replace(".bashrc", "")
    assert b"there is no venv:.venv there" in home.run_mtr(["true"], fresh).stderr
    assert not (home.server.home_of("bash") / home.dir.name / "mine" / ".mtr-probe").exists()


@pytest.mark.parametrize("key", ["\x03", "\x04"])
@pytest.mark.parametrize("question", [0, 1, 2])
def test_ending_at_any_question_writes_nothing(home: Home, fresh: Path, key: str, question: int) -> None:
    """Ctrl-C and Ctrl-D: said, 130, and nothing is there."""
    child = home.spawn_mtr(["init"], fresh)
    for answer in [f"bash@127.0.0.1:{home.server.port}", "", ""][:question]:
        child.expect(r"\]: ")
        child.sendline(answer)
    child.expect([r"\]: ", "none\\): "])
    child.send(key)
    status, said = finish(child)
    assert (status, written(fresh)) == (130, []), said
    assert "mtr: nothing was written" in said
    assert [path.name for path in fresh.iterdir() if path.name.startswith(".mtr")] == []


def test_a_password_is_asked_without_echo_and_kept_for_its_user_alone(
    home: Home, fresh: Path, passwords_only: SshServer
) -> None:
    """Wrong once, then right: in local.yaml (0600), in nothing that was printed, and the next run needs nobody."""
    offer(home, port=passwords_only.port, user=PASSWORD_USER)
    child = home.spawn_mtr(["init"], fresh)
    child.logfile_read = (home.dir / "screen").open("wb")
    child.expect(r"\[1\]: ")
    child.sendline("")
    for word in ("wrong one", PASSWORD):
        child.expect("How do you log in to gpu-box")
        child.expect(r"What now\? \[1\]: ")
        child.sendline("2")
        child.expect("does not show")
        child.waitnoecho()
        child.sendline(word)
    status, said = finish(child)
    own = processes_mentioning([str(home.dir)])
    assert own
    assert not own.keys() & processes_mentioning([PASSWORD, "wrong one"]).keys()
    child.logfile_read.close()
    assert status == 0, said
    screen = (home.dir / "screen").read_bytes()
    assert b"wrong one" not in screen
    assert PASSWORD.encode() not in screen
    local = fresh / ".mtr/local.yaml"
    assert local.stat().st_mode & 0o777 == 0o600
    found = load(home, fresh).password
    assert found is not None
    assert found.reveal() == PASSWORD
    assert "assword" not in (fresh / ".mtr/config.yaml").read_text().replace("key, password", "")
    assert home.run_mtr(["down"], fresh).returncode == 0
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


def test_a_password_that_ssh_asks_for_is_kept_nowhere(home: Home, fresh: Path, passwords_only: SshServer) -> None:
    """Enter lets ssh ask; the connection stays open, and no file holds anything personal."""
    offer(home, port=passwords_only.port, user=PASSWORD_USER)
    child = home.spawn_mtr(["init"], fresh)
    child.expect(r"\[1\]: ")
    child.sendline("")
    child.expect(r"What now\? \[1\]: ")
    child.sendline("")
    child.expect("assword: ")
    child.waitnoecho()
    child.sendline(PASSWORD)
    status, said = finish(child)
    assert status == 0, said
    assert written(fresh) == [".gitignore", "config.yaml"]
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


def test_other_ways_to_a_password_are_trusted_as_typed(home: Home, fresh: Path, passwords_only: SshServer) -> None:
    """A command and a variable: tried, written, and the next run asks for no trust."""
    offer(home, port=passwords_only.port, user=PASSWORD_USER)
    secret = home.dir / "secret"
    secret.write_text(f"{PASSWORD}\n")
    home.environ["GPU_PASSWORD"] = PASSWORD
    for number, answer in (("3", f"cat {secret}"), ("4", "GPU_PASSWORD")):
        child = home.spawn_mtr(["init"], fresh)
        child.expect(r"\[1\]: ")
        child.sendline("")
        child.expect(r"What now\? \[1\]: ")
        child.sendline(number)
        child.expect("(Command|variable): ")
        child.sendline(answer)
        status, said = finish(child)
        assert status == 0, said
        assert PASSWORD not in (fresh / ".mtr/local.yaml").read_text()
        home.run_mtr(["down"], fresh)
        assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"
        home.run_mtr(["down"], fresh)
        shutil.rmtree(fresh / ".mtr")


def test_a_key_file_is_tried_and_kept(home: Home, fresh: Path) -> None:
    """Where no key of ssh's own opens the door; one that is not there is asked for again."""
    home.write_ssh_config("Host *\n  PasswordAuthentication no", key=home.dir / "none")
    key = home.home / "mine"
    key.write_bytes(home.server.key.read_bytes())
    key.chmod(0o600)
    child = home.spawn_mtr(["init", "--host", f"bash@127.0.0.1:{home.server.port}"], fresh)
    child.expect(r"What now\? \[1\]: ")
    child.sendline("5")
    child.expect("Key file: ")
    child.sendline("~/nowhere")
    child.expect("there is no key file")
    child.expect("Key file: ")
    child.sendline("~/mine")
    status, said = finish(child)
    assert status == 0, said
    assert "    key_filename: ~/mine\n" in (fresh / ".mtr/local.yaml").read_text()
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


def test_a_host_key_that_must_be_confirmed(home: Home, fresh: Path) -> None:
    """Where ssh is told to ask: the second try lets it."""
    block = f"Host gpu-box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User bash\n  StrictHostKeyChecking ask\n"
    home.write_ssh_config(block)
    home.known_hosts.write_text("")
    child = home.spawn_mtr(["init"], fresh)
    child.expect(r"\[1\]: ")
    child.sendline("")
    child.expect("does not accept new ones")
    child.expect(r"2  try again, and let ssh ask")
    child.expect(r"What now\? \[1\]: ")
    child.sendline("2")
    child.expect(r"yes/no")
    child.sendline("yes")
    status, said = finish(child)
    assert status == 0, said
    assert written(fresh) == [".gitignore", "config.yaml"]


def test_a_server_that_cannot_be_reached_can_be_changed(home: Home, fresh: Path) -> None:
    """The error stands there, then the choices: a new answer, with what was typed before as its default."""
    child = home.spawn_mtr(["init"], fresh)
    child.expect(r"\[1\]: ")
    child.sendline("2")
    child.expect("cannot reach other .*refused")
    child.expect(r"1  change the answers\r\n")
    child.expect(r"What now\? \[1\]: ")
    child.sendline("")
    child.expect(r"Server .* \[other\]: ")
    child.sendline("1")
    child.expect(r"User there \[bash\]: ")
    child.sendline("")
    for _ in range(2):
        child.expect([r"\]: ", r"\): "])
        child.sendline("")
    status, said = finish(child)
    assert status == 0, said
    assert load(home, fresh).hosts == ("gpu-box",)
    assert written(fresh) == [".gitignore", "config.yaml"]


@pytest.mark.parametrize(("choice", "left"), [("write", [".gitignore", "config.yaml"]), ("stop", [])])
def test_a_server_that_cannot_be_reached_can_be_written_or_left(
    home: Home, fresh: Path, choice: str, left: list[str]
) -> None:
    """Whatever the person wants."""
    child = home.spawn_mtr(["init", "--host", "other"], fresh)
    child.expect(r"What now\? \[1\]: ")
    numbers = {text.split()[0]: number for number, text in re.findall(r"(\d)  (\w+)", child.before.decode())}
    child.sendline(numbers[choice])
    status, said = finish(child)
    assert (status, written(fresh)) == (0 if left else 1, left), said


@pytest.mark.parametrize("words", [[], ["--yes"], ["--name", "x"], ["--json"]])
def test_without_a_terminal_it_says_what_it_needs(home: Home, fresh: Path, words: list[str]) -> None:
    """A usage error with the option, nothing asked, nothing written; as data where that is wanted."""
    done = home.run_mtr(["init", *words], fresh)
    assert done.returncode == 2
    assert b"--host" in done.stderr
    assert written(fresh) == []
    if words == ["--json"]:
        assert json.loads(done.stdout)["error"]["code"] == "usage"


def test_a_script_gives_everything(home: Home, fresh: Path) -> None:
    """Options alone; what was written and found out comes as data."""
    words = ["--host", "127.0.0.1", "--port", str(home.server.port), "--user", "bash", "--name", "gpu 1"]
    assert home.run_mtr(["init", *words], fresh).returncode == 2
    words[-1] = "gpu-1"
    words += ["--remote-dir", f"~/{home.dir.name}/demo", "--pre-cmd", "true", "--key-filename", str(home.server.key)]
    done = home.run_mtr(["init", *words, "--json"], fresh)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["ok"]) == ("init", True)
    data = found["data"]
    assert (data["server"], data["remote_dir"], data["trial"]["directory"]) == (
        "gpu-1",
        f"~/{home.dir.name}/demo",
        "new",
    )
    assert data["files"] == [str(fresh / ".mtr" / name) for name in ("config.yaml", "local.yaml", ".gitignore")]
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


@pytest.mark.parametrize("user", ["dash", "zsh", "fish", "tcsh", "mksh"])
def test_any_login_shell_there(home: Home, fresh: Path, user: str) -> None:
    """The directory is tried whatever shell the account has."""
    host = f"{user}@127.0.0.1:{home.server.port}"
    done = home.run_mtr(["init", "--host", host, "--remote-dir", f"~/{home.dir.name}/it's {user}"], fresh)
    assert done.returncode == 0, done.stderr
    assert b"will be made there" in done.stderr
    assert not (home.server.home_of(user) / home.dir.name).exists()


def test_a_script_whose_server_fails_has_written_nothing(home: Home, fresh: Path) -> None:
    """125 with the error and the way around; --no-test is that way."""
    words = ["init", "--host", f"dev@127.0.0.1:{free_port()}"]
    done = home.run_mtr(words, fresh)
    assert (done.returncode, done.stdout, written(fresh)) == (125, b"", [])
    assert b"refused" in done.stderr
    assert b"--no-test" in done.stderr
    assert home.run_mtr([*words, "--no-test"], fresh).returncode == 0
    assert written(fresh) == [".gitignore", "config.yaml", "local.yaml"]


def test_a_directory_that_cannot_be_made_is_told_before_anything_is_written(home: Home, fresh: Path) -> None:
    """With the server's own words; a directory that is there is left as it is."""
    done = home.run_mtr(["init", "--host", "gpu-box", "--remote-dir", "/proc/nope/x"], fresh)
    assert (done.returncode, written(fresh)) == (125, [])
    assert b"cannot write to /proc/nope/x" in done.stderr
    there = home.server.home_of("bash") / home.dir.name
    there.mkdir()
    (there / "theirs").write_text("x")
    done = home.run_mtr(["init", "--host", "gpu-box", "--remote-dir", f"~/{home.dir.name}"], fresh)
    assert done.returncode == 0, done.stderr
    assert b"has files that mtr has not brought" in done.stderr
    assert [path.name for path in there.iterdir()] == ["theirs"]


def test_many_hosts_are_cut_short(home: Home, fresh: Path) -> None:
    """Twelve are listed; the others can be typed by name, and a number of theirs is none."""
    names = [f"gpu-{number}" for number in range(30)]
    home.write_ssh_config("".join(f"Host {name}\n  HostName 127.0.0.1\n  Port 1\n" for name in names))
    child = home.spawn_mtr(["init", "--dry-run"], fresh)
    child.expect(r"12  gpu-11\r\n +and 18 more, by name\r\n")
    child.expect(r"\[1\]: ")
    child.sendline("13")
    child.expect("there is no number 13")
    child.sendline("gpu-29")
    status, said = finish(child)
    assert status == 0
    assert "host: gpu-29" in said


def test_a_dry_run_prints_and_does_nothing(home: Home, fresh: Path) -> None:
    """The files as they would be, on stdout; no server is asked."""
    done = home.run_mtr(["init", "--host", f"dev@127.0.0.1:{free_port()}", "--dry-run"], fresh)
    assert (done.returncode, written(fresh)) == (0, [])
    text = done.stdout.decode()
    assert "/.mtr/config.yaml (0644)\n" in text
    assert "/.mtr/local.yaml (0600)\n" in text
    assert "    user: dev\n" in text
    done = home.run_mtr(["init", "--host", "gpu.lan", "--dry-run", "--json"], fresh)
    assert "host: gpu.lan" in json.loads(done.stdout)["data"]["would_write"]


def test_what_is_configured_stays(home: Home, project: Path) -> None:
    """Said, with a server to add; on a terminal nothing is asked."""
    before = (project / ".mtr/config.yaml").read_bytes()
    status, said = finish(home.spawn_mtr(["--init"], project))
    assert status == 125
    assert "config.yaml is there already; nothing was changed" in said.replace("\r\n", "")
    assert "its servers: lab (the default)" in said
    assert (project / ".mtr/config.yaml").read_bytes() == before
    assert written(project) == ["config.yaml"]


def test_a_home_directory_is_refused(home: Home) -> None:
    """Before anything is asked."""
    status, said = finish(home.spawn_mtr(["init"], home.home))
    assert status == 125
    assert "a home directory, which is never synced" in said.replace("\r\n", "")
    assert not (home.home / ".mtr").exists()


def test_without_ssh_paramiko_does_it(home: Home, fresh: Path) -> None:
    """The same questions and the same trial."""
    tools = home.dir / "tools"
    tools.mkdir()
    for name in ("git", "sh", "tar", "gzip"):
        (tools / name).symlink_to(str(shutil.which(name)))
    home.environ["PATH"] = str(tools)
    child = home.spawn_mtr(["init"], fresh)
    child.expect(r"\[1\]: ")
    child.sendline(f"127.0.0.1:{home.server.port}")
    child.expect(r"User there \[\w+\]: ")
    child.sendline("bash")
    for _ in range(2):
        child.expect([r"\]: ", r"\): "])
        child.sendline("")
    status, said = finish(child)
    assert status == 0, said
    assert "logged in to bash@127.0.0.1" in said
    assert home.run_mtr(["cat", "a.txt"], fresh).stdout == b"one\n"


def test_two_at_once_leave_one(home: Home, fresh: Path) -> None:
    """Two scripts at the same moment: one has written all of it, the other is told."""
    started = [
        home.popen_mtr(["init", "--host", "gpu-box", "--name", f"n{n}", "--user", "bash"], fresh) for n in (1, 2)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert sorted(status for _, status in ended) == [0, 125], ended
    winner = 1 + [status for _, status in ended].index(0)
    assert load(home, fresh).name == f"n{winner}"
    assert written(fresh) == [".gitignore", "config.yaml", "local.yaml"]


def test_from_a_clone_to_a_run(home: Home, fresh: Path) -> None:
    """A newcomer's whole way: clone, step in, init, run."""
    home.git(fresh, "add", "a.txt")
    home.git(fresh, "commit", "-qm", "first")
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile"], cwd=str(home.dir / "p"), env={**home.environ, "PS1": "$ "}, timeout=30
    )
    child.sendline(f"alias mtr='{sys.executable} -m mtr'; clear")
    child.expect_exact("clear\r\n")
    for line, after in (
        ("git clone -q demo mine && cd mine", r"\$ "),
        ("mtr init", r"\[1\]: "),
        ("", "now try: mtr hostname"),
        ("mtr cat a.txt", "one\r\n"),
    ):
        child.sendline(line)
        child.expect(after)
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()
    status = subprocess.run(["git", "status", "--short"], cwd=home.dir / "p/mine", capture_output=True, check=True)
    assert status.stdout == b"?? .mtr/\n"


def test_what_is_typed_in_another_encoding_is_asked_again(home: Home, fresh: Path) -> None:
    """Bytes that are no UTF-8, where the locale is: elsewhere Python takes any."""
    home.environ["PYTHONIOENCODING"] = "utf-8:strict"
    child = home.spawn_mtr(["init"], fresh)
    child.expect_exact("[1]: ")
    child.send(b"\xff\xfe\r")
    child.expect_exact("is not text in UTF-8")
    child.expect_exact("[1]: ")
    child.sendcontrol("c")
    assert finish(child)[0] == 130


def test_a_full_disk_is_named_and_nothing_is_left(home: Home) -> None:
    """The project's directory, which is what can be looked at."""
    with small_disk(home.dir / "small", "16k") as disk:
        root = disk.path / "proj"
        (root / ".git").mkdir(parents=True)
        disk.fill()
        done = home.run_mtr(["init", "--host", "me@gpu.lan", "--no-test"], root)
        assert done.returncode == 125
        assert f"mtr: {root}: No space left on device".encode() in done.stderr
        assert [path.name for path in root.iterdir()] == [".git"]
