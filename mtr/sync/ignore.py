"""Which files belong to the project.

Precedence, strong to weak: ``include``, ``exclude``, ``.mtrignore`` files, ``.gitignore`` files (with
``.git/info/exclude`` and the user's global ignore file). git decides wherever it is installed, nested
repositories and submodules each in turn; ``walk`` decides where there is no git. Whatever the rules, ``.mtr/``
at the root is never listed, and a repository's ``.git`` only if an include pattern spells that name.

Does not know about servers, and writes nothing into the tree.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, ProjectError
from mtr.sync import git, walk
from mtr.sync.patterns import Pattern, parse_patterns, relocate_patterns
from mtr.sync.scan import find_specials, scan_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mtr.sync.plan import Entry

OWN_DIRECTORY = b".mtr"
_OWN_PATTERN = Pattern(OWN_DIRECTORY)
SHOW_IGNORE_FILES = Pattern(b"**/" + walk.MTRIGNORE, negated=True)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about files; patterns in the syntax of gitignore(5)."""

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    respect_gitignore: bool = True

    def to_tuple(self) -> tuple[object, ...]:
        """Return the fields as plain values, to be kept with what they decided."""
        return (self.exclude, self.include, self.respect_gitignore)


@dataclass(frozen=True, slots=True)
class Listing:
    """The project's files, sorted by path, and what a person should know about the rest."""

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> list[bytes]:
        """Return the paths alone, relative to the root."""
        return [entry.path for entry in self.entries]


def list_files(root: Path, rules: Rules) -> list[bytes]:
    """Return the paths of the project's files, relative to ``root``, sorted; see :func:`list_tree`."""
    return list_tree(root, rules).files


def list_tree(root: Path, rules: Rules) -> Listing:
    """Return the project's files and symbolic links as they are on disk now.

    Empty directories are no part of it, as for git. FIFOs, sockets and devices are left out with a warning.

    Raises:
        ProjectError: ``root`` is no directory, or has nothing at all in it.
    """
    _check_root(root)
    top = os.fsencode(root)
    try:
        paths, warnings = _list_by_git(top, rules)
    except git.GitFailed as failure:
        paths, warnings = _list_by_walk(top, rules), [f"git cannot decide what to sync: {failure}"]
    except MissingProgram:
        paths, warnings = _list_by_walk(top, rules), []
    entries = scan_paths(top, (path for path in paths if not _is_own(path)))
    warnings += _describe_specials(top, rules, [entry.path for entry in entries])
    return Listing(tuple(entries), tuple(warnings))


def _check_root(root: Path) -> None:
    hint = "cd into the project, or name it: mtr -C DIR …"
    if not root.is_dir():
        raise ProjectError(f"the project directory {root} does not exist", hint=hint)
    if next(root.iterdir(), None) is None:
        # An unmounted disk looks just like this.
        raise ProjectError(f"the project directory {root} is empty", hint=hint)


def _is_own(path: bytes) -> bool:
    return path.partition(b"/")[0] == OWN_DIRECTORY


def _list_by_git(top: bytes, rules: Rules) -> tuple[set[bytes], list[str]]:
    """Return what git decides, ``.mtrignore`` files being found on the way.

    Each listing may show ignore files deeper down, whose patterns belong into the next one; they show even
    where they are themselves ignored. The listing that counts is the one after the last was found.
    """
    known: dict[bytes, tuple[Pattern, ...]] = {}
    new = {walk.MTRIGNORE}
    while new:
        known |= {path: walk.load_ignore_file(top, path.rpartition(b"/")[0]) for path in new}
        found, warnings = _collect(top, [*_order_patterns(known, rules), SHOW_IGNORE_FILES], rules)
        new = {path for path in found if path.rpartition(b"/")[2] == walk.MTRIGNORE} - known.keys()
    if walk.MTRIGNORE in found or len(known) > 1:
        found, warnings = _collect(top, _order_patterns(known, rules), rules)
    return found | _find_forced(top, rules), warnings


def build_patterns(rules: Rules) -> list[Pattern]:
    """Return the patterns of the configuration that leave something out, from weak to strong."""
    return [*parse_patterns(rules.exclude), _OWN_PATTERN]


def _order_patterns(known: dict[bytes, tuple[Pattern, ...]], rules: Rules) -> list[Pattern]:
    """Return all patterns that outrank ``.gitignore``, from weak to strong: shallow, deep, exclude, ours."""
    files = sorted(known, key=lambda path: (path.count(b"/"), path))
    from_files = [pattern for path in files for pattern in known[path]]
    return [*from_files, *build_patterns(rules)]


def _collect(top: bytes, patterns: Sequence[Pattern], rules: Rules) -> tuple[set[bytes], list[str]]:
    """Return the files of the repository at ``top`` and of those nested in it, with git's warnings."""
    files, warnings = set[bytes](), list[str]()
    directories = [b""]
    for directory in directories:
        here = relocate_patterns(patterns, directory)
        found = _list_directory(os.path.join(top, directory), here, rules, nested=bool(directory))
        files |= {_join(directory, path) for path in found.files}
        nested = (_join(directory, path) for path in sorted(found.nested) if path)
        directories += [path for path in nested if os.path.lexists(os.path.join(top, path, walk.GIT))]
        warnings += found.warnings
    return files, warnings


def _list_directory(place: bytes, patterns: Sequence[Pattern], rules: Rules, *, nested: bool) -> git.Found:
    """Return what git finds in ``place``, as a plain directory where its repository cannot be read."""
    tree = git.find_work_tree(place)
    if nested and tree.prefix:
        tree = git.build_bare_tree(place)  # a broken repository must not turn into its surroundings
    try:
        return git.list_work_tree(tree, patterns, respect_gitignore=rules.respect_gitignore)
    except git.GitFailed as failure:
        if tree.git_dir:
            raise
        bare = git.build_bare_tree(place, str(failure))
        return git.list_work_tree(bare, patterns, respect_gitignore=rules.respect_gitignore)


def _join(directory: bytes, path: bytes) -> bytes:
    return directory + b"/" + path if directory else path


def _find_forced(top: bytes, rules: Rules) -> frozenset[bytes]:
    """Return the files that ``include`` forces in, wherever they lie."""
    patterns = parse_patterns(rules.include)
    if not patterns:
        return frozenset()
    return git.match_patterns(_walk_for(top, patterns), patterns)


def _walk_for(top: bytes, patterns: Iterable[Pattern]) -> Iterator[bytes]:
    enter_git = any(walk.GIT in pattern.body.split(b"/") for pattern in patterns)
    return walk.walk_tree(top, enter_git=enter_git)


def _list_by_walk(top: bytes, rules: Rules) -> set[bytes]:
    excluded, included = build_patterns(rules), parse_patterns(rules.include)
    found = set(walk.list_by_walk(top, excluded, respect_gitignore=rules.respect_gitignore))
    return found | walk.match_by_walk(_walk_for(top, included), included) if included else found


def _describe_specials(top: bytes, rules: Rules, paths: Iterable[bytes]) -> list[str]:
    """Return a warning for each special file that the rules do not leave out anyway."""
    matcher = walk.Matcher(top, build_patterns(rules), respect_gitignore=rules.respect_gitignore)
    specials = sorted(find_specials(top, paths))
    return [f"{os.fsdecode(path)} is {kind}: not synced" for path, kind in specials if not matcher.is_ignored(path)]


def match_ignored(root: Path, paths: Iterable[bytes], rules: Rules) -> set[bytes]:
    """Return those of ``paths`` that the rules leave out, whether or not they are there: mtr's own, or git's."""
    top, paths = os.fsencode(root), set(paths)
    matcher = walk.Matcher(top, build_patterns(rules), respect_gitignore=rules.respect_gitignore)
    ignored = {path for path in paths if matcher.is_ignored(path)}
    if not rules.respect_gitignore:
        return ignored
    asked = [path for path in paths - ignored if not _is_beyond_git(top, path)]
    try:
        lines = git.find_ignore_lines(git.find_work_tree(top), asked)
    except (MissingProgram, git.GitFailed):
        return ignored
    found = zip(asked, lines, strict=True)
    return ignored | {path for path, line in found if line is not None and not line[2].startswith(b"!")}


def _is_beyond_git(top: bytes, path: bytes) -> bool:
    """Tell whether ``path`` lies behind a symbolic link or in a repository of its own: git refuses to judge those."""
    folder = path.rpartition(b"/")[0]
    while folder:
        place = os.path.join(top, folder)
        if os.path.islink(place) or os.path.lexists(os.path.join(place, walk.GIT)):
            return True
        folder = folder.rpartition(b"/")[0]
    return False
