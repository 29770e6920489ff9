"""One command on pipes or on a terminal: what it writes is had exactly, and what it starts is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtr.errors import MissingProgram, MtrError
from mtr.process import started as starting
from mtr.streams.buffer import InvalidRequest, StreamingBuffer
from mtr.streams.executors import DRAIN_S, GRACE_S, Executor, PtyExecutor, PtyInitializationError, SubprocessExecutor
from mtr.streams.threaded import ThreadedPump
from tests.lab.processes import is_alive, processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]

programs = settings(max_examples=12, deadline=None)
chunks = st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=5000)), max_size=8)
escapes = st.sampled_from(
    [
        "\x1b[31m",
        "\x1b[0m",
        "\x1b[2K\r",
        "\x1b[?25l",
        "\x1b]0;title\x07",
        "\x1b[10;4H",
        "█▉",
        "50%\r",
        "\n",
        "\t",
        "\x07",
    ]
)


class Threaded(SubprocessExecutor):
    """As it is where a system cannot wait for several streams."""

    pump = ThreadedPump


class Ran:
    """One command under test, with its buffers."""

    def __init__(self, kind: str, size: int = 10 << 20) -> None:
        self.out, self.err = StreamingBuffer(size), StreamingBuffer(size)
        starts = {"pty": starting.start_on_terminal, "library": starting.start_through_library}
        self.executor: Executor
        if kind in starts:
            self.executor = PtyExecutor(self.out, start=starts[kind])
        else:
            self.executor = (Threaded if kind == "threads" else SubprocessExecutor)(self.out, self.err)

    def execute(self, command: str | Sequence[str], **options: object) -> tuple[int, bool]:
        """Run it to its end; return exit code and whether it was late."""
        end = self.executor.execute(command, **options)  # type: ignore[arg-type]
        return end["exit_code"], end["timeout_occurred"]

    @property
    def stdout(self) -> bytes:
        return self.out.read(0).data

    def says(self, words: bytes) -> None:
        """Wait until ``words`` are in the output."""
        wait_until(lambda: words in self.stdout, f"{words!r}, but there is {self.stdout!r}")

    def alive(self) -> dict[int, str]:
        """Return every process of the command."""
        return processes_mentioning([self.executor.mark])


@pytest.fixture
def run() -> Iterator[Callable[..., Ran]]:
    """Make commands; after the test, none has a process left."""
    made: list[Ran] = []

    def make(kind: str, size: int = 10 << 20) -> Ran:
        made.append(Ran(kind, size))
        return made[-1]

    yield make
    for ran in made:
        with contextlib.suppress(MtrError):
            ran.executor.terminate(0)
        assert ran.alive() == {}


both = pytest.mark.parametrize("kind", ["pipes", "pty", "library", "threads"])


def write_parts(folder: str, parts: Sequence[tuple[bool, bytes]]) -> str:
    """Return a command that writes ``parts``, those marked to stderr, one after the other."""
    for number, (_, data) in enumerate(parts):
        (Path(folder) / str(number)).write_bytes(data)
    return "".join(f"cat {folder}/{number}{' >&2' if is_err else ''}\n" for number, (is_err, _) in enumerate(parts))


# -- what is written is had


@programs
@given(chunks)
def test_everything_is_captured_in_its_order_on_pipes(parts: list[tuple[bool, bytes]]) -> None:
    """Every byte of both streams, whatever it is."""
    ran = Ran("pipes")
    with tempfile.TemporaryDirectory() as folder:
        assert ran.execute(write_parts(folder, parts) or "true") == (0, False)
    for is_err, buffer in ((False, ran.out), (True, ran.err)):
        assert buffer.read(0).data == b"".join(data for err, data in parts if err == is_err)
        assert buffer.is_closed


@programs
@given(chunks)
def test_everything_is_captured_in_its_order_on_a_terminal(parts: list[tuple[bool, bytes]]) -> None:
    """As a terminal gets it: both streams in one, lines ended by CR LF."""
    ran = Ran("pty")
    with tempfile.TemporaryDirectory() as folder:
        assert ran.execute(write_parts(folder, parts) or "true") == (0, False)
    assert ran.stdout == b"".join(data for _, data in parts).replace(b"\n", b"\r\n")


@programs
@given(st.lists(escapes, min_size=1, max_size=40).map("".join))
def test_escape_sequences_stay_as_they_are(words: str) -> None:
    """A progress bar, colours, titles: nothing is touched."""
    ran = Ran("pty")
    assert ran.execute(["printf", "%s", words]) == (0, False)
    assert ran.out.get_all() == words.replace("\n", "\r\n")


@programs
@given(st.integers(1, 4000), st.integers(1, 5000))
def test_of_more_than_fits_the_newest_stays(lines: int, size: int) -> None:
    """And it is told how much is gone."""
    ran = Ran("pipes", size)
    ran.execute(["seq", str(lines)])
    data = "".join(f"{number}\n" for number in range(1, lines + 1))
    output = ran.out.get_output()
    gone = max(0, len(data) - size)
    assert (output["data"], output["truncated"], output["truncated_bytes"]) == (data[gone:], gone > 0, gone)


@settings(max_examples=6, deadline=None)
@given(st.binary(min_size=1, max_size=3000))
def test_what_was_written_before_the_time_was_over_stays(data: bytes) -> None:
    """Every byte of it."""
    ran = Ran("pipes")
    with tempfile.TemporaryDirectory() as folder:
        ran.executor.start(f"{write_parts(folder, [(False, data)])} exec sleep 600")
        assert ran.out.wait(len(data) - 1, 60)
        assert ran.executor.finish(0.01) == {"exit_code": -1, "timeout_occurred": True}
    assert (ran.stdout, ran.alive()) == (data, {})


@both
def test_a_time_that_is_over_ends_all_of_a_command(run: Callable[..., Ran], kind: str) -> None:
    """With execute as well; the output stays."""
    ran = run(kind)
    began_s = time.monotonic()
    assert ran.execute("echo before; sleep 601 & sleep 600", timeout=1.5) == (-1, True)
    assert 1.5 <= time.monotonic() - began_s < 60
    assert (ran.stdout.split(), ran.alive()) == ([b"before"], {})


@both
def test_ten_thousand_tiny_writes_come_in_order(run: Callable[..., Ran], kind: str) -> None:
    """Each a write of its own."""
    ran = run(kind)
    program = "import os\nfor i in range(10000): os.write(1, b'%d ' % i)"
    assert ran.execute([sys.executable, "-c", program]) == (0, False)
    assert ran.stdout.split() == [b"%d" % number for number in range(10_000)]


@both
def test_output_is_there_while_the_command_runs(run: Callable[..., Ran], kind: str) -> None:
    """Not only at its end."""
    ran = run(kind)
    ran.executor.start("echo now; exec sleep 600")
    ran.says(b"now")
    assert ran.alive()


# -- how a command is run


@both
@pytest.mark.parametrize(
    ("command", "status"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137), (["sh", "-c", "exit 3"], 3)]
)
def test_the_status_is_as_a_shell_says_it(run: Callable[..., Ran], kind: str, command: str, status: int) -> None:
    """128+n for a signal."""
    assert run(kind).execute(command) == (status, False)


@both
def test_a_list_is_an_argv_and_a_string_is_for_the_shell(run: Callable[..., Ran], kind: str) -> None:
    """Nothing else is guessed."""
    ran, other = run(kind), run(kind)
    assert ran.execute(["printf", "%s|", "a b", "$HOME", "'"]) == (0, False)
    assert ran.stdout == b"a b|$HOME|'|"
    assert other.execute("for i in 1 2; do printf $i-; done; [[ a == a ]]") == (0, False)
    assert other.stdout == b"1-2-"


@both
def test_directory_and_environment(run: Callable[..., Ran], kind: str, tmp_path: Path) -> None:
    """What is given is added to the environment of this process."""
    ran, end = run(kind), "\r" * (kind in ("pty", "library"))
    ran.execute('pwd; echo "$MORE" "${PATH:+path}"', working_directory=str(tmp_path), env={"MORE": "é and more"})
    assert ran.out.get_all().split("\n")[:2] == [
        f"{tmp_path}{end}",
        f"é and more path{end}",
    ]


def test_a_command_on_pipes_has_no_stdin() -> None:
    """It reads the end at once; what stands on stdin of this process stays there."""
    program = (
        "import sys; from mtr.streams.buffer import *; from mtr.streams.executors import *; b = StreamingBuffer()\n"
        "SubprocessExecutor(b).execute('cat; echo done', timeout=60); print(b.get_all().strip(), sys.stdin.read())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=b"protocol", capture_output=True, check=True)
    assert done.stdout == b"done protocol\n"


@both
def test_input_is_read_to_its_end(run: Callable[..., Ran], kind: str) -> None:
    """Also where its last line is half a one."""
    ran = run(kind)
    assert ran.execute("cat; echo over", input=b"one\nhalf", timeout=60) == (0, False)
    assert ran.stdout.replace(b"\r", b"").endswith(b"one\nhalfover\n")


@pytest.mark.parametrize("kind", ["pipes", "threads"])
def test_much_input_and_output_at_once(run: Callable[..., Ran], kind: str) -> None:
    """Neither waits for the other."""
    ran, data = run(kind), os.urandom(8 << 20)
    assert ran.execute("cat", input=data, timeout=100) == (0, False)
    assert ran.stdout == data


@both
def test_a_conversation(run: Callable[..., Ran], kind: str) -> None:
    """What is sent is answered; the end of the input ends the command."""
    ran = run(kind)
    ran.executor.start('while read -r line; do echo "got $line"; done; echo bye', has_input=True)
    for word in (b"one", b"two"):
        ran.executor.send(word + b"\n")
        ran.says(b"got " + word)
    ran.executor.end_input()
    assert ran.executor.finish(60)["exit_code"] == 0
    assert b"bye" in ran.stdout


def test_input_that_nobody_takes_is_an_error(run: Callable[..., Ran]) -> None:
    """A command without input; one that reads nothing, once too much waits for it."""
    ran, other = run("pipes"), run("pipes")
    ran.executor.start("exec sleep 600")
    with pytest.raises(InvalidRequest, match="takes no input"):
        ran.executor.send(b"x")
    other.executor.start("exec sleep 600", has_input=True)
    other.executor.send(bytes(16 << 20))
    with pytest.raises(InvalidRequest, match="has not read"):
        other.executor.send(bytes(1 << 20))


@pytest.mark.parametrize("kind", ["pty", "library"])
def test_a_terminal_is_one(run: Callable[..., Ran], kind: str) -> None:
    """It is the session's, has a size and a type, and Ctrl-C interrupts what runs in it."""
    ran = run(kind)
    ran.executor.start('tty </dev/tty >/dev/null && stty size && echo "$TERM"; trap "echo caught; exit 5" INT; read x')
    ran.says(b"24 80\r\n")
    wait_until(lambda: ran.stdout.count(b"\n") >= 2, "the type of the terminal")
    assert b"dumb" not in ran.stdout
    ran.executor.send(b"\x03")
    assert ran.executor.finish(60)["exit_code"] == 5
    assert b"caught" in ran.stdout


@both
def test_who_redirects_all_its_streams_is_not_hung_up(run: Callable[..., Ran], kind: str, tmp_path: Path) -> None:
    """The command is over when it has ended, and not when it has let go of its streams."""
    ran, gate = run(kind), tmp_path / "gate"
    ran.executor.start(f"exec >{tmp_path}/log 2>&1 </dev/null; until [ -e {gate} ]; do sleep 0.05; done; exit 7")
    wait_until((tmp_path / "log").exists, "the log")
    time.sleep(0.3)  # Nothing can be waited for: it is to go on.
    assert ran.alive()
    gate.touch()
    assert ran.executor.finish(60)["exit_code"] == 7
    assert ran.out.is_closed


@pytest.mark.parametrize("kind", ["pipes", "pty"])
def test_a_program_that_is_not_there(run: Callable[..., Ran], kind: str) -> None:
    """Is an error of its own, and no buffer waits for it."""
    ran = run(kind)
    with pytest.raises(MissingProgram, match="no-such-program"):
        ran.execute(["no-such-program"])
    assert ran.out.is_closed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"command": ""}, "empty"),
        ({"command": []}, "empty"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": "true", "timeout": 0}, "timeout"),
        ({"command": "true", "timeout": float("nan")}, "timeout"),
        ({"command": "true", "working_directory": "/no/such"}, "does not exist"),
        ({"command": "true", "working_directory": "/etc/passwd"}, "is no directory"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_starts(options: dict[str, object], words: str) -> None:
    """In words that name it."""
    with pytest.raises(InvalidRequest, match=words):
        Ran("pipes").execute(**options)  # type: ignore[arg-type]


def test_a_command_that_is_too_long_for_the_system() -> None:
    """Is an error with the system's words."""
    with pytest.raises(MtrError, match="cannot start") as caught:
        Ran("pipes").execute("true " + "x" * (1 << 22))
    assert "too long" in caught.value.detail


def test_no_terminal_is_an_error_that_leaves_the_buffer_open() -> None:
    """So that the same one serves on pipes."""

    def refuse(*_: object) -> starting.Started:
        raise PtyInitializationError("this system gives no terminal")

    buffer = StreamingBuffer()
    with pytest.raises(PtyInitializationError):
        PtyExecutor(buffer, start=refuse).execute("echo x")
    assert SubprocessExecutor(buffer).execute("echo x")["exit_code"] == 0
    assert buffer.get_all() == "x\n"


class Faulty(StreamingBuffer):
    """A buffer that fails at each write."""

    def write(self, data: bytes) -> None:
        raise OSError(f"no room for {len(data)} bytes")


def test_a_fault_of_a_buffer_stops_no_command() -> None:
    """The command goes on to its end, the other stream is had, and the fault is told."""
    err = StreamingBuffer()
    executor = SubprocessExecutor(Faulty(), err)
    end = executor.execute("seq 100000; echo end >&2; exit 4", timeout=60)
    assert (end["exit_code"], err.get_all()) == (4, "end\n")
    assert "no room for" in executor.fault


# -- what it starts is ended


@pytest.mark.parametrize("kind", ["pipes", "pty"])
@pytest.mark.parametrize(
    "script",
    [
        "sleep 600 & sleep 600",
        "(sleep 600 & sleep 600 & wait) & wait",
        "setsid sleep 600 & wait",
        "setsid -f sleep 600; setsid -f sh -c 'sleep 600; true'; sleep 600",
        "nohup sleep 600 >/dev/null 2>&1 & sleep 600",
        "trap '' TERM HUP; sh -c 'trap \"\" TERM; while :; do sleep 600; done' & while :; do sleep 600; done",
        "sleep 600 & kill -STOP $!; kill -STOP $$",
        "env -i sleep 600 & env -i setsid sh -c 'sleep 600; true' & wait",
    ],
)
def test_all_that_a_command_has_started_is_ended(run: Callable[..., Ran], kind: str, script: str) -> None:
    """Children, their children, those in sessions of their own, daemons, the deaf and the stopped ones."""
    ran = run(kind)
    ran.executor.start(f"echo ready; {script}")
    ran.says(b"ready")
    wait_until(lambda: len(family(ran)) >= 2, "its children")
    seen = family(ran)
    assert ran.executor.terminate(0.5) == []
    assert (ran.alive(), [pid for pid in seen if is_alive(pid)]) == ({}, [])
    assert ran.executor.finish(60)["exit_code"] in (143, 137)
    assert ran.out.is_closed


def family(ran: Ran) -> set[int]:
    """Return every process of a command, those without its mark in its session or below it included."""
    pid, table = ran.executor.pid, subprocess.run(["ps", "-Ao", "pid=,ppid=,sess="], capture_output=True, check=True)
    rows = [tuple(map(int, line.split())) for line in table.stdout.splitlines()]
    found = {*ran.alive(), pid or 0}
    while more := {row[0] for row in rows if row[1] in found or row[2] == pid} - found:
        found |= more
    return {member for member in found if member and is_alive(member)}


def test_a_gentle_end_comes_first(run: Callable[..., Ran]) -> None:
    """A command that tidies up at TERM may."""
    ran = run("pipes")
    ran.executor.start("trap 'echo tidy; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    ran.says(b"ready")
    ran.executor.terminate()
    assert ran.executor.finish(60)["exit_code"] == 9
    assert b"tidy" in ran.stdout


def test_a_leader_that_is_killed_leaves_nobody_waiting(run: Callable[..., Ran]) -> None:
    """Its status is told though a child holds the streams; the child can still be ended."""
    ran = run("pipes")
    ran.executor.start("sleep 600 & echo ready; wait")
    ran.says(b"ready")
    assert ran.executor.pid
    os.kill(ran.executor.pid, signal.SIGKILL)
    assert ran.executor.finish(60) == {"exit_code": 137, "timeout_occurred": False}
    assert not ran.executor.is_quiet
    assert ran.alive()
    assert ran.executor.terminate() == []
    assert ran.alive() == {}


def test_what_is_left_in_the_background_holds_no_command(run: Callable[..., Ran]) -> None:
    """The command is over a moment after its own process is; what comes later is read all the same."""
    ran = run("pipes")
    gate = Path(tempfile.mkdtemp()) / "gate"
    began_s = time.monotonic()
    end = ran.execute(f"(until [ -e {gate} ]; do sleep 0.05; done; echo late; sleep 600) & echo first", timeout=100)
    assert (end, ran.stdout) == ((0, False), b"first\n")
    assert time.monotonic() - began_s < 20 + DRAIN_S
    gate.touch()
    ran.says(b"first\nlate\n")
    ran.executor.terminate()
    gate.unlink()
    gate.parent.rmdir()


def test_a_flood_from_the_background_holds_no_command(run: Callable[..., Ran]) -> None:
    """What the command wrote itself is had, and then it is over."""
    ran = run("pipes", 1 << 16)
    assert ran.execute("yes background & echo own >&2; exit 6", timeout=100) == (6, False)
    assert ran.err.get_all() == "own\n"
    assert ran.executor.terminate() == []


def test_a_command_that_has_ended_is_not_taken_for_another(run: Callable[..., Ran]) -> None:
    """To end it again ends nobody: its pid may be somebody else's."""
    ran, other = run("pipes"), run("pipes")
    ran.execute("true")
    other.executor.start("echo ready; exec sleep 600")
    other.says(b"ready")
    assert ran.executor.terminate() == []
    assert other.alive()


def test_two_who_end_a_command_at_once(run: Callable[..., Ran]) -> None:
    """Both return when it is gone."""
    ran = run("pipes")
    ran.executor.start("echo ready; sleep 600")
    ran.says(b"ready")
    threads = [threading.Thread(target=ran.executor.terminate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (ran.alive(), ran.executor.finish(1)["exit_code"]) == ({}, 143)


@pytest.mark.parametrize("kind", ["pipes", "pty", "library"])
def test_nothing_of_this_process_is_handed_on(run: Callable[..., Ran], kind: str) -> None:
    """No descriptor; and none stays open here when a command has ended."""
    ran = run(kind)
    before = len(os.listdir("/proc/self/fd"))
    inherited = os.dup2(1, 200, inheritable=True)
    ran.execute(["ls", "/proc/self/fd"])  # which has the directory open as well
    os.close(inherited)
    assert {int(word) for word in ran.stdout.split()} == {0, 1, 2, 3}
    wait_until(lambda: len(os.listdir("/proc/self/fd")) == before, "the descriptors to be closed")


def test_the_time_between_term_and_kill_is_short_enough_to_wait_for() -> None:
    """Clients cut calls off after a minute."""
    assert GRACE_S + DRAIN_S < 10
