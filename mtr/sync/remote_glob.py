"""What a pattern names on the server, as a shell there would expand it, found by listing over SFTP alone.

``*``, ``?`` and ``[…]`` match within one name and never a leading dot; ``**`` alone between slashes is any number of
directories, hidden ones and links left out; a backslash takes a character as it is; a ``[`` that nothing closes is
itself. As a directory that matches comes whole, ``**`` at
the end is the same as ``*``. Nothing passes a shell, so a name may hold any byte. mtr's own
directory is never found.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from mtr.ssh import sftp
from mtr.ssh.sftp import SftpError
from mtr.sync.manifest import OWN_DIRECTORY
from mtr.sync.sftp_transfer import MAX_NAMES, list_dirs
from mtr.sync.wildmatch import compile_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mtr.ssh.sftp import Attributes, Sftp, Task

_MAGIC = re.compile(rb"[*?\[]")
_ANY_DEPTH = b"**"


def is_pattern(text: bytes) -> bool:
    """Tell whether ``text`` holds what a shell would expand."""
    return _MAGIC.search(text) is not None


def split_pattern(text: bytes) -> tuple[bytes, list[bytes]]:
    """Return the directory in front of the first part that is a pattern, and the parts from there on."""
    parts = text.split(b"/")
    first = next((at for at, part in enumerate(parts) if is_pattern(part)), len(parts))
    fixed = b"/".join(map(_unescape, parts[:first]))
    if first == 1 and not parts[0]:
        fixed = b"/"
    return fixed, [part for part in parts[first:] if part not in (b"", b".")]


def match_name(part: bytes, name: bytes) -> bool:
    """Tell whether the pattern ``part`` matches ``name``, one name of a directory."""
    if name[:1] == b"." and part[:1] != b"." and part[:2] != b"\\.":
        return False
    return compile_part(_close_sets(part)).fullmatch(name) is not None


def _close_sets(part: bytes) -> bytes:
    """Return ``part`` with each ``[`` escaped that nothing closes."""
    found, at = bytearray(), 0
    while at < len(part):
        size = 2 if part[at : at + 1] == b"\\" else 1
        if part[at : at + 1] == b"[":
            inside = at + 1 + (part[at + 1 : at + 2] in (b"!", b"^"))
            end = part.find(b"]", inside + 1)
            if end < 0:
                found += b"\\"
            else:
                size = end + 1 - at
        found += part[at : at + size]
        at += size
    return bytes(found)


def _unescape(part: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", part, flags=re.DOTALL)


def expand(session: Sftp, top: bytes, parts: list[bytes], refused: Callable[[SftpError], None]) -> list[bytes]:
    """Return what ``parts`` match below the directory ``top``, relative to it, sorted; each may have gone since.

    ``refused`` gets what the server says of directories that it does not list.
    """
    found, room = [b""], [MAX_NAMES]

    def tell(error: SftpError) -> None:
        # What leads to a file, or to nothing, has nothing in it that could match.
        if error.status != sftp.NO_SUCH_FILE:
            refused(error)

    def look_into(folders: Iterable[bytes]) -> list[tuple[bytes, Attributes]]:
        listed = list_dirs(session, top or b".", folders, room, tell)
        return [pair for pair in listed if _name_of(pair[0]).lower() != OWN_DIRECTORY]

    for at, part in enumerate(parts):
        is_last = at == len(parts) - 1
        if part == _ANY_DEPTH and not is_last:
            found = _descend(found, look_into)
        elif is_pattern(part):
            listed = look_into(found)
            found = [path for path, look in listed if match_name(part, _name_of(path)) and (is_last or _may_hold(look))]
        else:
            found = [_join(path, _unescape(part)) for path in found]
    return sorted({path for path in found if path})


def _descend(start: list[bytes], look_into: Callable[[Iterable[bytes]], list[tuple[bytes, Attributes]]]) -> list[bytes]:
    """Return ``start`` and all directories below, level by level."""
    found, level = list(start), start
    while level:
        level = [path for path, look in look_into(level) if _is_dir(look) and _name_of(path)[:1] != b"."]
        found += level
    return found


def _is_dir(look: Attributes) -> bool:
    return look.mode is not None and stat.S_ISDIR(look.mode)


def _may_hold(look: Attributes) -> bool:
    """Tell whether it may be a directory, or lead to one."""
    return look.mode is None or _is_dir(look) or stat.S_ISLNK(look.mode)


def _name_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def stat_all(session: Sftp, places: Iterable[bytes], refused: Callable[[SftpError], None]) -> dict[bytes, Attributes]:
    """Return what each of ``places`` leads to; ``refused`` gets those of which the server does not say it."""
    found: dict[bytes, Attributes] = {}

    def task(place: bytes) -> Task:
        (reply,) = yield [sftp.stat(place)]
        if reply.attributes is not None:
            found[place] = reply.attributes
        else:
            refused(SftpError(place, reply))

    session.run(task(place) for place in places)
    return found
