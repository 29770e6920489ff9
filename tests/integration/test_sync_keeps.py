"""What the server's side makes or changes while a sync runs is kept, and nothing is written outside of the tree."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.lab.kills import find_role, list_left
from tests.lab.processes import wait_until
from tests.lab.trees import BULK_BYTES, TRANSPORTS, edit_for, settle_clock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def read_trash(remote: Path, path: str) -> list[bytes]:
    """Return what the trash has of ``path``, the oldest first."""
    found = sorted((remote / ".mtr" / "trash").glob(f"*/{path}"))
    return [os.readlink(place).encode() if place.is_symlink() else place.read_bytes() for place in found]


@pytest.mark.parametrize("how", ["in place", "by rename"])
def test_what_changes_there_while_rsync_runs_is_kept(home: Home, how: str) -> None:
    """A file is written on the server while its replacement is on the way: yours wins, theirs is in the trash."""
    project = home.make_project(f"meanwhile-{how[:2]}")
    (project / "first.bin").write_bytes(os.urandom(BULK_BYTES))
    (project / "last.txt").write_text("old\n")
    assert home.run_mtr(["sync"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    (project / "first.bin").write_bytes(os.urandom(BULK_BYTES))
    (project / "last.txt").write_text("mine\n")
    run = home.popen_mtr(["cat", "last.txt"], project)
    wait_until(lambda: find_role("rsync there", home, run) or run.poll() is not None, "rsync to start")
    stopped = find_role("rsync there", home, run)
    assert stopped, "the run ended before anything could be changed"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    if how == "in place":
        (remote / "last.txt").write_text("theirs\n")
    else:
        (remote / "new").write_text("theirs\n")
        (remote / "new").rename(remote / "last.txt")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (0, b"mine\n"), err
    assert read_trash(remote, "last.txt") == [b"theirs\n"]
    assert b"went to the trash" in err


def test_a_cut_rsync_has_changed_nothing_and_the_next_goes_on(home: Home) -> None:
    """The server's rsync is killed: all files are the old ones; what had arrived is not sent again, and goes then."""
    project = home.make_project("cut")
    names = [f"{number}.bin" for number in range(4)]
    for name in names:
        (project / name).write_bytes(b"old")
    assert home.run_mtr(["sync"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    for name in names:
        (project / name).write_bytes(os.urandom(BULK_BYTES // 2))
    run = home.popen_mtr(["true"], project)
    wait_until(lambda: (remote / ".mtr/partial/new/1.bin").exists() or run.poll() is not None, "two files to arrive")
    for pid in find_role("rsync there", home, run):
        os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=60)
    assert run.returncode == 125
    assert [(remote / name).read_bytes() for name in names] == [b"old"] * 4
    wait_until(lambda: not list_left(home), "the server's side to end")
    done = home.run_mtr(["-v", "sync"], project)
    assert done.returncode == 0
    assert [(remote / name).read_bytes() for name in names] == [(project / name).read_bytes() for name in names]
    assert not (remote / ".mtr/partial").exists()
    assert not list((remote / ".mtr").glob("in.*"))


def test_what_a_cut_rsync_brought_goes_with_any_later_push(home: Home) -> None:
    """The large file is removed here before it ever arrived: nothing of it is left there."""
    project = home.make_project("cut-gone")
    assert home.run_mtr(["sync"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    (project / "big.bin").write_bytes(os.urandom(2 * BULK_BYTES))
    run = home.popen_mtr(["true"], project)
    wait_until(lambda: (remote / ".mtr/partial/new").exists() or run.poll() is not None, "rsync to start")
    run.kill()
    run.communicate()
    wait_until(lambda: not list_left(home), "the server's side to end")
    (project / "big.bin").unlink()
    settle_clock()
    assert home.run_mtr(["ls"], project).stdout == b"a.txt\nsrc\n"
    assert not (remote / ".mtr/partial").exists()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nothing_is_written_through_a_link_there(home: Home, transport: str) -> None:
    """A directory was moved elsewhere and linked: the link goes to the trash, and the whole directory is here again."""
    project = home.make_project(f"moved-{transport}", **({"sync": "sftp"} if transport == "sftp" else {}))
    (project / "data" / "deep").mkdir(parents=True)
    for name in ("x", "y", "deep/z", "deep/gone"):
        (project / "data" / name).write_text(f"{name}\n")
    assert home.run_mtr(["sync"], project).returncode == 0
    settle_clock()
    remote, outside = home.remote(project), home.remote(project).parent / f"outside-{transport}"
    (remote / "data").rename(outside)
    (remote / "data").symlink_to(outside)
    (project / "data" / "x").write_text("mine\n")
    (project / "data" / "deep" / "gone").unlink()
    edit_for(transport, project / "data" / "bulk.bin")
    done = home.run_mtr(["cat", "data/x", "data/y", "data/deep/z"], project)
    assert (done.returncode, done.stdout) == (0, b"mine\ny\ndeep/z\n"), done.stderr
    assert sorted(os.listdir(outside)) == ["deep", "x", "y"]
    assert (outside / "x").read_text() == "x\n"
    assert (outside / "deep" / "gone").exists()
    assert not (remote / "data").is_symlink()
    assert (remote / "data" / "bulk.bin").read_bytes() == (project / "data" / "bulk.bin").read_bytes()
    assert read_trash(remote, "data") == [os.fsencode(outside)]
    assert b"went to the trash" in done.stderr


def test_what_a_cut_rsync_brought_is_no_way_out_either(home: Home) -> None:
    """What came as a link the last time is a directory now: rsync writes into that, and not behind the link."""
    project = home.make_project("stale-link")
    assert home.run_mtr(["sync"], project).returncode == 0
    settle_clock()
    remote, outside = home.remote(project), home.remote(project).parent / "stale-outside"
    outside.mkdir()
    staged = remote / ".mtr" / "partial" / "new"
    (staged / "a.txt").mkdir(parents=True)
    (staged / "a.txt" / "in the way").touch()
    (staged / "data").symlink_to(outside)
    (project / "data").mkdir()
    (project / "data" / "bulk.bin").write_bytes(os.urandom(BULK_BYTES))
    (project / "a.txt").write_text("two\n")
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"two\n"
    assert os.listdir(outside) == []
    assert (remote / "data" / "bulk.bin").read_bytes() == (project / "data" / "bulk.bin").read_bytes()


def test_undo_writes_through_no_link_either(home: Home, project: Path) -> None:
    """What is brought back comes into a directory of the tree; the link in its place goes to the trash."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    (project / "src" / "b.py").unlink()
    assert home.run_mtr(["true"], project).returncode == 0
    remote, outside = home.remote(project), home.remote(project).parent / "elsewhere"
    outside.mkdir()
    shutil.rmtree(remote / "src", ignore_errors=True)
    (remote / "src").symlink_to(outside)
    assert home.run_mtr(["undo"], project).stdout == b"src/b.py\n"
    assert (remote / "src" / "b.py").read_text() == "print('two')\n"
    assert os.listdir(outside) == []
    assert read_trash(remote, "src") == [os.fsencode(outside)]


@pytest.mark.parametrize("name", ["", "trash", "partial", "put"])
def test_mtrs_own_directory_there_is_no_link(home: Home, name: str) -> None:
    """Where it, or what mtr writes to in it, is a link, nothing is written behind that; the error says what it is."""
    project = home.make_project(f"own-{name}")
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    own, outside = home.remote(project) / ".mtr", home.remote(project).parent / f"behind-{name}"
    place = next(own.glob("put.*")) if name == "put" else own / name
    if place.exists():
        place.rename(outside)
    else:
        outside.mkdir()
    before = outside.read_bytes() if outside.is_file() else sorted(os.listdir(outside))
    place.symlink_to(outside)
    (project / "a.txt").write_text("mine\n")
    for words in (["cat", "a.txt"], ["sync"], ["sync", "--full"]):
        done = home.run_mtr(words, project)
        assert done.returncode == 125
        assert b"is a symbolic link" in done.stderr
    assert before == (outside.read_bytes() if outside.is_file() else sorted(os.listdir(outside)))
    place.unlink()
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"mine\n"
