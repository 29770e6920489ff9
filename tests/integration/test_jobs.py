"""Jobs: started, listed, waited for, stopped and removed; what they outlive."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.disk import small_disk
from tests.lab.jobs import Jobs
from tests.lab.processes import children_of, end_tree, is_alive, wait_until
from tests.lab.sshd import SHELLS, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


def test_start_prints_the_id_alone_and_returns(jobs: Jobs) -> None:
    """Stdout is the id, for ID=$(mtr job start ...); the job goes on."""
    for words in (("job", "start", "sleep", "100"), ("-d", "sleep 100"), ("run", "-d", "sleep", "100")):
        done = jobs.mtr(*words)
        assert (done.returncode, done.stderr) == (0, b"")
        assert re.fullmatch(rb"[0-9a-f]{8}\n", done.stdout)
        job = done.stdout.decode().strip()
        assert jobs.list()[job]["state"] == "running"
        assert is_alive(jobs.keeper(job))


@pytest.mark.parametrize(
    ("words", "status", "state"),
    [
        (("true",), 0, "done"),
        (("sh", "-c", "exit 7"), 7, "failed"),
        (("sh", "-c", "exit 255"), 255, "failed"),
        (("sh", "-c", "kill -9 $$"), 137, "failed"),
        (("sh", "-c", "kill -TERM $$"), 143, "failed"),
        (("sh", "-c", "kill -INT $$"), 130, "failed"),
        (("sh", "-c", "kill -SEGV $$"), 139, "failed"),
        (("sh", "-c", "kill -TERM 0"), 143, "failed"),
        (("nosuch-program",), 127, "failed"),
        (("cd /; (exit 3)",), 3, "failed"),
    ],
)
def test_the_status_is_the_commands(jobs: Jobs, words: tuple[str, ...], status: int, state: str) -> None:
    """Also of one that dies by a signal, ends its whole process group, or is not there."""
    job = jobs.start(*words)
    assert jobs.mtr("job", "wait", job).returncode == status
    row = jobs.list()[job]
    assert (row["status"], row["state"]) == (status, state)
    assert (row["ended_s"] is not None, row["runs_s"] >= 0) == (True, True)


def test_a_program_that_is_missing_says_so_on_the_jobs_stderr(jobs: Jobs) -> None:
    """As a run says it, without the keeper's insides."""
    job = jobs.start("nosuch-program", "x")
    assert jobs.ends(job) == "127.exit"
    words = jobs.mtr("job", "logs", "--stderr", job).stdout
    assert b"nosuch-program" in words
    assert b"not found" in words
    assert b"keeper" not in words


def test_a_program_whose_name_begins_with_a_dash(jobs: Jobs) -> None:
    """It is no option of the keeper's shell."""
    tool = jobs.home.server.home_of("bash") / "-x"
    tool.write_text("#!/bin/sh\necho $#\n")
    tool.chmod(0o755)
    try:
        job = jobs.start("--", "-x", "-y", options=["-e", f"PATH={tool.parent}:/usr/bin:/bin"])
        assert jobs.ends(job) == "0.exit"
        assert (jobs.at(job) / "out").read_bytes() == b"1\n"
        assert (jobs.at(job) / "err").read_bytes() == b""
    finally:
        tool.unlink()


def test_stdout_and_stderr_are_kept_apart_byte_for_byte(jobs: Jobs) -> None:
    """What a job prints arrives raw: NULs, no end of line, no UTF-8."""
    job = jobs.start("sh", "-c", r"printf 'a\000\377\r\nb'; printf 'e\001' >&2; cat; cat /dev/stdin")
    assert jobs.ends(job) == "0.exit"
    assert jobs.mtr("job", "logs", job).stdout == b"a\0\xff\r\nb"
    assert jobs.mtr("job", "logs", "--stderr", job).stdout == b"e\x01"
    row = jobs.list()[job]
    assert (row["out_bytes"], row["err_bytes"]) == (6, 2)


def test_environment_directory_and_pre_cmd_are_those_of_a_run(home: Home, jobs: Jobs) -> None:
    """Env, subdirectory, pre_cmd and python; and it has the files that were here when it was started."""
    home.configure(jobs.project, env={"FROM": "config"}, pre_cmd="export PRE=$PWD; PATH=$PATH:/pre", python="venv:v")
    venv = home.remote(jobs.project) / "v" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to("/bin/sh")
    (jobs.project / "src" / "b.py").write_text("changed\n")
    show = (
        'echo "$FROM|$MORE|${PRE##*/}|${PWD##*/}|${VIRTUAL_ENV##*/}"; cat b.py; case $PATH in *:/pre) echo pre ;; esac'
    )
    done = home.run_mtr(["job", "start", "--env", "MORE=it's é", "sh", "-c", show], jobs.project / "src")
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    assert jobs.ends(job) == "0.exit", (jobs.at(job) / "err").read_bytes()
    said = jobs.mtr("job", "logs", job).stdout.decode()
    assert said == f"config|it's é|{jobs.project.name}|src|v\nchanged\npre\n"


def test_a_pre_cmd_that_fails_starts_no_job(home: Home, jobs: Jobs) -> None:
    """The refusal is a run's, and nothing is left."""
    home.configure(jobs.project, pre_cmd="false")
    done = jobs.mtr("-d", "true")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"pre_cmd" in done.stderr
    assert jobs.list() == {}


def test_hostile_words_arrive_as_they_are(jobs: Jobs) -> None:
    """Quotes, blanks, newlines and globs in the argv, shown on one line without control characters."""
    words = ["it's", "", "a b", "$x", "*", "two\nlines", "é", '"q"', "\x1b[31m"]
    job = jobs.start("printf", "%s|", *words, options=["--name", "n-1"])
    assert jobs.ends(job) == "0.exit"
    assert jobs.mtr("job", "logs", job).stdout.decode() == "".join(f"{word}|" for word in words)
    row = jobs.list()[job]
    assert row["name"] == "n-1"
    shown = jobs.mtr("job", "list").stdout
    assert shown.count(b"\n") == 2
    assert b"\x1b" not in shown


def test_the_servers_own_time_ends_a_job(jobs: Jobs) -> None:
    """--timeout: state timeout, status 124, and its children are gone; nobody here need be there."""
    job = jobs.start("sh", "-c", "sleep 1000 & setsid sleep 1001 & echo up; wait", options=["--timeout", "1.5"])
    jobs.prints(job, b"up")
    end_tree(jobs.home.masters()[0])
    assert jobs.ends(job) == "124.timeout"
    wait_until(lambda: not jobs.processes(job), "the end of everything")
    row = jobs.list()[job]
    assert (row["state"], row["status"], row["reason"]) == ("timeout", 124, "timed out")
    assert jobs.mtr("job", "wait", job).returncode == 124


def test_a_job_that_ends_in_time_leaves_no_watch(jobs: Jobs) -> None:
    """What would have ended it ends with it."""
    job = jobs.start("true", options=["--timeout", "1000"])
    assert jobs.ends(job) == "0.exit"
    wait_until(lambda: not jobs.processes(job), "the end of the watch")


def test_a_job_has_a_session_of_its_own(jobs: Jobs) -> None:
    """No terminal, no hangup, and it is nobody's process group but its own; INT and QUIT are as for anyone."""
    job = jobs.start("sh", "-c", "cut -d ' ' -f 5,6,7 /proc/$$/stat; grep -i sigign /proc/self/status; tty")
    assert jobs.ends(job).endswith(".exit")
    group, session, terminal = jobs.mtr("job", "logs", job).stdout.split()[:3]
    assert (int(session), int(terminal)) == (int((jobs.at(job) / jobs.stands(job)).read_text().split()[0]), 0)
    assert int(group) == int(session)
    ignored = int(jobs.mtr("job", "logs", job).stdout.split()[4], 16)
    assert not ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1 | 1 << signal.SIGTERM - 1)


def test_a_job_outlives_client_master_login_and_sshds_process(jobs: Jobs) -> None:
    """Everything between here and there is killed with KILL; the job prints on and ends with its status."""
    job = jobs.start("sh", "-c", "echo begun; while [ ! -f go ]; do sleep 0.1; done; echo on; exit 4")
    follower = jobs.home.popen_mtr(["job", "logs", "-f", job], jobs.project)
    assert follower.stdout
    assert follower.stdout.readline() == b"begun\n"
    follower.kill()
    follower.communicate()
    for master in jobs.home.masters():
        end_tree(master)
    for pid in children_of(jobs.home.server.pid):
        if pid not in jobs.processes(job):
            end_tree(pid)
    assert jobs.stands(job) == "running"
    (jobs.home.remote(jobs.project) / "go").touch()
    assert jobs.ends(job) == "4.exit"
    assert jobs.mtr("job", "logs", job).stdout == b"begun\non\n"
    assert jobs.mtr("job", "wait", job).returncode == 4


def test_mtr_killed_while_it_starts_a_job_leaves_one_or_none(jobs: Jobs) -> None:
    """At any moment: the job is there and runs, or there is nothing that will ever run."""
    jobs.mtr("true")
    for delay_ms in range(0, 120, 8):
        process = jobs.home.popen_mtr(["-d", "sleep 100"], jobs.project)
        with_deadline_s = time.monotonic() + delay_ms / 1000
        while time.monotonic() < with_deadline_s:
            pass
        process.kill()
        process.communicate()
    jobs.mtr("--no-sync", "true")
    wait_until(lambda: not any(row["state"] == "queued" for row in jobs.list().values()), "all to have begun")
    assert {row["state"] for row in jobs.list().values()} <= {"running"}


def test_a_job_started_on_a_terminal_outlives_it(jobs: Jobs) -> None:
    """The terminal is closed, everything here is killed; another state directory finds, follows and stops it."""
    child = jobs.home.spawn_mtr(
        ["-d", "--name", "train", "echo one; while :; do sleep 0.2; echo more; done"], jobs.project
    )
    child.expect(r"([0-9a-f]{8})\r\n")
    job = child.match.group(1).decode()
    child.expect(pexpect.EOF)
    child.close(force=True)
    for master in jobs.home.masters():
        end_tree(master)
    jobs.home.environ["XDG_STATE_HOME"] = str(jobs.home.dir / "elsewhere")
    jobs.home.environ["XDG_CACHE_HOME"] = str(jobs.home.dir / "elsewhere-too")
    assert jobs.list()[job]["state"] == "running"
    follower = jobs.home.popen_mtr(["job", "logs", "-f", "train"], jobs.project)
    assert follower.stdout
    assert [follower.stdout.readline() for _ in range(2)] == [b"one\n", b"more\n"]
    assert jobs.mtr("job", "stop", "train").returncode == 0
    follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert jobs.list()[job]["state"] == "stopped"
    assert not jobs.processes(job)


@pytest.mark.parametrize("user", SHELLS)
def test_every_login_shell(home: Home, user: str) -> None:
    """Start, list, follow, stop under each."""
    jobs = Jobs(home, home.make_project(user, user), user)
    try:
        job = jobs.start("sh", "-c", "echo it\\'s; exec sleep 100")
        jobs.prints(job, b"it's\n")
        assert jobs.list()[job]["state"] == "running"
        assert jobs.mtr("job", "logs", job).stdout == b"it's\n"
        assert jobs.mtr("job", "stop", job).returncode == 0
        assert jobs.list()[job]["state"] == "stopped"
        assert jobs.mtr("job", "rm", job).returncode == 0
        assert job not in jobs.list()
    finally:
        jobs.close()


def test_jobs_without_ssh(home: Home, jobs: Jobs) -> None:
    """client: paramiko starts, lists, follows, waits for and stops jobs alike."""
    home.configure(jobs.project, client="paramiko")
    job = jobs.start("sh", "-c", "echo one; sleep 0.5; echo two; exit 3")
    assert jobs.mtr("job", "logs", "-f", job).stdout == b"one\ntwo\n"
    assert jobs.mtr("job", "wait", job).returncode == 3
    other = jobs.start("sleep", "100")
    assert jobs.mtr("job", "stop", other).returncode == 0
    assert {row["state"] for row in jobs.list().values()} == {"failed", "stopped"}


def test_names_prefixes_and_unknown_ids(jobs: Jobs) -> None:
    """A name is the one alive, else the newest; a beginning must mean one; what means none says what there is."""
    old, new = (jobs.start("sh", "-c", f"exit {status}", options=["--name", "train"]) for status in (3, 5))
    jobs.ends(old)
    jobs.ends(new)
    assert jobs.mtr("job", "wait", "train").returncode == 5
    alive = jobs.start("sleep", "100", options=["--name", "train"])
    assert jobs.mtr("job", "stop", "train").returncode == 0
    assert jobs.list()[alive]["state"] == "stopped"
    assert jobs.mtr("job", "wait", old[:7]).returncode == 3
    done = jobs.mtr("job", "wait", "zz")
    assert done.returncode == 125
    assert b"there is no job zz" in done.stderr
    assert new.encode() in done.stderr
    both = [jobs.start("sleep", "100", options=["--name", "two"]) for _ in range(2)]
    done = jobs.mtr("job", "stop", "two")
    assert done.returncode == 125
    assert all(job.encode() in done.stderr for job in both)
    assert {jobs.list()[job]["state"] for job in both} == {"running"}
    for word, status in {"": 2, "../../etc": 125, "*": 125, "[": 125, "-": 125, ".": 125}.items():
        assert jobs.mtr("job", "rm", "--", word).returncode == status
    assert len(jobs.list()) == 5


def test_an_ambiguous_beginning_names_all(jobs: Jobs) -> None:
    """Nothing is done to any of them."""
    one = jobs.start("true")
    jobs.ends(one)
    twin = jobs.at(one[:-1] + ("0" if one[-1] != "0" else "1"))
    subprocess.run(["cp", "-r", jobs.at(one), twin], check=True)
    done = jobs.mtr("job", "rm", one[:5])
    assert done.returncode == 125
    assert f"{one[:5]} may mean 2 jobs" in done.stderr.decode()
    assert jobs.at(one).is_dir()
    assert twin.is_dir()


def test_several_servers_are_asked_at_once(home: Home, jobs: Jobs, make_server: Callable[..., SshServer]) -> None:
    """One that cannot be reached, and one that hangs, hide nothing of the others; the status tells of them."""
    other = make_server()
    first = {"host": "127.0.0.1", "port": home.server.port, "user": "bash"}
    second = {**first, "port": other.port}
    lines = [
        f"  {name}: {{host: 127.0.0.1, port: {keys['port']}, user: bash, remote_dir: '~/{home.dir.name}/x'}}"
        for name, keys in {"one": first, "two": second, "gone": {**first, "port": free_port()}}.items()
    ]
    (jobs.project / ".mtr" / "config.yaml").write_text("default: one\nservers:\n" + "\n".join(lines) + "\n")
    started = [jobs.mtr("-s", name, "-d", "exit 3").stdout.decode().strip() for name in ("one", "two")]
    done = jobs.mtr("job", "list")
    assert done.returncode == 1
    assert b"gone" in done.stderr
    assert sorted(line.split()[2] for line in done.stdout.decode().splitlines()[1:]) == ["one", "two"]
    assert set(jobs.list("-s", "two")) == {started[1]}
    assert jobs.mtr("job", "wait", *started).returncode == 3
    for job in started:
        assert jobs.mtr("job", "rm", job).returncode == 0
    home.environ["XDG_STATE_HOME"] = str(home.dir / "elsewhere")
    assert b"gone could not be asked" in jobs.mtr("job", "wait", "zz").stderr


def test_a_job_removed_from_elsewhere_is_forgotten_here(home: Home, jobs: Jobs) -> None:
    """Once the server has told of all its jobs; what it has stays noted, and so does one that is being started."""
    kept, gone, young = (jobs.start("true") for _ in range(3))
    jobs.ends(kept)
    notes = home.home / ".state" / "mtr" / "jobs"
    (notes / "abcdef01").write_text("another\n\n")
    for name in (kept, gone, "abcdef01"):
        os.utime(notes / name, (1e9, 1e9))
    elsewhere = {"XDG_STATE_HOME": str(home.dir / "elsewhere")}
    jobs.ends(gone)
    jobs.ends(young)
    assert jobs.mtr("job", "rm", gone, young, environ=elsewhere).returncode == 0
    assert set(jobs.list()) == {kept}
    assert sorted(os.listdir(notes)) == sorted([kept, young, "abcdef01"])


def test_a_note_that_leads_nowhere_hides_no_job(home: Home, jobs: Jobs) -> None:
    """The server has another name by now, or its old name is another machine's: all are asked."""
    job = jobs.start("exit 3")
    path = jobs.project / ".mtr" / "config.yaml"
    path.write_text(path.read_text().replace('"lab"', '"renamed"'))
    assert jobs.mtr("job", "wait", job).returncode == 3
    servers = json.loads(path.read_text())["servers"]
    servers["lab"] = {**servers["renamed"], "user": "dash"}
    path.write_text(json.dumps({"servers": servers}))
    assert jobs.mtr("job", "wait", job).returncode == 3


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    argv = [sys.executable, __file__, "child"]
    subprocess.Popen(argv, start_new_session=True, stdout=sys.stdout, env={"PATH": os.environ["PATH"]})
print(os.getpid(), flush=True)
time.sleep(1000)
"""


def test_stop_ends_the_whole_tree_however_it_hides(jobs: Jobs) -> None:
    """Sessions and process groups of their own, daemons, an environment without the mark, TERM ignored."""
    (jobs.project / "stubborn.py").write_text(STUBBORN)
    job = jobs.start(
        "sh",
        "-c",
        f"{sys.executable} stubborn.py & (setsid sleep 1001 &) ; setsid sh -c 'sleep 1002 & sleep 1003' & sleep 1004",
    )
    wait_until(lambda: (jobs.at(job) / "out").read_text().count("\n") == 2, "both to be up")
    family = jobs.processes(job)
    family += [int(word) for word in (jobs.at(job) / "out").read_text().split()]
    started_s = time.monotonic()
    done = jobs.mtr("job", "stop", job)
    assert (done.returncode, done.stderr) == (0, f"mtr: job {job} was stopped\n".encode())
    assert not [pid for pid in family if is_alive(pid)]
    assert time.monotonic() - started_s > 9, "TERM came first, and had its time"
    row = jobs.list()[job]
    assert (row["state"], row["status"], row["reason"]) == ("stopped", 143, "stopped")


def test_stop_is_as_quick_as_the_job(jobs: Jobs) -> None:
    """What ends on TERM is not waited for any longer; it may clean up, and its own status is kept."""
    job = jobs.start("sh", "-c", "trap 'echo cleaned; exit 9' TERM; echo up; while :; do sleep 0.05; done")
    jobs.prints(job, b"up")
    started_s = time.monotonic()
    assert jobs.mtr("job", "stop", job).returncode == 0
    assert time.monotonic() - started_s < 8
    row = jobs.list()[job]
    assert (row["state"], row["status"]) == ("stopped", 9)
    assert jobs.mtr("job", "logs", job).stdout == b"up\ncleaned\n"


def test_stopping_what_has_ended_changes_nothing(jobs: Jobs) -> None:
    """The first status stays; it is said, and is no failure."""
    job = jobs.start("sh", "-c", "exit 3")
    assert jobs.ends(job) == "3.exit"
    done = jobs.mtr("job", "stop", job)
    assert (done.returncode, done.stderr) == (0, f"mtr: job {job} had ended\n".encode())
    assert (jobs.list()[job]["state"], jobs.list()[job]["status"]) == ("failed", 3)


def test_two_clients_stop_at_once(jobs: Jobs) -> None:
    """Both come to their end with 0; the job is stopped."""
    job = jobs.start("sh", "-c", "trap 'sleep 0.5; exit 0' TERM; sleep 1000 & wait")
    jobs.keeper(job)
    both = [jobs.home.popen_mtr(["job", "stop", job], jobs.project) for _ in range(2)]
    for one in both:
        _, words = one.communicate(timeout=60)
        assert one.returncode == 0, words
    assert jobs.list()[job]["state"] == "stopped"
    assert not jobs.processes(job)


def test_a_stop_that_is_cut_off_can_be_repeated(jobs: Jobs) -> None:
    """Killed in the middle: the job says that it is being stopped, and the next stop ends it."""
    job = jobs.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    jobs.prints(job, b"up")
    first = jobs.home.popen_mtr(["job", "stop", job], jobs.project)
    wait_until((jobs.at(job) / "stopping").exists, "the stop to have begun")
    first.kill()
    first.communicate()
    assert jobs.mtr("job", "stop", job).returncode == 0
    assert jobs.list()[job]["state"] == "stopped"
    assert not jobs.processes(job)


def test_what_outlives_its_job_is_stopped_too(jobs: Jobs) -> None:
    """A daemon that a job has left holds GPUs and ports: stop finds it after the job's end."""
    job = jobs.start("sh", "-c", "setsid sleep 1001 & exit 0")
    assert jobs.ends(job) == "0.exit"
    assert jobs.processes(job)
    assert jobs.mtr("job", "stop", job).returncode == 0
    assert not jobs.processes(job)
    assert jobs.list()[job]["state"] == "done"


def test_others_are_not_stopped(jobs: Jobs) -> None:
    """A second job, and a run whose directory is the job's: stop ends neither."""
    job, other = jobs.start("sleep", "1000"), jobs.start("sleep", "1000")
    run = jobs.home.popen_mtr(["--no-sync", f"cd ~/.mtr/jobs/{job}; echo up; sleep 1000 <out"], jobs.project)
    assert run.stdout
    assert run.stdout.readline() == b"up\n"
    assert jobs.mtr("job", "stop", job).returncode == 0
    assert jobs.list()[other]["state"] == "running"
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=30)


def test_wait_takes_several_and_reports_the_first_that_failed(jobs: Jobs) -> None:
    """It ends when all have, in whatever order they do; one that is lost is no success."""
    slow = jobs.start("sh", "-c", "while [ ! -f go ]; do sleep 0.05; done; exit 6")
    fine, bad = jobs.start("true"), jobs.start("sh", "-c", "exit 9")
    waiting = jobs.home.popen_mtr(["job", "wait", fine, slow, bad], jobs.project)
    jobs.ends(bad)
    assert waiting.poll() is None
    (jobs.home.remote(jobs.project) / "go").touch()
    _, words = waiting.communicate(timeout=30)
    assert waiting.returncode == 6
    assert words.decode().count("\n") == 3
    assert jobs.mtr("job", "wait", fine).returncode == 0


def test_who_gives_up_waiting_ends_nothing(jobs: Jobs) -> None:
    """And is told so, and how to go on; the status is that of the signal."""
    job = jobs.start("sleep", "1000")
    with jobs.home.popen_mtr(["-vv", "job", "wait", job], jobs.project) as waiting:
        assert waiting.stderr is not None
        looks = (line for line in waiting.stderr if b"mtr-jobs ended" in line)
        for _ in range(3):
            next(looks)
        waiting.send_signal(signal.SIGINT)
        err = waiting.stderr.read()
    assert waiting.returncode == 130
    assert f"nothing was ended; to go on waiting: mtr job wait {job}".encode() in err
    assert jobs.list()[job]["state"] == "running"


def test_wait_outlives_the_line(jobs: Jobs) -> None:
    """The master is killed again and again while it waits; it ends with the job's status."""
    job = jobs.start("sh", "-c", "while [ ! -f go ]; do sleep 0.05; done; exit 6")
    bashrc, sessions = (jobs.home.server.home_of("bash") / name for name in (".bashrc", "sessions"))
    bashrc.write_text("echo >>~/sessions\n")
    waiting = jobs.home.popen_mtr(["job", "wait", job], jobs.project)
    wait_until(lambda: sessions.exists() and sessions.stat().st_size > 2, "it to ask again")
    for _ in range(3):
        (master,) = jobs.home.masters()
        end_tree(master)
        before = sessions.stat().st_size
        wait_until(lambda size=before: sessions.stat().st_size > size + 2, "it to ask again")  # type: ignore[misc]
    bashrc.unlink()
    sessions.unlink()
    assert waiting.poll() is None
    (jobs.home.remote(jobs.project) / "go").touch()
    waiting.communicate(timeout=60)
    assert waiting.returncode == 6


def test_rm_takes_only_what_has_ended(jobs: Jobs) -> None:
    """One that runs is refused and stays; one that has ended is gone with its output."""
    alive, ended = jobs.start("sleep", "1000"), jobs.start("echo", "x")
    jobs.ends(ended)
    done = jobs.mtr("job", "rm", alive)
    assert done.returncode == 1
    assert f"mtr job stop {alive}" in done.stderr.decode()
    assert jobs.mtr("job", "rm", ended).returncode == 0
    assert set(jobs.list()) == {alive}
    assert [path.name for path in jobs.list_directories() if path.name in {ended, f".gone.{ended}"}] == []
    assert jobs.mtr("job", "logs", ended).returncode == 125


def test_rm_tells_what_could_not_be_removed(jobs: Jobs) -> None:
    """The server's words, and 1; a disk is mounted where the job was kept."""
    jobs.folder.mkdir(parents=True, exist_ok=True)
    with small_disk(jobs.at("abcdef03"), "100k") as disk:
        (disk.path / "out").touch()
        done = jobs.mtr("job", "rm", "abcdef03")
        assert done.returncode == 1
        assert b"abcdef03 could not be removed on lab" in done.stderr
        assert b"busy" in done.stderr
    jobs.at("abcdef03").rmdir()


def test_jobs_started_together_are_all_there(jobs: Jobs) -> None:
    """Eight clients at once: eight ids, eight jobs, each with its own output."""
    jobs.mtr("true")
    found: dict[int, str] = {}

    def begin(number: int) -> None:
        found[number] = jobs.start("echo", str(number))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found.values())) == 8
    for number, job in found.items():
        jobs.ends(job)
        assert jobs.mtr("job", "logs", job).stdout == f"{number}\n".encode()


def test_a_full_home_directory_is_a_clear_refusal(jobs: Jobs) -> None:
    """Where nothing can be written, no job starts, the system's words are shown, and nothing is left."""
    jobs.mtr("true")
    jobs.folder.parent.mkdir(exist_ok=True)
    moved = jobs.folder.parent / "moved"
    if jobs.folder.exists():
        jobs.folder.rename(moved)
    jobs.folder.write_text("in the way")
    try:
        done = jobs.mtr("-d", "touch started")
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"/.mtr/jobs" in done.stderr
        assert b"mtr: no job was started on lab" in done.stderr
        assert not (jobs.home.remote(jobs.project) / "started").exists()
    finally:
        jobs.folder.unlink()
        if moved.exists():
            moved.rename(jobs.folder)


def test_no_secret_stands_in_a_command_line(home: Home, jobs: Jobs) -> None:
    """The job's environment is in no argv there, and in no file that others may read."""
    home.configure(jobs.project, env={"TOKEN": "hunter2hunter2"})
    job = jobs.start("sh", "-c", "echo ${#TOKEN}; sleep 100")
    jobs.prints(job, b"14")
    for pid in jobs.processes(job):
        assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert jobs.at(job).stat().st_mode & 0o777 == 0o700
    assert not [path for path in jobs.at(job).iterdir() if b"hunter2" in path.read_bytes()]
