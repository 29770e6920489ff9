"""The archive of a push, as every tar unpacks it; files that change, grow or go while it is written."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from mtr.errors import SyncError
from mtr.sync import archive
from mtr.sync.delivery import inside, look_at
from mtr.sync.plan import Entry

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    b"plain", b"-rf", b"a b", b"q'\"$(x)`", b"new\nline", b"\xff\xfe", b"n" * 255,
    b"/".join([b"d" * 120] * 5) + b"/deep", b".hidden", b"*", b"\xc3\xa4",
]  # fmt: skip


def look(root: Path, *names: bytes) -> list[Entry]:
    with inside(str(root)):
        found = [look_at(name) for name in names]
    return [entry for entry in found if entry is not None]


def write(root: Path, entries: list[Entry], folders: tuple[bytes, ...] = ()) -> tuple[bytes, list[bytes]]:
    sent: list[bytes] = []

    def finish(paths: list[bytes]) -> str:
        sent.extend(paths)
        return "plan\n"

    return b"".join(archive.write_archive(entries, str(root), folders, finish)), sent


@pytest.mark.parametrize("unpack", [["tar", "xpf", "-"], ["busybox", "tar", "xpf", "-"]], ids=["gnu", "busybox"])
def test_any_name_and_link_unpacks(tree: Path, tmp_path: Path, unpack: list[str]) -> None:
    """Names of any bytes and length, links, modes, times, empty directories; then the plan, then the end."""
    top = os.fsencode(tree)
    for name in NAMES:
        os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
        with open(os.path.join(top, name), "wb") as file:
            file.write(name * 3)
    (tree / "plain").chmod(0o751)
    os.utime(os.path.join(top, b"plain"), ns=(1, 1_234_567_890_123_456_789))
    os.symlink(b"t" * 300, os.path.join(top, b"link"))
    data, sent = write(tree, look(tree, *NAMES, b"link"), (b"empty/below",))
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(unpack, input=data, cwd=out, check=True, capture_output=True)
    for name in NAMES:
        with open(os.path.join(os.fsencode(out), name), "rb") as file:
            assert file.read() == name * 3
    assert os.readlink(out / "link") == "t" * 300
    assert (out / "plain").stat().st_mode & 0o7777 == 0o751
    assert (out / "plain").stat().st_mtime_ns // 10**9 == 1_234_567_890
    if unpack[0] == "tar":
        assert (out / "plain").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert (out / "empty" / "below").is_dir()
    assert (out / ".mtr" / "plan").read_text() == "plan\n"
    assert (out / ".mtr" / "end").read_bytes() == b""
    assert sent == [*NAMES, b"link"]


def test_what_has_gone_is_left_out(tree: Path) -> None:
    """A file that vanished, one that became a directory or a FIFO since it was listed."""
    for name in ("gone", "folder", "pipe", "stays"):
        (tree / name).write_text(name)
    entries = look(tree, b"gone", b"folder", b"pipe", b"stays")
    for name in ("gone", "folder", "pipe"):
        (tree / name).unlink()
    (tree / "folder").mkdir()
    os.mkfifo(tree / "pipe")
    data, sent = write(tree, entries)
    assert sent == [b"stays"]
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        assert found.getnames() == ["./stays", "./.mtr/plan", "./.mtr/end"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, archive.CHUNK_BYTES - 1, archive.CHUNK_BYTES, 3_000_001])
@pytest.mark.parametrize("grown", [-1, 0, 1, 100_000])
def test_a_file_that_changes_its_length_stays_whole(tree: Path, size: int, grown: int) -> None:
    """What is sent is what was read, however long it has become since it was listed."""
    path = tree / "f"
    path.write_bytes(b"x" * size)
    entries = look(tree, b"f")
    content = os.urandom(max(0, size + grown))
    path.write_bytes(content)
    data, _ = write(tree, entries)
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        member = found.extractfile("./f")
        assert member is not None
        assert member.read() == content


def test_a_large_file_that_shrinks_while_it_is_read_is_an_error(tree: Path) -> None:
    """Its header is sent already: nothing of it may count."""
    path = tree / "f"
    path.write_bytes(bytes(5 * archive.CHUNK_BYTES))
    pieces = archive.write_archive(look(tree, b"f"), str(tree), (), lambda _sent: None)
    next(pieces)
    path.write_bytes(b"short")
    with pytest.raises(SyncError, match="became shorter"):
        list(pieces)


def test_a_file_that_cannot_be_read_names_itself(tree: Path) -> None:
    """The name, the system's words, and what to do."""
    if os.geteuid() == 0:
        (tree / "loop").symlink_to("loop")
        entry = Entry(b"loop", "file", 1, 0)
        with pytest.raises(SyncError, match="loop cannot be read here"):
            write(tree, [entry])
        return
    (tree / "secret").write_text("x")
    (tree / "secret").chmod(0)
    with pytest.raises(SyncError, match="secret cannot be read here"):
        write(tree, look(tree, b"secret"))


def test_busybox_is_here() -> None:
    """The other tar of small servers is part of what the tests install."""
    assert shutil.which("busybox")
