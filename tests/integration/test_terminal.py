"""With a terminal: keys, Ctrl-C, resize, full-screen programs, ``~.``; the terminal is left as it was."""

from __future__ import annotations

import termios
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.processes import end_tree, processes_mentioning, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def finish(child: pexpect.spawn) -> int:
    """Wait for the end and return the status."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return int(child.exitstatus)


def test_a_terminal_here_is_a_terminal_there(home: Home, project: Path) -> None:
    """The command sees a terminal of the same size and kind, and its status arrives."""
    child = home.spawn_mtr(["sh", "-c", "tty && stty size && echo $TERM; exit 5"], project, dimensions=(33, 111))
    child.expect(r"/dev/pts/\d+\r\n33 111\r\nxterm-256color\r\n")
    assert finish(child) == 5


def test_an_unknown_terminal_becomes_one_that_is_known(home: Home, project: Path) -> None:
    """kitty, ghostty: a TERM without an entry on the server would leave full-screen programs broken."""
    home.environ["TERM"] = "xterm-nosuchterminal"
    child = home.spawn_mtr(["sh", "-c", "echo term=$TERM."], project)
    child.expect(r"term=xterm-256color\.")
    assert finish(child) == 0


def test_ctrl_c_interrupts_the_command_alone(home: Home, project: Path) -> None:
    """Ctrl-C is a key of the remote terminal: 130 from the command, and the shell around it goes on."""
    child = home.spawn_mtr(["bash", "--norc", "-i"], project)
    child.sendline("PS1='ready> '")
    child.expect(r"[^']ready> ")
    child.sendline("sleep 4321")
    wait_until(lambda: processes_mentioning(["sleep\x004321"]) or processes_mentioning(["sleep 4321"]), "sleep")
    child.sendintr()
    child.expect("ready> ")
    child.sendline("echo status=$?")
    child.expect("status=130")
    child.sendline("exit 6")
    assert finish(child) == 6


def test_ctrl_c_of_a_plain_command_is_130(home: Home, project: Path) -> None:
    """As a shell reports it."""
    child = home.spawn_mtr(["sh", "-c", "echo started; exec sleep 4322"], project)
    child.expect("started")
    child.sendintr()
    assert finish(child) == 130


def test_a_resize_reaches_the_command(home: Home, project: Path) -> None:
    """SIGWINCH and the new size."""
    child = home.spawn_mtr(
        ["bash", "-c", "trap 'stty size; exit 0' WINCH; echo started; while :; do sleep 0.05; done"], project
    )
    child.expect("started")
    child.setwinsize(40, 133)
    child.expect("40 133")
    assert finish(child) == 0


def test_vim_edits_and_saves(home: Home, project: Path) -> None:
    """vim opens a file of the project there, edits it and saves it."""
    child = home.spawn_mtr(["vim", "-u", "NONE", "-N", "a.txt"], project)
    child.expect("a.txt")
    child.send("ohello from vim\x1b:wq\r")
    assert finish(child) == 0
    assert (home.remote(project) / "a.txt").read_text() == "one\nhello from vim\n"


@pytest.mark.parametrize("program", ["htop", "python3"])
def test_interactive_programs_start_and_end(home: Home, project: Path, program: str) -> None:
    """A full-screen program and a REPL draw, take keys and end."""
    child = home.spawn_mtr([program, "-q"] if program == "python3" else ["--", program], project)
    if program == "htop":
        child.expect("Load average")
        child.send("q")
    else:
        child.expect(">>> ")
        child.sendline("import pdb; print(6*7)")
        child.expect("42")
        child.sendline("exit(3)")
    assert finish(child) == (3 if program == "python3" else 0)


def test_tilde_dot_disconnects(home: Home, project: Path) -> None:
    """ssh's own escape works, and mtr says that no status came."""
    child = home.spawn_mtr(["sh", "-c", "echo started; exec cat"], project)
    child.expect("started")
    child.sendline("hello")
    child.expect("hello\r\nhello\r\n")
    child.send("~.")
    child.expect("ended without a status")
    assert finish(child) == 125


def test_a_lost_line_restores_the_terminal(home: Home, project: Path) -> None:
    """The master dies under a full-screen program: modes are reset, termios is as before, the error says so."""
    child = home.spawn_mtr(["sh", "-c", "stty raw -echo; printf '\\033[?1049h'; echo started; sleep 4323"], project)
    before = termios.tcgetattr(child.child_fd)
    child.expect("started")
    wait_until(lambda: not termios.tcgetattr(child.child_fd)[3] & termios.ICANON, "raw mode")
    for pid in home.masters():
        end_tree(pid)
    child.expect(r"\x1b\[\?1049l")
    child.expect("broke while the command ran")
    assert termios.tcgetattr(child.child_fd)[3] & termios.ICANON
    assert before is not None
    assert finish(child) == 125


def test_tty_can_be_forced_and_refused(home: Home, project: Path) -> None:
    """--tty without a terminal here gives one there; --no-tty with one here gives none."""
    done = home.run_mtr(["--tty", "--no-sync", "sh", "-c", "test -t 1 && echo yes"], project, stdin=None)
    assert done.stdout.split() == [b"yes"]
    child = home.spawn_mtr(["--no-tty", "--no-sync", "sh", "-c", "test -t 1 || echo none"], project)
    child.expect("none")
    assert finish(child) == 0


def test_ctrl_c_in_a_pipeline_ends_the_remote_command(home: Home, project: Path) -> None:
    """``mtr CMD | cat`` in a terminal is batch: Ctrl-C ends the command there, status 130."""
    child = pexpect.spawn("bash", ["--norc"], cwd=str(project), env=home.environ, dimensions=(24, 200), timeout=30)
    child.sendline("PS1='ready> '; mtr() { " + f'"{__import__("sys").executable}" -m mtr "$@"; ' + "}")
    child.expect(r"[^']ready> ")
    child.sendline("mtr --no-sync sh -c 'echo started; sleep 4324' | cat")
    child.expect("started\r\n")
    child.sendintr()
    child.expect("ready> ")
    child.sendline("echo status=${PIPESTATUS[0]}")
    child.expect("status=130")
    assert not processes_mentioning(["sleep 4324", "sleep\x004324"])
    child.sendline("exit")
    finish(child)
