"""Entries as the disk shows them, and the plan made of them."""

from __future__ import annotations

import os
from pathlib import Path

from trees import write_tree

from mtr.sync.plan import Entry, build_plan
from mtr.sync.scan import scan_paths


def build_entry(path: bytes, size_bytes: int = 1) -> Entry:
    return Entry(path, "file", size_bytes, mtime_ns=0, ctime_ns=0, inode=1, mode=0o644)


def test_a_plan_is_ordered_and_sums_up():
    """The same entries in any order make the same plan, which knows its size."""
    entries = [build_entry(b"b", 2), build_entry(b"a/c", 3), build_entry(b"\xff", 5)]
    plan = build_plan(entries, root=Path("/p"), remote_dir="~/p")
    assert plan.upload == build_plan(reversed(entries), root=Path("/p"), remote_dir="~/p").upload
    assert [entry.path for entry in plan.upload] == [b"a/c", b"b", b"\xff"]
    assert plan.bytes_total == 10
    assert plan.delete == ()


def test_entries_say_what_lstat_says(tree: Path):
    """Size, times in nanoseconds, inode and permission bits are those of the path itself, links not followed."""
    write_tree(tree, {"a": "four", "d/x": ""})
    (tree / "a").chmod(0o751)
    os.utime(tree / "a", ns=(1, 1_234_567_890_123_456_789))
    (tree / "l").symlink_to("a")
    file, link = scan_paths(bytes(tree), [b"l", b"a", b"gone", b"d", b"a/x", b"d/gone/y"])
    found = (tree / "a").stat()
    assert (file.kind, file.size_bytes, file.mode) == ("file", 4, 0o751)
    assert (file.mtime_ns, file.ctime_ns, file.inode) == (found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    assert (link.path, link.kind) == (b"l", "symlink")
