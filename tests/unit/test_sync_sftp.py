"""The SFTP engine: what it uploads, given what is here and there; and all of it against a real server."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from mtr.config.model import Server
from mtr.errors import SyncError
from mtr.ssh.connection import connect
from mtr.ssh.sftp import Attributes
from mtr.sync.ignore import Rules
from mtr.sync.plan import Entry
from mtr.sync.sftp import SftpSyncer, render_place, should_sync

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.ssh.base import BaseConnection
    from tests.lab.home import Home

NS = 1_000_000_000
FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (None, True),
        (Attributes(10, FILE, 1000), False),
        (Attributes(11, FILE, 1000), True),
        (Attributes(10, FILE, 999), True),
        (Attributes(10, FILE, 1001), True),
        (Attributes(10, FOLDER, 1000), True),
        (Attributes(10, None, 1000), False),
    ],
)
def test_sftp_should_sync(there: Attributes | None, wanted: bool) -> None:
    """Size and time in whole seconds decide, as far as SFTP 3 tells them."""
    assert should_sync(Entry(b"a", "file", 10, 1000 * NS + 5), there) is wanted


def test_a_link_always_travels() -> None:
    """What it leads to does not show in its attributes."""
    assert should_sync(Entry(b"a", "symlink", 1, 0), Attributes(1, stat.S_IFLNK | 0o777, 0))


@pytest.mark.parametrize(
    ("remote_dir", "place"),
    [("~/a b", b"a b"), ("/data/x/", b"/data/x"), ("~", b"."), ("~/-x", b"-x"), ("/", b".")],
)
def test_a_remote_directory_as_sftp_takes_it(remote_dir: str, place: bytes) -> None:
    """A session begins in the home directory, and nothing expands a tilde."""
    assert render_place(remote_dir) == place


@pytest.fixture(params=["openssh", "paramiko"])
def connection(request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch) -> BaseConnection:
    """A connection to the lab's server, by ssh and without it."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    server = Server(name="lab", hosts=("127.0.0.1",), user="bash", port=home.server.port, client=request.param)
    return connect(server, os.environ)


def test_a_tree_arrives_and_only_what_differs_travels_again(
    connection: BaseConnection, home: Home, tmp_path: Path
) -> None:
    """Into a directory that is not there yet, with odd names, modes and links; the excluded stays here."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / "deep" / "new\nline").write_text("1")
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"2" * 100_000)
    (tmp_path / "run").write_text("#!/bin/sh\n")
    (tmp_path / "run").chmod(0o750)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "x.log").write_text("no")
    syncer = SftpSyncer(connection, Rules(exclude=("*.log",)))
    result = syncer.sync(tmp_path, f"~/{home.dir.name}/pro ject", ["sub/none"])
    remote = home.server.home_of("bash") / home.dir.name / "pro ject"
    assert (result.files_sent, result.bytes_sent) == (4, 100_011)
    assert (remote / "sub" / "deep" / "new\nline").read_text() == "1"
    assert (remote / os.fsdecode(b"\xff")).read_bytes() == b"2" * 100_000
    assert (remote / "run").stat().st_mode & 0o777 == 0o750
    assert os.readlink(remote / "link") == "run"
    assert sorted(os.listdir(remote)) == sorted(["sub", os.fsdecode(b"\xff"), "run", "link"])
    again = syncer.sync(tmp_path, f"~/{home.dir.name}/pro ject")
    assert again.files_sent == 1  # the link
    (tmp_path / "run").write_text("#!/bin/bash\n")
    assert syncer.sync(tmp_path, f"~/{home.dir.name}/pro ject").files_sent == 2
    assert (remote / "run").read_text() == "#!/bin/bash\n"


def test_what_cannot_be_written_is_named(connection: BaseConnection, home: Home, tmp_path: Path) -> None:
    """A directory stands where a file belongs: said, and nothing half done is left beside it."""
    (tmp_path / "a").write_text("x")
    remote = home.server.home_of("bash") / f"{home.dir.name}-clash"
    (remote / "a").mkdir(parents=True)
    with pytest.raises(SyncError, match=r"did not take .*a over SFTP"):
        SftpSyncer(connection).sync(tmp_path, f"~/{home.dir.name}-clash")
    assert os.listdir(remote) == ["a"]
