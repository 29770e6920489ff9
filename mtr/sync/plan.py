"""What a sync is about, as values: the project, the plan of what to put where, and the push that brings it. Pure.

Whoever made the entries looked at the disk, a transport acts.

Paths are bytes relative to the root, parts joined by ``/``: names on disk are bytes, in any encoding or none.
Builtin modules only: a warm run that has something to bring imports it.
"""

from __future__ import annotations

from mtr.errors import SyncError
from mtr.quoting import quote_posix
from mtr.ssh.gate import new_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Literal

    from mtr.sync.manifest import Tree

    Kind = Literal["file", "symlink"]

BATCH_BYTES = 60_000
"""What one call of the plan's text may hold: its words become the argv of ``mv`` and ``stat`` there."""

TRANSPORTS = {
    "payload": "in the command's own session",
    "tar": "as a stream over a session beside the command's",
    "rsync": "by rsync, while a session holds the lock",
    "sftp": "over SFTP, while a session holds the lock",
}
"""The ways to the server, for people."""


class Entry:
    """One path of the project as ``lstat`` saw it; times in nanoseconds, ``mode`` the permission bits."""

    __slots__ = ("ctime_ns", "inode", "kind", "mode", "mtime_ns", "path", "size_bytes")

    def __init__(
        self,
        path: bytes,
        kind: Kind,
        size_bytes: int,
        mtime_ns: int,
        ctime_ns: int = 0,
        inode: int = 0,
        mode: int = 0o644,
    ) -> None:
        self.path = path
        self.kind = kind
        self.size_bytes = size_bytes
        self.mtime_ns = mtime_ns
        self.ctime_ns = ctime_ns
        self.inode = inode
        self.mode = mode

    def __repr__(self) -> str:
        return f"Entry({', '.join(repr(getattr(self, name)) for name in ('path', 'kind', 'size_bytes', 'mtime_ns'))})"

    def __eq__(self, other: object) -> bool:
        names = self.__slots__
        return isinstance(other, Entry) and all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return hash(self.path)


class Plan:
    """What an engine does: bring ``upload`` from ``root`` into ``remote_dir``, and remove ``delete`` there.

    ``folders`` are made where they are missing, ``rmdirs`` removed if nothing is left in them; ``adopt`` are lines of
    the record for what the server has already: see ``apply.sh``.
    """

    __slots__ = ("adopt", "delete", "folders", "remote_dir", "rmdirs", "root", "upload", "warnings")

    def __init__(
        self,
        root: Path,
        remote_dir: str,
        upload: tuple[Entry, ...],
        delete: tuple[bytes, ...] = (),
        warnings: tuple[str, ...] = (),
        *,
        folders: tuple[bytes, ...] = (),
        rmdirs: tuple[bytes, ...] = (),
        adopt: tuple[bytes, ...] = (),
    ) -> None:
        self.root = root
        self.remote_dir = remote_dir
        self.upload = upload
        self.delete = delete
        self.warnings = warnings
        self.folders = folders
        self.rmdirs = rmdirs
        self.adopt = adopt

    def __bool__(self) -> bool:
        return bool(self.upload or self.delete or self.folders or self.rmdirs or self.adopt)

    @property
    def bytes_total(self) -> int:
        """Return the size of everything to upload, in bytes."""
        return sum(entry.size_bytes for entry in self.upload)

    @property
    def paths(self) -> list[bytes]:
        """Return every path that may be another on the server once the plan is carried out."""
        return [*(entry.path for entry in self.upload), *self.delete]


def build_plan(entries: Iterable[Entry], *, root: Path, remote_dir: str, warnings: tuple[str, ...] = ()) -> Plan:
    """Return the plan that brings ``entries`` to the server, ordered by path."""
    return Plan(root, remote_dir, tuple(sorted(entries, key=lambda entry: entry.path)), warnings=warnings)


def render_plan(plan: Plan, sent: Iterable[bytes]) -> str:
    """Return the calls that ``apply.sh`` carries out, as sh text; ``sent`` are the paths that travelled."""
    lines = list(render_calls("adopt", plan.adopt))
    for folder, paths in _group(plan.delete).items():
        lines += render_calls("gone", paths, folder)
    lines += render_calls("rmdirs", [b"./" + path for path in sorted(plan.rmdirs, reverse=True)])
    lines += render_calls("folders", [b"./" + path for path in plan.folders])
    for folder, paths in _group(sent).items():
        lines += [f"odd {_quote(folder)} {_quote(path)}\n" for path in paths if b"\n" in path]
        lines += render_calls("put", [path for path in paths if b"\n" not in path], folder)
    return "".join(lines)


def _group(paths: Iterable[bytes]) -> dict[bytes, list[bytes]]:
    """Return ``paths`` by their directory, both as the server names them."""
    found: dict[bytes, list[bytes]] = {}
    for path in paths:
        here = b"./" + path
        found.setdefault(here.rpartition(b"/")[0], []).append(here)
    return found


def render_calls(call: str, words: Iterable[bytes], first: bytes | None = None) -> list[str]:
    """Return ``call`` with all of ``words``, as often as their length asks for, each time with ``first`` in front."""
    start = call if first is None else f"{call} {_quote(first)}"
    calls, line, size = [], start, 0
    for word in words:
        line += " " + _quote(word)
        size += len(word)
        if size > BATCH_BYTES:
            calls.append(line + "\n")
            line, size = start, 0
    return [*calls, line + "\n"] if size else calls


def _quote(word: bytes) -> str:
    return quote_posix(word.decode(errors="surrogateescape"))


class Project:
    """What is delivered where: the root here, the directory there, the rules, and what a sync may delete.

    ``rules`` are the fields of :class:`mtr.sync.ignore.Rules`; ``client`` names this machine and root in the records
    on the server; ``delete`` and ``engine`` are the server's ``delete`` and ``sync``.
    """

    __slots__ = ("client", "delete", "engine", "remote_dir", "root", "rules")

    def __init__(
        self, root: str, remote_dir: str, rules: tuple[object, ...], *, client: str, delete: str, engine: str
    ) -> None:
        self.root = root
        self.remote_dir = remote_dir
        self.rules = rules
        self.client = client
        self.delete = delete
        self.engine = engine


class Push:
    """What is to be brought: a plan, the tokens it builds on, the tree that it makes, and its own token and run."""

    __slots__ = (
        "is_refused", "new", "old", "packed_bytes", "plan", "run_id", "sent_bytes", "sent_files", "text", "tree",
    )  # fmt: skip

    def __init__(self, plan: Plan, old: list[str], tree: Tree) -> None:
        self.plan = plan
        self.old = old
        self.tree = tree
        self.new = new_run_id()
        self.run_id = new_run_id()
        self.text = ""
        self.is_refused = False
        """Whether the server has told whoever waits for it that it will not come."""
        self.packed_bytes = 0
        """How much of what it brings has been packed: what is sent is less, and tells nothing of how far that is."""
        self.sent_bytes = 0
        self.sent_files = 0


class TreeRefused(SyncError):
    """The server's tree is not what this machine takes it for."""

    code = "tree"


class TreeMoved(TreeRefused):
    """Another run of this machine has begun a push since the manifest was loaded."""

    code = "tree-moved"
