"""Lines that say which files belong to the project, each with the place where it is written.

``patterns`` reads the same lines for deciding, where their places do not matter; here they are kept for a person
to find. Lines stand from weak to strong: of those that match, the last one counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mtr.sync import walk
from mtr.sync.patterns import Pattern, matches_path, parse_ignore_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mtr.config.model import Position

BUILT_IN = "built in"
CONFIGURED = "configured"
"""The place of a pattern of the configuration that no file is known for."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Rule:
    """A line about files, and where it stands; ``negated`` lines bring back."""

    text: str
    source: str
    negated: bool = False


class Line(NamedTuple):
    """A pattern, and the rule that it is to a person."""

    pattern: Pattern
    rule: Rule


class Places:
    """Knows where the root is, and how files are shown to the person who asks."""

    def __init__(self, root: Path, start: Path) -> None:
        self.top = os.fsencode(root)
        self._start = os.fsencode(start)

    def show(self, file: bytes) -> str:
        """Return ``file`` relative to where the person is, or as it is if it is no file of the project."""
        is_inside = file.startswith(self.top.rstrip(b"/") + b"/")
        return os.fsdecode(os.path.relpath(file, self._start) if is_inside else file)

    def show_position(self, position: Position | None) -> str:
        """Return ``file:line:column``."""
        return f"{self.show(bytes(position.file))}:{position.line}:{position.column}" if position else BUILT_IN

    def join(self, path: bytes) -> bytes:
        """Return the absolute path of ``path``."""
        return os.path.join(self.top, path)


def list_levels(path: bytes, *, is_dir: bool) -> list[tuple[bytes, bool]]:
    """Return the way down to ``path``: each directory, then itself, and whether that is a directory."""
    parts = path.split(b"/")
    return [(b"/".join(parts[:depth]), is_dir or depth < len(parts)) for depth in range(1, len(parts) + 1)]


def find_last(lines: Iterable[Line], path: bytes, *, is_dir: bool) -> Rule | None:
    """Return the strongest of ``lines``, which stand from weak to strong, that matches ``path`` itself."""
    found = [line.rule for line in lines if matches_path(line.pattern, path, is_dir=is_dir)]
    return found[-1] if found else None


def descend(path: bytes, list_lines: Callable[[bytes], Iterable[Line]], *, is_dir: bool) -> Rule | None:
    """Go down to ``path`` and return the first rule that takes it or a parent, else the last that does not.

    ``list_lines`` gives the lines in force in a directory, from weak to strong.
    """
    rule = None
    for level, level_is_dir in list_levels(path, is_dir=is_dir):
        rule = find_last(list_lines(level.rpartition(b"/")[0]), level, is_dir=level_is_dir)
        if rule and not rule.negated:
            break
    return rule


def read_lines(data: bytes, directory: bytes, show: Callable[[int], str]) -> Iterator[Line]:
    """Return the lines of an ignore file in ``directory`` that hold a pattern; ``show`` renders a line's place."""
    lines = data.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    for number, line in enumerate(lines, 1):
        # The newline in front keeps a byte order mark in the middle of a file from being taken for one.
        for pattern in parse_ignore_file(b"\n" + line, directory):
            yield Line(pattern, Rule(os.fsdecode(line.rstrip(b" \r")), show(number), pattern.negated))


def read_configured(
    key: str, patterns: Sequence[str], positions: Sequence[Position | None], places: Places
) -> list[Line]:
    """Return the patterns of the list ``key`` of the configuration, weak to strong, each with its place."""
    data = os.fsencode("\n".join(patterns))
    owners = [index for index, text in enumerate(patterns) for _ in text.split("\n")]
    known = [places.show_position(position) for position in positions]
    known += [CONFIGURED] * (len(patterns) - len(known))
    lines = read_lines(data, b"", lambda number: known[owners[number - 1]])
    return [Line(line.pattern, replace(line.rule, text=f"{key} {line.rule.text}")) for line in lines]


class IgnoreFiles:
    """The lines of the project's ignore files, each file read once."""

    def __init__(self, places: Places, *, respect_gitignore: bool) -> None:
        self.respect_gitignore = respect_gitignore
        self._places = places
        self._read: dict[bytes, tuple[Line, ...]] = {}

    def list_lines(self, directory: bytes, name: bytes) -> tuple[Line, ...]:
        """Return the lines of the file ``name`` in ``directory``; as for git, a symbolic link is no such file."""
        file = self._places.join(os.path.join(directory, name))
        if file not in self._read:
            usable = os.path.isfile(file) and not os.path.islink(file)
            data = Path(os.fsdecode(file)).read_bytes() if usable else b""
            shown = self._places.show(file)
            self._read[file] = tuple(read_lines(data, directory, lambda number: f"{shown}:{number}"))
        return self._read[file]

    def list_gitignores(self, directory: bytes, base: bytes = b"") -> Iterator[Line]:
        """Return the lines of the ``.gitignore`` files from ``base`` down to ``directory``, weak to strong."""
        if self.respect_gitignore:
            for above in list_directories(directory):
                if len(above) >= len(base):
                    yield from self.list_lines(above, walk.GITIGNORE)


def list_directories(directory: bytes) -> list[bytes]:
    """Return the root, the directories below it on the way, and ``directory``."""
    return [b"", *(level for level, _ in list_levels(directory, is_dir=True))] if directory else [b""]
