r"""git's globs, one part of a path at a time.

A transcription of git's wildmatch.c (``WM_PATHNAME``) into a list of compiled parts: between slashes a part
is a regular expression on bytes, and ``**`` alone is any number of directories. It serves where git cannot be
asked: patterns that move into a nested repository, and machines without git. A property test compares it with
git itself. Case is never folded. Pure.
"""

from __future__ import annotations

import re
import string
from functools import lru_cache

DIRECTORIES = b"**"
"""The part that stands for any number of directories."""

_NEVER = re.compile(rb"(?!)")
_ALL_BYTES = frozenset(range(256))
_SLASH = ord("/")

# git's own ctype tables: ASCII only, and no vertical tab or form feed among the blanks.
_PRINTABLE = frozenset(range(0x20, 0x7F))
_CLASSES: dict[bytes, frozenset[int]] = {
    b"alnum": frozenset((string.ascii_letters + string.digits).encode()),
    b"alpha": frozenset(string.ascii_letters.encode()),
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset([*range(0x20), 0x7F]),
    b"digit": frozenset(string.digits.encode()),
    b"graph": _PRINTABLE - {0x20},
    b"lower": frozenset(string.ascii_lowercase.encode()),
    b"print": _PRINTABLE,
    b"punct": frozenset(string.punctuation.encode()),
    b"space": frozenset(b" \t\n\r"),
    b"upper": frozenset(string.ascii_uppercase.encode()),
    b"xdigit": frozenset(string.hexdigits.encode()),
}


class _Malformed(ValueError):
    """A set without an end, an unknown class, a backslash at the end: git never matches such a pattern."""


@lru_cache(maxsize=4096)
def split_parts(glob: bytes) -> tuple[bytes, ...]:
    """Return the parts of ``glob`` between slashes; a slash inside a set is no border, an escaped one is."""
    parts, start, at = list[bytes](), 0, 0
    while at < len(glob):
        end = _skip_token(glob, at)
        if glob[at:end] in {b"/", b"\\/"}:
            part = glob[start:at]
            # In front of an escaped slash, git takes them for one directory at least.
            parts += [b"*", DIRECTORIES] if end - at > 1 and _is_directories(part) else [part]
            start = end
        at = end
    found = [DIRECTORIES if _is_directories(part) else part for part in [*parts, glob[start:]]]
    # Any number of directories, twice in a row, is the same as once.
    return tuple(part for at, part in enumerate(found) if found[at : at + 2] != [DIRECTORIES] * 2)


@lru_cache(maxsize=4096)
def compile_part(part: bytes) -> re.Pattern[bytes]:
    """Return a regular expression for ``part``, to be tried with ``fullmatch`` on one name.

    What stands between two stars is tried at the first place where it fits and at no other: that finds every match,
    since each token takes one byte, and many stars do not multiply the time.
    """
    try:
        first, *others = _translate(part)
        if not others:
            return re.compile(first, re.DOTALL)
        *middle, last = others
        pieces = [rb"(?>[^/]*?" + piece + b")" for piece in middle if piece]
        return re.compile(first + b"".join(pieces) + b"[^/]*" + last, re.DOTALL)
    except _Malformed:
        return _NEVER


def _is_directories(part: bytes) -> bool:
    return len(part) > 1 and not part.strip(b"*")


def _skip_token(glob: bytes, at: int) -> int:
    if glob[at : at + 1] == b"\\":
        return at + 2
    if glob[at : at + 1] == b"[":
        try:
            return _parse_set(glob, at)[1]
        except _Malformed:
            return len(glob)
    return at + 1


def _translate(part: bytes) -> list[bytes]:
    """Return what stands before, between and behind the stars of ``part``, as regular expressions."""
    chunks, pieces, at = list[bytes](), list[bytes](), 0
    while at < len(part):
        token = part[at : at + 1]
        end = at + 1
        if token == b"*":
            chunks.append(b"".join(pieces))
            pieces = []
        elif token == b"?":
            pieces.append(rb"[^/]")
        elif token == b"[":
            members, end = _parse_set(part, at)
            pieces.append(_render_set(members))
        else:
            literal, end = _parse_literal(part, at)
            pieces.append(re.escape(bytes([literal])))
        at = end
    return [*chunks, b"".join(pieces)]


def _render_set(members: frozenset[int]) -> bytes:
    if not members:
        return _NEVER.pattern
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]"


def _parse_literal(glob: bytes, at: int) -> tuple[int, int]:
    """Return the byte that stands at ``at``, escaped or not, and where the next token starts."""
    at += glob[at : at + 1] == b"\\"
    if at >= len(glob):
        raise _Malformed
    return glob[at], at + 1


def _parse_set(glob: bytes, at: int) -> tuple[frozenset[int], int]:
    """Return the bytes that the set at ``at`` matches, and where it ends; a ``]`` in first place is a member."""
    at += 1
    negated = glob[at : at + 1] in {b"!", b"^"}
    at += negated
    members, previous, first = set[int](), None, True
    while first or glob[at : at + 1] != b"]":
        first = False
        if glob[at : at + 1] == b"-" and previous is not None and glob[at + 1 : at + 2] not in {b"", b"]"}:
            last, at = _parse_literal(glob, at + 1)
            members |= set(range(previous, last + 1))
            previous = None
        elif named := _parse_class(glob, at):
            found, at = named
            members |= found
            previous = None
        else:
            previous, at = _parse_literal(glob, at)
            members.add(previous)
    return frozenset(_ALL_BYTES - members if negated else members) - {_SLASH}, at + 1


def _parse_class(glob: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Return the members of a ``[:class:]`` at ``at`` and its end; None where a plain ``[`` stands."""
    if glob[at : at + 2] != b"[:":
        return None
    end = glob.find(b"]", at + 2)
    if end < 0:
        raise _Malformed
    if end < at + 3 or glob[end - 1 : end] != b":":
        return None
    members = _CLASSES.get(glob[at + 2 : end - 1])
    if members is None:
        raise _Malformed
    return members, end + 1
