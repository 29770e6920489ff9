"""Commands by token: started at once, looked at while they run, many at a time, none left behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtr.streams import service as services
from mtr.streams.buffer import InvalidRequest
from mtr.streams.executors import PtyExecutor, PtyInitializationError
from mtr.streams.service import CommandNotFound, RunCmdService, TooManyCommands
from tests.lab.processes import find_peak_kib, processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

FIELDS = [
    "token", "status", "exit_code", "stdout", "stderr", "stdout_length", "stderr_length", "stdout_truncated",
    "stderr_truncated", "execution_time", "timeout_occurred",
]  # fmt: skip


@pytest.fixture
def service() -> Iterator[RunCmdService]:
    """A service; when it is closed nothing of it is left."""
    with RunCmdService() as made:
        yield made
    assert alive(made) == {}


def alive(service: RunCmdService) -> dict[int, str]:
    """Return every process that carries a mark of the service."""
    return processes_mentioning([service._id])


def await_end(service: RunCmdService, token: str) -> dict[str, Any]:
    """Ask until the command has ended, as an old client does; return the last answer."""
    answers: list[dict[str, Any]] = []

    def has_ended() -> bool:
        answers.append(service.query_command_status(token))
        return answers[-1]["status"] == "completed"

    wait_until(has_ended, "the end of the command", 60)
    return answers[-1]


# -- the original tools


def test_a_command_from_its_token_to_its_end(service: RunCmdService) -> None:
    """The answer has exactly the fields of the original, with their meanings."""
    token = service.run_command("echo out; echo err >&2; exit 3")
    assert service.query_command_status(token)["status"] in ("pending", "running", "completed")
    answer = await_end(service, token)
    assert list(answer) == FIELDS
    took_s = answer.pop("execution_time")
    assert 0 < took_s < 60
    assert answer == {
        "token": token,
        "status": "completed",
        "exit_code": 3,
        "stdout": "out\n",
        "stderr": "err\n",
        "stdout_length": 4,
        "stderr_length": 4,
        "stdout_truncated": False,
        "stderr_truncated": False,
        "timeout_occurred": False,
    }


def test_a_token_that_nobody_has(service: RunCmdService) -> None:
    """Is an answer in the original, and an error everywhere else."""
    answer = service.query_command_status("nobody")
    assert (list(answer), answer["status"], answer["exit_code"], answer["stdout"]) == (FIELDS, "not_found", None, "")
    for act in (service.look, service.terminate, service.forget, lambda token: service.send_input(token, b"x")):
        with pytest.raises(CommandNotFound, match="nobody"):
            act("nobody")


def test_a_time_that_is_over(service: RunCmdService) -> None:
    """Ends the command and its children; what was printed stays."""
    answer = await_end(service, service.run_command("echo before; sleep 600 & sleep 600", timeout=1))
    assert (answer["exit_code"], answer["timeout_occurred"], answer["stdout"]) == (-1, True, "before\n")
    assert alive(service) == {}


@settings(max_examples=5, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60), st.integers(1, 5))
def test_successive_answers_are_the_output(text: str, size: int) -> None:
    """Lengths never go down, and as offsets of the next call they give every character once, however it is written."""
    program = "import os, sys\ndata = sys.argv[1].encode()\nstep = int(sys.argv[2])\n"
    program += "for at in range(0, len(data), step): os.write(1, data[at : at + step])"
    with RunCmdService() as service:
        token = service.start([sys.executable, "-c", program, text, str(size)], timeout_s=60)
        seen, offset, is_over = "", 0, False
        while not is_over:
            answer: dict[str, Any] = service.query_command_status(token, offset)
            assert answer["stdout_length"] >= offset
            is_over = answer["status"] == "completed"
            seen, offset = seen + answer["stdout"], answer["stdout_length"]
        assert (seen, offset) == (text, len(text.encode()))


def test_what_is_gone_is_told(service: RunCmdService) -> None:
    """The newest is there; an old offset gets what is left."""
    answer = await_end(service, service.run_command("seq 1000", max_buffer_size=10))
    assert (answer["stdout"], answer["stdout_truncated"], answer["stdout_length"]) == ("\n999\n1000\n", True, 3893)
    assert answer["stderr_truncated"] is False


def test_what_cannot_work_is_told_at_once(service: RunCmdService, tmp_path: Path) -> None:
    """And there is no token for it."""
    with pytest.raises(InvalidRequest, match="does not exist"):
        service.run_command("true", working_directory=str(tmp_path / "no"))
    with pytest.raises(InvalidRequest, match="empty"):
        service.run_command(" ")
    with pytest.raises(InvalidRequest, match="max_buffer_size"):
        service.run_command("true", max_buffer_size=0)
    with pytest.raises(InvalidRequest, match="negative"):
        service.query_command_status(service.run_command("true"), -1)
    assert len(service.list()) == 1


def test_a_program_that_is_not_there_ends_as_a_shell_says_it(service: RunCmdService) -> None:
    """127, and stderr says why."""
    answer = await_end(service, service.start(["no-such-program"]))
    assert answer["exit_code"] == 127
    assert "no-such-program is not installed" in answer["stderr"]
    assert "not installed" in service.list()[0].error


def test_a_terminal_has_one_stream(service: RunCmdService) -> None:
    """Escape sequences included; nothing is told, as nothing was done otherwise."""
    token = service.run_command("test -t 1 && printf '\\033[1mbold' >&2", use_pty=True)
    assert (await_end(service, token)["stdout"], service.list()[0].notice) == ("\x1b[1mbold", "")
    assert service.list()[0].is_pty


def test_where_no_terminal_can_be_had_it_runs_on_pipes(service: RunCmdService, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is told."""

    def refuse(*_: object) -> None:
        raise PtyInitializationError("this system gives no terminal", detail="out of pty devices")

    monkeypatch.setattr(services, "PtyExecutor", lambda buffer, mark: PtyExecutor(buffer, mark=mark, start=refuse))
    answer = await_end(service, service.run_command("test -t 1 || echo pipes; echo err >&2", use_pty=True))
    assert (answer["stdout"], answer["stderr"], answer["exit_code"]) == ("pipes\n", "err\n", 0)
    (summary,) = service.list()
    assert (summary.notice, summary.is_pty) == (
        "this system gives no terminal (out of pty devices): it runs on pipes",
        False,
    )


# -- the richer methods


def test_a_look_waits_for_news(service: RunCmdService) -> None:
    """For output behind the offset, or for the end; else for as long as it was told."""
    token = service.start("echo one; read -r line; echo two", has_input=True)
    look = service.look(token, wait_s=60)
    assert (look.status, look.stdout.data) == ("running", b"one\n")
    began_s = time.monotonic()
    assert service.look(token, 4, wait_s=0.2).stdout.data == b""
    assert time.monotonic() - began_s >= 0.2
    service.send_input(token, b"go\n")
    assert service.look(token, 4, wait_s=60).stdout.data == b"two\n"
    assert service.look(token, 8, wait_s=60).exit_code == 0


def test_a_look_is_limited(service: RunCmdService) -> None:
    """And says how much there is."""
    token = service.start("seq 1000")
    await_end(service, token)
    look = service.look(token, 10, limit_bytes=4)
    assert (look.stdout.start, look.stdout.data, look.stdout.next_offset, look.stdout.length) == (
        10,
        b"6\n7\n",
        14,
        3893,
    )


@pytest.mark.parametrize("use_pty", [False, True])
def test_a_conversation(service: RunCmdService, use_pty: bool) -> None:
    """Input is sent, its end too; then nobody reads any more."""
    token = service.start("cat; echo over", use_pty=use_pty, has_input=True)
    service.send_input(token, "hé\n".encode())
    service.send_input(token, b"last\n", end=True)
    answer = await_end(service, token)
    assert answer["stdout"].replace("\r", "").endswith("hé\nlast\nover\n")
    with pytest.raises(InvalidRequest, match="ended"):
        service.send_input(token, b"x")


def test_input_for_a_command_that_has_none(service: RunCmdService) -> None:
    """Is refused: its stdin is /dev/null."""
    with pytest.raises(InvalidRequest, match="takes no input"):
        service.send_input(service.start("sleep 600"), b"x")


def test_terminate_returns_when_all_are_gone(service: RunCmdService) -> None:
    """The daemon too; and what a command that has ended left in the background."""
    token = service.start("setsid -f sleep 600; echo ready; sleep 600")
    service.look(token, wait_s=60)
    look = service.terminate(token)
    assert (look.status, look.exit_code, look.timeout_occurred, look.error) == ("completed", 143, False, "")
    assert alive(service) == {}
    left = service.start("sleep 600 & echo started")
    await_end(service, left)
    assert service.list()[-1].has_background
    service.terminate(left)
    assert (alive(service), service.list()[-1].has_background, service.list()[-1].exit_code) == ({}, False, 0)


def test_a_background_process_outlives_its_command_and_may_still_print(service: RunCmdService) -> None:
    """Also when the command was forgotten; it ends with the service."""
    with tempfile.TemporaryDirectory() as folder:
        script = f"(until [ -e {folder}/go ]; do sleep 0.05; done; echo late; touch {folder}/done; sleep 600) & echo up"
        token = service.start(script)
        await_end(service, token)
        service.forget(token)
        assert service.query_command_status(token)["status"] == "not_found"
        Path(folder, "go").touch()
        wait_until(Path(folder, "done").exists, "what is left in the background to go on")
    assert alive(service)


def test_fifty_at_once(service: RunCmdService) -> None:
    """Among them some that hang, flood or are stopped: all others are answered as if those were not there."""
    wedged = [service.start(words) for words in ("sleep 600", "yes", "kill -STOP $$", "trap '' TERM; sleep 600") * 2]
    tokens = [service.start(f"echo {n}; sleep 0.2; seq {n}000; exit {n}", use_pty=n % 5 == 0) for n in range(42)]
    for number, token in enumerate(tokens):
        answer = await_end(service, token)
        assert answer["exit_code"] == number
        assert answer["stdout"].split() == [str(number), *map(str, range(1, number * 1000 + 1))]
    assert [service.look(token).status for token in wedged] == ["running"] * 8


def test_more_than_may_run_are_refused() -> None:
    """Until one has ended."""
    with RunCmdService(max_running=2) as service:
        first = service.start("sleep 600")
        service.start("sleep 600")
        with pytest.raises(TooManyCommands, match="2 commands run"):
            service.start("true")
        service.terminate(first)
        service.start("true")


def test_ended_commands_are_forgotten_the_oldest_first() -> None:
    """By their number, and by what they hold; one that runs never is."""
    with RunCmdService(max_ended=3) as service:
        runs = service.start("sleep 600")
        tokens = []
        for number in range(6):
            tokens.append(service.start(f"echo {number}"))
            await_end(service, tokens[-1])
        wait_until(lambda: len(service.list()) == 4, "three ended ones")
        assert [summary.token for summary in service.list()] == [runs, *tokens[3:]]
        with pytest.raises(InvalidRequest, match="runs"):
            service.forget(runs)
    with RunCmdService(max_ended_bytes=15_000) as service:
        tokens = [service.start("head -c 10000 /dev/zero") for _ in range(3)]
        wait_until(lambda: len(service.list()) == 1, "one that is kept")
        assert service.look(service.list()[0].token).stdout.length == 10_000


def test_a_closed_service_has_ended_everything() -> None:
    """Also what was just being started, and what is deaf; and it takes no more."""
    service = RunCmdService()
    for words in ("sleep 600", "trap '' TERM; sleep 600; true", "setsid -f sleep 600", "sleep 600 & true"):
        service.start(words)
        service.start(words, use_pty=True)
    service.close()
    assert alive(service) == {}
    with pytest.raises(InvalidRequest, match="closed"):
        service.start("true")
    service.close()


def test_a_process_that_forgets_to_close_leaves_nothing() -> None:
    """The end of the interpreter closes it."""
    program = (
        "from mtr.streams.service import RunCmdService as S\n"
        "s = S(); t = s.start('sleep 600 & setsid -f sleep 600; echo up; sleep 600')\n"
        "s.look(t, wait_s=60); print(s._id)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stderr == ""
    assert processes_mentioning([done.stdout.strip()]) == {}


def test_a_process_without_descriptors_refuses_and_leaves_nothing() -> None:
    """What can be started runs, all else ends with an error; once others have ended it works again."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))\n"
        "from mtr.streams.service import RunCmdService as S\n"
        "s = S(); ts = [s.start('echo x; sleep 600', use_pty=n % 2 == 1) for n in range(40)]\n"
        "looks = [s.look(t, wait_s=60) for t in ts]\n"
        "print(s._id, {(l.status, l.exit_code) for l in looks}, {l.error for l in looks if l.error})\n"
        "import os, itertools, contextlib; fds = []\n"
        "with contextlib.suppress(OSError): fds.extend(os.dup(0) for _ in itertools.repeat(0))\n"
        "for t in ts: s.terminate(t, 0)\n"
        "for fd in fds: os.close(fd)\n"
        "t = s.start('echo again')\n"
        "while (l := s.look(t, 99, wait_s=1)).status != 'completed': pass\n"
        "print(s.look(t).stdout.data, s.look(t).error)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, text=True)
    first, last = done.stdout.splitlines()
    assert (done.stderr, last) == ("", "b'again\\n' ")
    assert "('running', None)" in first
    assert "('completed', 126)" in first
    assert "Too many open files" in first
    assert processes_mentioning([first.split()[0]]) == {}


def test_memory_is_bounded_by_what_is_kept() -> None:
    """However much is printed: twenty commands of 30 MB each, a megabyte kept of each."""
    program = (
        "import sys; from mtr.streams.service import RunCmdService as S\n"
        "s = S(); print('go', flush=True); sys.stdin.readline()\n"
        "ts = [s.run_command('head -c 30000000 /dev/zero', 300, max_buffer_size=1 << 20) for _ in range(20)]\n"
        "while any(s.look(t, 1 << 40, wait_s=1).status != 'completed' for t in ts): pass\n"
        "assert all(s.look(t, limit_bytes=0).stdout.length == 30000000 for t in ts)\n"
        "print('over', flush=True); sys.stdin.readline()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, **pipes) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before_kib = find_peak_kib(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "over\n"
        grown_kib = find_peak_kib(process.pid) - before_kib
        process.communicate("\n")
    assert grown_kib < 20 * 1024 + 12 * 1024


def test_looks_from_many_threads_while_it_runs(service: RunCmdService) -> None:
    """Each reader has all of it, in order."""
    token = service.start("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done")
    seen = [bytearray() for _ in range(8)]

    def read(into: bytearray) -> None:
        while True:
            look = service.look(token, len(into), limit_bytes=501, wait_s=60)
            into += look.stdout.data
            if look.status == "completed" and look.stdout.is_last:
                return

    threads = [threading.Thread(target=read, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(map(bytes, seen)) == {"".join(f"{n}\n" for n in range(2000)).encode()}
