"""The manifest: what the project was when it last reached its server, and what has changed since.

One file per project and server directory in the state directory, ``sync/KEY``; ``sync/KEY.pending`` beside it from
before a push is sent until the server has confirmed it. Both are written atomically, under ``KEY.lock``.

A file counts as unchanged when ctime, inode and size are what they were: ctime moves with every change of the
content, the mode or the name, and nobody can set it back. A racy one, changed in the same tick of the clock in
which it was looked at, is stored with ctime 0 and so counts as changed next time. Directories are looked at in the
same way: while one is unchanged, no name in it has come or gone.

Builtin modules only, and values compared before any is built: a warm run does this on every file.
"""

from __future__ import annotations

import errno
import marshal
import os
import time
from stat import S_ISDIR, S_ISLNK, S_ISREG
from zlib import crc32

from mtr.errors import LockTimeout, ProjectError
from mtr.state import ensure_state_dir, hold_lock, name_file, read_regular, remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Signature = tuple[int, int, int] | None

FORMAT = 1
MAX_BYTES = 1 << 30
"""Some ten million files."""

LOCK_TIMEOUT_S = 10.0
"""A manifest is read and written under its lock, and nothing else."""

MARSHAL_VERSION = 4
"""What every supported Python reads and writes."""

TICK_NS = 20_000_000
"""Kernels stamp files with a clock that moves every 1 to 10 ms; twice that is safe."""

COARSE_TICK_NS = 2_000_000_000
"""A time of whole seconds comes from a file system that knows no others (or, as FAT, every second one)."""

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What lstat says of a path that is not there; anything else (closed, a broken disk) says nothing about it."""

_SPECIAL = frozenset("*?[]\\!# ")

RULE_NAMES = (b".gitignore", b".mtrignore", b".git")
OWN_DIRECTORY = b".mtr"


class Tree:
    """The project's files, as far as rules let them in, and the directories that are watched for new names.

    ``paths``, ``ctimes``, ``inodes`` and ``sizes`` are parallel; paths are relative to the root. ``folders`` are all
    directories that no rule leaves out, the root being ``b"."``, and ``empty`` those that are synced as such.
    ``ignored`` holds for a directory the names in it that are left out, directories with a slash behind.
    ``rule_files`` are the files that decided, with what they looked like; ``indexes`` those of git, and ``forced`` what
    git tracks although it is ignored. ``is_plain`` says that a new name can be asked about alone.
    """

    __slots__ = (
        "ctimes", "empty", "folder_ctimes", "folder_inodes", "folders", "forced", "ignored", "indexes", "inodes",
        "is_plain", "paths", "rule_files", "rules", "sizes", "warnings",
    )  # fmt: skip

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.ctimes: list[int] = []
        self.inodes: list[int] = []
        self.sizes: list[int] = []
        self.folders: list[bytes] = []
        self.folder_ctimes: list[int] = []
        self.folder_inodes: list[int] = []
        self.empty: list[bytes] = []
        self.ignored: dict[bytes, tuple[bytes, ...]] = {}
        self.rules: tuple[object, ...] = ()
        self.rule_files: list[tuple[str, Signature]] = []
        self.indexes: list[tuple[str, Signature]] = []
        self.forced: tuple[bytes, ...] = ()
        self.is_plain = False
        self.warnings: tuple[str, ...] = ()

    def to_tuple(self) -> tuple[object, ...]:
        """Return the fields in a fixed order, as marshal takes them."""
        return tuple(getattr(self, name) for name in self.__slots__)

    @classmethod
    def from_tuple(cls, fields: tuple[object, ...]) -> Tree:
        """Return the tree of :meth:`to_tuple`.

        Raises:
            ValueError, TypeError: they are not of a tree.
        """
        tree = cls()
        for name, value in zip(cls.__slots__, fields, strict=True):
            if not isinstance(value, type(getattr(tree, name))):
                raise TypeError(f"{name} is of another kind")
            setattr(tree, name, value)
        for columns in (("ctimes", "inodes", "sizes"), ("folder_ctimes", "folder_inodes")):
            rows = tree.paths if columns[0] == "ctimes" else tree.folders
            if any(len(getattr(tree, name)) != len(rows) for name in columns):
                raise ValueError("its columns are not of one length")
        return tree

    def compare(self) -> Changes:
        """Look at every file and directory; the current directory must be the project's root.

        Raises:
            ProjectError: a directory is closed to this user; what is in it has not gone.
        """
        try:
            return self._compare()
        except OSError as error:
            name = os.fsdecode(error.filename or b"")
            hint = f"ls -ld {os.path.dirname(name) or '.'}"
            raise ProjectError(f"cannot look at {name}: {error.strerror}", hint=hint) from error

    def _compare(self) -> Changes:
        changes = Changes()
        changes.started_ns = time.time_ns()
        changes.rules_changed = self._includes_more() or any(
            read_signature(path) != found for path, found in self.rule_files
        )
        changes.index_changed = any(read_signature(path) != found for path, found in self.indexes)
        lstat = os.lstat
        for index, (path, ctime, inode) in enumerate(
            zip(self.folders, self.folder_ctimes, self.folder_inodes, strict=True)
        ):
            try:
                found = lstat(path)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                changes.lost_folders.append(index)
                continue
            if found.st_ctime_ns != ctime or found.st_ino != inode:
                (changes.folders if S_ISDIR(found.st_mode) else changes.lost_folders).append(index)
        index = -1
        for path, ctime, inode, size in zip(self.paths, self.ctimes, self.inodes, self.sizes, strict=True):
            index += 1
            try:
                found = lstat(path)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                changes.gone.append(index)
                continue
            if found.st_ctime_ns != ctime or found.st_ino != inode or found.st_size != size:
                is_ours = S_ISREG(found.st_mode) or S_ISLNK(found.st_mode)
                (changes.changed if is_ours else changes.gone).append(index)
        if changes.lost_folders:
            self._drop_below(changes)
        return changes

    def _includes_more(self) -> bool:
        """Tell whether ``include`` may force in what no watched directory shows: only plain files can be looked up."""
        patterns: tuple[str, ...] = self.rules[1] if self.rules else ()  # type: ignore[assignment]
        known = set(self.paths) if patterns else set()
        for pattern in patterns:
            path = os.fsencode(pattern.lstrip("/"))
            is_name = "/" in pattern.rstrip("/") and not pattern.endswith("/") and not set(pattern) & _SPECIAL
            if not is_name or (path not in known and os.path.lexists(path)) or os.path.isdir(path):
                return True
        return False

    def _drop_below(self, changes: Changes) -> None:
        """What seems to lie below a directory that has become a link is not the project's any more."""
        lost = tuple(self.folders[index] + b"/" for index in changes.lost_folders)
        below = {index for index, path in enumerate(self.paths) if path.startswith(lost)}
        changes.gone = sorted(below | set(changes.gone))
        changes.changed = [index for index in changes.changed if index not in below]

    def looks(self) -> dict[bytes, tuple[int, int, int]]:
        """Return what each file looked like, by path."""
        return dict(zip(self.paths, zip(self.ctimes, self.inodes, self.sizes, strict=True), strict=True))

    def find_new(self, changes: Changes) -> list[bytes]:
        """Return the names that have appeared in changed directories, directories with a slash behind."""
        known = set(self.paths)
        folders = set(self.folders)
        new = []
        for index in changes.folders:
            folder = self.folders[index]
            prefix = b"" if folder == b"." else folder + b"/"
            ignored = self.ignored.get(folder, ())
            for name, is_folder in list_names(folder):
                path = prefix + name
                if is_folder:
                    if path not in folders and name + b"/" not in ignored and path != OWN_DIRECTORY:
                        new.append(path + b"/")
                elif path not in known and name not in ignored:
                    new.append(path)
        return new

    def note(self, index: int, started_ns: int) -> None:
        """Take the present look of a file for the known one."""
        found = os.lstat(self.paths[index])
        self.ctimes[index] = steady(found.st_ctime_ns, started_ns)
        self.inodes[index], self.sizes[index] = found.st_ino, found.st_size

    def expect(self, path: bytes) -> None:
        """Take ``path`` for one that is on the server and looks like nothing here, so that it counts as changed."""
        self.paths.append(path)
        self.ctimes.append(0)
        self.inodes.append(0)
        self.sizes.append(-1)

    def note_folder(self, index: int, started_ns: int) -> None:
        """Take the present look of a directory for the known one; one that has gone counts as changed."""
        try:
            found = os.lstat(self.folders[index])
        except OSError:
            self.folder_ctimes[index] = 0
            return
        self.folder_ctimes[index] = steady(found.st_ctime_ns, started_ns)
        self.folder_inodes[index] = found.st_ino

    def note_empty(self, index: int) -> None:
        """Take note of whether a directory is empty now, which makes it something to sync by itself."""
        folder = self.folders[index]
        is_empty = folder != b"." and not list_names(folder)
        if is_empty and folder not in self.empty:
            self.empty.append(folder)
        elif not is_empty and folder in self.empty:
            self.empty.remove(folder)


class Changes:
    """What :meth:`Tree.compare` found: indexes of files and directories; when it began, in ns since the epoch."""

    __slots__ = ("changed", "folders", "gone", "index_changed", "lost_folders", "rules_changed", "started_ns")

    def __init__(self) -> None:
        self.changed: list[int] = []
        self.gone: list[int] = []
        self.folders: list[int] = []
        self.lost_folders: list[int] = []
        self.rules_changed = False
        self.index_changed = False
        self.started_ns = 0

    def __bool__(self) -> bool:
        return bool(
            self.changed or self.gone or self.folders or self.lost_folders or self.rules_changed or self.index_changed
        )

    @property
    def needs_rules(self) -> bool:
        """Whether what has changed can only be told by asking the rules again."""
        return self.rules_changed or self.index_changed or bool(self.lost_folders)


def steady(ctime_ns: int, started_ns: int) -> int:
    """Return ``ctime_ns``, or 0 if the file could change once more without it changing."""
    tick_ns = TICK_NS if ctime_ns % 1_000_000_000 else COARSE_TICK_NS
    return ctime_ns if ctime_ns < started_ns - tick_ns else 0


def read_signature(path: str) -> Signature:
    """Return what tells whether the file has changed; None if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_ctime_ns, found.st_ino, found.st_size)


def list_names(folder: bytes) -> list[tuple[bytes, bool]]:
    """Return the names in ``folder``, each with whether it is a directory; none where it is gone or closed."""
    try:
        with os.scandir(folder) as found:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    except OSError:
        return []


class Manifest:
    """A tree, the token that says on the server that it is there, and what of it is not certain.

    ``tokens`` are all that may stand there, the confirmed one first; there is none before the first sync.
    ``uncertain`` are paths that a push has or has not brought there, ``runs`` the runs that did it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._reset()

    def _reset(self) -> None:
        self.tree: Tree | None = None
        self.token = ""
        self.tokens: list[str] = []
        self.runs: list[str] = []
        self.uncertain: list[bytes] = []
        self._bases: list[str] = []
        self._pending: tuple[Any, ...] | None = None

    def load(self) -> None:
        """Read what is on disk; what cannot be read counts as no manifest."""
        self._reset()
        try:
            token, fields = read_value(self.file) or ()
            self.token, self.tree = _ensure_text(token), Tree.from_tuple(fields)
        except (TypeError, ValueError):
            return  # none, or of another version of mtr
        self._bases = [self.token]
        pending = self._read_pending()
        if pending is not None and self.token in pending[0]:
            self._pending = pending
            _, tokens, self.runs, self.uncertain = pending
            self._bases += [token for token in tokens if token != self.token]
        self.tokens = list(self._bases)

    def _read_pending(self) -> tuple[Any, ...] | None:
        """Return what pushes may have come to be: the tokens below them, all tokens, runs and paths."""
        found = read_value(f"{self.file}.pending") or ()
        is_whole = len(found) == 4 and all(isinstance(part, list) for part in found) and found[1]
        return found if is_whole else None

    def begin(self, new: str, run_id: str, paths: Iterable[bytes]) -> bool:
        """Store, before a push, that it may come to be; tell whether the manifest is still the one that was loaded."""
        with hold_lock(f"{self.file}.lock", LOCK_TIMEOUT_S):
            before = Manifest(self.file)
            before.load()
            if before._bases != self._bases:
                return False
            runs, uncertain = [*self.runs, run_id], sorted({*self.uncertain, *paths})
            tokens = list(dict.fromkeys([*self._bases, *self.tokens, new]))
            self._pending = ([*self._bases], tokens, runs, uncertain)
            write_value(f"{self.file}.pending", self._pending)
        return True

    def keep(self, tree: Tree) -> None:
        """Store ``tree``, which is on the server already, for this run's looks to count next time."""
        with hold_lock(f"{self.file}.lock", LOCK_TIMEOUT_S):
            before = Manifest(self.file)
            before.load()
            if before.token == self.token:
                write_value(self.file, (self.token, tree.to_tuple()))

    def confirm(self, tree: Tree, new: str) -> None:
        """Store that the server has ``tree`` under the token ``new``, unless a later push is already confirmed.

        This manifest says so from then on, also where it cannot be written.
        """
        failure: OSError | LockTimeout | None = None
        try:
            if not self._store_confirmed(tree, new):
                return
        except (OSError, LockTimeout) as error:
            failure = error
        self.token, self.tree = new, tree
        self.tokens, self._bases = [new], [new]
        self.runs, self.uncertain, self._pending = [], [], None
        if failure is not None:
            raise failure

    def _store_confirmed(self, tree: Tree, new: str) -> bool:
        with hold_lock(f"{self.file}.lock", LOCK_TIMEOUT_S):
            before = Manifest(self.file)
            before.load()
            if before.token and before.token not in self._bases:
                return False
            write_value(self.file, (new, tree.to_tuple()))
            pending = self._read_pending()
            last = self._pending[1][-1] if self._pending is not None else new
            if pending is not None and pending[1][-1] != last:
                # Somebody's later push builds on this one.
                write_value(f"{self.file}.pending", ([*pending[0], new], *pending[1:]))
            else:
                remove_file(f"{self.file}.pending")
        return True


def find_manifest(root: str, address: str, remote_dir: str, environ: Mapping[str, str]) -> Manifest:
    """Return the manifest of the project at ``root`` for a directory of a server, loaded."""
    folder = f"{ensure_state_dir(environ)}/sync"
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700, exist_ok=True)
    name = name_file(f"{root}\0{address}\0{remote_dir}")
    manifest = Manifest(f"{folder}/{name}")
    manifest.load()
    return manifest


def read_value(file: str) -> tuple[Any, ...] | None:
    """Return what :func:`write_value` has stored in ``file``; None where that is not there whole."""
    data = read_regular(file, MAX_BYTES) or b""
    if data[:4] != b"mtr%d" % FORMAT or crc32(data[8:]) != int.from_bytes(data[4:8], "big"):
        return None
    try:
        found: object = marshal.loads(data[8:])
    except (ValueError, EOFError, TypeError):
        return None
    return found if isinstance(found, tuple) else None


def _ensure_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a token is text")
    return value


def write_value(file: str, value: Any) -> None:
    """Store ``value``, of builtin types, in ``file``: a mark of the format, a checksum, and marshal's bytes."""
    data = marshal.dumps(value, MARSHAL_VERSION)
    write_atomic(file, b"mtr%d" % FORMAT + crc32(data).to_bytes(4, "big") + data)
