"""The rsync command that mtr builds, and the list of files that it feeds to it; nothing is transferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.errors import SyncError
from mtr.sync.rsync import Features, RsyncSyncer, build_file_list, build_rsync_argv, render_remote_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Connection:
    """An open connection, as far as building a command needs one."""

    def __init__(self, destination: str = "gpu-01") -> None:
        self.server_name = "gpu-01"
        self.destination = destination

    def rsync_shell(self) -> str:
        return "ssh -F none -S /run/mtr/socket"

    def attempt_rsync(self, run_once: Callable[[str], int]) -> int:
        raise AssertionError(f"planning runs no rsync: {run_once}")

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        raise AssertionError(f"planning makes no {remote_dir} on a server")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "my project"
    for name in ("train.py", "run.log", "data/x.bin", "src/model.py", ".git/HEAD", ".mtr/config.yaml"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (root / ".gitignore").write_text("*.log\n")
    return root


def test_rsync_command_generation(project: Path):
    """The command names the right paths, and ignored and excluded files are absent from the file list."""
    syncer = RsyncSyncer(Connection())
    plan = syncer.plan(project, "~/codes/project x", ["data/"])
    argv = build_rsync_argv(plan, syncer.connection)
    assert argv[0] == "rsync"
    assert argv[-3:] == ["--", f"{project}/", "gpu-01:./codes/project x/"]
    assert argv[argv.index("-e") + 1] == "ssh -F none -S /run/mtr/socket"
    assert "--files-from=-" in argv
    assert not any(word.startswith(("--exclude", "--filter", "--delete")) for word in argv)
    assert build_file_list(plan) == b".gitignore\0src/model.py\0train.py\0"


@pytest.mark.parametrize(
    ("remote_dir", "rendered"),
    [
        ("/data/codes/x", "/data/codes/x/"),
        ("/data/codes/x/", "/data/codes/x/"),
        ("/", "/"),
        ("~", "./"),
        ("~/", "./"),
        ("~/mtr/a b", "./mtr/a b/"),
        ("~/-rf", "./-rf/"),
        ("-rf", "./-rf/"),
        ("a:b", "./a:b/"),
        ("~/new\nline", "./new\nline/"),
        (".", "./"),
        ("./x", "./x/"),
    ],
)
def test_remote_dir_needs_no_shell(remote_dir: str, rendered: str):
    """A remote directory is absolute or relative to the home directory, and never reads as an option or a host."""
    assert render_remote_dir(remote_dir) == rendered


def test_another_users_home_is_refused():
    """~NAME would need a shell to look it up: it is refused, not created as a directory of that name."""
    with pytest.raises(SyncError, match="~other/x"):
        render_remote_dir("~other/x")


@pytest.mark.parametrize(
    ("destination", "host"),
    [("fe80::1", "[fe80::1]"), ("dev@::1", "dev@[::1]"), ("[::1]", "[::1]"), ("dev@h", "dev@h")],
)
def test_ipv6_addresses_stand_in_brackets(project: Path, destination: str, host: str):
    """An address with colons is not taken for host and path."""
    connection = Connection(destination)
    plan = RsyncSyncer(connection).plan(project, "/x")
    assert build_rsync_argv(plan, connection)[-1] == f"{host}:/x/"


def test_an_rsync_that_knows_less_gets_less(project: Path):
    """Options that the local rsync lacks are left out; without -s the remote path is quoted for the shell there."""
    connection = Connection()
    plan = RsyncSyncer(connection).plan(project, "~/it's")
    argv = build_rsync_argv(plan, connection, Features(options=("--stats",)))
    assert "-s" not in argv
    assert "--info=progress2" not in argv
    assert argv[-1] == "gpu-01:'./it'\\''s/'"
