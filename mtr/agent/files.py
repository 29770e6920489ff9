"""Files of a server, read in pieces, and made whole or not at all; paths count from the project's directory there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.config.remote_dir import load_machine_id
from mtr.errors import ConfigError, MtrError, UsageError, reveal_controls
from mtr.policy import PolicyRefused
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.workflow import build_route

if TYPE_CHECKING:
    from mtr.process.captured import Captured
    from mtr.remote import Remote

_HEAD = re.compile(rb"(?:\A|\n)mtr-file ([0-9]{1,18}) ([0-7]{1,5}|-)\n")
_WROTE = re.compile(rb"(?:\A|\n)mtr-wrote (new|replaced)\n")
_MODE = re.compile("[0-7]{3,4}")
TIMEOUT_S = 60.0
_WITHIN, _LEADS_OUT = "within", 8
"""How within.sh is told to follow links itself, and what it says of one that leads out."""


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


def read_piece(remote: Remote, path: str, *, offset: int, limit_bytes: int, within: bool = False) -> FilePiece:
    """Return up to ``limit_bytes`` of the file ``path`` there, from ``offset`` on; ``within`` as :func:`ensure_within`.

    Raises:
        FileFailed: there is no such file, or it cannot be read.
    """
    found = _run(remote, "read_file", path, [_WITHIN if within else "", str(offset), str(limit_bytes)])
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


def write_whole(remote: Remote, path: str, data: bytes, *, mode: str = "", within: bool = False) -> bool:
    """Make the file ``path`` there of ``data``, or leave what is there as it is; tell whether it is new.

    ``mode`` is octal; by default that of the file it replaces, or the umask's. ``within`` as :func:`ensure_within`.

    Raises:
        FileFailed: it cannot be made; a directory in its place is refused.
        UsageError: ``mode`` is none.
    """
    if mode and not _MODE.fullmatch(mode):
        raise UsageError(f"{mode!r} is no mode of a file", hint='octal digits, as chmod takes them: "755"')
    words = [_WITHIN if within else "", str(len(data)), mode, os.urandom(6).hex()]
    found = _run(remote, "write_file", path, words, data)
    wrote = _WROTE.search(found.stdout)
    if found.status == 0 and wrote is not None:
        return wrote[1] == b"new"
    why = {
        3: "the project's directory is not there yet, or links never end (sync_files makes it)",
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


def ensure_within(remote: Remote, path: str) -> None:
    """See that ``path`` is there, and lies in the project's directory once the server has followed all links.

    Raises:
        PolicyRefused: it lies elsewhere, or in .git or .mtr there.
        FileFailed: there is nothing of that name; a pattern is none.
    """
    status = _run(remote, "resolve", path, []).status
    if status != 0:
        words = "there is no such file" if status == 3 else "it cannot be looked at"
        raise FileFailed(
            f"{remote.connection.label}: {path}: {words}",
            hint=f"look with run_command: ls -la {os.path.dirname(path) or '.'}",
        )


def _run(remote: Remote, script: str, path: str, words: list[str], data: bytes = b"") -> Captured:
    if not path or "\0" in path:
        raise UsageError(f"{path!r} is no path", hint="name a file, from the project's directory there or absolute")
    if remote.connection.facts.system:
        raise ConfigError(f"{remote.connection.server_name} runs Windows, and this needs a POSIX shell there")
    route = build_route(remote.target, remote.connection, load_machine_id())
    scripts = load_script("remote/within.sh") + load_script(f"remote/{script}.sh")
    command = build_remote_command("mtr-file", scripts, [route.remote_dir, path, *words])
    found = remote.connection.run_captured(command, stdin=data, timeout_s=TIMEOUT_S)
    if found.status == _LEADS_OUT:
        raise PolicyRefused(
            f"{reveal_controls(path)} leads out of the project's directory on the server, or into .git or .mtr there",
            hint=f"name a file below {route.remote_dir} by its own path",
        )
    return found
