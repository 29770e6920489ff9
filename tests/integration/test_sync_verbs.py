"""The verbs around a sync: what it would do, undone again, watched, compared in full, seeded from a sibling."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import wait_until
from tests.lab.relay import Relay
from tests.lab.trees import settle_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer


def edit(path: Path, text: str) -> None:
    path.write_text(text)
    settle_clock()


def test_a_dry_run_lists_and_touches_nothing(home: Home, project: Path) -> None:
    """Before the first sync everything is new; the server's directory is not even made."""
    done = home.run_mtr(["sync", "--dry-run"], project)
    assert (done.returncode, done.stdout) == (0, b"+ a.txt\n+ src/b.py\n")
    assert not home.remote(project).exists()
    assert home.run_mtr(["true"], project).returncode == 0
    edit(project / "a.txt", "changed")
    (project / "src" / "b.py").unlink()
    (project / "new\x1b]0;x").write_text("")
    done = home.run_mtr(["sync", "--dry-run"], project)
    assert done.stdout == rb"+ new\x1b]0;x" + b"\n~ a.txt\n- src/b.py\n"
    assert (home.remote(project) / "a.txt").read_text() == "one\n"
    assert (home.remote(project) / "src" / "b.py").exists()


def test_full_restores_yours_and_undo_brings_theirs_back(home: Home, project: Path) -> None:
    """A normal run leaves what changed only there; --full takes yours, keeps theirs, and undo swaps them."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    (remote / "a.txt").write_text("theirs\n")
    (remote / "made.there").write_text("x")
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"theirs\n"
    assert home.run_mtr(["sync", "--dry-run"], project).stdout == b""
    assert home.run_mtr(["sync", "--dry-run", "--full"], project).stdout == b"~ a.txt\n? made.there\n"
    done = home.run_mtr(["sync", "--full"], project)
    assert b"1 file there was not as this machine had left it, and went to the trash there: mtr undo" in done.stderr
    assert (remote / "a.txt").read_text() == "one\n"
    assert (remote / "made.there").exists()
    done = home.run_mtr(["undo"], project)
    assert (done.returncode, done.stdout) == (0, b"a.txt\n")
    assert (remote / "a.txt").read_text() == "theirs\n"
    assert home.run_mtr(["true"], project).returncode == 0
    assert (remote / "a.txt").read_text() == "theirs\n"
    assert home.run_mtr(["undo"], project).returncode == 0
    assert (remote / "a.txt").read_text() == "one\n"


def test_undo_brings_back_what_was_deleted(home: Home, project: Path) -> None:
    """A delete is carried to the server, kept there, and brought back with its directory."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    (project / "src" / "b.py").unlink()
    (project / "src").rmdir()
    assert home.run_mtr(["ls"], project).stdout == b"a.txt\n"
    done = home.run_mtr(["undo"], project)
    assert done.stdout == b"src/b.py\n"
    assert (home.remote(project) / "src" / "b.py").read_text() == "print('two')\n"
    assert b"nothing to bring back" in home.run_mtr(["undo"], project).stderr


@pytest.mark.parametrize(("mode", "left"), [("never", True), ("tracked", False), ("mirror", False)])
def test_deletes_by_choice(home: Home, mode: str, left: bool) -> None:
    """Tracked and mirror carry a delete, never does not; mirror clears what only the server has, less the ignored."""
    project = home.make_project(f"delete-{mode}", delete=mode)
    (project / ".gitignore").write_text("*.log\n")
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    remote = home.remote(project)
    (remote / "theirs").write_text("x")
    (remote / "out.log").write_text("x")
    (project / "a.txt").unlink()
    assert home.run_mtr(["true"], project).returncode == 0
    assert (remote / "a.txt").exists() is left
    assert (remote / "theirs").exists() is (mode != "mirror")
    assert (remote / "out.log").exists()


def test_mirror_spares_what_git_leaves_out(home: Home) -> None:
    """Rules outside of the tree count as well: git's own file for this checkout, which nobody commits."""
    project = home.make_project("mirror-exclude", delete="mirror")
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    (project / ".git" / "info" / "exclude").write_text("results/\n")
    assert home.run_mtr(["mkdir results && touch results/1 stray"], project).returncode == 0
    settle_clock()
    edit(project / "a.txt", "again")
    assert home.run_mtr(["ls . results"], project).stdout == b".:\na.txt\nresults\nsrc\n\nresults:\n1\n"


def test_a_file_in_the_place_of_a_pipe_is_brought(home: Home, project: Path) -> None:
    """A FIFO is no rule's choice: what takes its name is a new file."""
    os.mkfifo(project / "pipe")
    settle_clock()
    assert b"pipe is a FIFO: not synced" in home.run_mtr(["true"], project).stderr
    (project / "pipe").unlink()
    edit(project / "pipe", "a file\n")
    assert home.run_mtr(["cat", "pipe"], project).stdout == b"a file\n"


def test_an_ignored_file_stays_on_the_server(home: Home, project: Path) -> None:
    """What a new rule leaves out was not removed here, and so is not removed there."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    edit(project / ".gitignore", "a.txt\n")
    assert home.run_mtr(["true"], project).returncode == 0
    assert (home.remote(project) / "a.txt").read_text() == "one\n"


def test_watch_brings_each_save(home: Home, project: Path) -> None:
    """A save is there at once, and a run after it finds nothing to do; Ctrl-C ends it quietly."""
    watching = home.popen_mtr(["sync", "--watch"], project)
    assert watching.stderr
    assert b"watching" in watching.stderr.readline()
    remote = home.remote(project)
    for number in range(5):
        edit(project / "a.txt", f"save {number}\n")
        wait_until(lambda n=number: (remote / "a.txt").read_text() == f"save {n}\n", "the save to arrive")  # type: ignore[misc]
    (project / "later").write_text("x")
    wait_until((remote / "later").exists, "the new file to arrive")
    wait_until(lambda: list((remote / ".mtr").glob("t.*")), "the push to end")
    tokens = {path.name for path in (remote / ".mtr").glob("t.*")}
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"save 4\n"
    assert {path.name for path in (remote / ".mtr").glob("t.*")} == tokens
    watching.send_signal(signal.SIGINT)
    assert watching.communicate(timeout=20) == (b"", b"")
    assert watching.returncode == 130


def test_a_new_worktree_is_seeded_from_its_sibling(home: Home) -> None:
    """Only what differs crosses the line; what somebody has changed in the sibling there is not taken."""
    project = home.make_project("main", remote_dir="~/{project}-{branch}")
    for number in range(50):
        (project / f"f{number}").write_text(f"{number}\n" * 50)
    (project / ".gitignore").write_text(".mtr\n")
    home.git(project, "add", ".")
    home.git(project, "commit", "-qm", "x")
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    (home.server.home_of("bash") / "main-main" / "f3").write_text("changed there")
    home.git(project, "worktree", "add", "-q", "-b", "side", "../side")
    worktree = project.parent / "side"
    edit(worktree / "f5", "mine")
    done = home.run_mtr(["-v", "cat", "f3", "f4", "f5"], worktree)
    assert done.stdout == b"3\n" * 50 + b"4\n" * 50 + b"mine"
    assert b"files taken over on lab from" in done.stderr
    assert b"synced 2 files" in done.stderr
    remote = home.server.home_of("bash") / "side-side"
    assert sorted(p.name for p in remote.iterdir()) == sorted(
        {*(f"f{n}" for n in range(50)), "a.txt", "src", ".gitignore", ".mtr"}
    )
    assert not os.path.samefile(remote / "f4", home.server.home_of("bash") / "main-main" / "f4")


def test_a_long_run_does_not_let_later_ones_send_its_edit_again(home: Home, project: Path) -> None:
    """While the command runs, its push is confirmed: another run finds nothing to bring."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    edit(project / "a.txt", "for the long one\n")
    long = home.popen_mtr(["sh", "-c", "cat a.txt; exec sleep 20"], project)
    assert long.stdout
    assert long.stdout.readline() == b"for the long one\n"
    state = home.home / ".state" / "mtr" / "sync"
    wait_until(lambda: not list(state.glob("*.pending")), "the push to be confirmed")
    assert home.run_mtr(["sync", "--dry-run"], project).stdout == b""
    assert home.run_mtr(["cat", "a.txt"], project, timeout_s=10).stdout == b"for the long one\n"
    long.send_signal(signal.SIGINT)
    long.communicate(timeout=20)
    assert long.returncode == 130


def test_a_tree_that_was_wiped_is_brought_again_and_said(home: Home, project: Path) -> None:
    """Somebody removed the directory on the server: everything is brought, visibly, and the command runs on it."""
    assert home.run_mtr(["true"], project).returncode == 0
    shutil.rmtree(home.remote(project))
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"one\n")
    assert b"is not as this machine left it: comparing everything" in done.stderr


def test_special_files_are_skipped_with_a_warning(home: Home, project: Path) -> None:
    """A FIFO neither hangs the sync nor travels."""
    os.mkfifo(project / "pipe")
    done = home.run_mtr(["ls"], project)
    assert (done.returncode, done.stdout) == (0, b"a.txt\nsrc\n")
    assert b"pipe is a FIFO: not synced" in done.stderr
    settle_clock()
    os.mkfifo(project / "later")
    (project / "c").write_text("")
    done = home.run_mtr(["ls"], project)
    assert done.stdout == b"a.txt\nc\nsrc\n"
    assert b"later is a FIFO: not synced" in done.stderr


def test_a_slow_line_brings_an_edit_in_the_commands_own_session(
    home: Home, make_server: Callable[..., SshServer]
) -> None:
    """At 100 ms there and back, an edit is on the server when the command starts, over one session."""
    server = make_server("LogLevel VERBOSE")
    relay = Relay(server.port, delay_s=0.05)
    try:
        project = home.make_project("far", port=relay.port)
        assert home.run_mtr(["true"], project).returncode == 0
        settle_clock()
        edit(project / "a.txt", "far away\n")
        sessions = server.log.read_text().count("Starting session")
        assert home.run_mtr(["cat", "a.txt"], project).stdout == b"far away\n"
        assert server.log.read_text().count("Starting session") == sessions + 1
    finally:
        relay.close()


@pytest.mark.parametrize("include", ["build/keep.bin", "/build/keep.bin", "*.bin", "build/", "build/sub/"])
def test_what_include_forces_in_is_noticed_wherever_it_appears(home: Home, include: str) -> None:
    """A file in an ignored directory, made between two runs, below nothing that was synced before."""
    project = home.make_project("forced", include=[include])
    (project / ".gitignore").write_text("build/\n")
    (project / "build" / "sub").mkdir(parents=True)
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    name = "build/sub/x.bin" if "sub" in include else "build/keep.bin"
    (project / name).write_text("forced")
    settle_clock()
    assert home.run_mtr(["cat", name], project).stdout == b"forced"
    edit(project / name, "again")
    assert home.run_mtr(["cat", name], project).stdout == b"again"


def test_an_empty_project_is_no_deletion_of_everything(home: Home) -> None:
    """A root in which nothing is left, as when its disk is not mounted: refused, and the server keeps its files."""
    project = home.make_project("plain")
    config = home.home / ".config" / "mtr"
    config.mkdir(parents=True)
    (project / ".mtr" / "config.yaml").rename(config / "config.yaml")
    (project / ".mtr").rmdir()
    shutil.rmtree(project / ".git")
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    shutil.rmtree(project / "src")
    (project / "a.txt").unlink()
    done = home.run_mtr(["ls"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"is empty" in done.stderr
    assert (home.remote(project) / "a.txt").exists()


def test_a_repository_that_appears_inside_is_brought(home: Home, project: Path) -> None:
    """A clone made between two runs is listed by its own rules, now and later."""
    assert home.run_mtr(["true"], project).returncode == 0
    settle_clock()
    (project / "lib").mkdir()
    home.git(project / "lib", "init", "-q")
    (project / "lib" / "inner.py").write_text("1")
    settle_clock()
    assert home.run_mtr(["cat", "lib/inner.py"], project).stdout == b"1"
    edit(project / "lib" / "inner.py", "22")
    assert home.run_mtr(["cat", "lib/inner.py"], project).stdout == b"22"


def test_what_was_downloaded_is_not_synced_back(home: Home, project: Path) -> None:
    """The directory of downloads says so itself; mtr's own directory never comes."""
    assert (
        home.run_mtr(["mkdir out; echo 1 >out/x; mkdir out/.mtr; echo 2 >out/.mtr/local.yaml"], project).returncode == 0
    )
    assert home.run_mtr(["get", "out"], project).returncode == 0
    assert (project / "downloads" / "out" / "x").read_text() == "1\n"
    assert not (project / "downloads" / "out" / ".mtr").exists()
    assert home.run_mtr(["find downloads -type f"], project).stdout == b""


def test_a_download_spares_what_is_newer_here(home: Home, project: Path) -> None:
    """Files and links; with --force they go, and a set-user-ID bit never comes."""
    made = "mkdir d; echo theirs >d/f; chmod 4755 d/f; ln -s f d/l; touch -h -d 2001-01-01 d/f d/l"
    assert home.run_mtr([made], project).returncode == 0
    local = project / "got" / "d"
    local.mkdir(parents=True)
    for name in ("f", "l"):
        (local / name).write_text("mine")
    done = home.run_mtr(["get", "d", "got"], project)
    assert (done.returncode, done.stderr.count(b"is newer here")) == (1, 2), done.stderr
    assert (local / "f").read_text() == (local / "l").read_text() == "mine"
    assert home.run_mtr(["get", "--force", "d", "got"], project).returncode == 0
    assert (local / "f").read_text() == "theirs\n"
    assert (local / "f").stat().st_mode & 0o7777 == 0o755
    assert (local / "l").is_symlink()
