"""What a client has told of its code, read back: whole, cut off, or from somebody hostile."""

from __future__ import annotations

import gzip

from hypothesis import given
from hypothesis import strategies as st

from mtr.jobs.details import PATCH_BYTES, Origin, parse_origin, unquote

HEAD = (
    b"# branch.oid 0123456789abcdef\n# branch.head main\n"
    b"1 .M N... 100644 100644 100644 aa bb a file.txt\n"
    b"1 A. N... 000000 100644 100644 00 bb added\n"
    b"2 R. N... 100644 100644 100644 aa bb R100 new name\told name\n"
    b"u UU N... 100644 100644 100644 100644 aa bb cc both\n"
    b'? "tab\\tq\\"\\303\\251"\n'
)
END = b"\n\0mtr-end\n"


def test_all_that_git_told() -> None:
    """Commit, branch, the changes with their names as they are, and the patch byte for byte; packed or not."""
    patch = b"diff --git a/x b/x\n\n\0\xff\n"
    for data in (HEAD + b"\n" + patch + END, gzip.compress(HEAD + b"\n" + patch + END)):
        found = parse_origin(data)
        assert (found.state, found.commit, found.branch, found.patch) == ("whole", "0123456789abcdef", "main", patch)
        assert found.dirty == (
            ("M", "a file.txt"), ("A", "added"), ("R", "new name"), ("U", "both"), ("?", 'tab\tq"é'),
        )  # fmt: skip


def test_nothing_to_tell() -> None:
    """No repository, or no sync: nothing is known, and that is no fault."""
    assert parse_origin(b"") == parse_origin(b"\n" + END) == parse_origin(gzip.compress(b"\n" + END)) == Origin()


def test_before_the_first_commit() -> None:
    """There is a branch, and no commit."""
    found = parse_origin(b"# branch.oid (initial)\n# branch.head main\n\n" + END)
    assert (found.state, found.commit, found.branch) == ("whole", "", "main")
    found = parse_origin(b"# branch.oid 12\n# branch.head (detached)\n\n" + END)
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


@given(st.text())
def test_names_are_unquoted_as_git_quotes(text: str) -> None:
    """Octal escapes for bytes beyond ASCII; what is not quoted stays."""
    data = text.encode(errors="surrogateescape") if text.isprintable() else b"x"
    quoted = '"' + "".join(f"\\{byte:03o}" for byte in data) + '"'
    assert unquote(quoted).encode(errors="surrogateescape") == data
    assert unquote("plain") == "plain"
