"""Why a path is synced or not: the rule that decides, and the file and line where it stands.

Whether a file is synced is what :func:`mtr.sync.ignore.list_tree` says, always. The rule is found by going down
to the path directory by directory, as git does: at each level the strongest line that matches decides, and
what it leaves out is not looked into. git names its own lines (``git check-ignore``); those of ``exclude``,
``include`` and ``.mtrignore`` are matched here.

Writes nothing, and does not know about servers but for where their patterns are written.
"""

from __future__ import annotations

import os
import shlex
import stat
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, ProjectError, UsageError
from mtr.sync import git, walk
from mtr.sync.ignore import OWN_DIRECTORY, list_tree
from mtr.sync.lines import (
    IgnoreFiles,
    Line,
    Places,
    Rule,
    descend,
    find_last,
    list_directories,
    list_levels,
    read_configured,
)
from mtr.sync.scan import find_specials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mtr.config.model import Config, KeyPath, Position, Server
    from mtr.sync.ignore import Rules

NO_RULE = "no rule leaves it out"
UNNAMED = "git decides so, by a rule that mtr cannot name"


@dataclass(frozen=True, slots=True)
class Why:
    """Whether a path is synced, and why.

    ``path`` is relative to the root. ``rule`` is the line that decides and ``source`` is ``file:line`` or
    ``file:line:column`` of it; both are empty where no line decides, and ``reason`` then says what does. A
    directory counts as synced if it is entered; what does not exist is not synced.
    """

    path: str
    is_synced: bool
    verdict: str
    reason: str = ""
    rule: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer for each path that was asked about, and what a person should know about the listing."""

    answers: tuple[Why, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the patterns of the configuration are written, in their order; None for what is built in."""

    exclude: tuple[Position | None, ...] = ()
    include: tuple[Position | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rules say about a path, whether or not it exists."""

    is_synced: bool
    rule: Rule | None = None
    reason: str = ""


def explain_paths(
    root: Path, rules: Rules, paths: Iterable[bytes], origins: Origins | None = None, *, start: Path | None = None
) -> Explanation:
    """Say for each of ``paths``, relative to ``root``, whether it is synced and which rule decides.

    A trailing slash marks a directory, which matters where there is none. Sources are relative to ``start``
    (default: ``root``) for files of the project, absolute for others.

    Raises:
        ProjectError: as :func:`mtr.sync.ignore.list_tree`.
    """
    listing = list_tree(root, rules)
    explainer = _Explainer(Places(root, start or root), rules, origins or Origins(), listing.files)
    return Explanation(tuple(map(explainer.explain, paths)), listing.warnings)


def resolve_path(root: Path, start: Path, given: str) -> bytes:
    """Return ``given``, as typed in ``start``, relative to ``root``; a trailing slash stays.

    No symbolic link is followed, except on the way to the root itself.

    Raises:
        UsageError: it lies outside the project, or is empty.
    """
    if not given:
        raise UsageError("an empty path names no file", hint="mtr why PATH")
    place = start.joinpath(os.path.normpath(start / given))
    for top in [root, *(parent for parent in (place, *place.parents) if os.path.realpath(parent) == str(root))]:
        if place.is_relative_to(top):
            path = os.fsencode(place.relative_to(top))
            return (b"" if path == b"." else path) + b"/" * given.endswith("/")
    raise UsageError(f"{given} lies outside the project {root}", hint="mtr -C DIR why PATH, with DIR in its project")


def locate_patterns(config: Config, server: Server) -> Origins:
    """Return where the patterns of ``server`` are written.

    Lists of ``exclude`` add up: what is built in, the ``defaults``, then the server's own. The strongest list of
    ``include`` replaces the others, and only its own place is kept, so its items are looked up again.
    """
    own, shared = ("servers", server.name), ("defaults",)
    named = [_list_positions(config, (*section, "exclude")) for section in (shared, own)]
    written = [position for positions in named for position in positions]
    missing = [None] * (len(server.exclude) - len(written))
    include = _locate_items(config, (*own, "include")) or _locate_items(config, (*shared, "include"))
    return Origins((*missing, *written), tuple(include))


def _list_positions(config: Config, path: KeyPath) -> list[Position]:
    """Return the positions of the items of an additive list, in order."""
    found: list[Position] = []
    while (*path, len(found)) in config.sources:
        found.append(config.sources[*path, len(found)])
    return found


def _locate_items(config: Config, path: KeyPath) -> list[Position]:
    """Return the positions of the items of a list that was taken as a whole, by reading its file again."""
    from mtr.config.source import load_source

    position = config.sources.get(path)
    source = load_source(position.file) if position else None
    found: list[Position] = []
    while source and (*path, len(found)) in source.values:
        found.append(source.values[*path, len(found)])
    return found


class _Explainer:
    """Explains paths of one project, one after the other."""

    def __init__(self, places: Places, rules: Rules, origins: Origins, listed: Sequence[bytes]) -> None:
        self._places, self._listed = places, listed
        self._include = read_configured("include", rules.include, origins.include, places)
        self._enters_git = any(walk.GIT in line.pattern.body.split(b"/") for line in self._include)
        files = IgnoreFiles(places, respect_gitignore=rules.respect_gitignore)
        exclude = read_configured("exclude", rules.exclude, origins.exclude, places)
        self._by_git = _ByGit(places, files, exclude)
        self._by_walk = _ByWalk(files, exclude)

    def explain(self, given: bytes) -> Why:
        """Say whether ``given`` is synced, and why."""
        path = given.rstrip(b"/")
        if not path:
            return _build_why(b".", "entered", Finding(True, reason="the root of the project"))
        if link := self._find_link(path):
            reason = f"behind the symbolic link {os.fsdecode(link)}"
            return _build_why(path, "not synced", Finding(False, reason=reason))
        mode = self._load_mode(path)
        finding = self.find(path, is_dir=stat.S_ISDIR(mode) if mode else given.endswith(b"/"))
        if not mode:
            would = "would be synced" if finding.is_synced else "would not be synced"
            return _build_why(path, f"does not exist; {would}", replace(finding, is_synced=False))
        return self._explain_directory(path, finding) if stat.S_ISDIR(mode) else self._explain_file(path, finding)

    def find(self, path: bytes, *, is_dir: bool) -> Finding:
        """Return what the rules say about ``path``, from strong to weak, whether or not it exists."""
        parts = path.split(b"/")
        if parts[0] == OWN_DIRECTORY:
            return Finding(False, reason="mtr's own directory is never synced")
        if self._enters_git or walk.GIT not in parts:
            rule = descend(path, lambda _: self._include, is_dir=is_dir)
            if rule and not rule.negated:
                return Finding(True, rule)
        if walk.GIT in parts:
            return Finding(False, reason="a repository's own, synced only if `include` spells .git")
        try:
            return self._by_git.find(path, is_dir=is_dir)
        except (MissingProgram, git.GitFailed):
            return self._by_walk.find(path, is_dir=is_dir)

    def _find_link(self, path: bytes) -> bytes | None:
        parents = [level for level, _ in list_levels(path, is_dir=True)][:-1]
        return next((parent for parent in parents if os.path.islink(self._places.join(parent))), None)

    def _load_mode(self, path: bytes) -> int:
        """Return the file mode of ``path``, 0 where there is nothing."""
        try:
            return os.lstat(self._places.join(path)).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            name = os.fsdecode(path)
            hint = f"ls -ld {shlex.quote(name)}"
            raise ProjectError(f"cannot look at {name}: {error.strerror}", hint=hint) from error

    def _explain_file(self, path: bytes, finding: Finding) -> Why:
        """Say what the listing says; where the rules found say otherwise, none of them is named."""
        at = bisect_left(self._listed, path)
        is_synced = self._listed[at : at + 1] == [path]
        special = dict(find_specials(self._places.top, [path])).get(path)
        if special and finding.is_synced:
            finding = Finding(False, reason=f"{special} is never synced")
        elif finding.is_synced != is_synced:
            finding = Finding(is_synced, reason=UNNAMED)
        return _build_why(path, "synced" if is_synced else "not synced", finding)

    def _explain_directory(self, path: bytes, finding: Finding) -> Why:
        """Say whether the walk enters ``path``, and how many files below it are synced in any case."""
        count = bisect_left(self._listed, path + b"0") - bisect_left(self._listed, path + b"/")
        note = "1 file in it is synced" if count == 1 else f"{count:,} files in it are synced"
        if finding.is_synced:
            verdict, note = "entered", note if count else "nothing in it is synced"
        else:
            verdict, note = "not entered", f"yet {note}" if count else ""
        return _build_why(path, verdict, replace(finding, reason=", ".join(filter(None, (finding.reason, note)))))


def _build_why(path: bytes, verdict: str, finding: Finding) -> Why:
    rule = finding.rule or Rule("", "")
    return Why(os.fsdecode(path), finding.is_synced, verdict, finding.reason, rule.text, rule.source)


def conclude(rule: Rule | None) -> Finding:
    """Return what follows from the rule that decides among those that leave files out."""
    return Finding(rule.negated, rule) if rule else Finding(True, reason=NO_RULE)


class _ByWalk:
    """Finds the rule where there is no git, as :func:`mtr.sync.walk.list_by_walk` decides."""

    def __init__(self, files: IgnoreFiles, exclude: Sequence[Line]) -> None:
        self._files, self._exclude = files, exclude

    def find(self, path: bytes, *, is_dir: bool) -> Finding:
        """Return what ``exclude`` and the ignore files say about ``path``."""
        return conclude(descend(path, self._list_lines, is_dir=is_dir))

    def _list_lines(self, directory: bytes) -> Iterator[Line]:
        yield from self._files.list_gitignores(directory)
        for above in list_directories(directory):
            yield from self._files.list_lines(above, walk.MTRIGNORE)
        yield from self._exclude


class _Repository:
    """A work tree at ``base`` of the project, asked once what it tracks."""

    def __init__(self, places: Places, base: bytes) -> None:
        self.base = base
        self._places = places
        self._cut = len(base) + 1 if base else 0
        place = places.join(base)
        self._tree = git.find_work_tree(place)
        if base and self._tree.prefix:
            self._tree = git.build_bare_tree(place)  # as in the listing: broken, it is not its surroundings
        try:
            self._files, self._submodules = git.list_index(self._tree)
        except git.GitFailed:
            if self._tree.git_dir:
                raise
            self._tree = git.build_bare_tree(place)
            self._files, self._submodules = git.list_index(self._tree)

    def list_levels(self, path: bytes, *, is_dir: bool) -> list[tuple[bytes, bool]]:
        """Return the way from the top of this work tree down to ``path``, without the top."""
        return [level for level in list_levels(path, is_dir=is_dir) if len(level[0]) > len(self.base)]

    def is_tracked(self, path: bytes) -> bool:
        """Tell whether the index has ``path``, as a file or as a submodule."""
        name = path[self._cut :]
        return name in self._files or name in self._submodules

    def is_nested(self, path: bytes) -> bool:
        """Tell whether the directory ``path`` has a repository of its own, or should have, as a submodule."""
        place, name = self._places.join(path), path[self._cut :]
        if name in self._submodules:
            return os.path.isdir(place)
        return os.path.lexists(os.path.join(place, walk.GIT)) and git.is_nested(self._tree, name)

    def find_rules(self, paths: Sequence[bytes]) -> dict[bytes, Rule | None]:
        """Return git's own line for each of ``paths``."""
        found = git.find_ignore_lines(self._tree, [path[self._cut :] for path in paths])
        return {path: self._build_rule(answer) for path, answer in zip(paths, found, strict=True)}

    def _build_rule(self, answer: tuple[bytes, int, bytes] | None) -> Rule | None:
        if answer is None:
            return None
        file, line, text = answer
        return Rule(os.fsdecode(text), f"{self._places.show(file)}:{line}", text.startswith(b"!"))


class _ByGit:
    """Finds the rule as git does, in the repository at the root and in those nested on the way."""

    def __init__(self, places: Places, files: IgnoreFiles, exclude: Sequence[Line]) -> None:
        self._places, self._files, self._exclude = places, files, exclude
        self._opened: dict[bytes, _Repository] = {}

    def find(self, path: bytes, *, is_dir: bool) -> Finding:
        """Return what ``exclude`` and the ignore files say about ``path``.

        Raises:
            GitFailed, MissingProgram: git cannot be asked.
        """
        base, ours = b"", list[Line]()
        while True:
            repository = self._open(base)
            nested = self._find_nested(repository, path, is_dir=is_dir)
            finding = self._find_in(repository, nested or path, ours, is_dir=is_dir or bool(nested))
            if not nested or not finding.is_synced:
                return finding
            if not os.path.lexists(self._places.join(nested + b"/" + walk.GIT)):
                return Finding(False, reason=f"the submodule {os.fsdecode(nested)} is not checked out")
            if nested == path:
                return finding
            base = nested

    def _open(self, base: bytes) -> _Repository:
        if base not in self._opened:
            self._opened[base] = _Repository(self._places, base)
        return self._opened[base]

    def _find_nested(self, repository: _Repository, path: bytes, *, is_dir: bool) -> bytes | None:
        """Return the first directory below the top of ``repository`` that is a repository of its own."""
        levels = repository.list_levels(path, is_dir=is_dir)
        return next((level for level, level_is_dir in levels if level_is_dir and repository.is_nested(level)), None)

    def _find_in(self, repository: _Repository, path: bytes, ours: list[Line], *, is_dir: bool) -> Finding:
        """Go down from the top of ``repository``; add the lines of the ``.mtrignore`` files met to ``ours``.

        In a directory that git does not look into, where only tracked files are synced, an ignore file must be
        tracked to be found. Once a line of ours brings back a directory that git leaves out, git's answer for
        what is below is still that directory, so ``.gitignore`` files are matched here.
        """
        levels = repository.list_levels(path, is_dir=is_dir)
        answers = repository.find_rules([level for level, _ in levels]) if self._files.respect_gitignore else {}
        is_tracked, rule, overridden, is_lifted = repository.is_tracked(path), None, None, False
        for level, level_is_dir in levels:
            directory = level.rpartition(b"/")[0]
            if not overridden or repository.is_tracked(os.path.join(directory, walk.MTRIGNORE)):
                ours += self._files.list_lines(directory, walk.MTRIGNORE)
            our = find_last([*ours, *self._exclude], level, is_dir=level_is_dir)
            their = answers.get(level)
            if is_lifted or (level_is_dir and not os.path.isdir(self._places.join(level))):
                lines = self._files.list_gitignores(directory, repository.base)
                their = find_last(lines, level, is_dir=level_is_dir)
            rule = our or (None if is_tracked else their)
            if rule and not rule.negated:
                return Finding(False, rule)
            if their and not their.negated:
                is_lifted |= bool(our)
                overridden = overridden or (None if our else their)
        return _describe_tracked(overridden) if is_tracked and not rule else conclude(rule)


def _describe_tracked(overridden: Rule | None) -> Finding:
    in_spite = f", in spite of {overridden.source}: {overridden.text}" if overridden else ""
    return Finding(True, reason=f"tracked by git{in_spite}")
