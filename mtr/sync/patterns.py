r"""Ignore patterns as values: read from lines, moved between directories, written for git.

A line of an ignore file in ``sub/`` speaks about paths below ``sub/``. git takes a list of patterns on its
command line, which outranks every ``.gitignore``, but those speak about paths from the top of the work tree.
So every pattern is kept as one anchored at the project's root: ``foo`` in ``sub/.mtrignore`` becomes
``sub/**/foo``, and ``/foo`` or ``a/b`` become ``sub/foo`` and ``sub/a/b`` (gitignore(5), "Pattern format").

Pure. Patterns are bytes as in the file, because names on disk are bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mtr.sync.wildmatch import DIRECTORIES, compile_part, split_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GLOB_SPECIAL = re.compile(rb"[\\*?\[]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: ``body`` is anchored, without the slashes at either end."""

    body: bytes
    negated: bool = False
    dir_only: bool = False


def parse_ignore_file(data: bytes, directory: bytes = b"") -> tuple[Pattern, ...]:
    """Return the patterns of an ignore file that lies in ``directory`` (``b""`` or ``b"a/b"``).

    Lines are cut as git cuts them (``add_patterns_from_buffer`` in its dir.c): a byte order mark is skipped,
    one carriage return before a newline goes, trailing blanks go unless a backslash stands before them.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return tuple(_parse_lines((line.removesuffix(b"\r") for line in lines), directory))


def parse_patterns(lines: Iterable[str]) -> tuple[Pattern, ...]:
    """Return the patterns of a list in the configuration: the lines of an ignore file at the project's root."""
    import os

    return parse_ignore_file(os.fsencode("\n".join(lines)))


def _parse_lines(lines: Iterable[bytes], directory: bytes) -> Iterator[Pattern]:
    for line in lines:
        if not line.startswith(b"#"):
            pattern = _parse_pattern(_trim_blanks(line.partition(b"\0")[0]))
            if pattern.body:
                yield _anchor(pattern, directory)


def _trim_blanks(line: bytes) -> bytes:
    """Return ``line`` without trailing spaces, but for those behind an odd number of backslashes."""
    trimmed = line.rstrip(b" ")
    backslashes = len(trimmed) - len(trimmed.rstrip(b"\\"))
    if backslashes % 2 and len(trimmed) < len(line):
        return trimmed + b" "
    return trimmed


def _parse_pattern(line: bytes) -> Pattern:
    negated = line.startswith(b"!")
    body = line[1:] if negated else line
    dir_only = body.endswith(b"/")
    return Pattern(body[:-1] if dir_only else body, negated, dir_only)


def _anchor(pattern: Pattern, directory: bytes) -> Pattern:
    """Return ``pattern``, as written in ``directory``, anchored at the root."""
    body = pattern.body
    body = body.removeprefix(b"/") if b"/" in body else DIRECTORIES + b"/" + body
    return replace(pattern, body=_join(escape_glob(directory), body))


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


def escape_glob(path: bytes) -> bytes:
    """Return a pattern that matches exactly ``path``."""
    return _GLOB_SPECIAL.sub(rb"\\\g<0>", path)


def render_pattern(pattern: Pattern, directory: bytes = b"") -> str:
    """Return ``pattern`` for git's ``--exclude=``, where the root is ``directory`` of git's work tree.

    A pattern about a name at any depth loses its ``**/`` at the top: the same to git, but it then compares
    names instead of matching whole paths.
    """
    import os

    body = pattern.body
    name = body.removeprefix(DIRECTORIES + b"/")
    floats = not directory and name != body and b"/" not in name
    text = name if floats else b"/" + _join(escape_glob(directory), body)
    return os.fsdecode(b"!" * pattern.negated + text + b"/" * pattern.dir_only)


def relocate_patterns(patterns: Iterable[Pattern], directory: bytes) -> tuple[Pattern, ...]:
    """Return what ``patterns`` say about paths below ``directory``, as seen from there.

    A nested repository is listed by a git of its own, whose patterns start at the nested top. Patterns about
    ``directory`` itself or its parents say nothing here: whoever lists the outside has applied them.
    """
    if not directory:
        return tuple(patterns)
    return tuple(moved for pattern in patterns for moved in _relocate(pattern, directory.split(b"/")))


def _relocate(pattern: Pattern, names: list[bytes]) -> Iterator[Pattern]:
    for parts in sorted(_consume_all(pattern, names)):
        if parts:
            yield replace(pattern, body=b"/".join(parts))


def matches_path(pattern: Pattern, path: bytes, *, is_dir: bool) -> bool:
    """Tell whether ``pattern`` matches ``path`` itself, not only a parent of it."""
    if pattern.dir_only and not is_dir:
        return False
    parts = split_parts(pattern.body)
    if len(parts) == 2 and parts[0] == DIRECTORIES:
        return parts[1] == DIRECTORIES or bool(compile_part(parts[1]).fullmatch(path.rpartition(b"/")[2]))
    return () in _consume_all(pattern, path.split(b"/"))


def _consume_all(pattern: Pattern, names: list[bytes]) -> set[tuple[bytes, ...]]:
    """Return what can remain of the pattern's parts once they have matched ``names``: ``()`` is a full match."""
    states = {split_parts(pattern.body)}
    for name in names:
        states = {after for state in states for after in _consume(state, name)}
    return states


def _consume(parts: tuple[bytes, ...], name: bytes) -> Iterator[tuple[bytes, ...]]:
    if not parts:
        return
    head, tail = parts[0], parts[1:]
    if head == DIRECTORIES:
        # It stands for any number of directories, none included; at the end it needs at least one name.
        yield parts
        yield from _consume(tail, name) if tail else [()]
    elif compile_part(head).fullmatch(name):
        yield tail
