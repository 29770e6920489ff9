"""Bringing files and directories from the server, over SFTP.

What is here already and the same (size and time) is left; what is newer here than there stays, unless it is forced to
go. Every file is whole under its name, or not there. What cannot be brought is named, and the rest comes.

Names are found by ``sources``, and land below one local directory: nothing is written through a link there.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from mtr.ssh.sftp import SftpError, SftpLost, open_sftp
from mtr.state import write_atomic
from mtr.sync.part import RACY_S, build_mark, collect
from mtr.sync.sftp_transfer import download
from mtr.sync.sources import DownloadFailed, Failure, find_sources, show_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mtr.ssh.line import Line
    from mtr.ssh.sftp import Attributes, Sftp, Task
    from mtr.sync.sources import Source

    OnProgress = Callable[[int, int], None]

_OF_ONE_NAME = frozenset((errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR, errno.ENOTDIR, errno.EEXIST))
"""What this system says of one name, and not of the place."""

MAX_LINES = 20

_NOT_SYNCED = b"# What `mtr get` has brought is not synced back.\n*\n"

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class Downloaded:
    """What a download did, and where to.

    ``files`` were brought, ``size_bytes`` came over the line for them, ``same`` were here already; ``newer`` are local
    paths that are newer here and stayed; ``failed`` is what did not come.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.files = 0
        self.size_bytes = 0
        self.same = 0
        self.newer: list[str] = []
        self.failed: list[Failure] = []

    @property
    def is_complete(self) -> bool:
        """Tell whether everything that was asked for is here now, as it is there."""
        return not self.newer and not self.failed


class Destination:
    """Where a download goes: ``path``, made when something comes.

    ``is_directory`` says that things go into it under their own names; else one thing takes the path as its name.
    ``keeps_out_of_sync`` puts a ``.mtrignore`` into it when it is made.
    """

    def __init__(self, path: str, *, is_directory: bool, keeps_out_of_sync: bool = False) -> None:
        self.path = path
        self.is_directory = is_directory
        self._keeps_out_of_sync = keeps_out_of_sync

    def make(self) -> None:
        """Make the directory that things go into.

        Raises:
            OSError: it cannot be made.
        """
        is_new = not os.path.exists(self.path)
        os.makedirs(self.path, exist_ok=True)
        if is_new and self._keeps_out_of_sync:
            try:
                write_atomic(os.path.join(self.path, ".mtrignore"), _NOT_SYNCED, 0o666)
            except BaseException:
                with suppress(OSError):
                    os.rmdir(self.path)  # Another time it must be new again, or all of it would be synced back.
                raise


def choose_destination(local: str, remotes: Sequence[str], *, start: str) -> Destination:
    """Return where ``remotes`` go when ``local`` was named, counted from the directory ``start``, as cp(1) takes it.

    A directory that is there, or a name with a slash at the end, takes things under their own names; so does any name
    for several remotes, or for a pattern.
    """
    from mtr.sync.remote_glob import is_pattern

    path = os.path.join(start, os.path.expanduser(local) if local.startswith("~/") else local)
    is_directory = local.endswith("/") or os.path.isdir(path)
    is_directory = is_directory or len(remotes) > 1 or any(is_pattern(os.fsencode(remote)) for remote in remotes)
    if is_directory:
        _ensure_usable(path)
    return Destination(path.rstrip("/") or "/", is_directory=is_directory)


def ensure_meant(remotes: Sequence[str], destination: Destination) -> None:
    """Refuse to put one file into the place of another: of two names, the second may have been meant as one more.

    Raises:
        DownloadFailed: the destination is a file of another name than the one remote.
    """
    name, path = os.path.basename(remotes[0].rstrip("/")), destination.path
    if destination.is_directory or not os.path.lexists(path) or os.path.basename(path) == name:
        return
    words = shlex.join([*remotes, os.path.relpath(path)])
    raise DownloadFailed(
        f"{path} is there, and would be replaced by {remotes[0]}",
        hint=f"to replace it: mtr get --force {words}; to bring both: mtr get --to . {words}",
    )


def _ensure_usable(path: str) -> None:
    """Refuse a directory that is none, or takes nothing: after a command of hours that would be found too late.

    Raises:
        DownloadFailed: it is.
    """
    hint = f"ls -ld {shlex.quote(path)}"
    if not os.path.lexists(path):
        return
    if not os.path.isdir(path):
        raise DownloadFailed(f"{path} is no directory, and downloads go into it", hint=hint)
    if not os.access(path, os.W_OK | os.X_OK):
        raise DownloadFailed(f"{path} cannot be written by you, and downloads go into it", hint=hint)


def choose_download_dir(root: Path, name: str) -> Destination:
    """Return the directory of downloads of the project at ``root``, which is not synced back.

    Raises:
        DownloadFailed: a link of the project leads from there to elsewhere.
    """
    from mtr.config.trust import leads_out

    path = root / name
    if not leads_out(name) and leads_out(os.path.relpath(os.path.realpath(path), os.path.realpath(root))):
        hint = "name another place: mtr get REMOTE --to LOCAL"
        raise DownloadFailed(f"downloads would leave the project: {path} is {os.path.realpath(path)}", hint=hint)
    _ensure_usable(str(path))
    return Destination(str(path), is_directory=True, keeps_out_of_sync=True)


def bring(
    line: Line,
    remote_dir: str,
    remotes: Sequence[str],
    destination: Destination,
    *,
    force: bool = False,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Downloaded:
    """Bring ``remotes`` (paths or patterns, relative to ``remote_dir``, absolute, or with ``~/``) to ``destination``.

    ``on_progress`` gets the bytes that have come, and those to come in all.

    Raises:
        DownloadFailed: nothing more can be written here.
        SftpLost: the server has no SFTP, or the line broke; what has come of a large file is kept for the next time.
    """
    result = Downloaded(destination.path)
    try:
        with open_sftp(line) as session:
            _Bringing(session, line.facts.address, destination, result, on_progress, force=force).run(
                find_sources(session, remote_dir, remotes, result.failed)
            )
    except SftpLost as lost:
        if lost.ended is not None and lost.ended.has_opened:
            lost.hint = "run it again: a large file goes on where it was"
        raise
    except OSError as error:
        path = os.fsdecode(error.filename or destination.path)
        folder = shlex.quote(path if os.path.isdir(path) else os.path.dirname(path) or ".")
        hint = f"df -h {folder}; ls -ld {folder}"
        raise DownloadFailed(f"cannot write here: {error.strerror}: {path}", hint=hint) from error
    return result


def ensure_some(line: Line, result: Downloaded) -> None:
    """Make sure that not everything that was asked for has failed.

    Raises:
        DownloadFailed: it has.
    """
    failed = result.failed
    if failed and not (result.files or result.same or result.newer):
        raise _build_nothing(line, result)


def _build_nothing(line: Line, result: Downloaded) -> DownloadFailed:
    failed = result.failed
    first = failed[0]
    hint = first.hint.replace("mtr --no-sync", f"mtr -s {line.server_name} --no-sync", 1)
    hint = hint or f"mtr -s {line.server_name} --no-sync ls -la, and see who may read it"
    if len(failed) == 1:
        return DownloadFailed(f"{line.label}: {first}", hint=hint)
    return DownloadFailed(f"{line.label}: nothing came", detail="\n".join(list_failures(result)), hint=hint)


def list_failures(result: Downloaded) -> list[str]:
    """Return the lines that name what did not come, not more than a screen of them."""
    lines = [*map(str, result.failed), *(f"{path} is newer here, and stayed: --force" for path in result.newer)]
    more = len(lines) - MAX_LINES
    return lines if more <= 0 else [*lines[:MAX_LINES], f"and {more:,} more"]


def _is_dir(look: Attributes) -> bool:
    return look.mode is not None and stat.S_ISDIR(look.mode)


def _is_link(look: Attributes) -> bool:
    return look.mode is not None and stat.S_ISLNK(look.mode)


class _Bringing:
    """One download: from what was found there to files here."""

    def __init__(
        self,
        session: Sftp,
        server: str,
        destination: Destination,
        result: Downloaded,
        on_progress: OnProgress,
        *,
        force: bool,
    ) -> None:
        self._session = session
        self._server = server
        self._destination = destination
        self._result = result
        self._on_progress = on_progress
        self._force = force
        self._total_bytes = 0
        self._top = b""

    def run(self, sources: Sequence[Source]) -> None:
        """Bring ``sources``."""
        if not sources:
            return
        self._top = os.fsencode(self._destination.path)
        if self._destination.is_directory:
            self._destination.make()
        elif _is_dir(sources[0].look):
            sources = [source.renamed(b"") for source in sources]
            os.makedirs(self._top, exist_ok=True)
        else:
            self._top, name = os.path.split(os.path.abspath(self._top))
            sources = [source.renamed(name) for source in sources]
            os.makedirs(self._top, exist_ok=True)
        entries = self._list_entries(sources)
        blocked = self._make_dirs(entries)
        self._bring({name: pair for name, pair in entries.items() if not _is_dir(pair[1])}, blocked)

    def _list_entries(self, sources: Sequence[Source]) -> dict[bytes, tuple[bytes, Attributes]]:
        """Return all that is to be here: names below the destination, with their places there."""
        entries: dict[bytes, tuple[bytes, Attributes]] = {}
        for source in sources:
            for name, place, look in source.list_below(self._session, self._refuse):
                before = entries.setdefault(name, (place, look))
                if before[0] != place and not (_is_dir(before[1]) and _is_dir(look)):
                    words = f"would take the place of {show_place(before[0])} here"
                    self._result.failed.append(Failure(place, words, hint="get them one after the other, --to LOCAL"))
        return entries

    def _refuse(self, error: SftpError) -> None:
        self._result.failed.append(Failure.of(error))

    def _make_dirs(self, entries: dict[bytes, tuple[bytes, Attributes]]) -> set[bytes]:
        """Make the directories of ``entries``; return those that cannot be used, in which nothing is written."""
        wanted = {name for name, (_, look) in entries.items() if _is_dir(look)}
        for name in entries:
            parts = name.split(b"/")
            wanted |= {b"/".join(parts[:count]) for count in range(1, len(parts))}
        blocked: set[bytes] = set()
        for name in sorted(wanted - {b""}):
            if os.path.dirname(name) in blocked:
                blocked.add(name)
                continue
            why = self._make_dir(self._top + b"/" + name)
            if why:
                blocked.add(name)
                path = os.fsdecode(self._top + b"/" + name)
                place = entries[name][0] if name in entries else name
                self._result.failed.append(Failure(place, f"{path} is {why} here and a directory there", hint="mv it"))
        return blocked

    def _make_dir(self, place: bytes) -> str:
        """Make a directory here; return what else stands in its place."""
        try:
            os.mkdir(place)
        except FileExistsError:
            found = os.lstat(place)
            if stat.S_ISLNK(found.st_mode):
                return "a link"
            return "" if stat.S_ISDIR(found.st_mode) else "a file"
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise
            return f"no possible name ({error.strerror})"
        return ""

    def _bring(self, entries: dict[bytes, tuple[bytes, Attributes]], blocked: set[bytes]) -> None:
        """Bring the files and links of ``entries`` that are not in ``blocked`` directories."""
        chosen: list[tuple[bytes, Attributes, bytes, str]] = []
        found: list[tuple[bytes, str]] = []
        for name, (place, look) in entries.items():
            if os.path.dirname(name) in blocked or not (look.mode is None or stat.S_ISREG(look.mode) or _is_link(look)):
                continue  # a FIFO, a socket or a device would never end
            local = self._top + b"/" + name
            mark = build_mark(self._server, place, look)
            found.append((local, mark))
            state = self._compare(place, look, local)
            if state == "newer" and not self._force:
                self._result.newer.append(os.fsdecode(local))
            elif state == "same" and not self._force:
                self._result.same += 1
            elif state:
                chosen.append((place, look, local, mark))
        collect(found)
        self._total_bytes = sum(look.size_bytes for _, look, _, _ in chosen)
        # Links last: nothing may be written through one that has just come.
        try:
            for are_links in (False, True):
                self._session.run(self._fetch(*item) for item in chosen if _is_link(item[1]) is are_links)
        except OSError as error:
            if error.errno in _FULL:
                # What has come is kept for the next time, but not on a disk that is full of it.
                collect((local, "") for local, _ in found)
            raise

    def _fetch(self, place: bytes, look: Attributes, local: bytes, mark: str) -> Task:
        try:
            yield from download(self._session, place, look, local, self._count, mark=mark, resumed=self._resume)
            self._result.files += 1
        except SftpError as error:
            self._result.failed.append(Failure.of(error))
        except OSError as error:
            if error.errno not in _OF_ONE_NAME:
                raise
            self._result.failed.append(Failure(place, f"{error.strerror}: {os.fsdecode(local)}"))

    def _count(self, size_bytes: int) -> None:
        self._result.size_bytes += size_bytes
        self._on_progress(self._result.size_bytes, self._total_bytes)

    def _resume(self, size_bytes: int) -> None:
        self._total_bytes -= size_bytes

    def _compare(self, place: bytes, look: Attributes, local: bytes) -> str:
        """Return how what is here stands to ``look``: missing, same, newer or other; "" for what cannot be brought."""
        try:
            found = os.lstat(local)
        except OSError:
            return "missing"  # What else is wrong shows when it is written.
        if stat.S_ISLNK(found.st_mode):
            return "other"
        if not stat.S_ISREG(found.st_mode):
            words = f"{os.fsdecode(local)} is a directory here and a file there"
            self._result.failed.append(Failure(place, words, hint="mv it"))
            return ""
        if _is_link(look):
            return "newer"  # Content must not make way for a link unless somebody says so.
        if found.st_size == look.size_bytes and int(found.st_mtime) == look.mtime_s:
            # SFTP tells whole seconds: what was written there within the second of the last download may be another.
            return "same" if found.st_ctime - look.mtime_s > RACY_S else "other"
        return "newer" if int(found.st_mtime) > look.mtime_s else "other"
