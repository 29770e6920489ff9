"""The engine with a real rsync at both ends; a shell on this machine stands in for the server."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest
from trees import write_tree

from mtr.errors import RemoteNotWritable, RsyncMissing, SyncError
from mtr.sync.ignore import Rules
from mtr.sync.rsync import PARTIAL_DIR, RsyncSyncer, build_environment, probe_features

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mtr.sync.base import Progress


class LocalServer:
    """A server whose home directory is a folder: its "ssh" hands the command line to a login shell there."""

    server_name = "here"
    destination = "dev@here"

    def __init__(self, place: Path, shell: str = "/bin/sh", prelude: str = "") -> None:
        self.home = place / "home"
        self.home.mkdir()
        self._ssh = place / "ssh"
        # rsync calls it as: ssh -l USER HOST COMMAND…, and ssh joins the words of the command with blanks.
        self._ssh.write_text(f'#!/bin/sh\nshift 3\ncd "{self.home}"\n{prelude}\nexec {shell} -c "$*"\n')
        self._ssh.chmod(0o755)

    def rsync_shell(self) -> str:
        return str(self._ssh)

    def attempt_rsync(self, run_once: Callable[[str], int]) -> int:
        return run_once(self.rsync_shell())

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        (self.home / remote_dir.removeprefix("~/")).mkdir(parents=True, exist_ok=True)


@pytest.fixture
def server(tmp_path: Path) -> LocalServer:
    return LocalServer(tmp_path)


def read_tree(root: Path) -> dict[bytes, bytes]:
    """Every file and link below ``root`` with its content or target."""
    top = os.fsencode(root)
    found = {}
    for folder, folders, files in os.walk(top):
        for name in [*files, *(name for name in folders if os.path.islink(os.path.join(folder, name)))]:
            path = os.path.join(folder, name)
            with open(os.devnull if os.path.islink(path) else path, "rb") as file:
                found[os.path.relpath(path, top)] = os.readlink(path) if os.path.islink(path) else file.read()
    return found


def test_files_arrive_as_they_are(server: LocalServer, tree: Path):
    """Content, mode, time and links arrive in a directory that did not exist, and ignored files do not."""
    write_tree(tree, {"a.sh": "echo", "sub/deep/b": os.urandom(5000), "x.log": "", ".gitignore": "*.log\n", "v/y": ""})
    (tree / "a.sh").chmod(0o755)
    (tree / "link").symlink_to("sub/deep")
    os.utime(tree / "a.sh", (1_000_000_000, 1_000_000_000))
    result = RsyncSyncer(server, Rules(exclude=("v/",))).sync(tree, "~/codes/deep/project x")
    remote = server.home / "codes/deep/project x"
    assert set(read_tree(remote)) == {b".gitignore", b"a.sh", b"link", b"sub/deep/b"}
    assert (remote / "a.sh").stat().st_mode & 0o777 == 0o755
    assert (remote / "a.sh").stat().st_mtime == 1_000_000_000
    assert os.readlink(remote / "link") == "sub/deep"
    assert (result.files_total, result.files_sent) == (4, 3)
    assert result.biggest[0].path == b"sub/deep/b"
    assert result.bytes_sent


def test_an_unchanged_tree_sends_nothing(server: LocalServer, tree: Path):
    """The second sync finds nothing to send, and an edit sends that file alone."""
    write_tree(tree, {f"d{n}/f": str(n) for n in range(20)})
    syncer = RsyncSyncer(server)
    assert syncer.sync(tree, "~/p").files_sent == 20
    assert syncer.sync(tree, "~/p").files_sent == 0
    write_tree(tree, {"d3/f": "edited"})
    again = syncer.sync(tree, "~/p")
    assert [transfer.path for transfer in again.biggest] == [b"d3/f"]
    assert (server.home / "p/d3/f").read_text() == "edited"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh"])
def test_any_name_travels_under_any_login_shell(tmp_path: Path, tree: Path, shell: str):
    """Spaces, quotes, newlines, globs, leading dashes and bytes that are no UTF-8, in names and in the directory."""
    program = shutil.which(shell)
    assert program, "tests/install-system-packages brings it"
    server = LocalServer(tmp_path, program)
    for name in [
        b"a b",
        b"q'\"$(x)",
        b"new\nline",
        b"-rf",
        b"*",
        b"\xff\xfe",
        b":(top)x",
        b"#h",
        b";s",
        b"back\\slash",
        b"\\#012",
    ]:
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:
            file.write(name)
    remote_dir = 'it\'s a "dir" $(x) *'
    RsyncSyncer(server).sync(tree, f"~/{remote_dir}")
    assert read_tree(server.home / remote_dir) == read_tree(tree)


def test_what_only_the_server_has_stays(server: LocalServer, tree: Path):
    """Nothing is deleted there, and the mode of the directory itself is the server's affair."""
    write_tree(tree, {"a": "", "#b": ""})
    write_tree(server.home, {"p/own": "y"})
    (server.home / "p").chmod(0o700)
    RsyncSyncer(server).sync(tree, "~/p")
    assert sorted(os.listdir(server.home / "p")) == ["#b", "a", "own"]
    assert (server.home / "p").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("target", ["storage", "../disk"])
def test_a_directory_that_is_a_link_there_stays_one(server: LocalServer, tree: Path, target: str):
    """Files go where the link leads, or the sync fails where rsync refuses that; the link is never replaced."""
    write_tree(tree, {"data/.gitkeep": "", "a": ""})
    write_tree(server.home, {"p/storage/x": "", "disk/x": ""})
    (server.home / "p/data").symlink_to(target)
    if target == "storage":
        RsyncSyncer(server).sync(tree, "~/p")
        assert (server.home / "p/storage/.gitkeep").exists()
    else:
        with contextlib.suppress(SyncError):
            RsyncSyncer(server).sync(tree, "~/p")
    assert os.readlink(server.home / "p/data") == target
    assert (server.home / "disk/x").exists()


def test_progress_is_reported(server: LocalServer, tree: Path):
    """The callback sees the transfer come to its end."""
    write_tree(tree, {"big": os.urandom(3_000_000)})
    seen: list[Progress] = []
    RsyncSyncer(server, on_progress=seen.append).sync(tree, "~/p")
    assert seen[-1].fraction == 1
    assert seen[-1].bytes_done == 3_000_000


def test_a_file_that_vanishes_after_planning_is_no_error(server: LocalServer, tree: Path):
    """Editors write and remove files all the time: what is gone when rsync comes is left out."""
    write_tree(tree, {"a": "", "gone": ""})
    syncer = RsyncSyncer(server)
    plan = syncer.plan(tree, "~/p")
    (tree / "gone").unlink()
    server.ensure_remote_dir("~/p")
    syncer.apply(plan)
    assert set(read_tree(server.home / "p")) == {b"a"}


def test_nothing_to_sync_starts_no_rsync(tree: Path, tmp_path: Path):
    """A project of configuration alone needs no transfer; the directory is there afterwards."""
    server = LocalServer(tmp_path, prelude="exit 1")
    write_tree(tree, {".mtr/config.yaml": ""})
    assert RsyncSyncer(server).sync(tree, "~/p").files_total == 0
    assert (server.home / "p").is_dir()


def test_no_rsync_on_the_server(tmp_path: Path, tree: Path):
    """A server without rsync is told from one that fails."""
    write_tree(tree, {"a": ""})
    with pytest.raises(RsyncMissing):
        RsyncSyncer(LocalServer(tmp_path, prelude="PATH=/nowhere")).sync(tree, "~/p")


def test_start_up_files_that_print(tmp_path: Path, tree: Path):
    """Noise of an rc file is named as the cause."""
    write_tree(tree, {"a": ""})
    with pytest.raises(SyncError, match="start-up files"):
        RsyncSyncer(LocalServer(tmp_path, prelude="echo Welcome to the machine")).sync(tree, "~/p")


def test_a_line_that_breaks(tmp_path: Path, tree: Path):
    """A 255, as ssh ends with, reads as a broken connection."""
    write_tree(tree, {"a": ""})
    with pytest.raises(SyncError, match="connection to here broke"):
        RsyncSyncer(LocalServer(tmp_path, prelude="exit 255")).sync(tree, "~/p")


def test_a_place_that_cannot_be_written(server: LocalServer, tree: Path, tmp_path: Path):
    """A remote directory that takes no files is told as such."""
    write_tree(tree, {"a": ""})
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    place = "/sys/kernel" if os.getuid() == 0 else str(closed)  # root writes anywhere but there
    with pytest.raises(RemoteNotWritable, match="cannot write"):
        RsyncSyncer(server).apply(RsyncSyncer(server).plan(tree, place))


def test_a_full_directory_where_a_file_belongs(server: LocalServer, tree: Path):
    """A directory with files of the server's own is never removed for a file; the error says what stands there."""
    write_tree(tree, {"a": ""})
    write_tree(server.home, {"p/a/own": "x"})
    with pytest.raises(SyncError, match="not empty"):
        RsyncSyncer(server).sync(tree, "~/p")
    assert (server.home / "p/a/own").read_text() == "x"


CUTTER = """
import os
left = 8_000_000
while left > 0 and (chunk := os.read(0, 65536)):
    os.write(1, chunk)
    left -= len(chunk)
"""


def test_a_cut_upload_leaves_the_old_file_and_is_resumed(tmp_path: Path, tree: Path):
    """Cut in the middle, the file in place is the old one; the next sync completes it and leaves no litter."""
    cutter = tmp_path / "cutter.py"
    cutter.write_text(CUTTER)
    cut = LocalServer(tmp_path, prelude=f'"{sys.executable}" "{cutter}" | /bin/sh -c "$*"; exit 255')
    write_tree(cut.home, {"p/big": "old"})
    write_tree(tree, {"big": os.urandom(20_000_000), "small": "s"})
    with pytest.raises(SyncError, match="connection to here broke"):
        RsyncSyncer(cut).sync(tree, "~/p")
    waiting = cut.home / "p" / PARTIAL_DIR / "big"
    wait_until(waiting.exists)
    assert (cut.home / "p/big").read_bytes() == b"old"
    assert sorted(os.listdir(cut.home / "p")) == [PARTIAL_DIR, "big"]
    kept_bytes = waiting.stat().st_size
    (tmp_path / "mended").mkdir()
    mended = LocalServer(tmp_path / "mended")
    cut.home.rename(mended.home / "old")
    result = RsyncSyncer(mended).sync(tree, "~/old/p")
    assert read_tree(mended.home / "old/p") == read_tree(tree)
    assert result.bytes_sent is not None
    assert result.bytes_sent < 20_100_000 - kept_bytes // 2


def wait_until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition never came true"
        time.sleep(0.01)


def test_the_installed_rsync_is_probed():
    """A current rsync accepts all options; what it is asked with carries no defaults of the user."""
    assert probe_features().protects_arguments


def test_the_users_own_defaults_do_not_reach_rsync(monkeypatch):
    """RSYNC_RSH and its kin are taken out, and its words are English."""
    monkeypatch.setenv("RSYNC_RSH", "telnet")
    environment = build_environment()
    assert "RSYNC_RSH" not in environment
    assert environment["LC_ALL"] == "C"
