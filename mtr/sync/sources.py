"""What a download is asked for, found on the server: paths and patterns become sources with their names here.

A path that is there counts as it is written, a pattern among them. What is named, or matches a pattern, is followed
where it is a link; what is in a directory comes as it is. Here, a path has its last name; what a pattern matches has
its path behind the pattern's fixed part: ``runs/*/log`` becomes ``1/log``, ``2/log``.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mtr.errors import MtrError
from mtr.ssh.sftp import NO_SUCH_FILE, SftpError
from mtr.sync.manifest import OWN_DIRECTORY
from mtr.sync.remote_glob import expand, is_pattern, split_pattern, stat_all
from mtr.sync.sftp_transfer import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mtr.ssh.sftp import Attributes, Sftp


class DownloadFailed(MtrError):
    """Nothing arrived, or no more can; what did is whole."""

    code = "download"


class Failure:
    """Something that did not come: its path there, and the other side's words."""

    def __init__(self, place: bytes, words: str, *, hint: str = "") -> None:
        self.path = show_place(place)
        self.words = words
        self.hint = hint

    @classmethod
    def of(cls, error: SftpError) -> Failure:
        """Return what the server has refused."""
        return cls(error.path, error.said)

    def __str__(self) -> str:
        return f"{self.path}: {self.words}"


class Source:
    """One thing to bring: its place on the server, what it is, and its name below the destination."""

    def __init__(self, place: bytes, look: Attributes, name: bytes) -> None:
        self.place = place
        self.look = look
        self.name = name

    def renamed(self, name: bytes) -> Source:
        """Return the same with another name here; "" puts what is in a directory right into the destination."""
        return Source(self.place, self.look, name)

    def list_below(
        self, session: Sftp, refused: Callable[[SftpError], None]
    ) -> Iterator[tuple[bytes, bytes, Attributes]]:
        """Yield name, place and look of this, and of all that is in it; mtr's own directory is not.

        What a server puts into that would count as configuration here.
        """
        if self.name:
            yield self.name, self.place, self.look
        if self.look.mode is None or not stat.S_ISDIR(self.look.mode):
            return
        for path, look in walk(session, self.place, refused, without=OWN_DIRECTORY):
            yield (self.name + b"/" + path if self.name else path), self.place + b"/" + path, look


def show_place(place: bytes) -> str:
    """Return a path of the server as people write it: what SFTP takes as relative is below the home directory."""
    text = os.fsdecode(place)
    return text if text.startswith("/") else "~" if text == "." else f"~/{text}"


def split_place(remote_dir: str, remote: str) -> tuple[bytes, bytes]:
    """Return the directory that ``remote`` counts from, as SFTP takes it, and what follows.

    SFTP knows no ``~``: what does not begin with a slash is below the home directory.

    Raises:
        DownloadFailed: ``~NAME``, which only a shell could look up.
    """
    base, text = (remote_dir, remote)
    if remote.startswith("/"):
        base, text = "/", remote
    elif remote == "~" or remote.startswith("~/"):
        base, text = "~", remote[2:]
    elif remote.startswith("~") and remote_dir != "~":
        raise DownloadFailed(f"{remote}: only ~/ is understood", hint="write the path from /, or ./~NAME for a name")
    base = os.path.normpath(base[1:].lstrip("/") or ".") if base.startswith("~") else base.rstrip("/")
    return os.fsencode(base), os.fsencode(text.strip("/"))


def find_sources(session: Sftp, remote_dir: str, remotes: Sequence[str], failed: list[Failure]) -> list[Source]:
    """Return what ``remotes`` name; what they do not is put into ``failed``."""
    asked = [(remote, *split_place(remote_dir, remote)) for remote in dict.fromkeys(remotes)]
    places = {remote: _join(base, text) for remote, base, text in asked}
    missing: dict[bytes, SftpError] = {}
    looks = stat_all(session, places.values(), lambda error: missing.update({error.path: error}))
    found: list[Source] = []
    for remote, base, text in asked:
        place = places[remote]
        if place in looks:
            name = os.path.basename(os.path.normpath(os.fsencode(remote)))
            source = Source(place, looks[place], b"" if name in (b".", b"..", b"~", b"") else name)
            _take(found, failed, source, remote)
        elif is_pattern(text) and missing[place].status == NO_SUCH_FILE:
            _take_matches(session, found, failed, (base, text), remote)
        else:
            failed.append(_build_missing(missing[place]))
    return found


def _join(base: bytes, text: bytes) -> bytes:
    """Return the path below ``base``; "" is the root directory."""
    path = os.path.normpath(base + b"/" + text)
    return b"/" + path.lstrip(b"/") if not base else path


def _build_missing(error: SftpError) -> Failure:
    if error.status != NO_SUCH_FILE:
        return Failure.of(error)
    home = os.path.expanduser("~").rstrip("/")
    path = os.fsdecode(error.path)
    if home and path.startswith(f"{home}/"):
        return Failure(error.path, error.said, hint=f"quote a ~ that is the server's: mtr get '~{path[len(home) :]}'")
    parent = show_place(os.path.dirname(error.path) or b".")
    is_plain = parent.replace("/", "").replace("~", "", 1).replace("-", "").replace("_", "").replace(".", "").isalnum()
    hint = f"mtr --no-sync 'ls -la {parent}'" if is_plain else "mtr --no-sync ls -la"
    return Failure(error.path, error.said, hint=hint)


def _take(found: list[Source], failed: list[Failure], source: Source, remote: str) -> None:
    """Put ``source`` to those ``found``, if it can be brought."""
    mode = source.look.mode
    is_dir = mode is not None and stat.S_ISDIR(mode)
    if not is_dir and remote.endswith("/"):
        failed.append(Failure(source.place, "Not a directory", hint="leave the last / out"))
    elif not is_dir and mode is not None and not stat.S_ISREG(mode):
        words = "neither a file nor a directory there"
        failed.append(Failure(source.place, words, hint="what a device says: mtr cat PATH >FILE"))
    elif OWN_DIRECTORY in source.name.lower().split(b"/"):
        failed.append(Failure(source.place, "mtr's own, and never brought", hint="mtr --no-sync ls -la .mtr"))
    else:
        found.append(source)


def _take_matches(
    session: Sftp, found: list[Source], failed: list[Failure], pattern: tuple[bytes, bytes], remote: str
) -> None:
    base, text = pattern
    fixed, parts = split_pattern(text)
    top = _join(base, fixed)
    before = len(found) + len(failed)

    def refuse(error: SftpError) -> None:
        failed.append(Failure.of(error))

    names = expand(session, top, parts, refuse)
    gone: list[SftpError] = []
    looks = stat_all(session, [top + b"/" + name for name in names], gone.append)
    # What stands behind the last pattern as a plain name need not be everywhere.
    if is_pattern(parts[-1]):
        failed += [Failure.of(error) for error in gone]
    for name in names:
        look = looks.get(top + b"/" + name)
        if look is None or (remote.endswith("/") and not stat.S_ISDIR(look.mode or 0)):
            continue
        if look.mode is None or stat.S_ISDIR(look.mode) or stat.S_ISREG(look.mode):
            _take(found, failed, Source(top + b"/" + name, look, name), "")
    if len(found) + len(failed) == before:
        words = "nothing there matches"
        hint = "mtr --no-sync ls -la; a pattern counts from the project's directory there"
        failed.append(Failure(_join(base, text), words, hint=hint))
