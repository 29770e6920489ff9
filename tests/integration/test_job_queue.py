"""Jobs that wait: for the ends of others, and for GPUs that nobody computes on; and what is cleared away.

A program called nvidia-smi in the user's PATH tells of GPUs; everything else is as it is on a server.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import find_shipped
from tests.lab.processes import is_alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.home import Home

SMI = """#!/bin/sh
cd {dir} || exit 1
[ ! -e hang ] || exec sleep 600
[ ! -e broken ] || {{ echo 'NVIDIA-SMI has failed because it could not communicate with the driver'; exit 9; }}
case $* in
  *query-compute-apps=gpu_uuid*) cat apps ;;
  *query-gpu=index,uuid,memory.used*) cat cards ;;
  *) echo 'unknown question' >&2; exit 2 ;;
esac
"""


class Cards:
    """GPUs of the lab's server: what nvidia-smi says, where claims are made, and what jobs have noted of theirs."""

    def __init__(self, home: Home, folder: Path, count: int = 3) -> None:
        self.home = home
        self.dir = folder
        folder.mkdir()
        self.smi = folder / "nvidia-smi"
        self.smi.write_text(SMI.format(dir=folder))
        self.smi.chmod(0o755)
        self.claims = folder / "claims"
        self.tell(dict.fromkeys(range(count), 3))
        self.let_compute()

    def tell(self, used_mib: dict[int, object]) -> None:
        """Let each GPU have so much memory in use."""
        self._write("cards", "".join(f"{number}, GPU-{number}-x, {mib}\n" for number, mib in used_mib.items()))

    def let_compute(self, *numbers: int) -> None:
        """Let somebody's processes compute on these."""
        self._write("apps", "".join(f"GPU-{number}-x\n" for number in numbers))

    def _write(self, name: str, text: str) -> None:
        (self.dir / f"{name}.new").write_text(text)
        (self.dir / f"{name}.new").rename(self.dir / name)

    @property
    def options(self) -> list[str]:
        """What a job needs to see these."""
        return ["-e", f"PATH={self.dir}:/usr/bin:/bin", "-e", f"MTR_GPU_CLAIMS={self.claims}"]

    def start(self, project: Path, *words: str) -> str:
        """Start a job that sees these, and return its id."""
        done = self.home.run_mtr([*self.options, "-d", *words], project)
        assert done.returncode == 0, done.stderr.decode()
        job_id = done.stdout.decode().strip()
        assert re.fullmatch("[0-9a-f]{8}", job_id)
        return job_id

    def list_claimed(self) -> list[str]:
        """Return the GPUs that are claimed now."""
        return sorted(path.name.split(".")[1] for path in self.claims.glob("g.*"))

    def list_waiting(self) -> int:
        """Return how many stand in line."""
        return len(list(self.claims.glob("w.*")))


@pytest.fixture
def cards(home: Home) -> Cards:
    """Three GPUs on the lab's server."""
    return Cards(home, home.dir / "gpus")


@pytest.fixture(autouse=True)
def _no_job_left(home: Home, project: Path) -> Iterator[None]:
    """After each test, all of its jobs are ended and removed."""
    yield
    jobs = list_jobs(home, project)
    if jobs:
        home.run_mtr(["job", "stop", *jobs], project)
        assert home.run_mtr(["job", "rm", *jobs], project).returncode == 0


def list_jobs(home: Home, project: Path) -> dict[str, dict[str, object]]:
    """Return the jobs by their ids."""
    found = home.run_mtr(["job", "list", "--json"], project)
    assert found.returncode == 0, found.stderr
    return {job["id"]: job for job in json.loads(found.stdout)["data"]}


def state_of(home: Home, project: Path, job_id: str) -> str:
    return str(list_jobs(home, project)[job_id]["state"])


def place(home: Home, job_id: str) -> Path:
    """Return where the server keeps the job."""
    return home.server.home_of("bash") / ".mtr" / "jobs" / job_id


def is_in_state(home: Home, job_id: str, state: str) -> bool:
    """Tell how the job stands by what is on the server's disk, without asking mtr."""
    return any(path.name.split(".")[0] == state for path in place(home, job_id).iterdir())


def read_keeper(home: Home, job_id: str) -> int:
    """Return the pid of the job's first process."""
    folder = place(home, job_id)
    return int(next(path for name in ("queued", "running") if (path := folder / name).exists()).read_text().split()[0])


def start(home: Home, project: Path, *words: str) -> str:
    """Start a job without GPUs; return its id."""
    done = home.run_mtr(["-d", *words], project)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_a_job_begins_when_others_have_ended(home: Home, project: Path) -> None:
    """--after takes ids, their beginnings and names, several of them, however those end; it says so in the list."""
    first = start(home, project, "--name", "first", "sleep", "600")
    second = start(home, project, "sleep", "600")
    last = start(home, project, "--after", "first", "--after", second[:6], "date")
    assert list_jobs(home, project)[last]["reason"] == f"waits for job {first}, job {second}"
    shown = home.run_mtr(["job", "show", last], project).stdout.decode()
    assert f"job {first}, job {second}" in shown
    assert home.run_mtr(["job", "stop", first], project).returncode == 0
    assert is_in_state(home, last, "queued")
    os.kill(read_keeper(home, second), signal.SIGKILL)
    wait_until(lambda: is_in_state(home, last, "ended"), "the job that waited")
    assert state_of(home, project, second) == "lost"
    assert state_of(home, project, last) == "done"


def test_a_job_waits_for_one_that_was_started_just_before(home: Home, project: Path) -> None:
    """Whose first process has not signed yet; and one that has been removed meanwhile has ended."""
    first = start(home, project, "sleep", "600")
    folder = place(home, first)
    unsigned = folder.parent / "abcdef01"
    unsigned.mkdir()
    (unsigned / "queued").touch()
    (unsigned / "out").touch()
    last = start(home, project, "--after", "abcdef01", "date")
    (unsigned / "queued").write_text((folder / "running").read_text())
    assert is_in_state(home, last, "queued")
    shutil.rmtree(unsigned)
    wait_until(lambda: is_in_state(home, last, "ended"), "the job that waited")
    # One that was killed before it could sign never will.
    unsigned.mkdir()
    (unsigned / "queued").touch()
    (unsigned / "out").touch()
    other = start(home, project, "--after", "abcdef01", "date")
    wait_until(lambda: is_in_state(home, other, "ended"), "the job that waited", 30)
    shutil.rmtree(unsigned)


def test_an_unknown_job_is_refused_before_anything(home: Home, project: Path) -> None:
    """Nothing is synced, nothing started."""
    (project / "a.txt").write_text("edited\n")
    done = home.run_mtr(["-d", "--after", "nothing", "date"], project)
    assert done.returncode == 125
    assert done.stdout == b""
    assert b"there is no job nothing" in done.stderr
    assert not (home.remote(project) / "a.txt").exists()
    assert list_jobs(home, project) == {}


def test_a_job_gets_gpus_of_its_own(home: Home, project: Path, cards: Cards) -> None:
    """Pinned by their indexes, kept in `gpus`, with the order of the indexes fixed too; nothing is left behind."""
    text = "echo $CUDA_DEVICE_ORDER $CUDA_VISIBLE_DEVICES"
    job = cards.start(project, "--gpus", "2", text)
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    assert home.run_mtr(["job", "logs", job], project).stdout == b"PCI_BUS_ID 0,1\n"
    assert (place(home, job) / "gpus").read_text() == "0,1\n"
    shown = json.loads(home.run_mtr(["job", "show", "--json", job], project).stdout)["data"]
    assert shown["gpus"] == "0,1"
    assert not cards.claims.exists()


def test_gpus_in_use_are_left_alone(home: Home, project: Path, cards: Cards) -> None:
    """Whoever computes there without a claim, or has memory in use; one that does not tell counts by processes."""
    cards.tell({0: 20_000, 1: 3, 2: "[N/A]"})
    cards.let_compute(1)
    job = cards.start(project, "--gpus", "1", "echo $CUDA_VISIBLE_DEVICES")
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    assert home.run_mtr(["job", "logs", job], project).stdout == b"2\n"
    cards.let_compute(1, 2)
    job = cards.start(project, "--gpus", "1", "echo $CUDA_VISIBLE_DEVICES")
    wait_until(lambda: cards.list_waiting() == 1, "a place in the line")
    assert state_of(home, project, job) == "queued"
    cards.let_compute(2)
    wait_until(lambda: is_in_state(home, job, "ended"), "a GPU")
    assert home.run_mtr(["job", "logs", job], project).stdout == b"1\n"


def test_more_gpus_than_there_are(home: Home, project: Path, cards: Cards) -> None:
    """Refused with what is there; as where nvidia-smi is missing or fails. Nothing is left."""
    jobs = place(home, "x").parent
    before = {*jobs.iterdir()} if jobs.exists() else set()
    done = home.run_mtr([*cards.options, "-d", "--gpus", "4", "date"], project)
    assert done.returncode == 125
    assert b"there are 3 GPUs here, and the job wants 4" in done.stderr
    assert b"2, GPU-2-x, 3 MiB in use" in done.stderr
    (cards.dir / "broken").touch()
    done = home.run_mtr([*cards.options, "-d", "--gpus", "1", "date"], project)
    assert b"could not communicate with the driver" in done.stderr
    cards.smi.unlink()
    done = home.run_mtr([*cards.options, "-d", "--gpus", "1", "date"], project)
    assert done.returncode == 125
    assert b"there is no nvidia-smi" in done.stderr
    assert list_jobs(home, project) == {}
    assert not cards.claims.exists()
    assert {*jobs.iterdir()} == before


def test_an_nvidia_smi_that_hangs(home: Home, project: Path, cards: Cards) -> None:
    """A job that waits asks again and can be stopped; one that is to start is refused after twenty seconds."""
    cards.let_compute(0, 1, 2)
    job = cards.start(project, "--gpus", "1", "date")
    wait_until(lambda: cards.list_waiting() == 1, "a place in the line")
    (cards.dir / "hang").touch()
    started_s = time.monotonic()
    done = home.run_mtr([*cards.options, "-d", "--gpus", "1", "date"], project)
    assert b"nvidia-smi does not answer" in done.stderr
    assert time.monotonic() - started_s < 50
    assert home.run_mtr(["job", "stop", job], project).returncode == 0
    assert state_of(home, project, job) == "stopped"
    assert not cards.claims.exists()


def test_an_nvidia_smi_that_fails_while_a_job_waits_is_told(home: Home, project: Path, cards: Cards) -> None:
    """Its words stand beside the job as long as that lasts; then the job runs."""
    cards.let_compute(0, 1, 2)
    job = cards.start(project, "--gpus", "1", "date")
    (cards.dir / "broken").touch()
    wait_until(lambda: "communicate with the driver" in list_jobs(home, project)[job]["reason"], "its words")
    assert list_jobs(home, project)[job]["reason"].startswith("waits for 1 GPU: NVIDIA-SMI has failed")
    (cards.dir / "broken").unlink()
    wait_until(lambda: list_jobs(home, project)[job]["reason"] == "waits for 1 GPU", "its answer")
    cards.let_compute()
    wait_until(lambda: is_in_state(home, job, "ended"), "a GPU")


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_place_for_claims_that_is_none(home: Home, project: Path, cards: Cards, kind: str) -> None:
    """A link or a file of somebody's: refused with what stands there, and nothing is written through it."""
    if kind == "link":
        (cards.dir / "trap").mkdir()
        cards.claims.symlink_to(cards.dir / "trap")
    else:
        cards.claims.write_text("theirs\n")
    done = home.run_mtr([*cards.options, "-d", "--gpus", "1", "date"], project)
    assert done.returncode == 125
    assert b"which must be a directory that everybody may write" in done.stderr
    assert list(cards.dir.glob("trap/*")) == []
    assert list_jobs(home, project) == {}


def test_names_that_nobody_of_ours_has_made(home: Home, project: Path, cards: Cards) -> None:
    """Files in the place for claims with hostile names count for nothing and break nothing."""
    cards.claims.mkdir()
    cards.claims.chmod(0o1777)
    names = ["g.0.x", "g.0.-1.2.3", "w.0.1", "w.999999999999999999999.1.1.1", "w.$(touch x).1.1.1", "g.1.1.1.1", "-rf"]
    for name in names:
        (cards.claims / name).touch()
    job = cards.start(project, "--gpus", "3", "echo $CUDA_VISIBLE_DEVICES")
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    assert home.run_mtr(["job", "logs", job], project).stdout == b"0,1,2\n"


def test_a_claim_of_another_user_counts_while_its_keeper_lives(home: Home, project: Path, cards: Cards) -> None:
    """Also one that this user cannot remove; and a place in the line of theirs goes first, for ten minutes."""
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    own = f"{os.getpid()}.{fields[19]}.{boot}"
    cards.claims.mkdir()
    cards.claims.chmod(0o1777)
    for number in (0, 2):
        (cards.claims / f"g.{number}.{own}").touch()
        os.chown(cards.claims / f"g.{number}.{own}", 12345, 12345)
    job = cards.start(project, "--gpus", "1", "echo $CUDA_VISIBLE_DEVICES")
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    assert home.run_mtr(["job", "logs", job], project).stdout == b"1\n"
    theirs = cards.claims / f"w.1.{own}"
    theirs.touch()
    os.chown(theirs, 12345, 12345)
    job = cards.start(project, "--gpus", "1", "date")
    wait_until(lambda: cards.list_waiting() == 2, "a place in the line")
    assert state_of(home, project, job) == "queued"
    os.utime(theirs, (time.time() - 700, time.time() - 700))
    wait_until(lambda: is_in_state(home, job, "ended"), "the job behind one that waits for long")


def test_a_queued_job_can_be_stopped(home: Home, project: Path, cards: Cards) -> None:
    """It never runs, and those behind it go on."""
    cards.let_compute(0, 1, 2)
    first = cards.start(project, "--gpus", "3", f"touch {home.dir}/ran")
    second = cards.start(project, "--gpus", "1", "echo $CUDA_VISIBLE_DEVICES")
    wait_until(lambda: cards.list_waiting() == 2, "both in line")
    cards.let_compute(1, 2)
    assert home.run_mtr(["job", "stop", first], project).returncode == 0
    wait_until(lambda: is_in_state(home, second, "ended"), "the one behind")
    assert state_of(home, project, first) == "stopped"
    assert not (home.dir / "ran").exists()
    assert not cards.claims.exists()


def test_a_time_out_counts_from_the_commands_begin(home: Home, project: Path, cards: Cards) -> None:
    """What a job has waited is not taken from its time."""
    cards.let_compute(0, 1, 2)
    job = cards.start(project, "--timeout", "2", "--gpus", "1", "echo begun; sleep 600")
    begun_s = time.monotonic()
    wait_until(lambda: time.monotonic() - begun_s > 3, "longer than its time")
    assert is_in_state(home, job, "queued")
    cards.let_compute()
    wait_until(lambda: is_in_state(home, job, "ended"), "its end")
    assert state_of(home, project, job) == "timeout"
    assert home.run_mtr(["job", "logs", job], project).stdout == b"begun\n"


def test_never_two_on_one_gpu(home: Home, project: Path, cards: Cards) -> None:
    """Twenty jobs on three GPUs, keepers killed in between: each runs once, one at a time on each, in their order."""
    notes = home.dir / "notes"
    notes.mkdir()
    # The directory is the lock that nobody of mtr's knows of: who finds it there shares a GPU.
    text = (
        f"cd {notes} || exit; g=$CUDA_VISIBLE_DEVICES; mkdir busy.$g || echo $MTR_JOB >clash.$MTR_JOB; "
        "echo $MTR_JOB $g >>order; sleep $((g + 1)); rmdir busy.$g"
    )
    cards.let_compute(0, 1, 2)
    jobs = [cards.start(project, "--gpus", "1", text) for _ in range(20)]
    wait_until(lambda: cards.list_waiting() == 20, "all in line")
    chosen = random.Random(7).sample(range(20), 4)
    for number in chosen[:2]:
        os.kill(read_keeper(home, jobs[number]), signal.SIGKILL)
    cards.let_compute()
    wait_until((notes / "order").exists, "the first")
    killed = {jobs[number] for number in chosen[:2]}
    for number in chosen[2:]:
        if is_in_state(home, jobs[number], "queued"):
            os.kill(read_keeper(home, jobs[number]), signal.SIGKILL)
            killed.add(jobs[number])
    left = [job for job in jobs if job not in killed]
    wait_until(lambda: all(is_in_state(home, job, "ended") for job in left), "all of them", 240)
    assert not list(notes.glob("clash.*"))
    order = [line.split()[0] for line in (notes / "order").read_text().splitlines()]
    assert sorted(order) == sorted(left), "each once"
    # Three run at the same time, and what they note first may change places; the line does not.
    begun = sorted(left, key=lambda job: int(next(place(home, job).glob("ended.*")).read_text().split()[-1]))
    for number, job in enumerate(left):
        assert abs(begun.index(job) - number) < 6, (begun, left)
    assert {line.split()[1] for line in (notes / "order").read_text().splitlines()} == {"0", "1", "2"}
    wait_until(lambda: not cards.claims.exists(), "nothing to be left")


def test_many_at_once_agree(home: Home, project: Path, cards: Cards) -> None:
    """Jobs that come at the same time, wanting one, two or three: nobody holds a part of what another waits for."""
    assert home.run_mtr(["true"], project).returncode == 0
    wanted = [1, 2, 3, 2, 1, 3]
    text = (
        'for g in $(echo $CUDA_VISIBLE_DEVICES | tr , " "); do mkdir $0/$g || echo $g >$0/clash; done; sleep 0.3; '
        'for g in $(echo $CUDA_VISIBLE_DEVICES | tr , " "); do rmdir $0/$g; done'
    )
    notes = home.dir / "notes"
    notes.mkdir()
    running = [
        home.popen_mtr([*cards.options, "-d", "--gpus", str(count), "sh", "-c", text, str(notes)], project)
        for count in wanted
    ]
    jobs = [process.communicate(timeout=60)[0].decode().strip() for process in running]
    assert all(jobs)
    wait_until(lambda: all(is_in_state(home, job, "ended") for job in jobs), "all of them", 120)
    assert not (notes / "clash").exists()
    given = [len((place(home, job) / "gpus").read_text().split(",")) for job in jobs]
    assert given == wanted


def test_what_a_dead_keeper_had_is_free(home: Home, project: Path, cards: Cards) -> None:
    """A keeper that was killed holds nothing, unless what it had started still computes there."""
    job = cards.start(project, "--gpus", "3", "echo $$; exec sleep 600")
    wait_until(lambda: is_in_state(home, job, "running"), "its begin")
    wait_until(lambda: (place(home, job) / "out").stat().st_size, "its pid")
    command = int((place(home, job) / "out").read_text())
    assert cards.list_claimed() == ["0", "1", "2"]
    other = cards.start(project, "--gpus", "1", "echo $CUDA_VISIBLE_DEVICES")
    cards.let_compute(0)
    os.kill(read_keeper(home, job), signal.SIGKILL)
    wait_until(lambda: is_in_state(home, other, "ended"), "the other")
    assert home.run_mtr(["job", "logs", other], project).stdout == b"1\n"
    assert home.run_mtr(["job", "stop", job], project).returncode == 0
    assert not is_alive(command)


def test_prune_takes_what_has_ended_long_ago(home: Home, project: Path) -> None:
    """And the oldest of what takes too much room; never what lives; and what was cut off in the making or removing."""
    jobs = [start(home, project, "true") for _ in range(4)]
    alive = start(home, project, "sleep", "600")
    assert home.run_mtr(["job", "wait", *jobs], project).returncode == 0
    old = place(home, jobs[0])
    for number, job in enumerate(jobs):
        ended = next(place(home, job).glob("ended.*"))
        ended.rename(ended.parent / f"ended.0.{int(time.time()) - (100 * (4 - number) if number else 20 * 86400)}.exit")
    for name in ("11111111", "22222222", ".gone.33333333"):
        (old.parent / name / "tree").mkdir(parents=True)
        (old.parent / name / "queued").touch()
    os.utime(old.parent / "11111111", (1e9, 1e9))
    dry = home.run_mtr(["job", "prune", "--dry-run"], project)
    assert jobs[0].encode() in dry.stdout
    assert b"1 job would be removed" in dry.stderr
    assert old.exists()
    done = home.run_mtr(["job", "prune"], project)
    assert done.returncode == 0
    assert b"1 job removed" in done.stderr
    assert {path.name for path in old.parent.iterdir()} == {*jobs[1:], alive, "22222222"}
    shutil.rmtree(old.parent / "22222222")
    (place(home, jobs[1]) / "out").write_bytes(os.urandom(3 << 20))
    (place(home, jobs[2]) / "out").write_bytes(os.urandom(2 << 20))
    found = json.loads(home.run_mtr(["job", "prune", "--keep-size", "4MB", "--json"], project).stdout)["data"]
    assert [item["id"] for item in found] == [jobs[1]]
    assert found[0]["bytes"] > 3 << 20
    home.run_mtr(["job", "prune", "--keep-size", "0"], project)
    assert set(list_jobs(home, project)) == {alive}


def test_rm_removes_all_that_have_ended(home: Home, project: Path) -> None:
    """One that runs stays and is named; one that has just been made and not signed is left as well."""
    jobs = [start(home, project, "true") for _ in range(2)]
    alive = start(home, project, "sleep", "600")
    assert home.run_mtr(["job", "wait", *jobs], project).returncode == 0
    young = place(home, "abcdef02")
    young.mkdir()
    (young / "queued").touch()
    (young / "out").touch()
    done = home.run_mtr(["job", "rm", jobs[0], alive, "abcdef02", jobs[1]], project)
    assert done.returncode == 1
    assert f"{alive} on".encode() in done.stderr
    assert b"abcdef02 on" in done.stderr
    assert set(list_jobs(home, project)) == {alive, "abcdef02"}
    os.utime(young / "queued", (1e9, 1e9))


def test_gpus_are_chosen_once(home: Home, project: Path) -> None:
    """Two ways to say which are refused before anything."""
    done = home.run_mtr(["-d", "--gpus", "1", "-e", "CUDA_VISIBLE_DEVICES=3", "date"], project)
    assert done.returncode == 2
    assert b"--gpus chooses the GPUs" in done.stderr


def test_a_claim_counts_where_processes_of_others_are_hidden(home: Home, project: Path, cards: Cards) -> None:
    """Without a look at the keeper of somebody else (hidepid), a claim of theirs counts while it is there."""
    cards.claims.mkdir()
    cards.claims.chmod(0o1777)
    theirs = cards.claims / "g.0.1.1.x"
    theirs.touch()
    os.chown(theirs, 12345, 12345)
    queue = Path(find_shipped("shell")) / "remote" / "job" / "queue.sh"
    script = queue.read_text().replace("/proc/1/stat", "/proc/hidden")
    words = (
        f"mtr_claims={cards.claims} mtr_self=1.1.y mtr_boot=z; find_start() {{ mtr_start=; }}\n{script}\nis_claimed 0"
    )
    assert subprocess.run(["sh", "-c", words], check=False).returncode == 0
    words = words.replace("/proc/hidden", "/proc/1/stat")
    assert subprocess.run(["sh", "-c", words], check=False).returncode == 1
