"""The scripts of jobs, as a server runs them, under every shell that may stand behind /bin/sh; and without /proc."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from mtr.jobs.model import Job, parse_listing
from mtr.scripts import load_script
from tests.lab.processes import is_alive, wait_until
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    import subprocess
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
        self._has_proc = has_proc

    def adapt(self, text: str) -> str:
        """Return the script as it is on this server."""
        text = text.replace("/bin/sh", " ".join(self._shell))
        return text if self._has_proc else text.replace("/proc/", "/nowhere/")

    def call(self, name: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run ``shell/remote/job/NAME.sh`` with ``words``."""
        front = "" if name == "start" else load_script(LIFE)
        text = self.adapt(front + load_script(f"remote/job/{name}.sh"))
        return run_shell([*self._shell, "-c", text, f"mtr-{name}", *words], self.home, stdin=stdin)

    def start(self, *argv: str, job: str = ID, options: str = "") -> None:
        """Start a job."""
        keeper = self.adapt(load_script(LIFE) + load_script("remote/job/keeper.sh"))
        stop = self.adapt(load_script(LIFE) + load_script("remote/job/stop.sh"))
        about = '{"name": "n", "command": "c"}'
        done = self.call("start", job, about, keeper, stop, "", "", options, *argv, stdin=b"origin")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{job}\n".encode(), b"")
        assert (self.at(job) / "origin").read_bytes() == b"origin"

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
