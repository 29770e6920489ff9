"""What the SFTP engine does with single files, as tasks of :class:`mtr.ssh.sftp.Sftp`: upload and download.

A file is whole under its own name or is not there: it travels under another name and is renamed. SFTP 3 knows times
in whole seconds.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh import sftp
from mtr.sync.archive import build_unreadable, open_source
from mtr.sync.scan import find_parents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mtr.ssh.sftp import Attributes, Sftp, Task
    from mtr.sync.plan import Entry

    Counts = Callable[[int], None]

NS_PER_S = 1_000_000_000
MAX_NAMES = 5_000_000
MAX_PATH_BYTES = 4096
"""A server must not go on for ever. Linux knows no longer path (limits.h, PATH_MAX)."""


def upload(session: Sftp, top: bytes, entry: Entry, place: bytes, sent: Callable[[bytes], None], count: Counts) -> Task:
    """Bring one path of the project below ``top`` (ends in a slash) to ``place``, where nothing stands.

    ``sent`` gets the path once it is there; one that has vanished here is left out. ``count`` gets bytes as they go.
    """
    if entry.kind == "symlink":
        try:
            target = os.readlink(top + entry.path)
        except OSError:
            return
        sftp.check(entry.path, (yield [sftp.make_link(place, target)]))
    else:
        descriptor = open_source(top, entry.path)
        if descriptor is None:
            return
        try:
            yield from _upload_content(session, descriptor, entry.path, place, count)
        except OSError as error:
            raise build_unreadable(entry.path, error) from error
        finally:
            os.close(descriptor)
    sent(entry.path)


def _upload_content(session: Sftp, descriptor: int, path: bytes, place: bytes, count: Counts) -> Task:
    """Write what the file holds now, and no more of one that grows meanwhile."""
    found = os.fstat(descriptor)
    opened = yield [sftp.open_file(place, sftp.WRITE | sftp.CREATE | sftp.TRUNCATE, stat.S_IMODE(found.st_mode))]
    sftp.check(path, opened)
    handle, offset, is_whole = opened[0].data, 0, False
    while not is_whole:
        requests, before, blocks = list[bytes](), offset, session.batch_blocks
        while len(requests) < blocks and not is_whole:
            block = os.read(descriptor, min(sftp.BLOCK_BYTES, found.st_size - offset))
            if block:
                requests.append(sftp.write(handle, offset, block))
            offset += len(block)
            is_whole = not block or offset >= found.st_size
        if is_whole:
            mtime_s = found.st_mtime_ns // NS_PER_S
            requests += [sftp.set_look(handle, stat.S_IMODE(found.st_mode), mtime_s), sftp.close(handle)]
        sftp.check(path, (yield requests))
        count(offset - before)


def make_dirs(session: Sftp, folders: Iterable[bytes]) -> None:
    """Make ``folders``, parents first; what is there already is left."""

    def task(wanted: list[bytes]) -> Task:
        for start in range(0, len(wanted), sftp.MAX_REQUESTS):
            # What cannot be made is noticed by the first file in it.
            yield [sftp.make_dir(folder) for folder in wanted[start : start + sftp.MAX_REQUESTS]]

    session.run([task(list(folders))])


def list_parents(paths: Iterable[bytes]) -> list[bytes]:
    """Return every directory on the way to ``paths``, parents first."""
    return sorted(find_parents(paths))


def look_at_all(session: Sftp, places: Iterable[bytes]) -> dict[bytes, Attributes]:
    """Return what the server has at each of ``places``; those at which nothing stands are left out."""
    found: dict[bytes, Attributes] = {}

    def task(place: bytes) -> Task:
        reply = (yield [sftp.lstat(place)])[0]
        if reply.attributes is not None:
            found[place] = reply.attributes
        elif reply.status != sftp.NO_SUCH_FILE:
            sftp.check(place, [reply])

    session.run(task(place) for place in places)
    return found


def walk(session: Sftp, top: bytes) -> Iterator[tuple[bytes, Attributes]]:
    """Yield every path below the directory ``top`` of the server, relative to it, level by level; links as links."""
    level, room = [b""], [MAX_NAMES]
    while level:
        found: list[tuple[bytes, Attributes]] = []
        session.run(_list_dir(top, folder, found, room) for folder in level)
        yield from found
        level = [path for path, look in found if look.mode is not None and stat.S_ISDIR(look.mode)]


def _list_dir(top: bytes, folder: bytes, found: list[tuple[bytes, Attributes]], room: list[int]) -> Task:
    place = top + b"/" + folder if folder else top
    opened = yield [sftp.open_dir(place)]
    sftp.check(place, opened)
    # A server may list a name twice (POSIX leaves that open while a directory changes); it is one file.
    handle, seen = opened[0].data, {b".", b".."}
    while True:
        reply = (yield [sftp.read_dir(handle)])[0]
        if reply.status == sftp.EOF:
            break
        sftp.check(place, [reply])
        if not reply.names:
            raise SyncError(
                f"the server does not list {place.decode(errors='replace')} to its end", hint="run it again"
            )
        room[0] -= max(1, len(reply.names))
        if room[0] < 0 or len(folder) > MAX_PATH_BYTES:
            message = f"the server lists more than {MAX_NAMES:,} names, or deeper than any path goes"
            raise SyncError(message, hint="name a directory further down")
        for name, look in reply.names:
            if not name or b"/" in name or b"\0" in name:
                # Below that directory only: a server must not choose where else a download writes.
                raise SyncError(f"the server lists an impossible name in {place.decode(errors='replace')}: {name!r}")
            if name not in seen:
                seen.add(name)
                found.append((folder + b"/" + name if folder else name, look))
    yield [sftp.close(handle)]


def download(session: Sftp, place: bytes, look: Attributes, target: bytes, count: Counts) -> Task:
    """Bring one file or link of the server to ``target`` here, which is replaced by rename."""
    if look.mode is not None and stat.S_ISLNK(look.mode):
        reply = (yield [sftp.read_link(place)])[0]
        sftp.check(place, [reply])
        leads_to = reply.names[0][0] if reply.names else b""
        if not leads_to or b"\0" in leads_to:
            raise SyncError(f"the server does not say where {place.decode(errors='replace')} leads")
        _replace_by_link(target, leads_to)
        return
    opened = yield [sftp.open_file(place, sftp.READ)]
    if opened[0].status == sftp.NO_SUCH_FILE:
        session.vanished.append(place)
        return
    sftp.check(place, opened)
    part = name_part(target)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield from _download_content(session, descriptor, place, opened[0].data, look.size_bytes, count)
        # Never the bits that let a program run as somebody else, or others write.
        os.fchmod(descriptor, (look.mode if look.mode is not None else 0o644) & 0o755)
        os.utime(descriptor, (look.mtime_s, look.mtime_s))
        os.fsync(descriptor)
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise
    finally:
        os.close(descriptor)


def name_part(target: bytes) -> bytes:
    """Return the name under which ``target`` arrives, which nobody else has."""
    folder, name = os.path.split(target)
    return os.path.join(folder, b"." + name[:200] + f".mtr-{os.urandom(6).hex()}".encode())


def _download_content(
    session: Sftp, descriptor: int, place: bytes, handle: bytes, size_bytes: int, count: Counts
) -> Task:
    """Read as much as the file held when it was looked at; one without a length (as in /proc) to its end."""
    offset, is_whole = 0, False
    while not is_whole:
        blocks = min(session.batch_blocks, -(-(size_bytes - offset) // sftp.BLOCK_BYTES)) if size_bytes else 1
        offsets = [offset + number * sftp.BLOCK_BYTES for number in range(blocks)]
        replies = yield [sftp.read(handle, start, sftp.BLOCK_BYTES) for start in offsets]
        before = offset
        for start, reply in zip(offsets, replies, strict=True):
            if start != offset:
                break  # The server has sent less than it was asked for; what follows is asked for again.
            if reply.status == sftp.EOF:
                is_whole = True
                break
            sftp.check(place, [reply])
            if not reply.data or len(reply.data) > sftp.BLOCK_BYTES:
                raise SyncError(
                    f"the server sends nothing, or more than it was asked for, of {place.decode(errors='replace')}",
                    hint="run it again",
                )
            os.pwrite(descriptor, reply.data, offset)
            offset += len(reply.data)
        is_whole = is_whole or (size_bytes > 0 and offset >= size_bytes)
        count(offset - before)
    yield [sftp.close(handle)]


def _replace_by_link(target: bytes, leads_to: bytes) -> None:
    part = name_part(target)
    os.symlink(leads_to, part)
    os.replace(part, target)
