"""``mtr CMD`` equals the same argv run locally: byte for byte, status for status, in every login shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from mtr.process.signals import REPEATED_S
from tests.lab.processes import end_tree, processes_mentioning, wait_until
from tests.lab.relay import Relay
from tests.lab.sshd import SHELLS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

SHOW = [
    "python3",
    "-c",
    "import sys; sys.stdout.buffer.write(repr(list(map(__import__('os').fsencode, sys.argv[1:]))).encode())",
]

WORDS = {
    "spaces": ["a b", "  ", " lead", "trail "],
    "quotes": ["'", '"', "it's", '"x"', "'\"'"],
    "dollars": ["$HOME", "${x}", "$(id)", "`id`", "$$"],
    "globs": ["*", "?", "[a-z]*", "{a,b}", "~", "~root"],
    "newlines": ["\n", "a\nb", "a\n\n"],
    "empty": ["", "", "x", ""],
    "non-ascii": ["é", "日本語", "🚀", "\udcff\udcfe"],
    "shell": ["a;b", "a&&b", "|", ">x", "<y", "#c", "!x", "\\", "\\n", "%s", "--", "-n", "-x"],
}


def run_local(argv: list[str], cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, cwd=cwd, input=stdin, capture_output=True, check=False, timeout=60)


def as_shell_status(status: int) -> int:
    """A signal is 128+n, as a shell reports it."""
    return 128 - status if status < 0 else status


@pytest.mark.parametrize("shell", SHELLS)
def test_every_argument_arrives_in_every_login_shell(home: Home, shell: str) -> None:
    """Spaces, quotes, $, globs, newlines, empty and non-ASCII words: the same bytes as run locally."""
    project = home.make_project(user=shell)
    for name, words in WORDS.items():
        argv = [*SHOW, *words]
        local = run_local(argv, project)
        done = home.run_mtr(["--no-sync", *argv], project)
        assert (done.returncode, done.stdout, done.stderr) == (0, local.stdout, local.stderr), name


@pytest.mark.parametrize("shell", SHELLS)
def test_every_status_arrives_in_every_login_shell(home: Home, shell: str) -> None:
    """Exit 0, 1, 7, 255, and death by TERM and KILL."""
    project = home.make_project(user=shell)
    for text in ("exit 0", "exit 1", "exit 7", "exit 255", "kill -TERM $$", "kill -KILL $$"):
        argv = ["sh", "-c", text]
        local = run_local(argv, project)
        done = home.run_mtr(["--no-sync", *argv], project)
        assert (done.returncode, done.stdout, done.stderr) == (as_shell_status(local.returncode), b"", b""), text


@pytest.mark.parametrize("shell", SHELLS)
def test_streams_stay_apart_in_every_login_shell(home: Home, shell: str) -> None:
    """In batch stdout and stderr are the command's, each its own bytes."""
    project = home.make_project(user=shell)
    argv = ["sh", "-c", "printf 'out\\r\\n\\0\\377'; printf 'err\\n' >&2; exit 3"]
    done = home.run_mtr(["--no-sync", *argv], project)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\r\n\0\xff", b"err\n")


def test_a_megabyte_goes_there_and_back(home: Home, project: Path) -> None:
    """1 MB of random bytes through stdin and back, unchanged."""
    data = os.urandom(1_000_000)
    done = home.run_mtr(["--no-sync", "cat"], project, stdin=data)
    assert done.stdout == data
    assert done.returncode == 0


def test_the_seeds_recipe_works_as_written(home: Home, project: Path) -> None:
    """The recipe for agents: stdout exactly the remote's, status exactly the remote's, the files there."""
    done = home.run_mtr(["--no-tty", "python3", "src/b.py"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"two\n", b"")
    done = home.run_mtr(["--no-tty", "python3", "-c", "import sys; print('x'); sys.exit(9)"], project)
    assert (done.returncode, done.stdout) == (9, b"x\n")


def test_one_word_is_shell_text(home: Home, project: Path) -> None:
    """A single word runs in bash: pipes, globs, variables."""
    done = home.run_mtr(["echo *.txt | tr a-z A-Z; x=5; echo $((x+1)); exit 4"], project)
    assert (done.returncode, done.stdout, done.stderr) == (4, b"A.TXT\n6\n", b"")


def test_options_end_at_the_command(home: Home, project: Path) -> None:
    """``mtr gcc -shared -s x.c`` passes ``-shared -s`` on."""
    done = home.run_mtr(["--no-sync", "echo", "-shared", "-s", "x.c", "--help", "--", "-e"], project)
    assert done.stdout == b"-shared -s x.c --help -- -e\n"


def test_a_command_with_the_name_of_a_verb_can_be_forced(home: Home, project: Path) -> None:
    """``mtr -- sync x`` and ``mtr run -- sync x`` run the remote program."""
    for words in (["--no-sync", "--", "sync", "--version"], ["run", "--no-sync", "--", "sync", "--version"]):
        done = home.run_mtr(words, project)
        assert done.stdout.startswith(b"sync (GNU coreutils)"), done


def test_a_run_starts_where_the_user_stands(home: Home, project: Path) -> None:
    """From a subdirectory the whole project is synced, and the command runs in the same subdirectory."""
    done = home.run_mtr(["sh", "-c", "pwd; ls ..; ls"], project / "src")
    assert done.stdout.decode() == f"{home.remote(project)}/src\na.txt\nsrc\nb.py\n"


def test_stdin_at_its_end_does_not_end_the_output(home: Home, project: Path) -> None:
    """A command that goes on after stdin has ended is heard to its end."""
    done = home.run_mtr(["--no-sync", "sh", "-c", "cat; sleep 0.3; echo late"], project, stdin=b"early\n")
    assert done.stdout == b"early\nlate\n"


def test_a_reader_that_leaves_ends_the_run(home: Home, project: Path) -> None:
    """``mtr yes | head -1`` ends, and nothing goes on there."""
    mark = "yes-" + os.urandom(4).hex()
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m mtr --no-sync yes {mark} | head -1; echo "${{PIPESTATUS[0]}}"', sys.executable],
        cwd=project,
        env=home.environ,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.stdout.splitlines()[0] == mark.encode()
    wait_until(lambda: not processes_mentioning([mark]), "yes to end")


def test_the_descriptors_stay_blocking(home: Home, project: Path) -> None:
    """A master makes what it is handed non-blocking; whoever started mtr gets it back as it was."""
    read_end, write_end = os.pipe()
    with home.popen_mtr(["--no-sync", "echo", "x"], project, stdout=write_end) as process:
        process.communicate(timeout=30)
    assert os.get_blocking(write_end)
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_in_batch_ends_every_remote_process(home: Home, project: Path, signum: signal.Signals) -> None:
    """Also what changed its group or its session; the command's last words arrive; the status is 128+n."""
    mark = f"3{int.from_bytes(os.urandom(2)):05d}"
    text = (
        "trap 'echo last words; exit 9' INT TERM HUP QUIT; "
        f"setsid sleep {mark} & timeout {mark} sleep {mark} & (trap '' INT TERM; sleep {mark}; sleep {mark}) & "
        f'python3 -c "import os,time; os.setsid() if os.getpid() != os.getsid(0) else 0; time.sleep({mark})" & '
        "echo started; wait"
    )
    process = home.popen_mtr(["--no-sync", "bash", "-c", text], project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    wait_until(lambda: len(processes_mentioning([mark])) >= 6, "the command's children")
    process.send_signal(signum)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + signum, b"last words\n")
    assert not processes_mentioning([mark])


def test_a_remote_process_that_ignores_everything_is_killed(home: Home, project: Path) -> None:
    """INT, then TERM, then KILL: Ctrl-C always ends the run."""
    process = home.popen_mtr(["--no-sync", "sh", "-c", "trap '' INT TERM HUP; echo started; sleep 9753"], project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 130
    assert not processes_mentioning(["sleep 9753", "sleep\x009753"])


def test_ctrl_c_pressed_many_times_is_one(home: Home, project: Path) -> None:
    """The end of a run that ignores it is not cut off by impatience, and what is left by insisting is told."""
    words = ["--no-sync", "sh", "-c", "trap '' INT TERM HUP; echo started; sleep 9754"]
    process = home.popen_mtr(words, project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        time.sleep(0.03)
    process.communicate(timeout=40)
    assert process.returncode == 130
    assert not processes_mentioning(["sleep 9754", "sleep\x009754"])
    process = home.popen_mtr(words, project)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(REPEATED_S / 2)
    assert process.stderr
    assert b"ends with the next run there, or: mtr up lab" in process.stderr.read()
    process.communicate()
    assert home.run_mtr(["up", "lab"], project).returncode == 0
    assert not processes_mentioning(["sleep 9754", "sleep\x009754"])


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_closed_and_nothing_else(home: Home, project: Path, redirection: str) -> None:
    """``mtr CMD <&-``: the command sees the end of stdin, and no file of mtr's takes the place of a stream."""
    line = f'"$0" -m mtr sh -c "cat; echo x; exit 3" {redirection}; echo "status=$?" >>status'
    subprocess.run(["bash", "-c", line, sys.executable], cwd=project, env=home.environ, check=True, timeout=60)
    assert (project / "status").read_text() == "status=3\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_sync_ends_it_and_starts_nothing(home: Home, project: Path, signum: signal.Signals) -> None:
    """Rsync ends on both sides, the command never starts, and the next run has all of it."""
    relay = Relay(home.server.port, delay_s=0.2)
    try:
        home.configure(project, port=relay.port)
        (project / "big").write_bytes(os.urandom(30_000_000))
        process = home.popen_mtr(["touch", "started"], project)
        wait_until(lambda: any("rsync" in line for line in processes_mentioning([str(project)]).values()), "rsync")
        process.send_signal(signum)
        process.communicate(timeout=30)
        assert process.returncode == 128 + signum
        wait_until(lambda: not processes_mentioning([str(project)]), "rsync to end here")
        assert not (home.remote(project) / "started").exists()
        done = home.run_mtr(["sh", "-c", "wc -c <big"], project)
        assert (done.returncode, done.stdout.strip()) == (0, b"30000000"), done.stderr
    finally:
        for pid in home.masters():
            end_tree(pid)
        relay.close()
