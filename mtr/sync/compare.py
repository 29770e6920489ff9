"""Comparing everything: for a first sync, for ``--full``, and when the tree there is not as this machine left it.

The server lists what it has, once; what differs from here in kind, size, time or mode is brought, what is equal
is adopted into the record of what this client has put there. What only the server has stays, except with
``delete: mirror``.
"""

from __future__ import annotations

import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram, RsyncMissing, SyncError
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from mtr.ssh.diagnosis import build_prepare_error
from mtr.ssh.gate import new_run_id
from mtr.sync.delivery import inside, is_folder, is_gone
from mtr.sync.ignore import Rules
from mtr.sync.plan import Plan, Push
from mtr.sync.seed import identify
from mtr.sync.survey import survey_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mtr.ssh.held import Held
    from mtr.sync.delivery import Delivery
    from mtr.sync.manifest import Tree
    from mtr.sync.plan import Entry
    from mtr.sync.seed import Identity

MAX_LISTING_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Remote:
    """One path as the server has it.

    ``record`` is what its line in the record of what was put there would be, ``is_ours`` says that it is in that
    record.
    """

    mode: int
    mtime_ns: int
    size_bytes: int
    record: bytes
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The tree on the server: its token and its paths; None where the token is known.

    ``has_record`` says that there is a record of what this client has put there.
    """

    token: str
    paths: dict[bytes, Remote] | None
    has_record: bool = False


def start_listing(delivery: Delivery, known: Iterable[str]) -> Held:
    """Ask the server what its tree is; it is listed unless its token is among ``known``."""
    words = _build_words(delivery, known)
    return delivery.line.hold(build_remote_command("mtr-script", load_script("remote/list.sh"), words))


def _build_words(delivery: Delivery, known: Iterable[str], how: str = "") -> list[str]:
    project = delivery.project
    return [project.remote_dir, new_run_id(), delivery.line.facts.stat, how, project.client, *known]


def finish_listing(delivery: Delivery, held: Held) -> Listing | None:
    """Return what the server has said; None where its session did not open.

    Raises:
        SyncError: the directory cannot be made, written or looked at.
    """
    try:
        ended, (stdout, stderr) = held.finish()
    finally:
        held.close()
    if not ended.has_opened:
        return None
    if ended.status != 0 or not ended.arrived:
        words = stderr.decode(errors="replace")
        raise build_prepare_error(ended.status, delivery.line.label, delivery.project.remote_dir, words)
    return parse_listing(stdout, delivery.line.server_name)


def load_listing(delivery: Delivery, known: Iterable[str] = (), *, how: str = "") -> Listing:
    """Ask the server what its tree is and return it; with ``look`` for ``how``, touching nothing."""
    found = delivery.line.run_script("remote/list.sh", _build_words(delivery, known, how), timeout_s=600)
    if found.status != 0:
        text = found.stderr.decode(errors="replace")
        raise build_prepare_error(found.status, delivery.line.label, delivery.project.remote_dir, text)
    return parse_listing(found.stdout, delivery.line.server_name)


def parse_listing(output: bytes, server: str = "") -> Listing:
    """Return the listing in what ``list.sh`` prints, found among whatever rc files print.

    Raises:
        SyncError: it is cut, or none at all.
    """
    head, is_listed, packed = output.partition(b"mtr-list\n")
    words = [line.split() for line in head.splitlines() if line.startswith(b"mtr-")]
    facts = {line[0]: line[-1].decode(errors="replace") for line in words}
    # It goes back to the server as a word of a list, and into the name of a file.
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", facts.get(b"mtr-token", "")):
        hint = f"see what the rc files there print: mtr -s {server} --no-sync true" if server else "run it again"
        detail = output[:500].decode(errors="replace")
        raise SyncError("the server did not say what its tree is", detail=detail, hint=hint)
    try:
        paths = _parse_paths(_unpack(packed)) if is_listed else None
    except (zlib.error, ValueError, IndexError) as error:
        raise SyncError("the server's list of files is cut", hint="run it again") from error
    if b"mtr-unlisted" in facts:
        paths = {}  # a bare server: everything is brought, and what stands there is kept
    return Listing(facts[b"mtr-token"], paths, b"mtr-record" in facts)


def _unpack(packed: bytes) -> bytes:
    """Return the list, which must not grow without bounds: a gigabyte is ten million files."""
    unpacker = zlib.decompressobj(wbits=31)
    text = unpacker.decompress(packed, MAX_LISTING_BYTES)
    if unpacker.unconsumed_tail:
        raise SyncError("the server's list of files is too long", hint="choose another `remote_dir`")
    return text


def _parse_paths(text: bytes) -> dict[bytes, Remote]:
    if not text.endswith(b"mtr-end\n"):
        raise SyncError("the server's list of files is cut", hint="run it again")
    found = {}
    for line in text.split(b"\n")[:-2]:
        look, bar, record = line.partition(b"|")
        _, named, path = record.partition(b"|./")
        if bar and named:
            mode, seconds, shown = look[1:].split(b":", 2)
            inode_size = record.split(b":", 2)
            is_ours = look[:1] == b"="
            found[path] = Remote(int(mode, 16), _parse_time(seconds, shown), int(inode_size[1]), record, is_ours)
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


def _has_moved(entry: Entry, found: Remote, known: Mapping[bytes, tuple[int, int, int]], listing: Listing) -> bool:
    """Tell whether a path has been written here or there since it was put there, although it looks the same.

    ctime and inode say so here, the record of what was put there on the server; where one of them is missing,
    size, time and mode must do.
    """
    if listing.has_record and not found.is_ours:
        return True
    return entry.path in known and known[entry.path] != (entry.ctime_ns, entry.inode, entry.size_bytes)


def survey_project(delivery: Delivery) -> tuple[Tree, tuple[Entry, ...]]:
    """Return the project as it is here now.

    Raises:
        ProjectError: there is nothing at all here.
    """
    project = delivery.project
    with inside(project.root):
        found = survey_entries(Path(project.root), Rules(*project.rules))  # type: ignore[arg-type]
    delivery.warnings = found[0].warnings
    return found


def compare_all(
    delivery: Delivery, tree: Tree, entries: Iterable[Entry], listing: Listing, seeded: frozenset[bytes] = frozenset()
) -> Push:
    """Return the push that makes the server's tree this one; see the module.

    ``seeded`` are known to be the same there if they are there, whatever their time.
    """
    project, there = delivery.project, listing.paths or {}
    known = delivery.manifest.tree.looks() if delivery.manifest.tree is not None else {}
    upload, adopt = [], []
    for entry in entries:
        found = there.get(entry.path)
        if found is not None and entry.path in seeded and found.size_bytes == entry.size_bytes:
            adopt.append(found.record)
        elif found is None or differs(entry, found) or _has_moved(entry, found, known, listing):
            upload.append(entry)
        elif not found.is_ours:
            adopt.append(found.record)
    plan = Plan(
        Path(project.root),
        project.remote_dir,
        tuple(upload),
        tuple(_find_deleted(delivery, tree, there)),
        folders=tuple(tree.empty),
        rmdirs=tuple(_find_removed(delivery)),
        adopt=tuple(adopt),
    )
    return Push(plan, [listing.token], tree)


def _find_deleted(delivery: Delivery, tree: Tree, there: Iterable[bytes]) -> list[bytes]:
    """Return what was brought to the server from here and is gone here; with ``mirror``, all that is not here."""
    from mtr.sync.ignore import match_ignored

    project, manifest = delivery.project, delivery.manifest
    foreign = set(there) - set(tree.paths)
    if project.delete == "mirror":
        # What the rules leave out is nobody's to mirror.
        rules = Rules(*project.rules)  # type: ignore[arg-type]
        return sorted(foreign - match_ignored(Path(project.root), foreign, rules))
    if project.delete == "never" or manifest.tree is None:
        return []
    brought = {*manifest.tree.paths, *manifest.uncertain} - set(tree.paths)
    with inside(project.root):
        # The listing cannot show names with a newline.
        return sorted(path for path in brought if (path in foreign or b"\n" in path) and is_gone(path))


def _find_removed(delivery: Delivery) -> list[bytes]:
    """Return the directories that were brought to the server from here and are none here any more."""
    tree = delivery.manifest.tree
    if tree is None or delivery.project.delete == "never":
        return []
    with inside(delivery.project.root):
        return [folder for folder in tree.folders if folder != b"." and not is_folder(folder)]


def settle(delivery: Delivery, *, full: bool = False) -> Push | None:
    """Find out what the tree there is and return what makes it this one; None if it is already.

    What this machine's own cut off pushes may have done is brought again; anything else there is compared in full,
    as it always is with ``full``.

    Raises:
        SyncError: the directory there cannot be used.
    """
    manifest = delivery.manifest
    is_known = delivery.is_known and not full
    if is_known:
        listing = load_listing(delivery, [*manifest.tokens, *manifest.runs])
        if listing.paths is not None:
            # Another run of this machine may have pushed while the server was asked.
            manifest.load()
        if listing.paths is None or listing.token in manifest.tokens:
            return _go_on(delivery, listing)
        name = delivery.line.server_name
        delivery.line.says(f"the tree on {name} is not as this machine left it: comparing everything")
        _warn_of_others(delivery, identify(delivery))
        tree, entries = survey_project(delivery)
        seeded = frozenset[bytes]()
    else:
        tree, entries, listing, seeded = _look_on_both_sides(delivery)
    _ensure_transport(delivery)
    push = compare_all(delivery, tree, entries, listing, seeded)
    manifest.tokens = [listing.token]
    if not push.plan:
        delivery.store(push.tree, listing.token)
        return None
    return push


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sync would do: paths that it would make, replace and delete there, and those that only the server has."""

    new: tuple[bytes, ...]
    changed: tuple[bytes, ...]
    deleted: tuple[bytes, ...]
    foreign: tuple[bytes, ...] = ()


def preview(delivery: Delivery, *, full: bool = False) -> Preview:
    """Return what a sync would do, touching nothing; with ``full``, after comparing everything.

    Raises:
        SyncError: the server cannot be asked.
    """
    if delivery.is_known and not full:
        push = delivery.prepare(keep=False)
        if push is None:
            return Preview((), (), ())
        upload = [entry.path for entry in push.plan.upload]
        new = tuple(path for path in upload if path in delivery.added)
        return Preview(new, tuple(path for path in upload if path not in delivery.added), push.plan.delete)
    listing = load_listing(delivery, how="look")
    there = listing.paths or {}
    tree, entries = survey_project(delivery)
    plan = compare_all(delivery, tree, entries, listing).plan
    return Preview(
        tuple(entry.path for entry in plan.upload if entry.path not in there),
        tuple(entry.path for entry in plan.upload if entry.path in there),
        plan.delete,
        tuple(sorted(set(there) - set(tree.paths) - set(plan.delete))),
    )


def _look_on_both_sides(delivery: Delivery) -> tuple[Tree, tuple[Entry, ...], Listing, frozenset[bytes]]:
    """Survey the project and list the server, which take their time here and there, at once; seed a new worktree."""
    from mtr.sync.seed import find_sibling, save_identity, seed

    is_new, identity = delivery.manifest.tree is None, identify(delivery)
    if is_new and find_sibling(delivery.manifest, identity) is not None:
        tree, entries = survey_project(delivery)
        with inside(delivery.project.root):
            seeded = seed(delivery, entries)
        listing = load_listing(delivery)
    else:
        seeded = frozenset()
        held = start_listing(delivery, [])
        try:
            tree, entries = survey_project(delivery)
        except BaseException:
            held.close()
            raise
        listing = finish_listing(delivery, held) or load_listing(delivery)
    save_identity(delivery.manifest, identity)
    _warn_of_others(delivery, identity)
    return tree, entries, listing, seeded


def _warn_of_others(delivery: Delivery, identity: Identity) -> None:
    """Say which other checkout of this machine goes into the same directory there."""
    from mtr.sync.seed import find_rivals

    for root in find_rivals(delivery.manifest, identity):
        delivery.line.says(
            f"{root} goes into {identity.remote_dir} on {delivery.line.server_name} as well: "
            "put {branch} into `remote_dir`, or leave it out, and each has its own"
        )


def _go_on(delivery: Delivery, listing: Listing) -> Push | None:
    """Build on a tree there that this machine's own pushes have made."""
    manifest = delivery.manifest
    _ensure_transport(delivery)
    manifest.tokens = [listing.token]
    push = delivery.prepare()
    if push is None and manifest.tree is not None:
        delivery.store(manifest.tree, listing.token)
    return push


def _ensure_transport(delivery: Delivery) -> None:
    """Refuse early what cannot work.

    Raises:
        RsyncMissing: rsync is asked for and not there.
        MissingProgram: it is asked for, and what it needs is not here.
    """
    facts = delivery.line.facts
    if delivery.project.engine != "rsync":
        return
    if not facts.ssh:
        raise MissingProgram("rsync needs ssh, which is not in use here", hint="leave `sync` out")
    if not facts.rsync:
        hint = "install rsync there, e.g. apt install rsync, or leave `sync` out; then: mtr down"
        raise RsyncMissing(f"rsync is not installed on {delivery.line.label}", hint=hint)
