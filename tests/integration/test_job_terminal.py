"""Jobs with a terminal: joined, left and joined again, from anywhere, while they go on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import termios
import threading
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.disk import small_disk
from tests.lab.home import Home
from tests.lab.processes import children_of, end_tree, is_alive, processes_mentioning, wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEAVE = "\x1cd"
BACK = "to come back: mtr job attach"


@pytest.fixture(autouse=True)
def _no_job_left(home: Home) -> Iterator[None]:
    """Nothing of a job outlives its test, nor does anything that has joined it."""
    yield
    for path in home.server.dir.glob("home/*/.mtr/jobs/*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            end_tree(int((path / "running").read_text().split()[0]))
        shutil.rmtree(path)


def start(home: Home, project: Path, *words: str) -> str:
    """Start a job with a terminal and return its id."""
    done = home.run_mtr(["-d", "--pty", *words], project)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def join(home: Home, project: Path, job: str, *more: str, dimensions: tuple[int, int] = (24, 80)) -> pexpect.spawn:
    """Attach to it in a terminal of that many lines and columns."""
    child = home.spawn_mtr(["job", "attach", *more, job], project, dimensions=dimensions)
    child.expect(r"attached to job .* Ctrl-\\ d leaves it running")
    wait_until(lambda: not termios.tcgetattr(child.child_fd)[3] & termios.ICANON, "the keyboard's way to the job")
    return child


def leave(child: pexpect.spawn) -> None:
    """Leave the job by the keys for it."""
    child.send(LEAVE)
    child.expect(BACK)
    assert finish(child) == 0


def finish(child: pexpect.spawn) -> int:
    """Wait for the end; the terminal is as it was, and the status is returned."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return int(child.exitstatus)


def file_of(home: Home, job: str, name: str, user: str = "bash") -> Path:
    """Return a file of the job's directory."""
    return home.server.home_of(user) / ".mtr" / "jobs" / job / name


def joined(home: Home, job: str) -> dict[int, str]:
    """Return the processes on the server that serve somebody who has joined it."""
    inode = os.stat(file_of(home, job, "in")).st_ino
    found = {}
    for pid, shown in processes_mentioning([str(home.server.dir)]).items():
        with contextlib.suppress(OSError):
            names = [os.stat(f"/proc/{pid}/fd/{name}").st_ino for name in os.listdir(f"/proc/{pid}/fd")]
            if "terminal" not in shown and (inode in names or "mtr-jobs" in shown or "tail -c" in shown):
                found[pid] = shown
    return found


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_repl_is_joined_left_and_joined_again(home: Home, client: str) -> None:
    """Typed into, left, joined again: what was printed is there, what was computed too, and its status arrives."""
    project = home.make_project(**({"client": "paramiko"} if client == "paramiko" else {}))
    job = start(home, project, "--name", "repl", "python3", "-q")
    child = join(home, project, "repl", dimensions=(33, 111))
    child.expect(">>> ")
    child.sendline("import os; x = 'grüße'; print(x, tuple(os.get_terminal_size()), os.environ['TERM'])")
    child.expect(r"grüße \(111, 33\) xterm-256color\r\n".encode())
    leave(child)
    assert file_of(home, job, "running").exists()
    child = join(home, project, job[:5])
    child.expect(r"grüße \(111, 33\)".encode())
    child.sendline("print(2 * x)")
    child.expect("grüßegrüße\r\n".encode())
    child.sendline("exit(7)")
    child.expect(f"job {job} failed with 7")
    assert finish(child) == 7
    assert "grüßegrüße".encode() in home.run_mtr(["job", "logs", job], project).stdout
    assert file_of(home, job, "err").read_bytes() == b""


def test_vim_is_drawn_again_elsewhere(home: Home, project: Path) -> None:
    """Another machine, another size: a full-screen program is drawn anew, in its modes; leaving undoes these."""
    job = start(home, project, "vim", "-u", "NONE", "-N", "a.txt")
    child = join(home, project, job)
    child.expect("one")
    child.send("ohello from vim\x1b")
    child.expect("hello from vim")
    child.send(LEAVE)
    child.expect(re.escape("\x1b[?1049l"))
    child.expect(BACK)
    assert finish(child) == 0
    other = Home(home.server)
    try:
        elsewhere = other.make_project("elsewhere")
        child = join(other, elsewhere, job, dimensions=(40, 120))
        child.expect(re.escape("\x1b[?1049h"))
        child.expect("one\r\nhello from vim")
        child.expect(re.escape("\x1b[39;1H"))
        child.send(":wq\r")
        child.expect(f"job {job} done with 0")
        assert finish(child) == 0
    finally:
        other.close()
    assert (home.remote(project) / "a.txt").read_text() == "one\nhello from vim\n"


def test_the_window_of_whoever_sets_it_last_counts(home: Home, project: Path) -> None:
    """Two are attached: both see all of it; the size is that of the last who joined, or whose window changed."""
    job = start(home, project, "sh", "-c", 'while read -r word; do echo "$word: $(stty size)"; done')
    first = join(home, project, job, dimensions=(30, 100))
    first.sendline("first")
    first.expect("first: 30 100")
    second = join(home, project, job, dimensions=(20, 70))
    second.sendline("second")
    for child in (first, second):
        child.expect("second: 20 70")
    first.setwinsize(31, 101)
    for size in ((32, 102), (33, 103)):
        first.setwinsize(*size)
    tty = file_of(home, job, "tty").read_text().strip()

    def size_there() -> os.terminal_size:
        descriptor = os.open(tty, os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.get_terminal_size(descriptor)
        finally:
            os.close(descriptor)

    wait_until(lambda: size_there() == (103, 33), "the new size there")
    first.sendline("third")
    for child in (first, second):
        child.expect("third: 33 103")
        leave(child)


def test_every_key_reaches_the_job(home: Home, project: Path) -> None:
    r"""Ctrl-C, Ctrl-Z, Ctrl-D, Ctrl-\ twice and ~~ arrive as bytes; none of them ends mtr."""
    job = start(home, project, "sh", "-c", "stty raw -echo; echo ready; head -c 12 | od -An -tx1; stty sane")
    child = join(home, project, job)
    child.expect("ready")
    child.send("~")
    child.send("~")
    child.send("\x03\x1a\x04\x11\x13")
    child.send("\x1c")
    child.send("\x1c")
    child.send("ü\r\n\x7f")
    child.expect("7e 03 1a 04 11 13 1c c3 bc 0d 0a 7f")
    assert finish(child) == 0


def test_ctrl_c_interrupts_the_command_alone(home: Home, project: Path) -> None:
    """The job's shell goes on, and mtr stays."""
    job = start(home, project, "bash", "--norc", "-i")
    child = join(home, project, job)
    child.sendline("PS1='ready> '")
    child.expect(r"[^']ready> ")
    child.sendline("sleep 4321; echo status=$?")
    wait_until(lambda: processes_mentioning(["sleep\x004321"]), "sleep")
    child.sendintr()
    child.expect("ready> ")
    child.sendline("sleep 4322")
    wait_until(lambda: processes_mentioning(["sleep\x004322"]), "sleep")
    child.send("\x1a")
    child.expect("Stopped")
    # bash warns once of what is stopped.
    child.sendline("exit 6")
    child.expect("There are stopped jobs")
    child.sendline("exit 6")
    assert finish(child) == 6


def write_all(descriptor: int, data: bytes) -> None:
    """Write as a terminal does that goes on reading meanwhile."""
    while data:
        data = data[os.write(descriptor, data[:4000]) :]


def test_a_long_paste_arrives_whole(home: Home, project: Path) -> None:
    """A megabyte, faster than the job reads it and while it prints as much: no byte is lost, no key in it leaves."""
    lines = b"".join(b"%07d ~. \x1cd and so on up to the end\n" % number for number in range(25_000))
    command = f"stty raw -echo; echo ready; head -c {len(lines)} | tee copy; echo; sha256sum <copy; stty sane"
    job = start(home, project, command)
    child = join(home, project, job)
    child.expect("ready")
    writer = threading.Thread(target=write_all, args=(child.child_fd, lines))
    writer.start()
    child.expect(hashlib.sha256(lines).hexdigest(), timeout=100)
    writer.join()
    assert finish(child) == 0
    assert lines in file_of(home, job, "out").read_bytes()


def test_a_client_that_is_killed_leaves_the_job_alone(home: Home, project: Path) -> None:
    """kill -9: nothing of it stays on the server, and the job is joined again."""
    job = start(home, project, "python3", "-q")
    child = join(home, project, job)
    child.expect(">>> ")
    child.setwinsize(31, 101)
    wait_until(lambda: len(joined(home, job)) >= 2, "what serves it there")
    os.kill(child.pid, signal.SIGKILL)
    child.expect(pexpect.EOF)
    child.close()
    wait_until(lambda: not joined(home, job), f"the end of {joined(home, job)}")
    child = join(home, project, job)
    child.expect(">>> ")
    child.sendline("exit(3)")
    assert finish(child) == 3


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
def test_a_line_that_breaks_is_taken_up_again(home: Home, client: str) -> None:
    """What was printed meanwhile comes, once; keys arrive again; the record of it is whole."""
    relay = Relay(home.server.port)
    home.known_hosts.write_text(f"[127.0.0.1]:{relay.port} {(home.server.dir / 'host.pub').read_text()}")
    project = home.make_project(port=relay.port, **({"client": "paramiko"} if client == "paramiko" else {}))
    try:
        job = start(home, project, "sh", "-c", 'i=0; while read -r word; do i=$((i + 1)); echo "got $i $word"; done')
        child = join(home, project, job)
        for number in range(1, 4):
            child.sendline(f"word{number}")
            child.expect(f"got {number} word{number}\r\n")
            relay.stall()
            child.send("x\x7f")
            relay.resume()
            relay.cut()
            child.expect(f"attaching again, Ctrl-C leaves job {job} running")
            file = file_of(home, job, "in")
            wait_until(
                lambda: not termios.tcgetattr(child.child_fd)[3] & termios.ICANON, "the keyboard's way to the job"
            )
            assert file.is_fifo()
        child.sendline("last")
        child.expect("got 4 last\r\n")
        assert b"got" not in child.before
        child.sendeof()
        assert finish(child) == 0
        assert re.findall(rb"got (\d)", file_of(home, job, "out").read_bytes()) == [b"1", b"2", b"3", b"4"]
    finally:
        relay.close()


def test_ctrl_c_while_the_line_is_broken_leaves(home: Home) -> None:
    """The terminal is not raw then: Ctrl-C is mtr's, which says how to come back."""
    relay = Relay(home.server.port)
    home.known_hosts.write_text(f"[127.0.0.1]:{relay.port} {(home.server.dir / 'host.pub').read_text()}")
    project = home.make_project(port=relay.port)
    try:
        job = start(home, project, "cat")
        child = join(home, project, job)
        child.sendline("hello")
        child.expect("hello\r\nhello\r\n")
    finally:
        relay.close()
    child.expect(f"attaching again, Ctrl-C leaves job {job} running")
    wait_until(lambda: termios.tcgetattr(child.child_fd)[3] & termios.ICANON, "the terminal as it was")
    child.sendintr()
    child.expect(BACK)
    assert finish(child) == 130
    assert file_of(home, job, "running").exists()


def test_a_refused_login_is_not_tried_again(home: Home, project: Path) -> None:
    """The line breaks, and the key is no good any more: the server's words at once, since attempts lock accounts."""
    job = start(home, project, "cat")
    child = join(home, project, job)
    home.write_ssh_config(key=home.home / "no-such-key")
    for master in home.masters():
        end_tree(master)
    child.expect("Permission denied")
    assert finish(child) == 125
    assert b"attaching again" not in child.before
    assert file_of(home, job, "running").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_restores_the_terminal(home: Home, project: Path, signum: int) -> None:
    """Termios and modes are as before, the status is 128+n, the job goes on."""
    job = start(home, project, "sh", "-c", "printf '\\033[?1049h\\033[?1000hdrawn'; cat")
    child = join(home, project, job)
    child.expect("drawn|1049h")
    os.kill(child.pid, signum)
    child.expect(re.escape("\x1b[?1000l\x1b[?1049l"))
    child.expect(BACK)
    assert termios.tcgetattr(child.child_fd)[3] & termios.ICANON
    assert finish(child) == 128 + signum
    assert file_of(home, job, "running").exists()
    wait_until(lambda: not joined(home, job), f"the end of {joined(home, job)}")


def test_the_job_ends_while_attached(home: Home, project: Path) -> None:
    """By its own signal, by a stop from elsewhere, by its time: attach ends with its status, at once."""
    job = start(home, project, "sh", "-c", "read -r word; kill -SEGV $$")
    child = join(home, project, job)
    child.sendline("x")
    child.expect(f"job {job} failed with 139")
    assert finish(child) == 139
    job = start(home, project, "sleep", "4323")
    child = join(home, project, job)
    assert home.run_mtr(["job", "stop", job], project).returncode == 0
    child.expect(f"job {job} stopped with 143")
    assert finish(child) == 143
    job = start(home, project, "--timeout", "3", "sleep", "4324")
    child = join(home, project, job)
    assert finish(child) == 124
    assert not processes_mentioning(["sleep\x004323", "sleep\x004324"])


def test_what_is_typed_when_the_command_has_ended_harms_nothing(home: Home, project: Path) -> None:
    """Nobody reads it any more, and its record is not written yet: the status comes all the same."""
    job = start(home, project, "sh", "-c", "read -r word; exit 5")
    child = join(home, project, job)
    keeper = int(file_of(home, job, "running").read_text().split()[0])
    os.kill(keeper, signal.SIGSTOP)
    child.sendline("end")
    wait_until(lambda: not any(map(is_alive, children_of(keeper))), "the end of the command")
    for _ in range(20):
        child.send("more\r")
    os.kill(keeper, signal.SIGCONT)
    child.expect(f"job {job} failed with 5")
    assert b"attaching again" not in child.before
    assert finish(child) == 5


def test_a_full_disk_makes_the_command_wait(home: Home) -> None:
    """Nothing of what it prints is lost once there is space; the status is its own."""
    jobs = home.server.home_of("dash") / ".mtr" / "jobs"
    jobs.parent.mkdir(exist_ok=True)
    with small_disk(jobs, "1m") as disk:
        project = home.make_project(user="dash")
        job = start(home, project, "stty -opost; head -c 2000000 /dev/zero; exit 3")
        wait_until(lambda: disk.free_bytes == 0, "the disk to be full")
        assert (jobs / job / "running").exists()
        disk.resize("8m")
        assert home.run_mtr(["job", "wait", job], project).returncode == 3
        assert (jobs / job / "out").read_bytes() == bytes(2_000_000)


def test_a_shell_is_stopped_at_once(home: Home, project: Path) -> None:
    """An interactive shell ignores TERM: it gets the hangup that it ends by, and what runs in it goes with it."""
    job = start(home, project, "bash", "--norc", "-i")
    child = join(home, project, job)
    child.sendline("sleep 4325 &")
    wait_until(lambda: processes_mentioning(["sleep\x004325"]), "sleep")
    done = home.run_mtr(["job", "stop", job], project)
    assert done.stderr == f"mtr: job {job} was stopped\n".encode()
    child.expect(f"job {job} stopped with 1")
    finish(child)
    assert not processes_mentioning(["sleep\x004325"])


def test_attaching_to_what_cannot_be_attached_to(home: Home, project: Path) -> None:
    """No terminal here, none there, ended, unknown: each its own error, with the next command."""
    job = start(home, project, "true")
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    done = home.run_mtr(["job", "attach", job], project)
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"try: mtr job logs -f {job}".encode() in done.stderr
    plain = home.run_mtr(["-d", "sleep", "4326"], project).stdout.decode().strip()
    for word, said, hint in (
        (job, f"job {job} is done with 0", f"try: mtr job logs {job}"),
        (plain, f"job {plain} has no terminal", f"try: mtr job logs -f {plain}"),
        ("zz", "there is no job zz", "try: mtr job list"),
    ):
        child = home.spawn_mtr(["job", "attach", word], project, dimensions=(24, 200))
        child.expect_exact(said)
        child.expect_exact(hint)
        assert finish(child) == 125
    assert home.run_mtr(["job", "stop", plain], project).returncode == 0
    first = home.run_mtr(["-d", "sleep", "4327"], project).stdout.decode().strip()
    waits = start(home, project, "--after", first, "cat")
    child = home.spawn_mtr(["job", "attach", waits], project, dimensions=(24, 200))
    child.expect_exact(f"job {waits} has not begun: it waits in the queue")
    assert finish(child) == 125
    assert home.run_mtr(["job", "stop", waits, first], project).returncode == 0
    done = home.run_mtr(["--pty", "true"], project)
    assert (done.returncode, b"mtr -d --pty" in done.stderr) == (2, True)


def make_path(home: Home, *without: str) -> str:
    """Return a PATH on the server that lacks the programs ``without``."""
    folder = home.server.home_of("bash") / f"path-{'-'.join(without)}"
    folder.mkdir(exist_ok=True)
    for place in ("/bin", "/usr/bin"):
        for name in os.listdir(place):
            if not any(name.startswith(word) for word in without) and not os.path.lexists(folder / name):
                (folder / name).symlink_to(f"{place}/{name}")
    return str(folder)


def test_without_python_there_script_does_it(home: Home) -> None:
    """util-linux's script: echo, size, keys, quoting, status; the user's SHELL stays."""
    project = home.make_project(pre_cmd=f"export PATH={make_path(home, 'python')}; SHELL=/bin/zsh")
    job = start(
        home,
        project,
        "sh",
        "-c",
        "echo \"$1 $SHELL $MTR_SIZE$MTR_TERMINAL.\"; stty -a | grep -c ' echo '; exec cat",
        "x",
        'it\'s "so"',
    )
    child = join(home, project, job, dimensions=(33, 111))
    assert "script -qfe" in file_of(home, job, "terminal").read_text()
    child.expect_exact('it\'s "so" /bin/zsh .\r\n1\r\n')
    child.sendline("grüße")
    child.expect("grüße\r\ngrüße\r\n".encode())
    leave(child)
    child = join(home, project, job)
    child.expect("grüße".encode())
    child.sendintr()
    child.expect(f"job {job} failed with 130")
    assert finish(child) == 130


def test_without_either_there_it_is_refused(home: Home) -> None:
    """What is missing is said, and no job is left."""
    project = home.make_project(pre_cmd=f"export PATH={make_path(home, 'python', 'script')}")
    done = home.run_mtr(["-d", "--pty", "cat"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"python3 or script(1) of util-linux" in done.stderr
    assert b"without --pty" in done.stderr
    assert not [*file_of(home, ".", ".").glob("*")]


def test_nobody_else_may_type(home: Home, project: Path) -> None:
    """The way in is the user's alone, in a directory that is."""
    job = start(home, project, "cat")
    assert file_of(home, job, "in").stat().st_mode & 0o777 == 0o600
    assert file_of(home, job, "in").parent.stat().st_mode & 0o777 == 0o700


def test_old_questions_are_not_asked_again(home: Home, project: Path) -> None:
    """What the job asked of a terminal before anybody joined is shown without the question."""
    job = start(home, project, "printf 'before\\033[6nafter\\033[c\\n'; cat")
    wait_until(lambda: b"after" in file_of(home, job, "out").read_bytes(), "what it prints")
    child = join(home, project, job)
    child.expect_exact("beforeafter\r\n")
    child.sendline("live")
    child.expect("live\r\nlive")
    leave(child)
    child = join(home, project, job, "--no-history")
    child.sendline("more")
    child.expect("more\r\nmore\r\n")
    assert b"before" not in child.before
    leave(child)


@pytest.mark.parametrize("user", ["dash", "zsh", "fish", "tcsh", "mksh"])
def test_any_login_shell_will_do(home: Home, user: str) -> None:
    """Started, joined and left, whatever shell the login has."""
    project = home.make_project(user=user)
    job = start(home, project, "sh", "-c", "stty size; exec cat")
    child = join(home, project, job, dimensions=(30, 99))
    child.sendline("hello")
    child.expect("hello\r\nhello\r\n")
    leave(child)
    assert home.run_mtr(["job", "stop", job], project).returncode == 0
    assert not is_alive(int(next(file_of(home, job, ".", user).glob("ended.*")).read_text().split()[0]))
