"""Writing the archive of a push: a tar stream that every tar unpacks, made without loading ``tarfile``.

Members: the files, then ``.mtr/plan`` (calls for ``apply.sh``) where it travels inside, then the empty
``.mtr/end``: without it the archive was cut. A file that has vanished since it was listed is left out.

Source: POSIX.1-2008, pax, "ustar Interchange Format"; long names as GNU tar writes them (types L and K), which every
tar in use reads whatever the name's bytes are; a pax header carries the nanoseconds of the time.
"""

from __future__ import annotations

import os
import stat
import time
from zlib import compressobj

from mtr.errors import SyncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mtr.sync.plan import Entry

BLOCK_BYTES = 512
CHUNK_BYTES = 1 << 20
COMPRESS_LEVEL = 1
PIECE_BYTES = 256 << 10
_FLAGS = os.O_RDONLY
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _FLAGS |= getattr(os, _name, 0)


def write_archive(
    entries: Iterable[Entry], root: str, folders: Iterable[bytes], finish: Callable[[list[bytes]], str | None]
) -> Iterator[bytes]:
    """Yield the archive of ``entries`` below ``root`` in pieces.

    ``finish`` gets the paths that travelled, and returns the text of the plan, or None where it goes apart.

    Raises:
        SyncError: a file cannot be read, or changes faster than it can be.
    """
    sent: list[bytes] = []
    top = os.fsencode(root) + b"/"
    for folder in folders:
        yield _build_header(b"./" + folder + b"/", b"5", 0, 0o755, time.time_ns())
    for entry in entries:
        whole = _read_link(top, entry) if entry.kind == "symlink" else _read_small(top, entry)
        if whole is None:
            continue
        if whole:
            yield whole
        else:
            yield from _write_large(top, entry)
        sent.append(entry.path)
    text = finish(sent)
    if text is not None:
        data = text.encode(errors="surrogateescape")
        yield _build_header(b"./.mtr/plan", b"0", len(data), 0o600, 0)
        yield data + _padding(len(data))
    yield _build_header(b"./.mtr/end", b"0", 0, 0o600, 0)
    yield bytes(2 * BLOCK_BYTES)


def compress(pieces: Iterable[bytes], on_packed: Callable[[int], None]) -> Iterator[bytes]:
    """Yield ``pieces`` as gzip; ``on_packed`` gets the bytes of each as it goes in."""
    packer = compressobj(COMPRESS_LEVEL, wbits=31)
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        on_packed(len(piece))
        if size > PIECE_BYTES:
            yield packer.compress(b"".join(held))
            held, size = [], 0
    yield packer.compress(b"".join(held)) + packer.flush()


def _read_link(top: bytes, entry: Entry) -> bytes | None:
    """Return the member of a link; None where there is none any more."""
    try:
        target = os.readlink(top + entry.path)
    except OSError:
        return None
    return _build_header(b"./" + entry.path, b"2", 0, 0o777, entry.mtime_ns, target)


def open_source(top: bytes, path: bytes) -> int | None:
    """Open a file of the project; None where it has vanished, or is no file any more."""
    descriptor = _open(top, path)
    if descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _open(top: bytes, path: bytes) -> int | None:
    """Open what may have become anything; None where it has vanished."""
    try:
        # Without O_NONBLOCK a FIFO that has taken the file's place would hang the sync.
        return os.open(top + path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise build_unreadable(path, error) from error


def _read_small(top: bytes, entry: Entry) -> bytes | None:
    """Return the member of a file that fits into one read, b"" for a larger one; None where there is none any more.

    What is read at once is consistent with its header, whatever its length has become since it was listed.
    """
    path = entry.path
    descriptor = _open(top, path)
    if descriptor is None:
        return None
    mode, mtime_ns = entry.mode, entry.mtime_ns
    try:
        # No more than is expected and a byte, to notice that it has grown: a large buffer takes longer than the read.
        data = os.read(descriptor, min(entry.size_bytes + 1, CHUNK_BYTES))
        if len(data) != entry.size_bytes:
            while len(data) < CHUNK_BYTES and (more := os.read(descriptor, CHUNK_BYTES - len(data))):
                data += more
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return None
            mode, mtime_ns = stat.S_IMODE(found.st_mode), found.st_mtime_ns
    except IsADirectoryError:
        return None
    except OSError as error:
        raise build_unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if len(data) == CHUNK_BYTES:
        return b""
    size = len(data)
    return _build_header(b"./" + path, b"0", size, mode, mtime_ns) + data + bytes(-size % BLOCK_BYTES)


def _write_large(top: bytes, entry: Entry) -> Iterator[bytes]:
    descriptor = open_source(top, entry.path)
    if descriptor is None:
        raise SyncError(f"{entry.path.decode(errors='replace')} vanished while it was read", hint="run it again")
    try:
        yield from _write_content(descriptor, entry.path, os.fstat(descriptor))
    except OSError as error:
        raise build_unreadable(entry.path, error) from error
    finally:
        os.close(descriptor)


def _write_content(descriptor: int, path: bytes, found: os.stat_result) -> Iterator[bytes]:
    yield _build_header(b"./" + path, b"0", found.st_size, stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    left = found.st_size
    while left > 0:
        chunk = os.read(descriptor, min(left, CHUNK_BYTES))
        if not chunk:
            name = path.decode(errors="replace")
            raise SyncError(f"{name} became shorter while it was read", hint="run it again")
        left -= len(chunk)
        yield chunk
    yield _padding(found.st_size)


def build_unreadable(path: bytes, error: OSError) -> SyncError:
    """Return the error for a file of the project that cannot be read here."""
    name = path.decode(errors="replace")
    return SyncError(
        f"{name} cannot be read here: {error.strerror}",
        hint="chmod u+r FILE, or leave it out: echo FILE >> .mtrignore",
    )


def _build_header(name: bytes, kind: bytes, size: int, mode: int, mtime_ns: int, link: bytes = b"") -> bytes:
    """Return the header of one member, with the ones before it that say what does not fit."""
    before = b""
    seconds, rest_ns = divmod(mtime_ns, 1_000_000_000)
    if rest_ns or not 0 <= seconds < 8**11:
        record = b"mtime=%d.%09d\n" % (seconds, rest_ns)
        length = len(record) + 3
        header = _TIME_HEADER if length == _TIME_BYTES else _build_block(b"./mtr", b"x", length, 0o644, 0)
        before += header + (b"%d %s" % (length, record)).ljust(BLOCK_BYTES, b"\0")
        seconds = min(max(seconds, 0), 8**11 - 1)
    if len(link) > 100:
        before += _build_block(b"././@LongLink", b"K", len(link) + 1, 0o644, 0) + _pad(link + b"\0")
    if len(name) > 100:
        before += _build_block(b"././@LongLink", b"L", len(name) + 1, 0o644, 0) + _pad(name + b"\0")
    return before + _build_block(name, kind, size, mode, seconds, link)


_NO_LINK = bytes(100)


def _build_block(name: bytes, kind: bytes, size: int, mode: int, seconds: int, link: bytes = b"") -> bytes:
    # Sizes past 8 GiB in base 256, as GNU tar and bsdtar write and read them.
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    # Owner and group are root's numbers, which no server but root's own takes over.
    start = b"%b%07o\0000000000\0000000000\0%b%011o\0" % (name[:100].ljust(100, b"\0"), mode, length, seconds)
    end = b"%b%bustar  \0" % (kind, link[:100].ljust(100, b"\0") if link else _NO_LINK)
    total = sum(start) + sum(end) + 8 * 32
    return (start + b"%06o\0 " % total + end).ljust(BLOCK_BYTES, b"\0")


_TIME_BYTES = 30
_TIME_HEADER = _build_block(b"./mtr", b"x", _TIME_BYTES, 0o644, 0)
"""The header in front of a time with ten digits of seconds and nine of their fraction: the same for every file."""


def _pad(data: bytes) -> bytes:
    return data + _padding(len(data))


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK_BYTES)
