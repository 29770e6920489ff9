"""One file over SFTP: asked for ahead, however much a server sends at a time, whole or not there."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest

from mtr.ssh.sftp import Attributes, Sftp
from mtr.sync.part import KEPT_S, Part, collect, name_part
from mtr.sync.sftp_transfer import download
from tests.lab.sftp_here import Served

if TYPE_CHECKING:
    from pathlib import Path


def fetch(source: Path, target: Path, *, most_bytes: int = 0, mark: str = "", size_bytes: int | None = None) -> int:
    """Return how many bytes came."""
    came: list[int] = []
    size = source.stat().st_size if size_bytes is None else size_bytes
    look = Attributes(size, 0o100644, 1_600_000_000)
    with Sftp(Served(most_bytes), "here") as session:  # type: ignore[arg-type]
        places = os.fsencode(source), os.fsencode(target)
        session.run([download(session, places[0], look, places[1], came.append, mark=mark)])
    return sum(came)


@pytest.mark.parametrize("size_bytes", [0, 1, 32768, 32769, 5_000_000, 9_999_999])
@pytest.mark.parametrize("most_bytes", [0, 1000, 5000, 32767])
def test_every_byte_arrives_once(tmp_path: Path, size_bytes: int, most_bytes: int) -> None:
    """Also where a server sends less than it is asked for, as the protocol allows."""
    data = os.urandom(size_bytes)
    (tmp_path / "there").write_bytes(data)
    assert fetch(tmp_path / "there", tmp_path / "here", most_bytes=most_bytes) == size_bytes
    assert (tmp_path / "here").read_bytes() == data
    assert sorted(os.listdir(tmp_path)) == ["here", "there"]


def test_a_file_that_shrinks_or_grows_ends(tmp_path: Path) -> None:
    """What it held when it was looked at is the most that comes; one that is shorter now is what it is now."""
    (tmp_path / "there").write_bytes(b"x" * 100_000)
    assert fetch(tmp_path / "there", tmp_path / "here", size_bytes=70_000) == 70_000
    assert fetch(tmp_path / "there", tmp_path / "here", size_bytes=900_000) == 100_000


def test_what_was_kept_is_not_asked_for_again(tmp_path: Path) -> None:
    """But for what was written before this machine has started: a crash may have left holes in it."""
    data, mark = os.urandom(3_000_000), "0123456789abcdef"
    (tmp_path / "there").write_bytes(data)
    part = tmp_path / os.fsdecode(name_part(b"here", mark))
    for age_s, came in ((0, 1_000_000), (10**9, 3_000_000)):
        part.write_bytes(data[:2_000_000])
        if age_s:
            os.utime(part, (1, 1))
        assert fetch(tmp_path / "there", tmp_path / "here", mark=mark) == came
        assert (tmp_path / "here").read_bytes() == data
        assert not part.exists()


def test_parts_that_nobody_goes_on_with_are_collected(tmp_path: Path) -> None:
    """Of another state of a wanted file, at once; of other files, when they are old. Nothing else is touched."""
    wanted, other = os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b")
    kept, superseded = name_part(wanted, "0" * 16), name_part(wanted, "1" * 16)
    young, old = name_part(other, "2" * 16), name_part(other, "3" * 16)
    for path in (kept, superseded, young, old, wanted, os.fsencode(tmp_path / ".x.mtr-short")):
        with open(path, "wb"):
            pass
    os.utime(old, (1, os.stat(young).st_mtime - KEPT_S - 10))
    collect([(wanted, "0" * 16)])
    assert not os.path.exists(superseded)
    assert not os.path.exists(old)
    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted(
        map(os.path.basename, (kept, young, wanted, b".x.mtr-short"))
    )


def test_a_part_that_has_just_been_made_is_not_collected(tmp_path: Path) -> None:
    """Between its first moment and its lock, another download beside it may look: then one more is made."""
    target, is_over = os.fsencode(tmp_path / "a"), threading.Event()

    def collect_all() -> None:
        while not is_over.is_set():
            collect([(target, "")])

    others = [threading.Thread(target=collect_all) for _ in range(3)]
    for other in others:
        other.start()
    try:
        for number in range(500):
            part = Part(target, "")
            os.write(part.descriptor, b"%d" % number)
            part.finish(0o600, 1)
            assert (tmp_path / "a").read_bytes() == b"%d" % number
    finally:
        is_over.set()
        for other in others:
            other.join()
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_system_without_locks_takes_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre is, mounted without flock."""

    def refuse(_descriptor: int, *, wait: bool = True) -> bool:
        raise OSError(errno.ENOSYS, f"{wait}")

    monkeypatch.setattr("mtr.sync.part.lock_file", refuse)
    for mark in ("", "0" * 16):
        part = Part(os.fsencode(tmp_path / "a"), mark)
        part.finish(0o600, 1)
    assert os.listdir(tmp_path) == ["a"]
