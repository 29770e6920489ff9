"""Walking the tree oneself: for forced includes, and to decide the ignore rules where there is no git.

Patterns then mean what they mean to git, but nothing is known about repositories: a tracked file that an
ignore file matches is left out, the user's global ignore file and ``.git/info/exclude`` are not read, a nested
repository is a directory like any other.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.sync.patterns import Pattern, matches_path, parse_ignore_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

GITIGNORE = b".gitignore"
MTRIGNORE = b".mtrignore"
GIT = b".git"


def walk_tree(root: bytes, *, enter_git: bool) -> Iterator[bytes]:
    """Yield every file and symbolic link below ``root``, whatever the rules; ``.git`` only where asked for."""
    return _walk(root, lambda path, _: not enter_git and path.rpartition(b"/")[2] == GIT)


def list_by_walk(root: bytes, patterns: Sequence[Pattern], *, respect_gitignore: bool) -> Iterator[bytes]:
    """Yield the files that no rule leaves out; ``patterns`` are those that outrank every ignore file."""
    matcher = Matcher(root, patterns, respect_gitignore=respect_gitignore)
    return _walk(root, lambda path, is_dir: path.rpartition(b"/")[2] == GIT or matcher.decide(path, is_dir=is_dir))


def match_by_walk(paths: Iterable[bytes], patterns: Sequence[Pattern]) -> frozenset[bytes]:
    """Return those of ``paths`` that ``patterns`` match, themselves or through a parent directory."""
    matcher = Matcher(b"", patterns, respect_gitignore=False, read_files=False)
    return frozenset(path for path in paths if matcher.is_ignored(path))


class Matcher:
    """Decides whether a path is ignored, reading the ignore files on the way down to it once each."""

    def __init__(
        self, root: bytes, patterns: Sequence[Pattern], *, respect_gitignore: bool, read_files: bool = True
    ) -> None:
        self._root = root
        self._names = [GITIGNORE] * respect_gitignore + [MTRIGNORE] if read_files else []
        self._patterns = patterns
        self._levels: dict[bytes, list[tuple[Pattern, ...]]] = {}

    def is_ignored(self, path: bytes) -> bool:
        """Tell whether the file ``path`` or one of its parents is ignored."""
        parts = path.split(b"/")
        parents = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
        return any(self.decide(parent, is_dir=True) for parent in parents) or self.decide(path, is_dir=False)

    def decide(self, path: bytes, *, is_dir: bool) -> bool:
        """Tell whether ``path`` itself is ignored, given that no parent of it is: the last match decides."""
        in_files = self._load_levels(path.rpartition(b"/")[0])
        for patterns in (self._patterns, *reversed(in_files)):
            for pattern in reversed(patterns):
                if matches_path(pattern, path, is_dir=is_dir):
                    return not pattern.negated
        return False

    def _load_levels(self, directory: bytes) -> list[tuple[Pattern, ...]]:
        """Return, per kind of ignore file, the patterns in force in ``directory``, from shallow to deep."""
        if directory not in self._levels:
            above = self._load_levels(directory.rpartition(b"/")[0]) if directory else [()] * len(self._names)
            self._levels[directory] = [
                level + load_ignore_file(self._root, directory, name)
                for level, name in zip(above, self._names, strict=True)
            ]
        return self._levels[directory]


def load_ignore_file(root: bytes, directory: bytes, name: bytes = MTRIGNORE) -> tuple[Pattern, ...]:
    """Return the patterns of the ignore file ``name`` in ``directory`` of ``root``; none where it is no file.

    As git does, a symbolic link is not followed; and a FIFO of that name is not opened.
    """
    file = Path(os.fsdecode(os.path.join(root, directory, name)))
    if file.is_symlink() or not file.is_file():
        return ()
    return parse_ignore_file(file.read_bytes(), directory)


def _walk(root: bytes, is_skipped: Callable[[bytes, bool], bool]) -> Iterator[bytes]:
    directories = [b""]
    while directories:
        directory = directories.pop()
        for entry in _list_directory(os.path.join(root, directory)):
            path = directory + b"/" + entry.name if directory else entry.name
            is_dir = entry.is_dir(follow_symlinks=False)
            if is_skipped(path, is_dir):
                continue
            if is_dir:
                directories.append(path)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield path


def _list_directory(directory: bytes) -> list[os.DirEntry[bytes]]:
    """Return what is in ``directory``; nothing where it is gone or closed to us, as git does."""
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
