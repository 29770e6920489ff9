"""Comparing everything: for a first sync, for ``--full``, and when the tree there is not as this machine left it.

The server lists what it has, once; what differs from here in kind, size, time or mode is brought, what is equal
is adopted into the record of what this client has put there. What only the server has stays, except with
``delete: mirror``.
"""

from __future__ import annotations

import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import RsyncMissing, SyncError
from mtr.ssh.diagnosis import build_prepare_error
from mtr.ssh.line import new_run_id
from mtr.sync.delivery import Push, inside, look_at
from mtr.sync.ignore import Rules
from mtr.sync.plan import Plan
from mtr.sync.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtr.sync.delivery import Delivery
    from mtr.sync.manifest import Tree
    from mtr.sync.plan import Entry


@dataclass(frozen=True, slots=True)
class Remote:
    """One path as the server has it; ``record`` is its line in the record of what was put there."""

    mode: int
    mtime_ns: int
    size_bytes: int
    record: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """The tree on the server: its token, whether there is rsync, and its paths; None where the token is known."""

    token: str
    has_rsync: bool
    paths: dict[bytes, Remote] | None


def load_listing(delivery: Delivery, run_id: str, *, known: Iterable[str] = ()) -> Listing:
    """Ask the server what its tree is; it is listed unless its token is among ``known``.

    Raises:
        SyncError: the directory cannot be made, written or looked at.
    """
    line, project = delivery.line, delivery.project
    words = [project.remote_dir, run_id, line.facts.stat, "", *known]
    found = line.run_script("remote/list.sh", words, timeout_s=600)
    if found.status != 0:
        words_there = found.stderr.decode(errors="replace")
        raise build_prepare_error(found.status, line.label, project.remote_dir, words_there)
    return parse_listing(found.stdout)


def parse_listing(output: bytes) -> Listing:
    """Return the listing in what ``list.sh`` prints, found among whatever rc files print.

    Raises:
        SyncError: it is cut, or none at all.
    """
    head, is_listed, packed = output.partition(b"mtr-list\n")
    words = [line.split() for line in head.splitlines() if line.startswith(b"mtr-")]
    facts = {line[0]: line[-1].decode() for line in words}
    if b"mtr-token" not in facts:
        raise SyncError("the server did not say what its tree is", detail=output[:500].decode(errors="replace"))
    paths = _parse_paths(zlib.decompress(packed, wbits=31)) if is_listed else None
    if b"mtr-unlisted" in facts:
        paths = {}  # a bare server: everything is brought, and what stands there is kept
    return Listing(facts[b"mtr-token"], b"mtr-rsync" in facts, paths)


def _parse_paths(text: bytes) -> dict[bytes, Remote]:
    if not text.endswith(b"mtr-end\n"):
        raise SyncError("the server's list of files is cut", hint="run it again")
    found = {}
    for line in text.split(b"\n")[:-2]:
        look, bar, record = line.partition(b"|")
        _, named, path = record.partition(b"|./")
        if bar and named:
            mode, seconds, shown = look.split(b":", 2)
            inode_size = record.split(b":", 2)
            found[path] = Remote(int(mode, 16), _parse_time(seconds, shown), int(inode_size[1]), record)
    return found


def _parse_time(seconds: bytes, shown: bytes) -> int:
    """Return nanoseconds from ``%Y`` and the fraction in ``%y`` (GNU) or ``%Fm`` (BSD)."""
    fraction = shown.partition(b".")[2][:9]
    return int(seconds) * 1_000_000_000 + (int(fraction.ljust(9, b"0")) if fraction.isdigit() else 0)


def differs(entry: Entry, there: Remote) -> bool:
    """Tell whether a path is another thing there: kind, size, time, mode. A time without fraction has lost it."""
    is_link = stat.S_ISLNK(there.mode)
    if is_link != (entry.kind == "symlink") or not (is_link or stat.S_ISREG(there.mode)):
        return True
    if entry.size_bytes != there.size_bytes or (not is_link and entry.mode != stat.S_IMODE(there.mode)):
        return True
    if there.mtime_ns % 1_000_000_000 == 0:
        return entry.mtime_ns // 1_000_000_000 != there.mtime_ns // 1_000_000_000
    return entry.mtime_ns != there.mtime_ns


def compare_all(delivery: Delivery, listing: Listing) -> Push:
    """Return the push that makes the server's tree this one; see the module.

    Raises:
        ProjectError: there is nothing at all here.
    """
    project = delivery.project
    with inside(project.root):
        tree = survey(Path(project.root), Rules(*project.rules))  # type: ignore[arg-type]
        there = listing.paths or {}
        upload, adopt = [], []
        for path in tree.paths:
            entry = look_at(path)
            if entry is None:
                continue
            if path not in there or differs(entry, there[path]):
                upload.append(entry)
            else:
                adopt.append(there[path].record)
        delete = _find_foreign(delivery, tree, there) if project.delete == "mirror" else []
    delivery.warnings = tree.warnings
    plan = Plan(
        Path(project.root),
        project.remote_dir,
        tuple(upload),
        tuple(delete),
        folders=tuple(tree.empty),
        adopt=tuple(adopt),
    )
    return Push(plan, [listing.token], tree)


def _find_foreign(delivery: Delivery, tree: Tree, there: Iterable[bytes]) -> list[bytes]:
    """Return what only the server has, less what the rules leave out: that is nobody's to mirror."""
    from mtr.sync.ignore import match_ignored

    foreign = set(there) - set(tree.paths)
    return sorted(foreign - match_ignored(Path(delivery.project.root), foreign, Rules(*delivery.project.rules)))  # type: ignore[arg-type]


def settle(delivery: Delivery, *, full: bool = False) -> Push | None:
    """Find out what the tree there is and return what makes it this one; None if it is already.

    What this machine's own cut off pushes may have done is brought again; anything else there is compared in full,
    as it always is with ``full``.

    Raises:
        SyncError: the directory there cannot be used.
    """
    manifest = delivery.manifest
    is_known = delivery.is_known and not full
    known = [*manifest.tokens, *manifest.runs] if is_known else []
    listing = load_listing(delivery, new_run_id(), known=known)
    _ensure_transport(delivery, listing)
    if listing.paths is None:
        manifest.tokens = [listing.token]
        push = delivery.prepare()
        if push is None and manifest.tree is not None:
            manifest.confirm(manifest.tree, listing.token)
        return push
    if is_known:
        delivery.line.says(
            f"the tree on {delivery.line.server_name} is not as this machine left it: comparing everything"
        )
    push = compare_all(delivery, listing)
    manifest.tokens = [listing.token]
    if not push.plan:
        manifest.confirm(push.tree, listing.token)
        return None
    return push


def _ensure_transport(delivery: Delivery, listing: Listing) -> None:
    """Refuse early what cannot work: without tar, gzip and awk there, only rsync brings files.

    Raises:
        RsyncMissing: it is asked for, or needed, and not there.
    """
    needs = delivery.project.engine == "rsync" or not delivery.line.facts.archive
    if needs and not listing.has_rsync:
        raise RsyncMissing(
            f"rsync is not installed on {delivery.line.label}", hint="install rsync there, e.g. apt install rsync"
        )
    delivery.has_rsync = listing.has_rsync
