"""The lock of a tree: taken over by one, whoever died with it; undo beside syncs; what is kept, and how long."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from tests.lab.kills import kill_role, list_left
from tests.lab.processes import wait_until
from tests.lab.trees import edit_for, settle_clock
from tests.unit.shells import POSIX_SHELLS

if TYPE_CHECKING:
    from tests.lab.home import Home

DEAD_PID = 2**22 + 1
"""More than any process has (proc(5), pid_max)."""


def read_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def list_names(remote: Path, *patterns: str) -> list[str]:
    """Return what in mtr's directory there has such names."""
    return sorted(path.name for pattern in patterns for path in (remote / ".mtr").glob(pattern))


def take_lock_as_the_dead(remote: Path, run_id: str = "dead") -> None:
    """Make the lock one of a process that has gone."""
    (token,) = (remote / ".mtr").glob("t.*")
    token.rename(remote / ".mtr" / f"busy.{run_id}")
    (remote / ".mtr" / f"busy.{run_id}").write_text(f"{DEAD_PID} {read_boot()}\nsomebody x\n")


class Crowd:
    """Many who look at a tree at once, and hold its lock for a moment, one after another."""

    def __init__(self, root: Path, shell: list[str], count: int) -> None:
        self.root, self.shell = root, shell
        self.inside = 0
        self.most = 0
        # The owner of every lock that they take, as list.sh finds it.
        names = [f"mtr-held{number}" for number in range(count)]
        self.owner = subprocess.Popen(["sh", "-c", "read line", *names], stdin=subprocess.PIPE)

    def close(self) -> None:
        self.owner.communicate(b"\n")

    def take_turn(self, number: int) -> None:
        """Ask for the token, claim it, hold it for a moment, give it back under another name."""
        own, busy = self.root / ".mtr", self.root / ".mtr" / f"busy.held{number}"
        script = load_script("remote/list.sh")
        argv = [*self.shell, "-c", script, "mtr-script", str(self.root), f"run{number}", "", "", "none"]
        while True:
            done = subprocess.run(argv, capture_output=True, check=False, timeout=120)
            assert done.returncode == 0, done.stderr
            token = done.stdout.partition(b"mtr-token ")[2].split()[0].decode()
            (own / f"sign{number}").write_text(f"{self.owner.pid} {read_boot()}\nsomebody x\n")
            try:
                os.rename(own / f"t.{token}", busy)
            except FileNotFoundError:
                continue
            os.replace(own / f"sign{number}", busy)
            self.inside += 1
            self.most = max(self.most, self.inside, len(list(own.glob("busy.*"))) + len(list(own.glob("t.*"))))
            time.sleep(0.02)  # the time in which the lock is held, for others to meet in
            self.most = max(self.most, self.inside, len(list(own.glob("busy.*"))) + len(list(own.glob("t.*"))))
            self.inside -= 1
            os.rename(busy, own / f"t.held{number}")
            return


@pytest.mark.parametrize("shell", sorted(POSIX_SHELLS))
@pytest.mark.parametrize("start", ["dead", "new"])
def test_a_tree_has_one_token_however_many_look_at_once(tmp_path: Path, shell: str, start: str) -> None:
    """Twelve find a lock whose owner has died, or a tree without a token: they hold the lock one after another."""
    (tmp_path / ".mtr").mkdir()
    crowd = Crowd(tmp_path, POSIX_SHELLS[shell], 12)
    try:
        for _ in range(3):
            for path in (tmp_path / ".mtr").glob("t.*"):
                path.unlink()
            if start == "dead":
                (tmp_path / ".mtr" / "busy.dead").write_text(f"{DEAD_PID} {read_boot()}\n")
            with ThreadPoolExecutor(12) as pool:
                list(pool.map(crowd.take_turn, range(12)))
    finally:
        crowd.close()
    assert crowd.most == 1


def test_undo_takes_a_dead_lock_over(home: Home, project: Path) -> None:
    """Whoever was killed with the lock, undo or sync: the next undo works, and so does the sync after it."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    (project / "a.txt").unlink()
    assert home.run_mtr(["true"], project).returncode == 0
    remote = home.remote(project)
    take_lock_as_the_dead(remote)
    done = home.run_mtr(["undo"], project)
    assert (done.returncode, done.stdout) == (0, b"a.txt\n"), done.stderr
    assert not list_names(remote, "busy.*")
    assert home.run_mtr(["true"], project).returncode == 0
    assert len(list_names(remote, "t.*")) == 1


def test_undo_killed_at_any_step_loses_nothing(home: Home) -> None:
    """Each file that the trash had, and each that stood in its place, is in the tree or the trash, ten times over."""
    project, choice = home.make_project("undo-kills"), random.Random(5)
    count = 60
    for number in range(count):
        (project / f"f{number}").write_text(f"old {number}\n")
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    for number in range(count):
        (remote / f"f{number}").write_text(f"theirs {number}\n")
        (project / f"f{number}").write_text(f"mine {number}\n")
    assert home.run_mtr(["true"], project).returncode == 0
    wanted = sorted([f"theirs {number}\n" for number in range(count)] + [f"mine {number}\n" for number in range(count)])
    for _ in range(10):
        run = home.popen_mtr(["undo"], project)
        kill_role("shell", home, run, choice, after_s=0, then_s=choice.uniform(0, 0.1))
        run.communicate(timeout=60)
        wait_until(lambda: not list_left(home), "the server's side to end")
        found = sorted(path.read_text() for path in remote.rglob("f[0-9]*") if path.is_file())
        assert found == wanted
    assert home.run_mtr(["true"], project).returncode == 0
    assert not list_names(remote, "busy.*", "in.*", "first")


def test_undo_and_syncs_at_once_lose_nothing(home: Home, project: Path) -> None:
    """Three syncs of edits and three undos race; each thing that was written there is somewhere still."""
    assert home.run_mtr(["true"], project).returncode == 0
    remote, written = home.remote(project), set()
    for number in range(4):
        settle_clock()
        written.discard((remote / "a.txt").read_text())  # brought back by an undo, and overwritten here
        (remote / "a.txt").write_text(f"theirs {number}\n")
        written.add(f"theirs {number}\n")
        (project / "a.txt").write_text(f"mine {number}\n")
        (project / "src" / "b.py").write_text(f"{number}\n")
        settle_clock()
        runs = [home.popen_mtr(words, project) for words in (["true"], ["undo"], ["true"], ["undo"], ["sync"])]
        for run in runs:
            _, err = run.communicate(timeout=60)
            assert run.returncode == 0, err
        found = {path.read_text() for path in remote.rglob("a.txt")}
        assert written <= found
    assert len(list_names(remote, "t.*")) == 1
    assert not list_names(remote, "busy.*", "in.*", "first")


def test_the_trash_is_kept_for_14_days_and_the_last_push_in_any_case(home: Home, project: Path) -> None:
    """Older ones go once there is something new, and the oldest beyond a gigabyte; never what was just taken."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    trash = remote / ".mtr" / "trash"
    now_s = time.time()
    for number, days in ((1000001, 15.1), (1000002, 13.5), (1000003, 1)):
        place = trash / f"{number}-20260101T000000Z-x"
        place.mkdir(parents=True)
        (place / "f").write_text("x")
        os.utime(place, (now_s - days * 86400,) * 2)
    (project / "a.txt").unlink()
    assert home.run_mtr(["true"], project).returncode == 0
    kept = sorted(path.name[:7] for path in trash.iterdir())
    assert kept == ["1000002", "1000003", "1000004"]
    with (trash / "1000002-20260101T000000Z-x" / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1100 << 20)
    (project / "src" / "b.py").unlink()
    assert home.run_mtr(["true"], project).returncode == 0
    assert sorted(path.name[:7] for path in trash.iterdir()) == ["1000003", "1000004", "1000005"]


def test_the_record_does_not_grow_with_every_push(home: Home, project: Path) -> None:
    """Lines that say nothing any more go once there are many of them; what stands there still counts as put there."""
    assert home.run_mtr(["true"], project).returncode == 0
    remote = home.remote(project)
    (record,) = (remote / ".mtr").glob("put.*")
    with record.open("a") as file:
        file.writelines(f"{number}:4:2026-01-01 00:00:00.000000000 +0000|./a.txt\n" for number in range(3000))
    settle_clock()
    (project / "a.txt").write_text("second\n")
    assert home.run_mtr(["true"], project).returncode == 0
    assert sorted(line.partition("|")[2] for line in record.read_text().splitlines()) == ["./a.txt", "./src/b.py"]
    settle_clock()
    (project / "a.txt").write_text("third\n")
    (project / "src" / "b.py").write_text("third\n")
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.stdout, done.stderr) == (b"third\n", b"")
    assert not list_names(remote, "trash/*")


def test_a_push_into_many_directories_reads_the_record_once(home: Home) -> None:
    """Four hundred directories and a record of 100,000 lines: each directory is compared with its own lines alone."""
    project = home.make_project("wide")
    for number in range(400):
        (project / f"d{number}").mkdir()
        (project / f"d{number}" / "f").write_text("one\n")
    assert home.run_mtr(["sync"], project).returncode == 0
    remote = home.remote(project)
    (record,) = (remote / ".mtr").glob("put.*")
    with record.open("a") as file:
        file.writelines(
            f"{number}:4:2026-01-01 00:00:00.000000000 +0000|./gone/{number}\n" for number in range(100_000)
        )
    settle_clock()
    (remote / "d7" / "f").write_text("theirs\n")
    for number in range(400):
        (project / f"d{number}" / "f").write_text("two\n")
    done = home.run_mtr(["sync"], project)
    assert done.returncode == 0
    assert b"1 file there was not as this machine had left it" in done.stderr
    assert {path.read_text() for path in remote.glob("d*/f")} == {"two\n"}
    assert len(record.read_text().splitlines()) == 402


def test_a_refused_push_leaves_nothing_behind(home: Home, project: Path) -> None:
    """A run that waits for a tar push which is refused ends at once, and no reason or marker of it stays."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote, login = home.remote(project), home.server.home_of("bash")
    for number in range(3):
        edit_for("tar", project / "bulk.bin")
        # Somebody else has synced meanwhile.
        (token,) = (remote / ".mtr").glob("t.*")
        token.rename(token.with_name(f"t.other{number}"))
        assert home.run_mtr(["cksum <bulk.bin"], project).returncode == 0
        settle_clock()
    wait_until(lambda: not list_left(home), "the server's side to end")
    assert {path.name for path in login.glob(".mtr-*")} <= home.marks_before
    assert not list_names(remote, "no.*", "in.*", "busy.*")


def test_what_killed_runs_left_goes_with_the_next_push(home: Home, project: Path) -> None:
    """Files of runs that are nobody's: gone after a small push, which lists nothing; a marker at the next listing."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    (remote / ".mtr" / "in.0123456789abcdef" / "sub").mkdir(parents=True)
    (remote / ".mtr" / "partial" / "new").mkdir(parents=True)
    (remote / ".mtr" / "no.0123456789abcdef").touch()
    (project / "a.txt").write_text("again\n")
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"again\n"
    assert not list_names(remote, "in.*", "partial")
    assert home.run_mtr(["sync", "--full"], project).returncode == 0
    assert not list_names(remote, "no.*")


def test_a_listing_spares_the_marker_of_a_gate_that_waits(home: Home, project: Path) -> None:
    """The gate names its push on its command line: as long as it lives, its marker is in use."""
    assert home.run_mtr(["true"], project).returncode == 0
    remote = home.remote(project)
    (remote / ".mtr" / "no.0123456789abcdef").touch()
    gate = subprocess.Popen(["sh", "-c", "read line", "mtr-x", "+0123456789abcdef"], stdin=subprocess.PIPE)
    try:
        assert home.run_mtr(["sync", "--full"], project).returncode == 0
        assert list_names(remote, "no.*")
    finally:
        gate.communicate(b"\n")
    shutil.rmtree(remote)
