"""Files of a server, read in pieces, and made whole or not at all; paths count from the project's directory there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.config.remote_dir import load_machine_id
from mtr.errors import ConfigError, MtrError, UsageError
from mtr.workflow import build_route

if TYPE_CHECKING:
    from mtr.process.captured import Captured
    from mtr.remote import Remote

_HEAD = re.compile(rb"(?:\A|\n)mtr-file ([0-9]{1,18}) ([0-7]{1,5}|-)\n")
_WROTE = re.compile(rb"(?:\A|\n)mtr-wrote (new|replaced)\n")
_MODE = re.compile("[0-7]{3,4}")
TIMEOUT_S = 60.0


class FileFailed(MtrError):
    """A file of a server cannot be read or made."""

    code = "file"


@dataclass(frozen=True, slots=True)
class FilePiece:
    """``data`` stands at ``offset`` of a file of ``size_bytes``; ``mode`` is as chmod takes it, "" where unknown."""

    offset: int
    data: bytes
    size_bytes: int
    mode: str


def read_piece(remote: Remote, path: str, *, offset: int, limit_bytes: int) -> FilePiece:
    """Return up to ``limit_bytes`` of the file ``path`` there, from ``offset`` on.

    Raises:
        FileFailed: there is no such file, or it cannot be read.
    """
    found = _run(remote, "remote/read_file.sh", path, [str(offset), str(limit_bytes)])
    if words := {3: "there is no such file", 4: "it is a directory", 5: "it is no regular file"}.get(found.status):
        listed = os.path.dirname(path) or "."
        hint = (
            f"look with run_command: ls -la {listed}" if found.status != 4 else f"list it with run_command: ls {path}"
        )
        raise FileFailed(f"{remote.connection.label}: {path}: {words}", hint=hint)
    head = _HEAD.search(found.stdout)
    if found.status != 0 or head is None:
        raise FileFailed(
            f"{remote.connection.label}: {path}: it cannot be read", detail=found.stderr.decode(errors="replace")
        )
    mode = head[2].decode()
    return FilePiece(offset, found.stdout[head.end() :], int(head[1]), "" if mode == "-" else mode)


def write_whole(remote: Remote, path: str, data: bytes, *, mode: str = "") -> bool:
    """Make the file ``path`` there of ``data``, or leave what is there as it is; tell whether it is new.

    ``mode`` is octal; by default that of the file it replaces, or the umask's.

    Raises:
        FileFailed: it cannot be made; a directory in its place is refused.
        UsageError: ``mode`` is none.
    """
    if mode and not _MODE.fullmatch(mode):
        raise UsageError(f"{mode!r} is no mode of a file", hint='octal digits, as chmod takes them: "755"')
    words = [str(len(data)), mode, os.urandom(6).hex()]
    found = _run(remote, "remote/write_file.sh", path, words, data)
    wrote = _WROTE.search(found.stdout)
    if found.status == 0 and wrote is not None:
        return wrote[1] == b"new"
    why = {
        4: "a directory is in its place",
        5: "what is in its place is no regular file",
        7: "less arrived than was sent",
    }
    said = found.stderr.decode(errors="replace")
    raise FileFailed(
        f"{remote.connection.label}: {path}: {why.get(found.status, 'it cannot be written')}; nothing was changed",
        detail=said,
        hint=f"look with run_command: ls -la {os.path.dirname(path) or '.'}",
    )


def _run(remote: Remote, script: str, path: str, words: list[str], data: bytes = b"") -> Captured:
    if not path or "\0" in path:
        raise UsageError(f"{path!r} is no path", hint="name a file, from the project's directory there or absolute")
    if remote.connection.facts.system:
        raise ConfigError(f"{remote.connection.server_name} runs Windows, and this needs a POSIX shell there")
    route = build_route(remote.target, remote.connection, load_machine_id())
    return remote.connection.run_script(script, [route.remote_dir, path, *words], stdin=data, timeout_s=TIMEOUT_S)
