"""Looking at the files that belong to the project: what kind each is, how large, when changed.

Nothing is opened, so a FIFO cannot block, and no symbolic link is followed: git may list ``a/x`` although
``a`` has become a link meanwhile, and what lies behind a link is not the project's.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mtr.errors import ProjectError
from mtr.sync.plan import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtr.sync.plan import Kind

_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}
_SPECIAL_NAMES = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def scan_paths(root: bytes, paths: Iterable[bytes]) -> list[Entry]:
    """Return the entries of those of ``paths`` that are files or symbolic links, sorted by path.

    What has vanished since it was listed is left out, and so is what lies behind a symbolic link.

    Raises:
        ProjectError: a directory on the way is closed to this user.
    """
    real_parents = {b"": True}
    entries = []
    for path in sorted(paths):
        if _is_real_directory(root, path.rpartition(b"/")[0], real_parents):
            entry = _scan_path(root, path)
            if entry:
                entries.append(entry)
    return entries


def find_specials(root: bytes, paths: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    """Yield path and kind of each FIFO, socket and device that lies beside one of ``paths``.

    git does not list them at all, so they are looked for where it listed something.
    """
    directories = {path.rpartition(b"/")[0] for path in paths} | {b""}
    for directory in sorted(directories):
        try:
            with os.scandir(os.path.join(root, directory)) as found:
                unusual = [entry for entry in found if not _is_usual(entry)]
        except OSError:
            continue  # gone or closed since: there is nothing to say about what is in it
        for entry in unusual:
            path = directory + b"/" + entry.name if directory else entry.name
            yield path, _describe_special(entry)


def describe_kind(path: bytes) -> str:
    """Return what ``path`` is if it is a FIFO, a socket or a device, else ""."""
    try:
        return _SPECIAL_NAMES.get(stat.S_IFMT(os.lstat(path).st_mode), "")
    except OSError:
        return ""


def _scan_path(root: bytes, path: bytes) -> Entry | None:
    try:
        found = os.lstat(root + b"/" + path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        name = os.fsdecode(path)
        raise ProjectError(f"cannot look at {name}: {error.strerror}", hint=f"ls -ld {name}") from error
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    mode = stat.S_IMODE(found.st_mode)
    return Entry(path, kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, mode)


def _is_real_directory(root: bytes, directory: bytes, known: dict[bytes, bool]) -> bool:
    if directory not in known:
        parent = directory.rpartition(b"/")[0]
        known[directory] = _is_real_directory(root, parent, known) and not os.path.islink(root + b"/" + directory)
    return known[directory]


def _is_usual(entry: os.DirEntry[bytes]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()


def _describe_special(entry: os.DirEntry[bytes]) -> str:
    try:
        return _SPECIAL_NAMES.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "a special file")
    except OSError:
        return "a special file"


def find_parents(paths: Iterable[bytes]) -> set[bytes]:
    """Return every directory on the way from the root to ``paths``, without the root."""
    found: set[bytes] = set()
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition(b"/")[0]
    return found
