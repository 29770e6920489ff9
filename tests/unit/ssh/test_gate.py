"""The gate, run as a server runs it, under every shell that may stand behind /bin/sh."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from mtr.ssh.gate import VARIABLE_BYTES, Command, build_gate_call, new_run_id
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

RUN = "0123456789abcdef"


@pytest.fixture(params=sorted(POSIX_SHELLS))
def posix_sh(request: pytest.FixtureRequest) -> list[str]:
    """Each shell in turn, in place of /bin/sh."""
    return POSIX_SHELLS[request.param]


def run_gate(
    posix_sh: list[str], home: Path, command: Command, *, payload: str = "LC_MTR", stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` through the gate with ``posix_sh`` for /bin/sh."""
    call = build_gate_call(command, payload)
    if call.upload:
        run_shell(["sh", "-c", load_script("remote/receive.sh"), "mtr-script", call.run_id], home, stdin=call.upload)
    inner = call.remote_command.removeprefix("exec /bin/sh ")
    assert inner != call.remote_command
    program = shutil.which(posix_sh[0])
    line = " ".join(["exec", str(program), *posix_sh[1:], inner])
    return run_shell(["bash", "-c", line], home, extra=call.environ, stdin=stdin)


def command(*argv: str, **fields: object) -> Command:
    return Command(RUN, argv, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [0, 1, 7, 124, 255])
def test_the_status_is_the_commands(posix_sh: list[str], tmp_path: Path, status: int) -> None:
    """Whatever the command returns arrives."""
    done = run_gate(posix_sh, tmp_path, command("sh", "-c", f"exit {status}"))
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


@pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("KILL", 9), ("INT", 2), ("SEGV", 11), ("HUP", 1)])
def test_death_by_signal_is_128_plus_n_and_silent(posix_sh: list[str], tmp_path: Path, name: str, number: int) -> None:
    """A command that dies by a signal reports as a shell does, and no shell remarks on it."""
    done = run_gate(posix_sh, tmp_path, command("sh", "-c", f"kill -s {name} $$"))
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")


def test_the_gate_survives_a_command_that_kills_its_group(posix_sh: list[str], tmp_path: Path) -> None:
    """``trap 'kill 0' EXIT`` is common in scripts: the gate still reports."""
    assert run_gate(posix_sh, tmp_path, command("sh", "-c", "kill 0")).returncode == 143


def test_an_argv_is_a_program_and_no_builtin(posix_sh: list[str], tmp_path: Path) -> None:
    """``echo -n`` is the program, whatever the shell's own echo makes of -n; cd is no program."""
    if posix_sh == ["mksh"]:
        return  # assumption 5 of gate.sh
    assert run_gate(posix_sh, tmp_path, command("echo", "-n", "a\\tb")).stdout == b"a\\tb"
    assert run_gate(posix_sh, tmp_path, command("cd", "/")).returncode == 127


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [("nosuch", 127, b"command not found"), ("./nosuch", 127, b"no such file"), ("/tmp", 126, b"not executable")],
)
def test_a_missing_program_is_said_plainly(
    posix_sh: list[str], tmp_path: Path, word: str, status: int, said: bytes
) -> None:
    """127 and 126 as a shell gives them, in one line without the gate's insides."""
    done = run_gate(posix_sh, tmp_path, command(word, "x"))
    assert done.returncode == status
    assert done.stderr == b"mtr: " + word.encode() + b": " + said + b" on the server\n"


def test_the_directory_is_made_and_entered(posix_sh: list[str], tmp_path: Path) -> None:
    """The directory and the subdirectory are made when missing; odd names are names."""
    done = run_gate(posix_sh, tmp_path, command("pwd", "-P", remote_dir="~/it's a $dir", subdir="-x/\n*"))
    assert done.stdout.decode() == f"{tmp_path.resolve()}/it's a $dir/-x/\n*\n"


def test_a_directory_that_cannot_be_made_refuses_with_the_systems_words(posix_sh: list[str], tmp_path: Path) -> None:
    """The command does not start, and the reason lies where mtr looks on 125."""
    (tmp_path / "file").write_text("")
    done = run_gate(posix_sh, tmp_path, command("touch", "started", remote_dir="~/file/below"))
    assert done.returncode == 125
    reason, words = (tmp_path / f".mtr-no.{RUN}").read_text().split("\n", 1)
    assert reason == "directory"
    assert "ot a directory" in words
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("payload", ["LC_MTR", "XMODIFIERS", "file"])
def test_the_environment_arrives_and_leaves_no_trace(posix_sh: list[str], tmp_path: Path, payload: str) -> None:
    """Values arrive byte for byte over every carrier, and the carrier itself is gone."""
    value = "it's é\n$x `id` \\0101"
    show = 'printf %s "$FOO"; env | grep -c -e LC_MTR -e XMODIFIERS -e mtr_; ls -A "$HOME"'
    done = run_gate(posix_sh, tmp_path, command("sh", "-c", show, env={"FOO": value}), payload=payload)
    assert done.stdout == value.encode() + b"0\n"


def test_no_value_stands_on_the_command_line() -> None:
    """Another user's ps must not show an environment value."""
    call = build_gate_call(command("true", env={"TOKEN": "hunter2hunter2"}), "LC_MTR")
    assert "hunter2" not in call.remote_command


@pytest.mark.parametrize(("size", "count"), [(600, 300), (60_000, 30)])
def test_a_long_argv_travels_as_payload(posix_sh: list[str], tmp_path: Path, size: int, count: int) -> None:
    """An argv that no command line holds arrives whole, as a file."""
    words = ["x" * (size - 1) + "é"] * count
    call = build_gate_call(command("sh", "-c", "", "sh", *words), "LC_MTR")
    assert len(call.remote_command) < VARIABLE_BYTES
    assert call.upload
    done = run_gate(posix_sh, tmp_path, command("sh", "-c", 'echo "$# ${#1}"', "sh", *words))
    assert done.stdout == f"{count} {size + 1}\n".encode()


def test_stdin_is_the_commands(posix_sh: list[str], tmp_path: Path) -> None:
    """Bytes pass through; neither gate nor pre_cmd reads any."""
    data = os.urandom(300_000)
    done = run_gate(posix_sh, tmp_path, command("cat", pre_cmd="cat; echo hi"), stdin=data)
    assert done.stdout == data
    assert done.stderr == b"hi\n"


def test_pre_cmd_changes_the_commands_shell(posix_sh: list[str], tmp_path: Path) -> None:
    """What pre_cmd exports or defines is there for the command; what it prints is on stderr."""
    argv = run_gate(posix_sh, tmp_path, command("sh", "-c", "echo $A", pre_cmd="echo hi; export A=1"))
    assert (argv.stdout, argv.stderr) == (b"1\n", b"hi\n")
    assert not list(tmp_path.glob(".mtr-*"))
    text = run_gate(posix_sh, tmp_path, command("f; exit 3", is_text=True, pre_cmd="f() { echo from f; }"))
    assert (text.returncode, text.stdout) == (3, b"from f\n")


@pytest.mark.parametrize("pre_cmd", ["set -- one two", "shift 2>/dev/null; true", "set -f; set -- a; set +f"])
def test_pre_cmd_cannot_change_the_command(posix_sh: list[str], tmp_path: Path, pre_cmd: str) -> None:
    """It sees no arguments, and what it does to its own touches none of the command's."""
    words = ["it's", "", "a b", "$x", "*", "\n", "é", "'"]
    done = run_gate(posix_sh, tmp_path, command("printf", "%s|", *words, pre_cmd=pre_cmd))
    assert done.stdout.decode() == "".join(f"{word}|" for word in words), done.stderr
    done = run_gate(posix_sh, tmp_path, command("echo A; pwd", is_text=True, pre_cmd=pre_cmd))
    assert done.stdout.startswith(b"A\n/")
    assert run_gate(posix_sh, tmp_path, command("true", pre_cmd='echo "[$*]"')).stderr == b"[]\n"


def test_pre_cmd_runs_at_the_top_of_the_project(posix_sh: list[str], tmp_path: Path) -> None:
    """``source .venv/bin/activate`` works from every subdirectory; the command runs in its own."""
    fields = {"remote_dir": "~/d", "pre_cmd": "pwd -P"}
    done = run_gate(posix_sh, tmp_path, command("pwd", "-P", subdir="a b/c", **fields))
    assert done.stderr.decode() == f"{tmp_path.resolve()}/d\n"
    assert done.stdout.decode() == f"{tmp_path.resolve()}/d/a b/c\n"


def test_home_can_be_set_without_moving_the_run(posix_sh: list[str], tmp_path: Path) -> None:
    """``~`` in the directory is the login's home, whatever HOME the command is to see."""
    show = ("sh", "-c", 'pwd -P; echo "$HOME"')
    done = run_gate(posix_sh, tmp_path, command(*show, remote_dir="~/d", env={"HOME": "/elsewhere"}))
    assert done.stdout.decode() == f"{tmp_path.resolve()}/d\n/elsewhere\n"


def test_a_text_that_begins_with_a_dash_is_a_text(posix_sh: list[str], tmp_path: Path) -> None:
    """It is no option of the shell."""
    assert run_gate(posix_sh, tmp_path, command("--version", is_text=True)).returncode == 127


@pytest.mark.parametrize(
    "pre_cmd", ["false", "exit 3", "cd /nosuch", "(exit 9)", "exec true", "exec false", "kill -9 $$", "set -n"]
)
def test_a_failing_pre_cmd_keeps_the_command_from_starting(posix_sh: list[str], tmp_path: Path, pre_cmd: str) -> None:
    """125, a refusal with pre_cmd's status, and no command, also when pre_cmd exits."""
    for is_text in (False, True):
        words = ("touch started",) if is_text else ("touch", "started")
        done = run_gate(posix_sh, tmp_path, command(*words, is_text=is_text, pre_cmd=pre_cmd))
        assert done.returncode == 125
        assert (tmp_path / f".mtr-no.{RUN}").read_text().startswith("pre_cmd\n")
        assert not (tmp_path / "started").exists()


def test_a_string_runs_in_bash_where_there_is_one(posix_sh: list[str], tmp_path: Path) -> None:
    """``shell: auto`` is bash, and its words about a mistake are those of a local ``bash -c``."""
    done = run_gate(
        posix_sh, tmp_path, command("[[ a == a* ]] && echo ${BASH_VERSION%%.*} | tee log; nosuch", is_text=True)
    )
    assert done.stdout.strip().isdigit()
    assert done.returncode == 127
    assert done.stderr == b"bash: line 1: nosuch: command not found\n"


def test_a_missing_shell_refuses(posix_sh: list[str], tmp_path: Path) -> None:
    """A `shell` that the server does not have is named."""
    done = run_gate(posix_sh, tmp_path, command("true", is_text=True, shell="nosuchshell"))
    assert done.returncode == 125
    assert (tmp_path / f".mtr-no.{RUN}").read_text() == "shell\nnosuchshell\n"


def test_a_push_that_will_not_come_ends_the_wait_without_a_trace(posix_sh: list[str], tmp_path: Path) -> None:
    """Whoever has left the marker knows why: the gate takes that away, and leaves no reason that nobody would read."""
    (tmp_path / "p" / ".mtr").mkdir(parents=True)
    (tmp_path / "p" / ".mtr" / "no.abc").touch()
    waiting = command("true", remote_dir=str(tmp_path / "p"))
    waiting.token = "+abc"
    done = run_gate(posix_sh, tmp_path, waiting)
    assert (done.returncode, done.stdout, done.stderr) == (125, b"", b"")
    assert list(tmp_path.glob(".mtr-*")) == []
    assert list((tmp_path / "p" / ".mtr").iterdir()) == []


def test_what_a_run_left_in_the_home_directory_goes_with_it(posix_sh: list[str], tmp_path: Path) -> None:
    """Its payload and the reason of its gate are nobody's any more once the run has been ended."""
    run = new_run_id()  # of its own: reap.sh looks at all processes, and a test beside this one may run a gate
    for name in (f".mtr-no.{run}", f".mtr-in.{run}", ".mtr-no.fedcba9876543210"):
        (tmp_path / name).touch()
    words = [run[:8], run[8:], "TERM", "1", ""]
    done = run_shell([*posix_sh, "-c", load_script("remote/reap.sh"), "mtr-script", *words], tmp_path)
    assert done.stdout == b"none\n"
    assert [path.name for path in tmp_path.glob(".mtr-*")] == [".mtr-no.fedcba9876543210"]
