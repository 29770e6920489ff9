"""The file as which a download arrives: beside its target, under a hidden name until it is whole.

``.NAME.mtr-HASH``: the hash is of what the server says of the file (place, size, time), so what a cut download has left
is gone on with as long as that is so, and a file that has changed there starts anew. A part is locked while it is
written; another download of the same file then takes a name of its own.
"""

from __future__ import annotations

import os
import re
import stat
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from mtr.state import drop_file, lock_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtr.ssh.sftp import Attributes

KEPT_BYTES = 1 << 20
"""Less than this is brought again as soon as it is found."""

KEPT_S = 14 * 86_400
"""A part that nobody has gone on with for so long goes when something is downloaded beside it."""

RACY_S = 2.0
"""A file that was written within this time may be written once more without another time or size."""

_NAME = re.compile(rb"\.(.*)\.mtr-[0-9a-f]{16}", re.DOTALL)
_MAX_NAME_BYTES = 200


class Part:
    """An open part, locked; ``have_bytes`` of it have come before."""

    def __init__(self, target: bytes, mark: str) -> None:
        """Open the part of ``target`` that ``mark`` names; "" is one that cannot be gone on with.

        Raises:
            OSError: it cannot be made.
        """
        self.target = target
        self.path, self.descriptor, self.have_bytes = b"", -1, 0
        self._can_go_on = True
        if not (mark and self._take(name_part(target, mark))):
            self._can_go_on = False
            self._make()

    def _make(self) -> None:
        """Make a part that is nobody else's.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            self.path = name_part(self.target, os.urandom(8).hex())
            self.descriptor = os.open(self.path, _FLAGS | os.O_EXCL, 0o600)
            # Until it is locked, another download beside it takes it for one that nobody will go on with.
            if _try_lock(self.descriptor) and os.path.lexists(self.path):
                return
            os.close(self.descriptor)

    def _take(self, path: bytes) -> bool:
        """Take the part ``path``, left there or made now; tell whether that is possible."""
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except OSError:
            return False  # A link or a directory in its place; what is wrong besides shows with the next name.
        try:
            if lock_file(descriptor, wait=False) and _is_own(path, descriptor):
                self.have_bytes = _count_sure(descriptor)
                self.path, self.descriptor = path, descriptor
                return True
        except OSError:
            # A file system without locks: nobody takes it there, and nobody would collect it.
            if os.fstat(descriptor).st_size == 0:
                drop_file(os.fsdecode(path))
        os.close(descriptor)
        return False

    def finish(self, mode: int, mtime_s: int) -> None:
        """Give the whole part its target's name."""
        os.fchmod(self.descriptor, mode)
        os.utime(self.descriptor, (mtime_s, mtime_s))
        if os.fstat(self.descriptor).st_size >= KEPT_BYTES:
            # A crash leaves a small one empty or whole on the file systems of today, and an empty one is brought again;
            # two thousand of these calls take longer than the files.
            os.fsync(self.descriptor)
        os.replace(self.path, self.target)
        self.close()

    def leave(self, *, is_sound: bool) -> None:
        """Keep what has come for the next time, if it ``is_sound`` and worth it."""
        if self.descriptor < 0:
            return
        try:
            if not is_sound or not self._can_go_on or os.fstat(self.descriptor).st_size < KEPT_BYTES:
                os.unlink(self.path)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def _try_lock(descriptor: int) -> bool:
    """Take the lock on a part unless somebody holds it; on a file system without locks nobody does."""
    try:
        return lock_file(descriptor, wait=False)
    except OSError:
        return True


def _is_own(path: bytes, descriptor: int) -> bool:
    """Tell whether the open file is a plain one of this user, under that name alone."""
    found = os.fstat(descriptor)
    is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()
    return is_plain and os.path.samestat(os.lstat(path), found)


def _count_sure(descriptor: int) -> int:
    """Return how much of a part can be relied on: nothing of one from before the last start of this machine.

    If that was a crash, blocks in the middle of it may never have reached the disk.
    """
    found = os.fstat(descriptor)
    clock = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    started_s = time.time() - time.clock_gettime(clock) if clock is not None else time.time()
    return found.st_size if found.st_mtime > started_s else 0


def name_part(target: bytes, mark: str) -> bytes:
    """Return the name under which ``target`` arrives."""
    folder, name = os.path.split(target)
    return os.path.join(folder, b"." + name[:_MAX_NAME_BYTES] + b".mtr-" + mark.encode())


def build_mark(server: str, place: bytes, look: Attributes) -> str:
    """Return what ties a part to a file of the server; "" for one that may change without showing it."""
    if look.size_bytes < KEPT_BYTES or abs(time.time() - look.mtime_s) < RACY_S:
        return ""
    words = b"\0".join((os.fsencode(server), place, b"%d %d" % (look.size_bytes, look.mtime_s)))
    return sha256(words).hexdigest()[:16]


def collect(wanted: Iterable[tuple[bytes, str]]) -> None:
    """Remove parts beside the targets of ``wanted`` that nobody will go on with: of other states of them, and old ones.

    ``wanted`` are targets with their marks.
    """
    folders: dict[bytes, dict[bytes, bytes]] = {}
    for target, mark in wanted:
        folder, name = os.path.split(target)
        folders.setdefault(folder, {})[name[:_MAX_NAME_BYTES]] = os.path.basename(name_part(target, mark))
    for folder, names in folders.items():
        try:
            found = os.listdir(folder or b".")
        except OSError:
            continue  # Not there yet; or it will be told when something is written.
        for name in found:
            match = _NAME.fullmatch(name)
            if match and names.get(match[1]) != name:
                _drop(os.path.join(folder, name), is_superseded=match[1] in names)


def _drop(path: bytes, *, is_superseded: bool) -> None:
    """Remove a part unless somebody is writing it, or it is another file's and may yet be gone on with."""
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return
    try:
        is_old = time.time() - os.fstat(descriptor).st_mtime > KEPT_S
        if (is_superseded or is_old) and lock_file(descriptor, wait=False) and _is_own(path, descriptor):
            os.unlink(path)
    except OSError:
        pass  # It is in nobody's way.
    finally:
        os.close(descriptor)
