"""What people see at a terminal, and that nobody else sees any of it: bars, colours, receipts, times, waits."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.processes import wait_until
from tests.lab.relay import Relay
from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home

ERASE = "\r\x1b[K"


@pytest.fixture
def relay(home: Home) -> Iterator[Relay]:
    """A line to the server that can be slow."""
    made = Relay(home.server.port)
    yield made
    made.close()


@pytest.fixture
def slow(home: Home, project: Path, relay: Relay) -> Path:
    """A project whose sync takes about two seconds: it is connected, the line is slow, and a file is new."""
    home.known_hosts.write_text(home.known_hosts.read_text().replace(str(home.server.port), str(relay.port)))
    home.configure(project, port=relay.port)
    assert home.run_mtr(["true"], project).returncode == 0
    (project / "weights").write_bytes(os.urandom(4_000_000))
    relay.bytes_per_s = 2_000_000
    return project


def see(child: pexpect.spawn) -> str:
    """Return everything that came to the terminal until the end."""
    child.expect(pexpect.EOF)
    text = child.before.decode()
    child.close()
    return str(text)


def render_screen(text: str, columns: int) -> list[str]:
    """Return the lines that a terminal shows after ``text``: what moves and erases is obeyed, colours are not."""
    lines, row, column, saved = [""], 0, 0, (0, 0)
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[D78]|.", text, re.DOTALL):
        if token in ("\x1b[K", "\x1b[J"):
            lines[row] = lines[row][:column]
            del lines[row + 1 if token == "\x1b[J" else len(lines) :]
        elif token.startswith("\x1b[") and token.endswith("A"):
            row = max(0, row - int(token[2:-1] or 1))
        elif token == "\x1b7":
            saved = row, column
        elif token == "\x1b8":
            row, column = saved
        elif token == "\r":
            column = 0
        elif token in ("\n", "\x1bD") or (not token.startswith("\x1b") and column >= columns):
            row, column = row + 1, column if token in ("\n", "\x1bD") else 0
            lines += [""] * (row + 1 - len(lines))
        if token not in ("\r", "\n") and not token.startswith("\x1b"):
            lines[row] = f"{lines[row]:{column}}"[:column] + token + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def test_a_long_sync_draws_a_bar_and_leaves_the_receipt(home: Home, slow: Path) -> None:
    """Percent, bytes, rate, time left; in the end one line stands there."""
    seen = see(home.spawn_mtr(["sync"], slow))
    bar = r"mtr: sync \S*━\S* +\d+%  [\d.]+ MB of 4\.0 MB  [\d.]+ [kM]B/s  \d+:\d\d left"
    assert re.search(bar, seen), seen
    (line,) = render_screen(seen, 80)
    assert re.fullmatch(r"mtr: synced 1 file \(4\.0 MB\) to lab in [\d.]+ s", line)


def test_the_bar_grows_to_its_end_where_files_compress(home: Home, slow: Path, relay: Relay) -> None:
    """How far a sync is counts in what it brings, not in what is left of that on the line."""
    (slow / "weights").write_text(os.urandom(3_000_000).hex())
    relay.bytes_per_s = 1_500_000
    shares = [int(share) for share in re.findall(r"(\d+)%", see(home.spawn_mtr(["sync"], slow)))]
    assert shares
    assert max(shares) > 75


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_the_bar_fits_its_terminal(home: Home, slow: Path, columns: int) -> None:
    """Nothing that is drawn is wider than the terminal, so that all of it goes away."""
    seen = see(home.spawn_mtr(["sync"], slow, dimensions=(24, columns)))
    drawn = re.findall(r"\r\x1b\[K(mtr: ?(?:sync)?[^\r]*%[^\r\n]*)", re.sub(r"\x1b\[[0-9;]*m", "", seen))
    assert drawn, seen
    assert max(map(len, drawn)) < columns
    assert "%" not in "".join(render_screen(seen, columns))


def test_a_resize_during_a_bar_is_noticed(home: Home, slow: Path) -> None:
    """The next one is as wide as the terminal is now, and takes away what has been folded."""
    child = home.spawn_mtr(["sync"], slow, dimensions=(24, 90))
    child.expect("left")
    child.setwinsize(24, 40)
    child.expect(r"\x1b\[1A\r\x1b\[J")
    seen = see(child)
    assert "left" not in seen
    assert "synced 1 file" in seen


def test_the_bar_is_gone_before_the_command_writes(home: Home, slow: Path) -> None:
    """``… | mtr CMD`` at a terminal: the files travel beside the command, which waits, and has its lines for itself."""
    line = f"echo hello | {sys.executable} -m mtr cat"
    seen = see(pexpect.spawn("sh", ["-c", line], cwd=str(slow), env=home.environ, timeout=30))
    assert "%" in seen
    said, receipt = sorted(render_screen(seen, 80))
    assert said == "hello"
    assert receipt.startswith("mtr: synced 1 file (4.0 MB)")


def test_no_color_and_ascii(home: Home, slow: Path) -> None:
    """NO_COLOR: no colour, the bar stays. A C locale: no character beyond ASCII."""
    home.environ |= {"NO_COLOR": "1", "LANG": "C"}
    seen = see(home.spawn_mtr(["sync"], slow))
    assert re.search(r"mtr: sync #*-* ", seen)
    assert not re.search(r"\x1b\[[0-9;]*m", seen)
    assert seen.isascii()


def test_a_dumb_terminal_gets_lines_alone(home: Home, slow: Path) -> None:
    """An Emacs shell, a serial console: no escape sequence, no carriage return but that of its line ends."""
    home.environ["TERM"] = "dumb"
    seen = see(home.spawn_mtr(["sync"], slow))
    assert re.fullmatch(r"mtr: synced 1 file \(4\.0 MB\) to lab in [\d.]+ s\r\n", seen)


@pytest.mark.parametrize("args", [["sync"], ["true"], ["-v", "true"], ["--no-tty", "-s", "nowhere", "true"]])
def test_batch_gets_no_colour_and_nothing_drawn(home: Home, slow: Path, args: list[str]) -> None:
    """Pipes, whatever the environment says of colours and terminals: lines, or nothing."""
    done = home.run_mtr(args, slow, environ={"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "COLORTERM": "truecolor"})
    assert done.stdout == b""
    assert not re.search(rb"[\x1b\r]", done.stderr)
    assert args[0].startswith("-") or done.stderr == b""


def test_stdout_elsewhere_is_batch(home: Home, slow: Path) -> None:
    """``mtr CMD >file`` at a terminal: nothing is drawn, no receipt, no time."""
    line = f"{sys.executable} -m mtr sync >out"
    child = pexpect.spawn("sh", ["-c", line], cwd=str(slow), env=home.environ, timeout=30)
    assert see(child) == ""


def test_ctrl_c_leaves_no_bar(home: Home, slow: Path) -> None:
    """What was drawn goes with the sync that it was of."""
    child = home.spawn_mtr(["sync"], slow)
    child.expect("left")
    before = child.before.decode() + child.after.decode()
    child.sendintr()
    seen = before + see(child)
    assert child.exitstatus == 130
    assert "%" not in "".join(render_screen(seen, 80))


def test_an_error_takes_the_bar_away(home: Home, slow: Path, relay: Relay) -> None:
    """Its message begins a line of its own, in red where the terminal shows colours."""
    child = home.spawn_mtr(["sync"], slow)
    child.expect("left")
    before = child.before.decode() + child.after.decode()
    relay.cut()
    seen = before + see(child)
    assert child.exitstatus == 125
    assert "\x1b[1;31mmtr:\x1b[0m " in seen
    screen = render_screen(seen, 80)
    assert "%" not in "".join(screen)
    assert [line for line in screen if line.startswith("mtr: ")]


def test_errors_have_no_colour_where_nobody_wants_it(home: Home, project: Path) -> None:
    """NO_COLOR, TERM=dumb, a pipe."""
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        before = dict(home.environ)
        home.environ |= more
        assert see(home.spawn_mtr(["-s", "nope", "true"], project)).startswith("mtr: there is no server nope\r\n")
        home.environ = before
    assert b"\x1b" not in home.run_mtr(["-s", "nope", "true"], project).stderr


def test_a_sync_with_nothing_to_do_says_so(home: Home, project: Path) -> None:
    """On a terminal; -q says nothing."""
    assert home.run_mtr(["sync"], project).returncode == 0
    assert see(home.spawn_mtr(["sync"], project)) == "mtr: lab is up to date\r\n"
    assert see(home.spawn_mtr(["sync", "-q"], project)) == ""


def test_a_connection_that_takes_long_says_what_it_waits_for(home: Home, project: Path, relay: Relay) -> None:
    """After a second, below the line where ssh may ask something; it is gone when there is a connection."""
    home.known_hosts.write_text(home.known_hosts.read_text().replace(str(home.server.port), str(relay.port)))
    home.configure(project, port=relay.port)
    relay.delay_s = 0.3
    child = home.spawn_mtr(["--no-sync", "echo", "done"], project)
    child.expect("mtr: connecting to lab …".encode())
    before = child.before.decode() + child.after.decode()
    relay.delay_s = 0.0
    screen = render_screen(before + see(child), 80)
    assert screen == ["done"]


def test_a_question_of_ssh_is_answered_in_its_place(home: Home, project: Path) -> None:
    """One that stood there before the wait got long: what is drawn below it moves nothing, and goes."""
    home.known_hosts.write_text("")
    home.write_ssh_config("StrictHostKeyChecking ask\n")
    child = home.spawn_mtr(["--no-sync", "echo", "done"], project, dimensions=(24, 120))
    child.expect("connecting to lab")
    before = child.before.decode() + child.after.decode()
    child.sendline("yes")
    seen = before + see(child)
    assert child.exitstatus == 0, seen
    screen = render_screen(seen, 120)
    assert "connecting to lab" not in "".join(screen)
    assert any(line.endswith("(yes/no/[fingerprint])? yes") for line in screen), screen


def test_nothing_is_drawn_while_a_password_is_asked_for(home: Home, project: Path) -> None:
    """Who types one is not told that mtr is connecting."""
    config = project / ".mtr" / "config.yaml"
    config.write_text(config.read_text().replace('"bash"', f'"{PASSWORD_USER}"'))
    home.write_ssh_config("PubkeyAuthentication no\n")
    child = home.spawn_mtr(["--no-sync", "echo", "done"], project)
    child.expect("assword: ")
    assert child.expect(["connecting", pexpect.TIMEOUT], timeout=2) == 1
    child.sendline(PASSWORD)
    assert "done" in see(child)


def test_a_connection_that_fails_takes_it_away_too(home: Home, project: Path, relay: Relay) -> None:
    """The error stands alone."""
    home.configure(project, port=relay.port, ssh_options={"ConnectTimeout": "3"})
    relay.stall()
    seen = see(home.spawn_mtr(["--no-sync", "true"], project))
    assert "connecting to lab …" in seen
    assert render_screen(seen, 80)[0].startswith("mtr: ")
    assert "connecting" not in "".join(render_screen(seen, 80))


def test_batch_waits_in_silence(home: Home, project: Path, relay: Relay) -> None:
    """Nobody to tell."""
    home.known_hosts.write_text(home.known_hosts.read_text().replace(str(home.server.port), str(relay.port)))
    home.configure(project, port=relay.port)
    relay.delay_s = 0.3
    done = home.run_mtr(["--no-sync", "true"], project)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_long_command_says_how_it_ended(home: Home, project: Path) -> None:
    """On a line of its own, also behind output without a newline at its end; a pager, -q, and batch say nothing."""
    words = ["sh", "-c", "sleep 10.2; printf half; exit 3"]
    quiet = home.spawn_mtr(["-q", "--no-sync", *words], project)
    pager = home.spawn_mtr(["--no-sync", "less", "+F", "/dev/null"], project)
    timed = home.spawn_mtr(["--no-sync", *words], project)
    batch = home.popen_mtr(["--no-sync", *words], project)
    assert see(quiet) == "half"
    screen = render_screen(see(timed), 80)
    assert screen[0] == "half"
    assert re.fullmatch(r"mtr: sh -c sleep 10.2; printf half; exit 3 ended with 3 after 10\.\d s on lab", screen[1])
    pager.sendintr()
    pager.send("q")
    assert "ended with" not in see(pager)
    assert batch.communicate()[1] == b""
    assert (timed.exitstatus, batch.returncode) == (3, 3)


def test_a_short_command_says_nothing(home: Home, project: Path) -> None:
    """Only what took long is worth a line."""
    assert see(home.spawn_mtr(["--no-sync", "sh", "-c", "exit 3"], project)) == ""


def test_a_message_takes_the_bar_away(home: Home, slow: Path) -> None:
    """A line that mtr says while the bar stands there begins where the bar began."""
    os.mkfifo(slow / "fifo")
    child = home.spawn_mtr(["-v", "sync"], slow, dimensions=(24, 150))
    screen = render_screen(see(child), 150)
    assert all(line.startswith("mtr: ") for line in screen), screen
    assert "%" not in "".join(screen)
    wait_until(lambda: child.exitstatus == 0, "the end")
