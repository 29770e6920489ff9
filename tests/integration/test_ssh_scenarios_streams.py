"""OpenSSH's own regression scenarios with ``mtr`` in the place of ``ssh``: statuses, streams, transfers, terminals.

Each docstring says what ssh's suite claims, by the name of its script, and what mtr must do. Not repeated here:

- yes-head (``ssh yes | head``): test_equality.test_a_reader_that_leaves_ends_the_run
- exit-status with stdin, stdout or stderr closed: test_equality.test_closed_streams_are_closed_and_nothing_else
- exit-status-on-signal: test_equality.test_a_signal_in_batch_ends_every_remote_process
- ssh-tty, ``~.``, ^C and the window: test_terminal.test_tilde_dot_disconnects, test_ctrl_c_interrupts_the_command_alone
  and test_a_resize_reaches_the_command
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.kills import list_left
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    import pexpect

    from tests.lab.home import Home

pytestmark = pytest.mark.usefixtures("nothing_of_a_run_left")

STATUSES = (0, 1, 4, 5, 44)


def run_line(home: Home, project: Path, line: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run ``line`` in a local bash, where ``mtr`` is mtr; its stdin stays open unless ``more`` says otherwise."""
    read_end, write_end = os.pipe()
    text = 'mtr() { "$python" -m mtr --no-sync "$@"; }; ' + line
    environ = {**home.environ, "python": sys.executable}
    streams = {"stdin": read_end, "capture_output": True, **more}
    try:
        return subprocess.run(["bash", "-c", text], cwd=project, env=environ, check=False, timeout=60, **streams)  # type: ignore[call-overload,no-any-return]
    finally:
        os.close(read_end)
        os.close(write_end)


@pytest.mark.parametrize("redirection", ["", "<&-", "</dev/null"], ids=["open", "closed", "null"])
def test_exit_statuses_whatever_stdin_is(home: Home, project: Path, redirection: str) -> None:
    """exit-status: the command's own status arrives, with stdin open, closed and at /dev/null."""
    for status in STATUSES:
        done = run_line(home, project, f"mtr sh -c 'exit {status}' {redirection}; echo $?")
        assert (done.stdout, done.stderr) == (b"%d\n" % status, b"")


@pytest.mark.parametrize("redirection", ["exec >/dev/null 2>&1", "exec >&- 2>&-"])
def test_a_status_long_after_the_streams_are_closed(home: Home, project: Path, redirection: str) -> None:
    """exit-status, multiplex: a command that closes its stdout and stderr and ends later still has its status."""
    there = home.remote(project)
    for status in STATUSES:
        text = f"{redirection}; : >closed; until [ -f go ]; do sleep 0.02; done; rm closed go; exit {status}"
        process = home.popen_mtr(["sh", "-c", text], project)
        wait_until((there / "closed").exists, "the command to close its streams")
        assert process.poll() is None
        (there / "go").touch()
        assert (process.communicate(timeout=30), process.returncode) == ((b"", b""), status)


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "KILL", "TERM", "SEGV", "USR1"])
def test_a_command_killed_there(home: Home, project: Path, name: str) -> None:
    """exit-status with a signal: a command that another process kills there while stdin is open ends as 128+n."""
    number = signal.Signals[f"SIG{name}"]
    text = f"ulimit -c 0; trap - {name.replace('KILL', '')} 2>/dev/null; echo $$; exec sleep 4330"
    process = home.popen_mtr(["--no-sync", "sh", "-c", text], project, stdin=subprocess.PIPE)
    assert process.stdout
    os.kill(int(process.stdout.readline()), number)
    process.wait(timeout=30)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 128 + number


def test_large_stderr_while_stdin_is_at_its_end(home: Home, project: Path) -> None:
    """stderr-data: five megabytes on stderr arrive byte for byte, with stdin at /dev/null, closed and open."""
    data = os.urandom(5_000_000)
    (project / "data").write_bytes(data)
    assert home.run_mtr(["sync"], project).returncode == 0
    for redirection in ("</dev/null", "<&-", ""):
        done = run_line(home, project, f"mtr sh -c 'cat data >&2; exit 6' {redirection}")
        assert (done.returncode, done.stdout, done.stderr == data) == (6, b"", True)


def test_stderr_after_stdout_has_ended(home: Home, project: Path) -> None:
    """stderr-after-eof: what a command says on stderr after closing stdout is neither lost nor mixed with more."""
    text = "exec >&-; printf begun >&2; until [ -f go ]; do sleep 0.02; done; rm go; cat >&2; printf ended >&2"
    data = os.urandom(300_000)
    process = home.popen_mtr(["sh", "-c", text], project, stdin=subprocess.PIPE)
    assert process.stderr
    assert process.stderr.read(5) == b"begun"
    (home.remote(project) / "go").touch()
    out, err = process.communicate(data, timeout=30)
    assert (process.returncode, out, err == data + b"ended") == (0, b"", True)


def test_stdout_and_stderr_taken_in_turns(home: Home, project: Path) -> None:
    """stderr-data, interleaved: each stream is whole and in order, however the two alternate."""
    code = "import os\nfor n in range(2000):\n    os.write(1, b'o%06d' % n * 100)\n    os.write(2, b'e%06d' % n * 50)\n"
    done = home.run_mtr(["--no-sync", "python3", "-c", code], project)
    assert done.returncode == 0
    assert done.stdout == b"".join(b"o%06d" % n * 100 for n in range(2000))
    assert done.stderr == b"".join(b"e%06d" % n * 50 for n in range(2000))


def test_a_reader_that_was_never_there(home: Home, project: Path) -> None:
    """broken-pipe: ``ssh cat FILE | true`` ends by itself; mtr leaves nothing running there either."""
    text = "mtr sh -c 'while printf %4096d 0; do :; done' | true; echo ${PIPESTATUS[0]}"
    done = run_line(home, project, text)
    assert done.returncode == 0
    # As a local program that writes into a broken pipe: killed by SIGPIPE, or a status that the shell made of it.
    assert int(done.stdout) not in {0, 125}, done.stderr
    wait_until(lambda: not list_left(home), "the end of the writer")


def test_remote_input_that_nobody_reads(home: Home, project: Path) -> None:
    """broken-pipe, the other way: ``yes | mtr true`` ends with true's status, and ``yes`` with it."""
    done = run_line(home, project, "yes | mtr sh -c 'exit 5'; echo ${PIPESTATUS[*]}")
    assert (done.stdout, done.stderr) == (b"%d 5\n" % (128 + signal.SIGPIPE), b"")
    done = run_line(home, project, "yes | mtr head -n 2; echo ${PIPESTATUS[1]}")
    assert (done.stdout, done.stderr) == (b"y\ny\n0\n", b"")


def test_a_status_after_the_reader_has_left(home: Home, project: Path) -> None:
    """broken-pipe: a command that goes on without its stdout still has its own status.

    Nothing is claimed of its stderr from then on: ssh's own master loses most of it, for ``ssh`` as for mtr.
    """
    text = "mtr sh -c 'trap \"\" PIPE; until ! printf %9999d 0; do :; done 2>/dev/null; exit 7' | true"
    assert run_line(home, project, f"{text}; exit ${{PIPESTATUS[0]}}").returncode == 7


@pytest.mark.parametrize("size", [0, 1, 100_000, 30_000_000])
def test_a_binary_file_there_and_back(home: Home, project: Path, size: int) -> None:
    """transfer: random bytes of any size, through stdin into a file there and back, are the same."""
    data = os.urandom(size)
    done = home.run_mtr(["--no-sync", "tee", "copy"], project, stdin=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")
    assert (home.remote(project) / "copy").read_bytes() == data
    done = home.run_mtr(["--no-sync", "cat", "copy"], project)
    assert (done.returncode, done.stdout == data) == (0, True)


def test_a_binary_file_in_blocks_of_every_size(home: Home, project: Path) -> None:
    """transfer: the same bytes, whatever the size of the blocks that dd writes here and reads there."""
    data = os.urandom(150_001)
    (home.dir / "data").write_bytes(data)
    for block in (10, 100, 1_000, 32_768, 65_536, 131_072):
        line = f"dd if={home.dir}/data obs={block} 2>/dev/null | mtr dd ibs={block} status=none"
        done = run_line(home, project, line)
        assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b""), block


def test_stdin_from_files_and_output_into_files(home: Home, project: Path) -> None:
    """transfer with files for streams: read from where the offset stands, appended where the shell says so."""
    (home.dir / "in").write_bytes(b"skipped\n" + b"taken\n" * 10_000)
    (home.dir / "out").write_bytes(b"first\n")
    line = f"{{ read -r word; mtr cat; }} <{home.dir}/in >>{home.dir}/out"
    done = run_line(home, project, line)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (home.dir / "out").read_bytes() == b"first\n" + b"taken\n" * 10_000


def finish(child: pexpect.spawn) -> int:
    """Wait for the end of ``child`` and return its status."""
    child.wait()
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else -1)


def test_keys_of_a_terminal(home: Home, project: Path) -> None:
    r"""ssh-tty: ^\ ends the remote program, ^Z stops it and ``fg`` goes on, ^D is the end of input; ``~?`` helps."""
    child = home.spawn_mtr(["bash", "--norc", "-i"], project)
    child.sendline("PS1='ready''> '")
    child.expect("ready> ")
    child.sendline("sleep 4331; echo status=$?")
    wait_until(lambda: any(b"4331" in argv for argv in list_left(home).values()), "sleep")
    child.send("\x1c")
    child.expect("status=131")
    child.sendline("cat")
    child.sendline("before")
    child.expect("before\r\nbefore\r\n")
    child.send("\x1a")
    child.expect("Stopped")
    child.sendline("fg")
    child.expect("\rcat\r\n")
    child.sendline("after")
    child.expect("after\r\nafter\r\n")
    child.send("~?")
    child.expect("Supported escape sequences")
    child.send("\x04")
    child.expect("ready> ")
    child.sendline("exit 9")
    assert finish(child) == 9


def test_a_forced_terminal_without_one_here(home: Home, project: Path) -> None:
    """ssh-tty, ``-tt``: a terminal there without size; over a master ssh has no modes to send with it, so it is raw."""
    done = home.run_mtr(
        ["--tty", "--no-sync", "sh", "-c", "stty size; stty -a | grep -ow -e -icanon -e icanon"], project
    )
    assert (done.returncode, done.stdout) == (0, b"0 0\n-icanon\n"), done.stderr


def test_names_that_glob_and_quote(home: Home, project: Path) -> None:
    """sftp-glob, sftp-badcmds: a name with pattern characters, quotes or blanks is got as it is, nothing else is."""
    there = home.remote(project)
    assert home.run_mtr(["sync"], project).returncode == 0
    names = ["g-*", "g-[x]", "g-?", "a b", "it's", 'quo"te', "back\\slash", "-dash", "$HOME", "semi;colon", "new\nline"]
    for name in [*names, "g-other", "g-x"]:
        (there / name).write_bytes(name.encode())
    with tempfile.TemporaryDirectory(dir=home.dir) as place:
        for name in names:
            done = home.run_mtr(["get", "--", name, f"{place}/"], project)
            assert done.returncode == 0, done.stderr
        found = {path.name: path.read_bytes() for path in Path(place).iterdir()}
        assert found == {name: name.encode() for name in names}


def test_getting_what_cannot_be_got(home: Home, project: Path) -> None:
    """sftp-badcmds: a missing name, a file where a directory is meant and an unwritable place: nothing is left."""
    assert home.run_mtr(["sync"], project).returncode == 0
    place = home.dir / "place"
    place.mkdir()
    (home.dir / "file").write_text("mine\n")
    for remote, local in (("nosuch*", f"{place}/"), ("a.txt/b", f"{place}/"), ("src", str(home.dir / "file"))):
        done = home.run_mtr(["get", remote, local], project)
        assert (done.returncode, done.stdout) == (125, b""), (remote, done.stderr)
        assert done.stderr.startswith(b"mtr: ")
    assert list(place.iterdir()) == []
    assert (home.dir / "file").read_text() == "mine\n"


def test_a_gone_terminal_ends_the_command(home: Home, project: Path) -> None:
    """ssh-tty, closed: when the terminal here goes away, so does the one there, and the command with it."""
    child = home.spawn_mtr(["sh", "-c", "echo started; exec sleep 4332"], project)
    child.expect("started")
    wait_until(lambda: list_left(home), "the command there")
    child.close(force=False)
    wait_until(lambda: not list_left(home), "the end of the command there")
