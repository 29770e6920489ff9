"""What a client has told of its code, read back: whole, cut off, or from somebody hostile."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from mtr.jobs.details import PATCH_BYTES, Origin, parse_origin

HEAD = (
    b"# branch.oid 0123456789abcdef\0# branch.head main\0"
    b"1 .M N... 100644 100644 100644 aa bb a file.txt\0"
    b"1 A. N... 000000 100644 100644 00 bb added\0"
    b"u UU N... 100644 100644 100644 100644 aa bb cc both\0"
    b'? tab\tq"\n\n\xc3\xa9\0'
)
END = b"\n\0mtr-end\n"


def test_all_that_git_told() -> None:
    """Commit, branch, the changes with their names as they are, and the patch byte for byte; packed or not."""
    patch = b"diff --git a/x b/x\n\n\0\xff\n"
    for data in (HEAD + b"\n" + patch + END, gzip.compress(HEAD + b"\n" + patch + END)):
        found = parse_origin(data)
        assert (found.state, found.commit, found.branch, found.patch) == ("whole", "0123456789abcdef", "main", patch)
        assert found.dirty == (
            ("M", "a file.txt"), ("A", "added"), ("U", "both"), ("?", 'tab\tq"\n\né'),
        )  # fmt: skip


def test_nothing_to_tell() -> None:
    """No repository, or no sync: nothing is known, and that is no fault."""
    assert parse_origin(b"\n" + END) == parse_origin(gzip.compress(b"\n" + END)) == Origin()
    assert parse_origin(b"") == Origin("broken"), "who has nothing to tell says so"


def test_before_the_first_commit() -> None:
    """There is a branch, and no commit."""
    found = parse_origin(b"# branch.oid (initial)\0# branch.head main\0\n" + END)
    assert (found.state, found.commit, found.branch) == ("whole", "", "main")
    found = parse_origin(b"# branch.oid 12\0# branch.head (detached)\0\n" + END)
    assert (found.commit, found.branch) == ("12", "")


def test_what_was_cut_is_not_passed_off_as_whole() -> None:
    """By the bound, or by a line that broke."""
    packed = gzip.compress(HEAD + b"\npatch" + END)
    assert parse_origin(HEAD + b"\npatch").state == "broken"
    assert parse_origin(packed[:-9]).state == "broken"
    assert parse_origin(packed[:12]).state == "broken"
    assert parse_origin(HEAD + b"\n" + bytes(PATCH_BYTES) + END).state == "cut"


@given(st.binary())
def test_anything_at_all(data: bytes) -> None:
    """Whatever lies there, it is read without a fault."""
    for found in (data, gzip.compress(data), HEAD + data, b"\x1f\x8b" + data):
        assert parse_origin(found).state in {"whole", "cut", "broken", "none"}
