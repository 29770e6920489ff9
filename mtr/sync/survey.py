"""Making a tree: listing the project by its rules, and bringing a known tree up to date.

``ignore`` decides; this keeps its decisions, so that a later run asks git only about names that are new, and
about everything when a rule file has changed. Besides files and links a tree has the directories in which a new
name would matter, and those that are empty: a program that writes into one finds it on the server too.
"""

from __future__ import annotations

import os
import time
from stat import S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram
from mtr.sync import git, walk
from mtr.sync.ignore import SHOW_IGNORE_FILES, Rules, build_patterns, list_tree
from mtr.sync.manifest import OWN_DIRECTORY, RULE_NAMES, Tree, list_names, read_signature, steady
from mtr.sync.scan import describe_kind, find_parents, scan_paths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mtr.sync.manifest import Changes
    from mtr.sync.plan import Entry

MANY = 200
"""With more new names than this, asking about everything is no slower."""


def survey(root: Path, rules: Rules) -> Tree:
    """Return the project at ``root`` as it is now; the current directory must be ``root``.

    Raises:
        ProjectError: there is nothing at all in it.
    """
    return survey_entries(root, rules)[0]


def survey_entries(root: Path, rules: Rules) -> tuple[Tree, tuple[Entry, ...]]:
    """Return the project at ``root`` as :func:`survey` does, and its files as they were looked at."""
    started_ns = time.time_ns()
    tree = Tree()
    tree.rules = rules.to_tuple()
    listing = list_tree(root, rules)
    tree.warnings = listing.warnings
    for entry in listing.entries:
        _append(tree, entry, started_ns)
    _watch(tree, root, rules, {b""} | find_parents(tree.paths), started_ns)
    _note_rule_files(tree, root, started_ns)
    return tree, listing.entries


def _append(tree: Tree, entry: Entry, started_ns: int) -> None:
    tree.paths.append(entry.path)
    tree.ctimes.append(steady(entry.ctime_ns, started_ns))
    tree.inodes.append(entry.inode)
    tree.sizes.append(entry.size_bytes)


def _watch(tree: Tree, root: Path, rules: Rules, folders: set[bytes], started_ns: int) -> None:
    """Add ``folders``, and those found below them that are not known, to the directories of ``tree``.

    A directory in which nothing is listed is asked about: unless a rule leaves it out, a name may appear in it.
    """
    matcher = walk.Matcher(os.fsencode(root), build_patterns(rules), respect_gitignore=rules.respect_gitignore)
    files = set(tree.paths)
    with_files = find_parents(tree.paths)
    queue = sorted(folders)
    seen = {*queue, *tree.folders}
    for folder in queue:
        here = folder or b"."
        found = _look_at(here, started_ns)
        if found is None:
            continue
        names = list_names(here)
        left_out = []
        for name, is_folder in names:
            path = folder + b"/" + name if folder else name
            if is_folder and path not in seen:
                if path == OWN_DIRECTORY or name == walk.GIT or matcher.decide(path, is_dir=True):
                    left_out.append(name + b"/")
                else:
                    queue.append(path)
                    seen.add(path)
            elif not is_folder and path not in files and _is_decided(path, started_ns):
                left_out.append(name)
            if name in RULE_NAMES[:2]:
                tree.rule_files.append(_sign(os.fsdecode(path), started_ns))
        tree.folders.append(here)
        tree.folder_ctimes.append(found[0])
        tree.folder_inodes.append(found[1])
        if left_out:
            tree.ignored[here] = tuple(left_out)
        if not names and folder and folder not in with_files:
            tree.empty.append(folder)


def _is_decided(path: bytes, started_ns: int) -> bool:
    """Tell whether a rule has left ``path`` out: not what was made while git was asked, and not what is no file now."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return steady(found.st_ctime_ns, started_ns) != 0 and (S_ISREG(found.st_mode) or S_ISLNK(found.st_mode))


def _look_at(folder: bytes, started_ns: int) -> tuple[int, int] | None:
    try:
        found = os.lstat(folder)
    except OSError:
        return None
    return steady(found.st_ctime_ns, started_ns), found.st_ino


def _sign(path: str, started_ns: int) -> tuple[str, tuple[int, int, int] | None]:
    """Return a rule file with what it looks like; a racy one counts as changed next time."""
    found = read_signature(path)
    return path, found and (steady(found[0], started_ns), found[1], found[2])


def _note_rule_files(tree: Tree, root: Path, started_ns: int) -> None:
    """Note what decided besides the ignore files in the tree, and whether a new name can be asked about alone."""
    names = {os.path.basename(path) for path, _ in tree.rule_files}
    nested = [folder for folder, left_out in tree.ignored.items() if folder != b"." and _holds_git(left_out)]
    _, include, respect_gitignore = tree.rules
    try:
        place = git.find_work_tree(os.fsencode(root))
        files, indexes = git.find_rule_files(place)
        tree.forced = git.list_forced(place) if indexes and respect_gitignore else ()
        for folder in nested:
            more, others = git.find_rule_files(git.find_work_tree(os.path.join(os.fsencode(root), folder)))
            files += more + others
    except (MissingProgram, git.GitFailed):
        tree.is_plain = False
        return
    tree.rule_files += [_sign(path, started_ns) for path in dict.fromkeys(files)]
    tree.indexes = [_sign(path, started_ns) for path in indexes]
    tree.is_plain = not (nested or include or ".mtrignore" in names)


def _holds_git(names: tuple[bytes, ...]) -> bool:
    return b".git/" in names or b".git" in names


def refresh(tree: Tree, changes: Changes, root: Path, rules: Rules) -> Tree:
    """Return ``tree`` brought up to date with ``changes``, which it was compared with; ``tree`` is used up."""
    try:
        return _refresh(tree, changes, root, rules)
    except (MissingProgram, git.GitFailed):
        return survey(root, rules)  # which does without, and says so


def _refresh(tree: Tree, changes: Changes, root: Path, rules: Rules) -> Tree:
    if changes.rules_changed or (changes.index_changed and not _keep_index(tree, root, changes.started_ns)):
        return survey(root, rules)
    new = tree.find_new(changes)
    if any(path.rstrip(b"/").rpartition(b"/")[2] in RULE_NAMES for path in new) or len(new) > MANY:
        return survey(root, rules)
    gone = [tree.paths[index].rpartition(b"/")[2] in RULE_NAMES for index in [*changes.gone, *changes.changed]]
    if any(gone) or (new and not tree.is_plain):
        return survey(root, rules)
    for index in changes.changed:
        try:
            tree.note(index, changes.started_ns)
        except OSError:
            changes.gone.append(index)  # it went this moment
    added = _list_new(new, root, rules) if new else []
    if added is None:
        return survey(root, rules)
    tree.warnings = describe_specials(path for path in new if not path.endswith(b"/"))
    _drop(tree, changes)
    for entry in added:
        _append(tree, entry, changes.started_ns)
    _watch_again(tree, changes, added, root, rules)
    return tree


def describe_specials(paths: Iterable[bytes]) -> tuple[str, ...]:
    """Return a warning for each of ``paths`` that is a FIFO, a socket or a device."""
    found = ((path, describe_kind(path)) for path in paths)
    return tuple(f"{os.fsdecode(path)} is {kind}: not synced" for path, kind in found if kind)


def _keep_index(tree: Tree, root: Path, started_ns: int) -> bool:
    """Take a changed index for the known one if it says the same about ignored files."""
    if not tree.is_plain or git.list_forced(git.find_work_tree(os.fsencode(root))) != tree.forced:
        return False
    tree.indexes = [_sign(path, started_ns) for path, _ in tree.indexes]
    return True


def _list_new(new: list[bytes], root: Path, rules: Rules) -> list[Entry] | None:
    """Return what git lists of ``new``; None where rules have come with it: a repository's own, or a ``.mtrignore``."""
    top = os.fsencode(root)
    asked = [path.rstrip(b"/") for path in new]
    patterns = [*build_patterns(rules), SHOW_IGNORE_FILES]
    found = git.list_work_tree(
        git.find_work_tree(top), patterns, respect_gitignore=rules.respect_gitignore, paths=asked
    )
    has_rules = found.nested or any(path.rpartition(b"/")[2] == walk.MTRIGNORE for path in found.files)
    return None if has_rules else scan_paths(top, found.files)


def _drop(tree: Tree, changes: Changes) -> None:
    if changes.gone:
        gone = set(changes.gone)
        for name in ("paths", "ctimes", "inodes", "sizes"):
            setattr(tree, name, [value for index, value in enumerate(getattr(tree, name)) if index not in gone])


def _watch_again(tree: Tree, changes: Changes, added: list[Entry], root: Path, rules: Rules) -> None:
    """Look anew at the directories that have changed, and at new ones."""
    again = {tree.folders[index] for index in changes.folders}
    lost = {tree.folders[index] for index in changes.lost_folders}
    if not again and not lost:
        return
    kept = [index for index, folder in enumerate(tree.folders) if folder not in again and folder not in lost]
    for name in ("folders", "folder_ctimes", "folder_inodes"):
        values = getattr(tree, name)
        setattr(tree, name, [values[index] for index in kept])
    tree.empty = [folder for folder in tree.empty if folder not in again and folder not in lost]
    tree.ignored = {folder: names for folder, names in tree.ignored.items() if folder not in again | lost}
    tree.rule_files = [(path, found) for path, found in tree.rule_files if _folder_of(path) not in again | lost]
    known = set(tree.folders)
    start = {b"" if folder == b"." else folder for folder in again} | {
        folder for folder in find_parents(entry.path for entry in added) if folder not in known
    }
    _watch(tree, root, rules, start, changes.started_ns)


def _folder_of(path: str) -> bytes | None:
    """Return the directory of an ignore file in the tree; None for a rule file elsewhere."""
    return None if path.startswith("/") else os.fsencode(os.path.dirname(path) or ".")
