"""What the SFTP engine does with single files, as tasks of :class:`mtr.ssh.sftp.Sftp`: upload and download.

A file is whole under its own name or is not there: it travels under another name and is renamed. SFTP 3 knows times
in whole seconds.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh import sftp
from mtr.ssh.sftp import SftpError, SftpLost
from mtr.ssh.sftp_tasks import Ahead
from mtr.sync.archive import build_unreadable, open_source
from mtr.sync.part import Part, name_part
from mtr.sync.scan import find_parents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mtr.ssh.sftp import Attributes, Reply, Sftp, Task
    from mtr.sync.plan import Entry

    Counts = Callable[[int], None]

NS_PER_S = 1_000_000_000
MAX_NAMES = 5_000_000
MAX_PATH_BYTES = 4096
MIN_BLOCK_BYTES = 4096
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


def walk(
    session: Sftp, top: bytes, refused: Callable[[SftpError], None] | None = None, *, without: bytes = b""
) -> Iterator[tuple[bytes, Attributes]]:
    """Yield every path below the directory ``top`` of the server, relative to it, level by level; links as links.

    ``refused`` gets what the server says of a directory that it does not list; without it, that ends the walk. Nothing
    called ``without`` is yielded or entered.
    """
    level, room = [b""], [MAX_NAMES]
    while level:
        found = list_dirs(session, top, level, room, refused)
        found = [pair for pair in found if os.path.basename(pair[0]).lower() != without]
        yield from found
        level = [path for path, look in found if look.mode is not None and stat.S_ISDIR(look.mode)]


def list_dirs(
    session: Sftp,
    top: bytes,
    folders: Iterable[bytes],
    room: list[int],
    refused: Callable[[SftpError], None] | None = None,
) -> list[tuple[bytes, Attributes]]:
    """Return what is in ``folders`` below ``top``, relative to that; ``room`` is how many names may come."""
    found: list[tuple[bytes, Attributes]] = []

    def task(folder: bytes) -> Task:
        try:
            yield from _list_dir(top, folder, found, room)
        except SftpError as error:
            if refused is None:
                raise
            refused(error)

    session.run(task(folder) for folder in folders)
    return found


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


def download(
    session: Sftp,
    place: bytes,
    look: Attributes,
    target: bytes,
    count: Counts,
    *,
    mark: str = "",
    resumed: Counts | None = None,
) -> Task:
    """Bring one file or link of the server to ``target`` here, which is replaced by rename.

    ``mark`` names what a download that was cut has left (see ``part``); ``resumed`` gets how much of it that is.
    """
    if look.mode is not None and stat.S_ISLNK(look.mode):
        reply = (yield [sftp.read_link(place)])[0]
        sftp.check(place, [reply])
        leads_to = reply.names[0][0] if reply.names else b""
        if not leads_to or b"\0" in leads_to:
            raise SyncError(f"the server does not say where {place.decode(errors='replace')} leads")
        _replace_by_link(target, leads_to)
        return
    opened = yield [sftp.open_file(place, sftp.READ)]
    sftp.check(place, opened)
    part = Part(target, mark)
    try:
        if part.have_bytes > look.size_bytes:
            part.have_bytes = 0
        os.ftruncate(part.descriptor, part.have_bytes)
        if resumed is not None:
            resumed(part.have_bytes)
        yield from _download_content(session, part, place, opened[0].data, look.size_bytes, count)
        # Never the bits that let a program run as somebody else, or others write.
        part.finish((look.mode if look.mode is not None else 0o644) & 0o755, look.mtime_s)
    except BaseException as error:
        part.leave(is_sound=not isinstance(error, Exception) or isinstance(error, SftpLost))
        if isinstance(error, SftpError):
            yield [sftp.close(opened[0].data)]
        raise


def _download_content(session: Sftp, part: Part, place: bytes, handle: bytes, size_bytes: int, count: Counts) -> Task:
    """Read as much as the file held when it was looked at; one without a length (as in /proc) to its end.

    What is asked for ahead keeps the line full; what comes is written in its order, so that a part has no holes.
    """
    offset = asked = part.have_bytes
    block, flight = sftp.BLOCK_BYTES, deque[tuple[int, int]]()
    while offset < size_bytes or not size_bytes:
        room = 2 * session.batch_blocks if size_bytes else 1
        fresh = []
        while len(flight) < room and (asked < size_bytes or not size_bytes):
            flight.append((asked, min(block, size_bytes - asked) if size_bytes else block))
            fresh.append(sftp.read(handle, *flight[-1]))
            asked += block
        for reply in (yield Ahead(fresh, -(-len(flight) // 4))):
            start, wanted_bytes = flight.popleft()
            if start != offset:
                continue  # The server has sent less than it was asked for; what follows is asked for again.
            if reply.status == sftp.EOF:
                size_bytes = offset or -1
                break
            _check_block(place, reply, wanted_bytes)
            os.pwrite(part.descriptor, reply.data, offset)
            offset += len(reply.data)
            count(len(reply.data))
            if len(reply.data) < wanted_bytes:
                block, asked = max(len(reply.data), MIN_BLOCK_BYTES), offset
    # Its answer is nothing to wait for: that would be a round trip for every small file.
    yield Ahead([sftp.close(handle)], 0)


def _check_block(place: bytes, reply: Reply, size_bytes: int) -> None:
    sftp.check(place, [reply])
    if not reply.data or len(reply.data) > size_bytes:
        raise SyncError(
            f"the server sends nothing, or more than it was asked for, of {place.decode(errors='replace')}",
            hint="run it again",
        )


def _replace_by_link(target: bytes, leads_to: bytes) -> None:
    made = name_part(target, os.urandom(8).hex())
    os.symlink(leads_to, made)
    os.replace(made, target)
