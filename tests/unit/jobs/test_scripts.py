"""The scripts of jobs, as a server runs them, under every shell that may stand behind /bin/sh; and without /proc."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mtr.jobs.model import Job, parse_listing
from mtr.scripts import load_script
from tests.lab.processes import end_tree, is_alive, wait_until
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = os.urandom(4).hex()
"""Of this process alone: what belongs to a job is found by it, on all of the machine."""

LIFE = "remote/job/life.sh"


class Site:
    """A home on a server whose /bin/sh is ``shell``, and which may lack /proc."""

    def __init__(self, home: Path, shell: list[str], *, has_proc: bool = True) -> None:
        self.home = home
        self._shell = shell
        self.has_proc = has_proc
        self.adapts: dict[str, str] = {}
        """What stands in another place there."""

    def adapt(self, text: str) -> str:
        """Return the script as it is on this server."""
        text = text.replace("/bin/sh", " ".join(self._shell))
        for before, after in self.adapts.items():
            text = text.replace(before, after)
        return text if self.has_proc else text.replace("/proc/", "/nowhere/")

    def call(self, name: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run ``shell/remote/job/NAME.sh`` with ``words``."""
        front = "" if name == "start" else load_script(LIFE)
        text = self.adapt(front + load_script(f"remote/job/{name}.sh"))
        extra = {"PATH": f"{self.home}/bin:{os.environ['PATH']}"}
        return run_shell([*self._shell, "-c", text, f"mtr-{name}", *words], self.home, stdin=stdin, extra=extra)

    def put_program(self, name: str, text: str) -> None:
        """Let ``name`` be the sh script ``text`` there."""
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def ask_start(self, *argv: str, job: str = ID, options: str = "") -> subprocess.CompletedProcess[bytes]:
        """Start a job, and return what comes of it."""
        keeper = self.adapt(load_script(LIFE) + load_script("remote/job/keeper.sh"))
        stop = self.adapt(load_script(LIFE) + load_script("remote/job/stop.sh"))
        about = '{"name": "n", "command": "c"}'
        return self.call("start", job, about, keeper, stop, "", "", options, *argv, stdin=b"origin")

    def start(self, *argv: str, job: str = ID, options: str = "") -> None:
        """Start a job."""
        done = self.ask_start(*argv, job=job, options=options)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{job}\n".encode(), b"")
        assert (self.at(job) / "origin").read_bytes() == b"origin"

    def run_keeper(self, *argv: str) -> None:
        """Run the keeper of the job that is on the disk to its end."""
        words = [*self._shell, str(self.at() / "keeper"), "", *argv]
        run_shell(words, self.home, extra={"MTR_JOB": ID})

    def at(self, job: str = ID) -> Path:
        """Return the directory of ``job``."""
        return self.home / ".mtr" / "jobs" / job

    def look(self, job: str = ID) -> Job:
        """Return how ``job`` stands."""
        done = self.call("list", job)
        assert (done.returncode, done.stderr) == (0, b"")
        (found,) = parse_listing(done.stdout.decode(), "lab")
        return found

    def await_state(self, *states: str, job: str = ID) -> Job:
        """Return the job once it is in one of ``states``."""
        wait_until(lambda: self.look(job).state in states, f"{job} to be {states}: {self.look(job)}")
        return self.look(job)

    def pids(self) -> list[int]:
        """Return what the job has written of its processes, and its keeper."""
        found = [int(word) for word in re.findall(r"pid ([0-9]+)", (self.at() / "out").read_text())]
        stands = next(self.at().glob("[qre]*[gd]*"))
        return [*found, int(stands.read_text().split()[0])]


@pytest.fixture(params=[(shell, has_proc) for shell in sorted(POSIX_SHELLS) for has_proc in (True, False)], ids=str)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Each shell in turn, with /proc and without."""
    shell, has_proc = request.param
    made = Site(tmp_path, POSIX_SHELLS[shell], has_proc=has_proc)
    yield made
    made.call("stop", ID, "0", "client")


@pytest.mark.parametrize(
    ("text", "status", "state"), [("exit 0", 0, "done"), ("exit 7", 7, "failed"), ("kill -9 $$", 137, "failed")]
)
def test_a_job_runs_and_its_status_is_written_down(site: Site, text: str, status: int, state: str) -> None:
    """Whatever shell keeps it."""
    site.start("sh", "-c", f"printf out; printf err >&2; {text}")
    found = site.await_state("done", "failed", "lost")
    assert (found.state, found.status, found.name, found.command) == (state, status, "n", "c")
    assert (found.out_bytes, found.err_bytes) == (3, 3)
    done = site.call("follow", ID, "out", "1", "follow")
    assert (done.returncode, done.stdout) == (0, b"\nmtr-from 1\nut")


def test_a_job_is_stopped_with_what_it_has_started(site: Site) -> None:
    """Its children and theirs; and who is asked again says that it had ended."""
    site.start(
        "sh", "-c", "sleep 1000 & echo pid $!; sh -c 'sleep 1000 & echo pid $!; wait' & echo pid $!; echo up; wait"
    )
    wait_until(lambda: b"up\n" in (site.at() / "out").read_bytes(), "the job")
    wait_until(lambda: (site.at() / "out").read_text().count("pid") == 3, "its children")
    assert site.look().state == "running"
    pids = site.pids()
    assert site.call("remove", ID).stdout == f"\nalive {ID}\n".encode()
    done = site.call("stop", ID, "10", "client")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\ngone\n", b"")
    assert not [pid for pid in pids if is_alive(pid)]
    found = site.look()
    assert (found.state, found.status) == ("stopped", 143)
    assert site.call("stop", ID, "10", "client").stdout == b"\nended\n"
    assert site.call("remove", ID).stdout == f"\ngone {ID}\n".encode()
    assert not site.at().exists()


WHOLE_SLEEP = """case $1 in *.*) echo 'sleep: not a number' >&2; exit 1 ;; esac
exec /bin/sleep "$1\""""


def test_a_server_whose_sleep_takes_whole_seconds(site: Site) -> None:
    """A job's time is kept to the next second, and stop gives ten seconds, not a hundred."""
    site.put_program("sleep", WHOLE_SLEEP)
    site.start("sh", "-c", "echo pid $$; sleep 1000 & echo pid $!; wait", options="timeout=0.5")
    assert site.await_state("timeout", "failed", "done", "lost").status == 124
    assert site.call("remove", ID).stdout == f"\ngone {ID}\n".encode()
    site.start("sh", "-c", "trap '' TERM; echo pid $$; while :; do sleep 1; done")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    started_s = time.monotonic()
    assert site.call("stop", ID, "2", "client").stdout == b"\ngone\n"
    assert 2 <= time.monotonic() - started_s < 20
    assert site.look().state == "stopped"


def test_a_stopped_job_and_a_stopped_keeper_are_stopped(site: Site) -> None:
    """What SIGSTOP holds hears of TERM, and can clean up; its keeper writes that down."""
    site.start("sh", "-c", "trap 'echo cleaned; exit 9' TERM; echo pid $$; while :; do sleep 0.05; done")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    for pid in site.pids():
        os.kill(pid, signal.SIGSTOP)
    started_s = time.monotonic()
    assert site.call("stop", ID, "10", "client").stdout == b"\ngone\n"
    assert time.monotonic() - started_s < 9
    found = site.await_state("stopped")
    assert (found.state, found.status) == ("stopped", 9)
    assert (site.at() / "out").read_bytes().endswith(b"cleaned\n")


def test_a_job_is_stopped_while_it_is_being_started(site: Site) -> None:
    """Its first process comes late, sees the mark, and runs nothing; one that never comes is stopped as well."""
    job = site.at()
    job.mkdir(parents=True)
    for name in ("queued", "out", "err", "about"):
        (job / name).touch()
    (job / "keeper").write_text(site.adapt(load_script(LIFE) + load_script("remote/job/keeper.sh")))
    stopping = threading.Thread(target=lambda: said.append(site.call("stop", ID, "10", "client").stdout))
    said: list[bytes] = []
    stopping.start()
    wait_until((job / "stopping").exists, "the mark")
    site.run_keeper("echo", "ran")
    stopping.join()
    assert said == [b"\ngone\n"]
    assert (site.look().state, site.look().status) == ("stopped", 143)
    assert (job / "out").read_bytes() == b""
    next(job.glob("ended.*")).rename(job / "queued")
    (job / "queued").write_bytes(b"")
    (job / "stopping").unlink()
    assert site.call("stop", ID, "0", "client").stdout == b"\ngone\n"
    assert site.look().state == "stopped"


def test_a_number_that_another_process_has_got_meanwhile(site: Site) -> None:
    """What was seen as the job's counts by its start: who has the number later gets no KILL, and is not waited for."""
    site.start("sh", "-c", "echo pid $$; exec sleep 1000")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    command = site.pids()[0]
    text = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE, start_new_session=True) as other:
        assert other.stdout
        assert other.stdout.readline() == b"up\n"
        # As if its number had been that of a child of the command's, as long as that lived.
        shown = f"$1 == {other.pid} {{ $2 = {command}; $NF = 1999 }} {{ print }}"
        site.put_program("ps", f'if kill -0 {command}; then /bin/ps "$@" | awk \'{shown}\'; else /bin/ps "$@"; fi')
        try:
            assert site.call("stop", ID, "1", "client").stdout == b"\ngone\n"
            assert other.poll() is None
        finally:
            end_tree(other.pid)
    assert site.look().state == "stopped"


def test_an_end_of_its_own_is_not_taken_for_a_stop(site: Site) -> None:
    """A job that has ended leaves no mark of one who would stop it."""
    site.start("true")
    site.await_state("done")
    assert site.call("stop", ID, "10", "client").stdout == b"\nended\n"
    assert not (site.at() / "stopping").exists()


def test_two_jobs_with_one_id(site: Site) -> None:
    """The second is refused with that, and the first is left alone."""
    site.start("sh", "-c", "echo first; echo pid $$; exec sleep 1000")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    before = sorted(path.name for path in site.at().iterdir())
    done = site.ask_start("echo", "second")
    assert (done.returncode, done.stdout) == (125, b"")
    assert f"there is a job {ID} already".encode() in done.stderr
    assert sorted(path.name for path in site.at().iterdir()) == before
    assert [path.name for path in site.at().parent.iterdir()] == [ID]
    assert site.look().state == "running"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_nobody_else_can_change_what_a_job_runs(site: Site, umask: int) -> None:
    """Whatever the umask there, the directories of jobs are their user's alone; the command has the umask of a run."""
    before = os.umask(umask)
    try:
        site.start("sh", "-c", "umask")
    finally:
        os.umask(before)
    site.await_state("done")
    for path in (site.at(), site.at().parent, site.at().parent.parent):
        assert path.stat().st_mode & 0o077 == 0, path
    assert int((site.at() / "out").read_text(), 8) == umask


@pytest.mark.parametrize("tool", ["busybox", "util-linux of old"])
def test_no_signal_is_ignored_without_setsid_f_and_perl(site: Site, tool: str) -> None:
    """A setsid without -f starts the job in a session of its own, and INT and QUIT are its own."""
    real = "busybox setsid" if tool == "busybox" else "/usr/bin/setsid"
    site.put_program("setsid", f'[ "$1" != -f ] || exit 1\nexec {real} "$@"')
    site.put_program("perl", "exit 127")
    site.start("python3", "-c", IGNORED)
    assert site.await_state("done", "failed").status == 0
    printed = (site.at() / "out").read_text().split()
    assert printed == ["[13]", "True"]


def test_a_job_that_comes_to_nothing_is_refused(site: Site) -> None:
    """Where its first process is gone before it has signed (a limit, no memory), there is no id and nothing is left."""
    site.put_program("setsid", "exit 0")
    done = site.ask_start("true")
    if site.has_proc:
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"its first process ended at once" in done.stderr
        assert list(site.at().parent.iterdir()) == []
    else:
        # Nothing tells of environments there: it may only be slow.
        assert (done.returncode, site.look().reason) == (0, "being started")


IGNORED = """import os, signal
print([n for n in (1, 2, 3, 13, 15) if signal.getsignal(n) is signal.SIG_IGN], os.getsid(0) == os.getppid())"""


@pytest.mark.parametrize("knows_collect", [True, False])
def test_a_user_who_lingers_has_a_job_in_a_scope(site: Site, knows_collect: bool) -> None:
    """systemd's manager of the user keeps it; a systemd-run that is too old, or does not answer, changes nothing."""
    (site.home / "linger").mkdir()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    (site.home / "linger" / user).touch()
    site.adapts["/run/systemd/system"] = str(site.home)
    site.adapts["/var/lib/systemd/linger"] = str(site.home / "linger")
    refuses = "" if knows_collect else 'case " $* " in *" --collect "*) echo unknown >&2; exit 1 ;; esac\n'
    log = f'echo "$@" >>{site.home}/scopes\nwhile [ "${{1#-}}" != "$1" ]; do shift; done\nexec "$@"'
    site.put_program("systemd-run", refuses + log)
    site.start("sh", "-c", "exit 3")
    assert site.await_state("done", "failed", "lost").status == 3
    scopes = (site.home / "scopes").read_text() if knows_collect else ""
    assert (f"--unit=mtr-job-{ID} -- " in scopes) == knows_collect


def test_a_jobs_own_time_is_kept(site: Site) -> None:
    """Timeout, 124; and one that ends before leaves no watch."""
    site.start("sh", "-c", "echo pid $$; sleep 1000 & echo pid $!; wait", options="timeout=1")
    found = site.await_state("timeout", "failed", "done", "lost")
    assert (found.state, found.status) == ("timeout", 124)
    wait_until(lambda: not [pid for pid in site.pids() if is_alive(pid)], "the end of it")


def test_what_ignores_term_is_ended_by_the_jobs_own_time(site: Site) -> None:
    """Also after the command itself has gone, and with it the keeper."""
    site.start("sh", "-c", "sh -c 'trap \"\" TERM; echo pid $$; sleep 1000; sleep 1000' & wait", options="timeout=1")
    site.await_state("timeout")
    wait_until(lambda: not [pid for pid in site.pids() if is_alive(pid)], "the end of it", 30)


def test_int_and_quit_are_as_for_anyone(site: Site) -> None:
    """A training that is interrupted may save what it has."""
    site.start("sh", "-c", "trap 'echo saved; exit 5' INT; echo pid $$; while :; do sleep 0.1; done")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    os.kill(site.pids()[0], signal.SIGINT)
    assert site.await_state("failed", "lost").status == 5


def test_a_killed_keeper_is_seen(site: Site) -> None:
    """Lost; another boot, and another start of the same number, too."""
    site.start("sh", "-c", "echo pid $$; exec sleep 1000")
    wait_until(lambda: b"pid" in (site.at() / "out").read_bytes(), "the job")
    assert site.look().state == "running"
    running = site.at() / "running"
    before = running.read_text()
    pid, start, boot, rest = before.split(" ", 3)
    running.write_text(f"{pid} {start} {boot}x {rest}")
    assert (site.look().state, site.look().reason) == ("lost", "the server was restarted")
    running.write_text(f"{pid} {start}1 {boot} {rest}")
    assert (site.look().state, site.look().reason) == ("lost", "its first process was killed")
    running.write_text(before)
    os.kill(int(pid), signal.SIGKILL)
    assert site.await_state("lost").status is None
    os.kill(site.pids()[0], signal.SIGKILL)
