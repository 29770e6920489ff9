"""How jobs stand after faults: killed parts, reboots, reused numbers, disks that are full, files that are garbage."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.clock import shift_clock
from tests.lab.disk import small_disk
from tests.lab.jobs import Jobs
from tests.lab.processes import end_tree, is_alive, wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


def shown(jobs: Jobs, job: str) -> tuple[str, int | None, str]:
    """Return state, status and reason as they are listed."""
    row = jobs.list()[job]
    return row["state"], row["status"], row["reason"]


def kill(*pids: int) -> None:
    """Kill ``pids`` and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), f"the end of {pids}")


def edit(path: Path, **words: str) -> None:
    """Change words of the file that says how a job stands: what its keeper has written, in order."""
    names = ("pid", "start", "boot", "since")
    first, *rest = path.read_text().splitlines()
    found = dict(zip(names, first.split(), strict=True)) | words
    path.write_text("\n".join([" ".join(found[name] for name in names), *rest]) + "\n")


def test_the_command_is_killed(jobs: Jobs) -> None:
    """Failed, with the status that a shell gives it."""
    job = jobs.start("sleep", "1000")
    keeper = jobs.keeper(job)
    wait_until(lambda: len(jobs.processes(job)) > 1, "the command")
    kill(*[pid for pid in jobs.processes(job) if pid != keeper])
    assert jobs.ends(job) == "137.exit"
    assert shown(jobs, job) == ("failed", 137, "")


def test_its_children_are_killed(jobs: Jobs) -> None:
    """The status is still the command's own."""
    job = jobs.start("sh", "-c", "sleep 1000 & echo $!; wait $!; echo $?; exit 6")
    jobs.prints(job, b"\n")
    kill(int((jobs.at(job) / "out").read_text()))
    assert jobs.ends(job) == "6.exit"
    assert jobs.mtr("job", "logs", job).stdout.splitlines()[1] == b"137"
    assert shown(jobs, job) == ("failed", 6, "")


def test_its_first_process_is_killed(jobs: Jobs) -> None:
    """Lost, and no status is made up; what it has left can still be stopped, and then it is still lost."""
    job = jobs.start("sh", "-c", "echo up; exec sleep 1000")
    jobs.prints(job, b"up\n")
    kill(jobs.keeper(job))
    assert shown(jobs, job) == ("lost", None, "its first process was killed")
    assert jobs.processes(job)
    done = jobs.mtr("job", "wait", job)
    assert done.returncode == 125
    assert b"lost" in done.stderr
    assert jobs.mtr("job", "logs", "-f", job).stdout == b"up\n"
    done = jobs.mtr("job", "stop", job)
    assert (done.returncode, done.stderr) == (0, f"mtr: job {job} was stopped\n".encode())
    assert not jobs.processes(job)
    assert shown(jobs, job)[0] == "lost"
    assert jobs.mtr("job", "rm", job).returncode == 0


def test_all_of_sshd_is_killed(home: Home, make_server: Callable[..., SshServer]) -> None:
    """Listener, connections and login shells: the job goes on, and is there when the server is."""
    other = make_server()
    home.use_server(other)
    jobs = Jobs(home, home.make_project("other"))
    try:
        job = jobs.start("sleep", "1000")
        jobs.keeper(job)
        other.kill()
        assert jobs.mtr("job", "list").returncode != 0
        assert is_alive(jobs.keeper(job))
        other.start()
        assert shown(jobs, job) == ("running", None, "")
        assert jobs.mtr("job", "stop", job).returncode == 0
    finally:
        jobs.close()


def test_the_server_was_restarted(jobs: Jobs) -> None:
    """Said as such, whatever has its number now; and that is let live."""
    job = jobs.start("sleep", "1000")
    keeper = jobs.keeper(job)
    with bystander() as other:
        kill(*jobs.processes(job))
        edit(jobs.at(job) / "running", pid=str(other), start=start_of(other), boot="0f0f-another")
        assert shown(jobs, job) == ("lost", None, "the server was restarted")
        assert jobs.mtr("job", "stop", job).returncode == 0
        assert jobs.mtr("job", "wait", job).returncode == 125
        assert is_alive(other)
    assert not is_alive(keeper)


def test_a_number_that_is_used_again(jobs: Jobs) -> None:
    """Another process has the keeper's pid: the job is lost, and that process is never signalled."""
    job = jobs.start("sleep", "1000")
    jobs.keeper(job)
    with bystander() as other:
        kill(*jobs.processes(job))
        edit(jobs.at(job) / "running", pid=str(other))
        assert shown(jobs, job) == ("lost", None, "its first process was killed")
        assert jobs.mtr("job", "stop", job).stderr == f"mtr: job {job} had ended\n".encode()
        assert jobs.mtr("job", "logs", "-f", job).returncode == 0
        assert jobs.mtr("job", "rm", job).returncode == 0
        assert is_alive(other)


@contextlib.contextmanager
def bystander() -> Iterator[int]:
    """Run a process that is nobody's job, in a session of its own with children; all of it must live to the end."""
    with subprocess.Popen(
        ["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True, bufsize=0
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            yield process.pid
            assert is_alive(child)
        finally:
            end_tree(process.pid)


def start_of(pid: int) -> str:
    """Return when ``pid`` was started, as its keeper would have written it."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2].split()[19]


def test_a_job_whose_directory_is_removed_by_hand(jobs: Jobs) -> None:
    """It is no job any more, others are not touched, and what ran ends with its command."""
    job, other = jobs.start("sh", "-c", "while [ ! -f go ]; do sleep 0.05; done"), jobs.start("sleep", "1000")
    keeper = jobs.keeper(job)
    follower = jobs.home.popen_mtr(["job", "logs", "-f", job], jobs.project)
    shutil.rmtree(jobs.at(job))
    assert set(jobs.list()) == {other}
    for verb in ("logs", "wait", "stop", "rm"):
        done = jobs.mtr("job", verb, job)
        assert done.returncode == 125
        assert f"there is no job {job}" in done.stderr.decode()
    (jobs.home.remote(jobs.project) / "go").touch()
    wait_until(lambda: not is_alive(keeper), "the end of the keeper")
    follower.communicate(timeout=30)
    assert not jobs.at(job).exists()


FILES = ("about", "keeper", "out", "err", "origin", "stands")
GARBAGE = (
    None,
    b"",
    b"\0",
    b"\xff\xfe\n\n",
    b"12 34\n56\n",
    b"1 1 1 1\n1\n",
    b"-1 $(touch /tmp/no) ; x\n*\n",
    b'{"name": 5, "command": ["x"], "pty": "yes"}\n',
    b"[" * 100_000,
    b'{"name": "a\\u0000\\u001b[31m\x0cjob deadbeef\x85now 1"}\n',
    b"x" * 300_000,
    b"nan inf 1e999 nan\ninf\n",
)


@pytest.mark.parametrize("stands", ["running", "ended"])
def test_files_that_are_missing_cut_or_garbage(jobs: Jobs, stands: str) -> None:
    """Whatever a job's files hold: it is listed, others are as they are, and each verb ends with an answer."""
    fine = jobs.start("true", options=["--name", "fine"])
    job = jobs.start("sleep", "1000") if stands == "running" else jobs.start("sh", "-c", "exit 3")
    jobs.ends(fine)
    wait_until(lambda: jobs.stands(job).startswith(stands), stands)
    wait_until((jobs.at(job) / "origin").exists, "what is told of its code")
    broken = list(break_copies(jobs, job))
    rows = jobs.list()
    assert set(rows) == {*broken, job, fine}
    assert (rows[fine]["state"], rows[fine]["name"]) == ("done", "fine")
    assert {rows[one]["state"] for one in broken} <= {"running", "lost", "failed"}
    listed = jobs.mtr("job", "list", "--all")
    assert (listed.returncode, listed.stdout.count(b"\n")) == (0, 1 + len(rows))
    assert b"\x1b" not in listed.stdout
    for one in broken[:: 2 + len(broken) // 12]:
        assert jobs.mtr("job", "logs", one).returncode in {0, 125}
    assert jobs.mtr("job", "stop", job).returncode == 0
    assert not jobs.processes(job)
    assert jobs.mtr("job", "rm", *broken, job).returncode == 0
    assert set(jobs.list()) == {fine}


def break_copies(jobs: Jobs, job: str) -> Iterator[str]:
    """Make a copy of ``job`` for each of its files and each thing that may have become of that; yield their ids."""
    for number, (name, data) in enumerate(itertools.product(FILES, GARBAGE)):
        copy = jobs.folder / f"{number:08x}"
        shutil.copytree(jobs.at(job), copy)
        file = copy / (jobs.stands(job) if name == "stands" else name)
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        yield copy.name


def test_an_end_that_nobody_has_written(jobs: Jobs) -> None:
    """A name that is not one of ours is no status."""
    job = jobs.start("true")
    jobs.ends(job)
    ends = jobs.at(job) / jobs.stands(job)
    for name in ("ended.x.1.exit", "ended.999.1.exit", "ended.0", "ended.", "ended.0.0.0.0"):
        ends = ends.rename(jobs.at(job) / name)
        assert shown(jobs, job)[:2] == ("lost", None)
    assert jobs.mtr("job", "wait", job).returncode == 125
    assert jobs.mtr("job", "rm", job).returncode == 0


def test_what_is_no_job_in_their_directory(jobs: Jobs) -> None:
    """Files, links, half made and half removed jobs, names of all kinds: none is listed, none ends a verb."""
    job = jobs.start("true")
    jobs.ends(job)
    for name in ("0123abcd", ".gone.0123abcd", "a b", "-rf", "abc*", "x\ny", "..."):
        (jobs.folder / name).mkdir()
    for name in ("about", "keeper", "queued"):
        (jobs.folder / "0123abcd" / name).touch()
    (jobs.folder / "0badf00d").write_text("a file")
    (jobs.folder / "0badbeef").symlink_to("nowhere")
    (jobs.folder / "0badcafe").symlink_to("/")
    assert jobs.mtr("job", "list").returncode == 0
    assert {"0123abcd", job} & set(jobs.list()) == {job}
    assert jobs.mtr("job", "rm", job).returncode == 0
    assert (jobs.folder / "a b").is_dir()
    (jobs.folder / "0badcafe").unlink()


def test_a_disk_that_is_full_in_mid_job(jobs: Jobs) -> None:
    """The output stops, the job hears of it, and its status still arrives; a new job is refused and leaves nothing."""
    jobs.folder.mkdir(parents=True)
    with small_disk(jobs.folder, "1m") as disk:
        job = jobs.start(
            "sh", "-c", "head -c 3000000 /dev/zero; echo $? >status; while [ ! -f go ]; do sleep 0.05; done; exit 5"
        )
        status = jobs.home.remote(jobs.project) / "status"
        wait_until(lambda: status.exists() and status.read_text(), "the flood to stop")
        assert status.read_text() == "1\n"
        assert disk.free_bytes == 0
        state, _, _ = shown(jobs, job)
        assert state == "running"
        done = jobs.mtr("-d", "true")
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"cannot be written" in done.stderr
        assert [path.name for path in jobs.list_directories()] == [job]
        (jobs.home.remote(jobs.project) / "go").touch()
        assert jobs.ends(job) == "5.exit"
        assert shown(jobs, job) == ("failed", 5, "")
        printed = jobs.mtr("job", "logs", job).stdout
        assert printed == bytes(len(printed))
        assert len(printed) > 500_000
        assert jobs.mtr("job", "rm", job).returncode == 0
        assert disk.free_bytes > 900_000
        with disk.read_only():
            done = jobs.mtr("-d", "true")
            assert (done.returncode, done.stdout) == (125, b"")
            assert b"ead-only" in done.stderr


def test_a_disk_that_takes_no_more_files(jobs: Jobs) -> None:
    """A job's own time ends it, stop ends it, and both are told apart: nothing of that needs a new file."""
    jobs.folder.mkdir(parents=True)
    with small_disk(jobs.folder, "1m", inodes=40) as disk:
        overdue = jobs.start("sh", "-c", "echo up; exec sleep 1000", options=["--timeout", "4"])
        job = jobs.start("sh", "-c", "echo up; exec sleep 1000")
        jobs.prints(job, b"up")
        disk.resize(inodes=len(list(jobs.folder.rglob("*"))) + 1)
        with pytest.raises(OSError, match="space"):
            (jobs.folder / "one more").touch()
        assert jobs.mtr("job", "stop", job).stderr == f"mtr: job {job} was stopped\n".encode()
        assert shown(jobs, job)[:2] == ("stopped", 143)
        assert jobs.ends(overdue) == "124.timeout"
        wait_until(lambda: not jobs.processes(overdue), "the end of its watch")
        done = jobs.mtr("-d", "true")
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"cannot be written" in done.stderr
        assert jobs.mtr("job", "rm", job, overdue).returncode == 0
        assert jobs.list_directories() == []


def test_a_server_whose_shell_greets(jobs: Jobs) -> None:
    """The id alone is on stdout, whatever an rc file prints in front of it; every verb tells the truth."""
    rc = jobs.home.server.home_of("bash") / ".bashrc"
    rc.write_text("echo welcome; printf more\n")
    try:
        job = jobs.start("sh", "-c", "echo up; exec sleep 1000")
        done = jobs.mtr("-d", "exit 3")
        other = done.stdout.decode().strip()
        assert (len(done.stdout), done.stderr) == (9, b"welcome\nmore\n")
        assert jobs.ends(other) == "3.exit"
        assert jobs.mtr("job", "stop", job).stderr == f"mtr: job {job} was stopped\n".encode()
        assert jobs.mtr("job", "stop", other).stderr == f"mtr: job {other} had ended\n".encode()
        assert jobs.mtr("job", "logs", job).stdout == b"up\n"
        assert b"job  " in jobs.mtr("job", "show", job).stdout
        assert jobs.mtr("job", "rm", job, other).returncode == 0
        assert jobs.list() == {}
    finally:
        rc.unlink()


def test_a_login_that_never_starts_the_job(jobs: Jobs) -> None:
    """An rc file that leaves with 0 is no start: no id is printed, and none is noted."""
    assert jobs.mtr("true").returncode == 0
    rc = jobs.home.server.home_of("bash") / ".bashrc"
    rc.write_text("echo bye; exit 0\n")
    try:
        done = jobs.mtr("-d", "true")
    finally:
        rc.unlink()
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"no job was started" in done.stderr
    assert jobs.list() == {}


def test_an_id_that_cannot_be_printed(jobs: Jobs) -> None:
    """The job runs, and the error has its id and how to stop it."""
    with open("/dev/full", "wb") as full:
        process = jobs.home.popen_mtr(["-d", "sleep", "1000"], jobs.project, stdout=full)
        _, words = process.communicate(timeout=60)
    (job,) = jobs.list()
    assert process.returncode == 125
    assert f"job {job} runs on lab, but its id could not be printed: No space left on device" in words.decode()
    assert f"mtr job stop {job}" in words.decode()


def test_jobs_of_one_second_are_in_their_order(jobs: Jobs) -> None:
    """Ids are drawn at random; the list goes by the starts, and a name means the newest."""
    started = [jobs.start("true", options=["--name", "same"]) for _ in range(8)]
    for job in started:
        jobs.ends(job)
        ends = jobs.at(job) / jobs.stands(job)
        first, *_ = ends.read_text().splitlines()
        ends.write_text(f"{first.rpartition(' ')[0]} 1700000000\n1700000000\n")
    assert list(jobs.list()) == started
    printed = jobs.mtr("job", "list").stdout.decode().splitlines()[1:]
    assert [line.split()[0] for line in printed] == started
    assert jobs.mtr("job", "rm", "same").returncode == 0
    assert list(jobs.list()) == started[:-1]


@pytest.mark.parametrize("before", ["connected", "not connected"])
def test_a_server_that_hangs_hides_no_other(home: Home, jobs: Jobs, before: str) -> None:
    """The rows of the others come within a bounded time, and the one that does not answer is named."""
    relay = Relay(home.server.port)
    try:
        keys = f"host: 127.0.0.1, user: bash, remote_dir: '~/{home.dir.name}/x'"
        lines = [f"  {name}: {{{keys}, port: {port}}}" for name, port in
                 {"slow": relay.port, "fine": home.server.port}.items()]  # fmt: skip
        (jobs.project / ".mtr" / "config.yaml").write_text("default: fine\nservers:\n" + "\n".join(lines) + "\n")
        with home.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{relay.port} {(home.server.dir / 'host.pub').read_text()}")
        job = jobs.start("true")
        if before == "connected":
            assert jobs.mtr("-s", "slow", "job", "list").returncode == 0
        relay.stall()
        started_s = time.monotonic()
        done = jobs.mtr("job", "list", timeout_s=120)
        assert done.returncode == 1
        assert [line.split()[:3:2] for line in done.stdout.decode().splitlines()[1:]] == [[job, "fine"]]
        assert b"slow" in done.stderr
        assert time.monotonic() - started_s < 60
    finally:
        relay.close()


def test_a_disk_that_is_full_when_a_job_is_stopped(jobs: Jobs) -> None:
    """Stop ends it all the same."""
    jobs.folder.mkdir(parents=True)
    with small_disk(jobs.folder, "1m") as disk:
        job = jobs.start("sleep", "1000")
        jobs.keeper(job)
        disk.fill()
        assert jobs.mtr("job", "stop", job).returncode == 0
        assert not jobs.processes(job)
        assert shown(jobs, job)[:2] == ("stopped", 143)


@pytest.mark.parametrize("seconds", [-7 * 86400, 7 * 86400])
def test_a_client_whose_clock_is_off(jobs: Jobs, seconds: int) -> None:
    """What is shown of times goes by the server's clock alone."""
    environ = shift_clock(seconds)
    done = jobs.mtr("-d", "--timeout", "60", "sleep 0.5", environ=environ)
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    rows: list[dict[str, Any]] = json.loads(jobs.mtr("job", "list", "--json", environ=environ).stdout)["data"]
    assert 0 <= rows[0]["runs_s"] < 30
    assert jobs.mtr("job", "wait", job, environ=environ).returncode == 0
    row = jobs.list()[job]
    assert 0 <= row["runs_s"] < 30
