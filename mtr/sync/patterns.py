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
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_GLOB_SPECIAL = re.compile(rb"[\\*?\[]")
_DIRECTORIES = b"**"


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
    """Return the patterns of a list in the configuration; they speak about the project's root."""
    import os

    return tuple(_parse_lines(map(os.fsencode, lines), b""))


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
    body = body.removeprefix(b"/") if b"/" in body else _DIRECTORIES + b"/" + body
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
    name = body.removeprefix(_DIRECTORIES + b"/")
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
    states = {tuple(pattern.body.split(b"/"))}
    for name in names:
        states = {after for state in states for after in _consume(state, name)}
    for state in sorted(states):
        if state:
            yield replace(pattern, body=b"/".join(state))


def _consume(components: tuple[bytes, ...], name: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield what can remain of ``components`` once they have matched the directory ``name``."""
    if not components:
        return
    head, tail = components[0], components[1:]
    if len(head) > 1 and not head.strip(b"*"):
        # `**` stands for any number of directories, none included; at the end it needs at least one name.
        yield components
        yield from _consume(tail, name) if tail else [()]
    elif _matches_name(head, name):
        yield tail


def matches_path(pattern: Pattern, path: bytes, *, is_dir: bool) -> bool:
    """Tell whether ``pattern`` matches ``path`` itself, not only a parent of it."""
    if pattern.dir_only and not is_dir:
        return False
    components = tuple(pattern.body.split(b"/"))
    if len(components) == 2 and components[0] == _DIRECTORIES:
        return _matches_name(components[1], path.rpartition(b"/")[2])
    states = {components}
    for name in path.split(b"/"):
        states = {after for state in states for after in _consume(state, name)}
    return () in states


def _matches_name(component: bytes, name: bytes) -> bool:
    if not _GLOB_SPECIAL.search(component):
        return component == name
    expression = _compile_component(component)
    return expression is not None and expression.match(name.decode("latin-1") + "/") is not None


@lru_cache(maxsize=256)
def _compile_component(component: bytes) -> re.Pattern[str] | None:
    from pathspec.patterns.gitignore import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    try:
        expression, _ = GitIgnoreSpecPattern.pattern_to_regex("/" + component.decode("latin-1") + "/")
    except GitIgnorePatternError:
        return None
    return re.compile(expression) if expression else None
