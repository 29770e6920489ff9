"""Seeding the first sync of a worktree: what its sibling has brought to the same server need not travel again.

Beside each manifest lies ``KEY.id``: which project it is of. A sibling is another checkout of the same repository
on the same server. What is byte for byte the same here as there, and was brought there as it is, the server copies
on its own: see ``seed.sh``. The full comparison that follows brings the rest.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import zlib
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.ssh.gate import new_run_id
from mtr.sync import git
from mtr.sync.manifest import Manifest, read_value, write_value
from mtr.sync.plan import render_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtr.sync.delivery import Delivery
    from mtr.sync.plan import Entry

FEW = 20
"""Fewer files than this travel faster than they can be asked about."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose manifest it is: the root and its repository here, the server's address and directory, the client's name."""

    root: str
    repository: str
    address: str
    remote_dir: str
    client: str


def identify(delivery: Delivery) -> Identity:
    """Return the identity of the delivery's project."""
    project = delivery.project
    repository = git.find_common_dir(os.fsencode(project.root))
    return Identity(project.root, repository, delivery.line.facts.address, project.remote_dir, project.client)


def save_identity(manifest: Manifest, identity: Identity) -> None:
    """Store ``identity`` beside its manifest, for worktrees to come; where that cannot be written, they do without."""
    with contextlib.suppress(OSError):
        write_value(f"{manifest.file}.id", astuple(identity))


def find_sibling(manifest: Manifest, identity: Identity) -> tuple[Identity, Manifest] | None:
    """Return the sibling that was synced last, with its manifest; None where there is none."""
    if not identity.repository:
        return None
    for file in _list_identities(Path(manifest.file).parent):
        other = _load(file)
        if other is None or (other.repository, other.address) != (identity.repository, identity.address):
            continue
        if other.root == identity.root or other.remote_dir == identity.remote_dir:
            continue
        found = Manifest(str(file.with_suffix("")))
        found.load()
        if found.tree is not None and not found.uncertain:
            return other, found
    return None


def find_rivals(manifest: Manifest, identity: Identity) -> list[str]:
    """Return the roots of this machine's other projects that go into the same directory of the same server."""
    rivals = []
    for file in _list_identities(Path(manifest.file).parent):
        other = _load(file)
        is_same_place = other and (other.address, other.remote_dir) == (identity.address, identity.remote_dir)
        if other and is_same_place and other.root != identity.root and os.path.isdir(other.root):
            rivals.append(other.root)
    return rivals


def _load(file: Path) -> Identity | None:
    fields = read_value(str(file)) or ()
    is_whole = len(fields) == 5 and all(isinstance(field, str) for field in fields)
    return Identity(*fields) if is_whole else None


def _list_identities(folder: Path) -> list[Path]:
    """Return the files of identities beside a manifest, those of the latest first."""
    found = []
    for file in folder.glob("*.id"):
        with contextlib.suppress(OSError):
            found.append((file.with_suffix("").stat().st_mtime_ns, file))
    return [file for _, file in sorted(found, reverse=True)]


def find_same(entries: Iterable[Entry], sibling: Identity, manifest: Manifest) -> Iterator[bytes]:
    """Yield the paths that are the same here as in the sibling, which has brought them as they are."""
    looks = manifest.tree.looks() if manifest.tree is not None else {}
    top = os.fsencode(sibling.root)
    for entry in entries:
        path = os.path.join(top, entry.path)
        if entry.path not in looks or b"\n" in entry.path:
            continue
        try:
            found = os.lstat(path)
            look = (found.st_ctime_ns, found.st_ino, found.st_size)
            if look == looks[entry.path] and found.st_size == entry.size_bytes and _is_same(entry, path, found):
                yield entry.path
        except OSError:
            continue


def _is_same(entry: Entry, other: bytes, found: os.stat_result) -> bool:
    """Compare content and mode; the current directory is the project's root."""
    if entry.kind == "symlink":
        return os.path.islink(other) and os.readlink(entry.path) == os.readlink(other)
    return found.st_mode & 0o7777 == entry.mode and filecmp.cmp(entry.path, other, shallow=False)


def seed(delivery: Delivery, entries: Iterable[Entry]) -> frozenset[bytes]:
    """Let the server take over what a sibling has brought; return what was offered; the cwd is the project's root."""
    identity = identify(delivery)
    sibling = find_sibling(delivery.manifest, identity)
    if sibling is None or not delivery.line.facts.stat:
        return frozenset()
    paths = frozenset(find_same(entries, *sibling))
    if len(paths) < FEW:
        return frozenset()
    by_folder: dict[bytes, list[bytes]] = {}
    for path in sorted(paths):
        by_folder.setdefault((b"./" + path).rpartition(b"/")[0], []).append(b"./" + path)
    text = "".join(call for folder, found in by_folder.items() for call in render_calls("seed", found, folder))
    words = [sibling[0].remote_dir, identity.remote_dir, sibling[0].client, delivery.line.facts.stat, new_run_id()]
    packed = zlib.compress(text.encode(errors="surrogateescape"), 1, wbits=31)
    done = delivery.line.run_script("remote/seed.sh", words, stdin=packed, timeout_s=600)
    seeded = done.stdout.partition(b"mtr-seeded ")[2].split()
    if done.status != 0 or not seeded:
        return frozenset()
    delivery.line.says(
        f"{seeded[0].decode(errors='replace')} files taken over on {delivery.line.server_name} from {sibling[0].root}"
    )
    return paths
