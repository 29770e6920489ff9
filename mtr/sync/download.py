"""Bringing files and directories from the server, over SFTP.

What is here already and the same (size and time) is left; what is newer here than there stays, unless it is forced to
go. Every file is whole under its name, or not there.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mtr.config.trust import leads_out
from mtr.errors import MtrError
from mtr.ssh.sftp import NO_SUCH_FILE, SftpError, open_sftp
from mtr.ssh.sftp import stat as ask_stat
from mtr.sync.manifest import OWN_DIRECTORY
from mtr.sync.sftp_transfer import download, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mtr.ssh.line import Line
    from mtr.ssh.sftp import Attributes, Sftp

RACY_S = 2.0
"""How much later than a file's time its copy must have been made to be known as one of that file."""


class DownloadFailed(MtrError):
    """Something did not arrive; what did is whole."""

    code = "download"


@dataclass(slots=True)
class Downloaded:
    """What a download did: files brought, their bytes, and the local paths that are newer here and stayed."""

    files: int = 0
    size_bytes: int = 0
    newer: list[str] = field(default_factory=list)


def ensure_download_dir(root: Path, name: str) -> Path:
    """Make the directory of downloads where it is missing, as one that is not synced back; return it.

    Raises:
        DownloadFailed: a link of the project leads from there to elsewhere.
    """
    path = root / name
    if not leads_out(name) and leads_out(os.path.relpath(os.path.realpath(path), os.path.realpath(root))):
        hint = "name another place: mtr get REMOTE LOCAL"
        raise DownloadFailed(f"downloads would leave the project: {path} is {os.path.realpath(path)}", hint=hint)
    if not path.exists():
        path.mkdir(parents=True)
        (path / ".mtrignore").write_text("# What `mtr get` has brought is not synced back.\n*\n")
    return path


def choose_places(remote_dir: str, remote: str, local: str) -> tuple[str, str]:
    """Return where ``remote`` is on the server, as SFTP takes it, and where it goes here.

    SFTP knows no ``~``: what does not begin with a slash is below the home directory.
    """
    place = remote if remote.startswith(("/", "~")) else f"{remote_dir}/{remote}"
    if place.startswith("~") and place != "~" and not place.startswith("~/"):
        raise DownloadFailed(f"{remote}: only ~/ is understood", hint="write the path from /")
    place = os.path.normpath(place.removeprefix("~").lstrip("/") or ".") if place.startswith("~") else place
    name = os.path.basename(os.path.normpath(remote))
    if local.endswith("/") or os.path.isdir(local):
        return place, os.path.join(local, name if name not in (".", "..", "~") else "")
    return place, local


def download_tree(
    line: Line,
    place: str,
    target: str,
    *,
    force: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Downloaded:
    """Bring the file or directory ``place`` of the server to ``target`` here; parents are made.

    ``on_progress`` gets the bytes that have come, and those to come in all.

    Raises:
        DownloadFailed: it is not there, cannot be read, or cannot be written here.
        SftpLost: the server has no SFTP, or the line broke.
    """
    source, local = os.fsencode(place), os.fsencode(target)
    try:
        with open_sftp(line) as session:
            return _bring(session, source, local, force=force, on_progress=on_progress)
    except SftpError as error:
        if error.status == NO_SUCH_FILE and error.path == source:
            hint = f"mtr -s {line.server_name} --no-sync ls"
            hint += "; patterns are not expanded" if set(place) & set("*?[") else ""
            raise DownloadFailed(f"{line.label}: there is no {place}", hint=hint) from error
        hint = f"mtr -s {line.server_name} --no-sync ls -la, and see who may read it"
        raise DownloadFailed(f"{line.label}: {error.message}", hint=hint) from error
    except OSError as error:
        path = os.fsdecode(error.filename or local)
        hint = f"df -h {os.path.dirname(path) or '.'}; ls -ld {os.path.dirname(path) or '.'}"
        raise DownloadFailed(f"cannot write here: {error.strerror}: {path}", hint=hint) from error


def _bring(
    session: Sftp, source: bytes, local: bytes, *, force: bool, on_progress: Callable[[int, int], None]
) -> Downloaded:
    reply = session.ask(ask_stat(source))
    if reply.attributes is None:
        raise SftpError(source, reply)
    look = reply.attributes
    if look.mode is not None and not (_is_dir(look) or stat.S_ISREG(look.mode)):
        hint = "name a file or a directory; what a device says: mtr cat PATH >FILE"
        raise DownloadFailed(f"{os.fsdecode(source)} is neither a file nor a directory there", hint=hint)
    if not _is_dir(look):
        os.makedirs(os.path.dirname(local) or b".", exist_ok=True)
        wanted = [(source, look, local)]
        return _bring_files(session, wanted, force=force, anyway=True, on_progress=on_progress)
    # mtr's own directory never comes: what a server puts into it would count as configuration here.
    found = [pair for pair in walk(session, source) if OWN_DIRECTORY not in pair[0].split(b"/")]
    _make_dirs(local, [path for path, look in found if _is_dir(look)])
    # Links last: nothing may be written through one that has just come.
    others = sorted((pair for pair in found if not _is_dir(pair[1])), key=lambda pair: _is_link(pair[1]))
    wanted = [(source + b"/" + path, look, local + b"/" + path) for path, look in others]
    return _bring_files(session, wanted, force=force, on_progress=on_progress)


def _is_dir(look: Attributes) -> bool:
    return look.mode is not None and stat.S_ISDIR(look.mode)


def _is_link(look: Attributes) -> bool:
    return look.mode is not None and stat.S_ISLNK(look.mode)


def _make_dirs(local: bytes, folders: Iterable[bytes]) -> None:
    os.makedirs(local, exist_ok=True)
    for folder in folders:
        place = local + b"/" + folder
        if os.path.islink(place):
            raise DownloadFailed(f"{os.fsdecode(place)} is a link here and a directory there", hint="move it away")
        os.makedirs(place, exist_ok=True)


def _bring_files(
    session: Sftp,
    wanted: Iterable[tuple[bytes, Attributes, bytes]],
    *,
    force: bool,
    anyway: bool = False,
    on_progress: Callable[[int, int], None],
) -> Downloaded:
    """Bring the files of ``wanted``: source, look and place here; ``anyway`` also those that look the same."""
    result = Downloaded()
    chosen = []
    for source, look, local in wanted:
        if look.mode is not None and not (stat.S_ISREG(look.mode) or _is_link(look)):
            continue  # a FIFO, a socket or a device would never end
        state = _compare(look, local)
        if state == "newer" and not force:
            result.newer.append(os.fsdecode(local))
        elif state != "same" or anyway:
            chosen.append((source, look, local))
    total = sum(look.size_bytes for _, look, _ in chosen)

    def count(size_bytes: int) -> None:
        result.size_bytes += size_bytes
        on_progress(result.size_bytes, total)

    session.vanished.clear()
    plain = [triple for triple in chosen if not _is_link(triple[1])]
    links = [triple for triple in chosen if _is_link(triple[1])]
    for group in (plain, links):
        session.run(download(session, source, look, local, count) for source, look, local in group)
    result.files = len(chosen) - len(session.vanished)
    return result


def _compare(look: Attributes, local: bytes) -> str:
    """Return how what is here stands to ``look``: missing, same, newer or other."""
    try:
        found = os.lstat(local)
    except FileNotFoundError:
        return "missing"
    if stat.S_ISLNK(found.st_mode):
        return "other"
    if not stat.S_ISREG(found.st_mode):
        raise DownloadFailed(f"{os.fsdecode(local)} is a directory here and a file there", hint="move it away")
    if _is_link(look):
        return "newer"  # Content must not make way for a link unless somebody says so.
    if found.st_size == look.size_bytes and int(found.st_mtime) == look.mtime_s:
        # SFTP tells whole seconds: what was written there within the second of the last download may be another.
        return "same" if found.st_ctime - look.mtime_s > RACY_S else "other"
    return "newer" if int(found.st_mtime) > look.mtime_s else "other"
