"""``mtr demo`` on both servers: it works, it reads and writes nothing of the user's, it leaves nothing."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from mtr.demo.server import open_server
from mtr.demo.stage import open_stage
from mtr.errors import MissingProgram
from tests.lab.processes import processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtr.demo.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
KINDS = ("sshd", "embedded")
STRANGER_UID = 64_321
STAGE = re.compile(r"here +(/tmp/mtr-demo-\w+)/train")


@dataclass
class Person:
    """Somebody with an entry in the password database of their own (nss_wrapper), whose home must stay as it is."""

    dir: Path
    environ: dict[str, str]
    prefix: list[str] = field(default_factory=list)
    python: str = sys.executable

    @property
    def home(self) -> Path:
        """The home directory, both by $HOME and by uid."""
        return self.dir / "home"

    def argv(self, *words: str) -> list[str]:
        """Return the argv for this person's ``mtr demo``."""
        return [*self.prefix, self.python, "-m", "mtr", "demo", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the demo in batch."""
        return subprocess.run(
            self.argv(*words),
            env=self.environ,
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start the demo in batch, in a process group of its own."""
        return subprocess.Popen(
            self.argv(*words),
            env=self.environ,
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def spawn(self, *words: str) -> pexpect.spawn:
        """Type the demo in a terminal of 80x24."""
        argv = self.argv(*words)
        return pexpect.spawn(
            argv[0], argv[1:], env=self.environ, cwd=str(self.dir), dimensions=(24, 80), timeout=60, encoding="utf-8"
        )

    def files(self) -> dict[str, bytes]:
        """Return everything in the home directory."""
        return {str(p.relative_to(self.home)): p.read_bytes() for p in self.home.rglob("*") if p.is_file()}


def make_person(directory: Path, *, uid: int, shell: str = "/bin/bash") -> Person:
    """Make a person with ``uid`` and a home with files that a demo must not touch."""
    for path in (directory / "home" / ".ssh", directory / "run"):
        path.mkdir(parents=True, mode=0o700)
    (directory / "home" / ".ssh" / "config").write_text("Host demo\n  ProxyCommand false\n")
    (directory / "home" / ".ssh" / "known_hosts").write_text("")
    (directory / "home" / ".config" / "mtr").mkdir(parents=True)
    (directory / "home" / ".config" / "mtr" / "config.yaml").write_text("default: nowhere\n")
    gid = os.getgid() if uid == os.getuid() else uid
    rows = [f"{u.pw_name}:x:{u.pw_uid}:{u.pw_gid}::{u.pw_dir}:{u.pw_shell}" for u in pwd.getpwall() if u.pw_uid != uid]
    (directory / "passwd").write_text("\n".join([f"visitor:x:{uid}:{gid}::{directory}/home:{shell}", *rows]) + "\n")
    shutil.copy("/etc/group", directory / "group")
    environ = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "HOME": str(directory / "home"),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LD_PRELOAD": "libnss_wrapper.so",
        "NSS_WRAPPER_PASSWD": str(directory / "passwd"),
        "NSS_WRAPPER_GROUP": str(directory / "group"),
    }
    return Person(directory, environ)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that any uid can reach, which pytest's own cannot be; empty of processes afterwards."""
    path = Path(tempfile.mkdtemp(prefix="mtr-lab-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    left = processes_mentioning([str(path)])
    shutil.rmtree(path)
    assert left == {}


@pytest.fixture
def person(place: Path) -> Person:
    """Whoever runs the tests, with a home of their own."""
    return make_person(place, uid=os.getuid())


def assert_nothing_left(output: str, *, at_once: bool = True) -> None:
    """Neither the directory of the demo nor a process that mentions it is left, at once or soon."""
    found = STAGE.search(output)
    assert found, output
    if not at_once:
        wait_until(lambda: not Path(found[1]).exists(), f"{found[1]} to go")
        wait_until(lambda: not processes_mentioning([found[1]]), f"every process of {found[1]} to end")
    assert processes_mentioning([found[1]]) == {}
    assert not Path(found[1]).exists()


def assert_shown(done: subprocess.CompletedProcess[str]) -> None:
    """Every act has been performed, and the edit changed the result."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    first, again, edited = re.findall(r"accuracy (\S+)", done.stdout)
    assert first == again
    assert edited != first
    assert "-- exit status 7, " in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "mtr -s user@host CMD" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_everything_and_leaves_nothing(person: Person, kind: str) -> None:
    """Each server: all acts, batch output without colours, the person's home and runtime directory as before."""
    before = person.files()
    done = person.run("--server", kind)
    assert_shown(done)
    assert_nothing_left(done.stdout)
    assert person.files() == before
    assert list((person.dir / "run").iterdir()) == []


def find_python_for_strangers(prefix: list[str], environ: dict[str, str]) -> str:
    """Return an interpreter that another uid may run, with the libraries of this one.

    That of the tests may lie in a home directory; then the system's serves if it is the same version.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    # setpriv itself may still reach what a program that it has started cannot: the second start tells.
    code = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import click, asyncssh'])"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        tried = subprocess.run([*prefix, python, "-c", code], env=environ, capture_output=True, check=False)
        if tried.returncode == 0:
            return python
    pytest.skip(f"no Python {version} outside of a home directory: another uid cannot run one")


def make_stranger(place: Path, shell: str = "/bin/bash") -> Person:
    """Return an ordinary user: whoever runs the tests, or another uid if that is root."""
    if os.getuid() != 0:
        return make_person(place, uid=os.getuid(), shell=shell)
    stranger = make_person(place, uid=STRANGER_UID, shell=shell)
    for path in (place, *place.rglob("*")):
        os.chown(path, STRANGER_UID, STRANGER_UID)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    stranger.environ["PYTHONPATH"] = os.pathsep.join([str(CHECKOUT), *libraries])
    stranger.prefix = ["setpriv", f"--reuid={STRANGER_UID}", f"--regid={STRANGER_UID}", "--clear-groups"]
    stranger.python = find_python_for_strangers(stranger.prefix, stranger.environ)
    return stranger


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_for_an_ordinary_user(place: Path, kind: str) -> None:
    """Without root both servers run as the user, and nothing is left."""
    stranger = make_stranger(place)
    before = stranger.files()
    done = stranger.run("--server", kind)
    assert_shown(done)
    assert_nothing_left(done.stdout)
    assert stranger.files() == before


def test_a_server_that_lets_nobody_in_is_replaced(place: Path) -> None:
    """sshd runs, but the account has no login shell: the server in Python takes over."""
    stranger = make_stranger(place, shell="/usr/sbin/nologin")
    done = stranger.run()
    assert_shown(done)
    assert "an SSH server in Python" in done.stdout
    assert_nothing_left(done.stdout)


def test_a_server_that_lets_nobody_in_is_explained(place: Path) -> None:
    """Asked for by name, it is not replaced: the error says what failed and what to try."""
    done = make_stranger(place, shell="/usr/sbin/nologin").run("--server", "sshd")
    assert done.returncode == 125
    assert "OpenSSH's sshd runs, but a login to it fails" in done.stderr
    assert "try: mtr demo --server embedded" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_terminal_it_is_live_and_in_colour(person: Person, kind: str) -> None:
    """The progress is drawn by the command there on a terminal there; the receipt says what travelled."""
    child = person.spawn("--server", kind)
    child.expect("mtr: edit here, run there\x1b")
    child.expect(r"mtr: synced 3 files \(.*\) to demo in")
    child.expect("\rstep  35/60  \x1b\\[32m==")
    child.expect(r"mtr: synced 1 file \(")
    child.expect("exit status 7")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_no_color_is_respected(person: Person) -> None:
    """On both sides: the demo's own lines and what the command there prints."""
    person.environ["NO_COLOR"] = "1"
    child = person.spawn()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert not re.search(r"\x1b\[[0-9;]+m", child.before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["1  The first run", "training on"])
def test_ctrl_c_in_a_terminal_ends_it_all(person: Person, kind: str, moment: str) -> None:
    """While mtr connects and while the command runs: 130, and nothing is left."""
    child = person.spawn("--server", kind)
    child.expect(moment)
    seen = child.before
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130, child.before
    assert_nothing_left(seen)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_it_all(person: Person, kind: str, number: signal.Signals) -> None:
    """A signal to the demo alone, even one that it cannot catch: nothing is left."""
    with person.popen("--server", kind) as demo:
        assert demo.stdout
        seen = ""
        while "\n$ mtr" not in seen:
            seen += demo.stdout.readline()
        demo.send_signal(number)
        rest = demo.stdout.read()
        status = demo.wait(60)
    assert status == (-number if number == signal.SIGKILL else 128 + number), rest
    assert_nothing_left(seen, at_once=number != signal.SIGKILL)


def test_a_reader_that_leaves_ends_it_all(person: Person) -> None:
    """``mtr demo | head -5``."""
    with person.popen() as demo:
        assert demo.stdout
        seen = "".join(demo.stdout.readline() for _ in range(5))
        demo.stdout.close()
        assert demo.wait(60) != 0
    assert_nothing_left(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_with_python_alone_it_works(person: Person, kind: str) -> None:
    """A PATH without ssh, rsync, git or a shell: paramiko does it, and says so."""
    (person.dir / "bin").mkdir()
    (person.dir / "bin" / "python3").symlink_to(person.python)
    person.environ["PATH"] = str(person.dir / "bin")
    done = person.run("--server", kind)
    assert done.returncode == 0, done.stderr
    assert "paramiko, since there is no ssh here" in done.stdout
    assert "exit status 7" in done.stdout
    assert_nothing_left(done.stdout)


def test_without_any_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is missing, and no other server was asked for."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    with (
        pytest.raises(MissingProgram, match="asyncssh is not installed"),
        open_stage(os.environ) as made,
        open_server("embedded", made, lambda: None),
    ):
        pytest.fail("a server without a program")


# The embedded server under mtr: what sshd does for every other test.


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage with the embedded server; nothing of it is left afterwards."""
    with (
        open_stage({**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}) as made,
        open_server("embedded", made, lambda: None),
    ):
        yield made
    wait_until(lambda: not processes_mentioning([str(made.dir)]), "every process of the stage to end")


def mtr(stage: Stage, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run mtr on the stage in batch."""
    argv = [sys.executable, "-m", "mtr", "-C", str(stage.project), *words]
    return subprocess.run(argv, env=stage.environ, input=stdin, capture_output=True, timeout=60, check=False)


def test_embedded_carries_every_byte_and_status(stage: Stage) -> None:
    """Megabytes in and out, the two streams apart, statuses and signals, variables."""
    data = os.urandom(3_000_000)
    done = mtr(stage, "cat", stdin=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")
    done = mtr(stage, "--no-sync", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"out\n", b"err\n")
    assert mtr(stage, "--no-sync", "kill -KILL $$").returncode == 137
    assert mtr(stage, "--no-sync", "-e", "A=b c", "sh", "-c", 'echo "$A"').stdout == b"b c\n"
    # A command that does not read its stdin must not stand in the way of its end.
    assert mtr(stage, "--no-sync", "true", stdin=data).returncode == 0


def test_embedded_gives_a_terminal(stage: Stage) -> None:
    """Controlling terminal, size, its change, Ctrl-C, and the status."""
    script = "trap 'stty size; exit 0' WINCH; tty; stty size; echo $TERM; while :; do sleep 0.05; done"
    argv = ["-m", "mtr", "-C", str(stage.project), "--no-sync"]
    child = pexpect.spawn(
        sys.executable, [*argv, "bash", "-c", script], env=stage.environ, dimensions=(33, 111), timeout=30
    )
    child.expect(r"/dev/\S+\r\n33 111\r\n\S+\r\n")
    child.setwinsize(40, 133)
    child.expect("40 133")
    child.expect(pexpect.EOF)
    child = pexpect.spawn(
        sys.executable, [*argv, "sh", "-c", "echo started; exec sleep 4329"], env=stage.environ, timeout=30
    )
    child.expect("started")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_embedded_ends_an_interrupted_run(stage: Stage) -> None:
    """In batch, Ctrl-C ends the command there, as on sshd."""
    argv = [sys.executable, "-m", "mtr", "-C", str(stage.project), "sh", "-c", "echo started; sleep 4328"]
    with subprocess.Popen(argv, env=stage.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stdout.readline() == b"started\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130
    assert processes_mentioning(["sleep 4328", "sleep\x004328"]) == {}
