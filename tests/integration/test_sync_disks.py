"""Disks that are full or read-only, there and here: nothing is lost, the error is clear, and the next run is right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.lab.disk import small_disk
from tests.lab.kills import list_left
from tests.lab.processes import wait_until
from tests.lab.trees import TRANSPORTS, edit_for, read_tree, settle_clock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def list_own(remote: Path) -> list[str]:
    """Return what stands in mtr's directory there, less what always does."""
    names = [path.name for path in (remote / ".mtr").iterdir()]
    return sorted(name for name in names if not name.startswith(("t.", "put.", "trash", ".gitignore")))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_disk_there_that_fills_up_during_a_push(home: Home, transport: str) -> None:
    """The tree is the old one, nothing of the push takes space any more, and it arrives once there is some."""
    with small_disk(home.dir / "small", "40m") as disk:
        remote = disk.path / "proj"
        more = {"sync": "sftp"} if transport == "sftp" else {}
        project = home.make_project(f"full-{transport}", remote_dir=str(remote), **more)
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        before = read_tree(remote)
        (project / "a.txt").write_text("mine\n")
        edit_for(transport, project / "bulk.bin")
        for leave_bytes in (0, 4096, 8 * 4096, 60_000):
            filler = disk.fill(leave_bytes)
            done = home.run_mtr(["touch", "ran"], project)
            if done.returncode == 0:
                assert transport == "payload"
                break
            assert done.returncode == 125
            assert b"o space left" in done.stderr or b"over SFTP" in done.stderr
            wait_until(lambda: not list_left(home), "the server's side to end")
            assert read_tree(remote) == before
            assert not list_own(remote)
            filler.unlink()
        (disk.path / ".filler").unlink(missing_ok=True)
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout) == (0, b"mine\n"), done.stderr
        assert {**read_tree(remote), "ran": b""} == {**read_tree(project), "ran": b""}


@pytest.mark.parametrize("free", range(8))
def test_a_disk_there_without_room_for_the_trash(home: Home, free: int) -> None:
    """Wherever a push runs out of files, each of theirs is in its place or in the trash, and the next run is right."""
    with small_disk(home.dir / "small", "4m", inodes=200) as disk:
        remote = disk.path / "proj"
        project = home.make_project("trashless", remote_dir=str(remote))
        for number in range(4):
            (project / f"d{number}").mkdir()
            (project / f"d{number}" / "f").write_text("old\n")
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        for number in range(4):
            (remote / f"d{number}" / "f").write_text(f"theirs {number}\n")
            (project / f"d{number}" / "f").write_text(f"mine {number}\n")
        (project / "a.txt").unlink()
        used = os.statvfs(disk.path)
        # The push itself takes a few; from there on, one more each time.
        disk.resize(inodes=used.f_files - used.f_ffree + 12 + 2 * free)
        done = home.run_mtr(["sh", "-c", "cat d?/f; ls"], project)
        wanted = b"mine 0\nmine 1\nmine 2\nmine 3\nd0\nd1\nd2\nd3\nsrc\n"
        assert (done.returncode, done.stdout) in [(0, wanted), (125, b"")]
        kept = {path.read_text() for path in remote.rglob("f") if path.is_file() and ".mtr/in." not in str(path)}
        assert {f"theirs {number}\n" for number in range(4)} <= kept
        disk.resize(inodes=400)
        assert home.run_mtr(["sh", "-c", "cat d?/f; ls"], project).stdout == wanted
        kept = {path.read_text() for path in remote.rglob("f") if path.is_file()}
        assert {f"theirs {number}\n" for number in range(4)} <= kept
        assert [path.read_text() for path in remote.glob(".mtr/trash/*/a.txt")] == ["one\n"]
        assert not list_own(remote)


def test_a_directory_there_that_became_read_only(home: Home) -> None:
    """Said for a push of each size; an unchanged tree still runs; afterwards all is brought."""
    with small_disk(home.dir / "small", "40m") as disk:
        project = home.make_project("ro", remote_dir=str(disk.path / "proj"))
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        assert home.run_mtr(["true"], project).returncode == 0
        with disk.read_only():
            assert home.run_mtr(["cat", "a.txt"], project).stdout == b"one\n"
            for transport in ("payload", "tar", "rsync"):
                edit_for(transport, project / "bulk.bin")
                done = home.run_mtr(["echo", "ran"], project)
                assert (done.returncode, done.stdout) == (125, b"")
                assert b"ead-only file system" in done.stderr
        assert home.run_mtr(["cksum < bulk.bin"], project).stdout == home.run_mtr(["cksum <bulk.bin"], project).stdout
        assert read_tree(disk.path / "proj") == read_tree(project)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_state_directory_that_takes_nothing(home: Home, fault: str) -> None:
    """An unchanged tree still runs; nothing is sent that could not be noted; the next run with space is right."""
    with small_disk(home.home / ".state", "1m", inodes=64) as disk:
        project = home.make_project(f"state-{fault}")
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        (project / "a.txt").touch()
        (project / "src" / "b.py").write_text("print('two')\n")
        settle_clock()  # else what was written within the clock's tick is uncertain, and brought once more
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        filler = disk.fill()
        if fault == "full":
            _check_faulty(home, project)
        else:
            with disk.read_only():
                _check_faulty(home, project)
        filler.unlink()
        done = home.run_mtr(["cat", "a.txt"], project)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")
        assert read_tree(home.remote(project)) == read_tree(project)


def _check_faulty(home: Home, project: Path) -> None:
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\n", b"")
    (project / "a.txt").write_text("mine\n")
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"cannot note here what is about to be synced" in done.stderr
    assert (home.remote(project) / "a.txt").read_text() == "one\n"
    assert home.run_mtr(["--no-sync", "cat", "a.txt"], project).stdout == b"one\n"


def test_a_state_directory_that_fills_up_while_the_command_runs(home: Home) -> None:
    """What was brought cannot be noted: said, the command's status stands, and the next run brings it again."""
    with small_disk(home.home / ".state", "1m") as disk:
        project = home.make_project("late")
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        (project / "a.txt").write_text("mine\n")
        go = home.remote(project).parent / "go"
        run = home.popen_mtr(["sh", "-c", f"cat a.txt; until [ -f {go} ]; do sleep 0.01; done; exit 7"], project)
        assert run.stdout
        assert run.stdout.readline() == b"mine\n"
        filler = disk.fill()
        go.touch()
        _, err = run.communicate(timeout=30)
        assert run.returncode == 7
        filler.unlink()
        assert b"Traceback" not in err
        assert home.run_mtr(["cat", "a.txt"], project).stdout == b"mine\n"
        assert home.run_mtr(["sync", "--dry-run"], project).stdout == b""
