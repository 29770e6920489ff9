"""What git says of the code in a directory: its commit, what has changed or is new, and every difference.

For the server to keep beside a job. git is only asked: nothing of the user's is changed, its index neither.
"""

from __future__ import annotations

import os
import zlib

from mtr.errors import MissingProgram
from mtr.process.piped import CHUNK_BYTES, run_piped
from mtr.process.spawn import start_piped, wait_for
from mtr.state import ensure_state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

PATCH_BYTES = 16 << 20
"""After how much the patch is cut."""

END = b"\n\0mtr-end\n"
NOTHING = b"\n" + END
"""That there is nothing to tell."""

MAX_NAMED_BYTES = 65_536
"""How many bytes of paths go on one command line."""

_ELSEWHERE = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE",
    "GIT_PREFIX", "GIT_EXTERNAL_DIFF",
)  # fmt: skip
"""What somebody has set for a git of their own."""

_PLAIN = (
    "--binary", "--no-relative", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short",
    "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip
"""A patch that ``git apply`` takes, whatever the user's own way to look at differences."""

_FIELDS = {b"1": 8, b"u": 10, b"?": 1}
"""How many fields stand in front of the path in a record of git-status(1)'s format 2, by its first."""

_EMPTY = {
    b"sha1": (b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    b"sha256": (
        b"473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    ),
}
"""The hashes of nothing at all, as a file and as a directory (git hash-object /dev/null)."""


def pack_state(root: str, synced: Collection[bytes], environ: Mapping[str, str]) -> bytes:
    """Return, compressed by gzip, what git says of ``root``.

    The records of ``git status --porcelain=v2 --branch -z``, with paths from ``root``; an empty line; a patch that
    ``git apply`` takes on that commit, cut after ``PATCH_BYTES``; ``END``. Paths in it count from the repository's top:
    in a directory below, ``git apply`` skips all others, and says not a word. Without a repository, or without git,
    only the empty line and ``END``.

    Of what is not in ``synced``, paths from ``root``, the patch has nothing: what is left out of a sync is not the
    server's to know. Changes are told by their names all the same. Where git fails, or this machine, it ends there,
    without ``END``.
    """
    packer, packed = zlib.compressobj(wbits=31), bytearray()
    try:
        for piece in _tell(_Git(root, environ), synced):
            packed += packer.compress(piece)
    except OSError:
        pass
    return bytes(packed + packer.flush())


def _tell(git: _Git, synced: Collection[bytes]) -> Iterator[bytes]:
    records = git.list_records()
    if any(record[:1] != b"#" for record in records):
        git.learn_place()
        records = [git.shorten(record) for record in records]
    yield b"".join(record + b"\0" for record in records) + b"\n"
    left = PATCH_BYTES
    for piece in _print_patch(git, records, synced):
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            break
    yield END


def _print_patch(git: _Git, records: Sequence[bytes], synced: Collection[bytes]) -> Iterator[bytes]:
    tracked = [(record, _path_of(record)) for record in records if record[:1] in {b"1", b"u"}]
    there = [path for record, path in tracked if not _is_gone(record)]
    new = [path for record in records if record[:1] == b"?" and (path := _path_of(record)) in synced]
    named = [path for path in there if path in synced] + new
    # git looks at each path that is named for each file: all at once where nothing is to be left out.
    is_all = all(path in synced for path in there)
    base = git.choose_base(records)
    try:
        git.learn_new(new)
        for paths in [[b"."]] if is_all and named else _split(named):
            yield from git.diff("--diff-filter=d", base, paths, literally=not is_all)
        # Of two sides that are at odds, one may have removed it.
        if any(_is_gone(record) or record[:1] == b"u" for record, _ in tracked):
            yield from _print_removed(git, base)
    finally:
        git.forget_new()


def _is_gone(record: bytes) -> bool:
    return record[:1] == b"1" and b"D" in record[2:4]


def _print_removed(git: _Git, base: str) -> Iterator[bytes]:
    """Give what was deleted, without what was in it.

    ``git apply`` takes that for a binary file, and asks for no more than its hash.
    """
    printed = b"".join(git.diff("--full-index --irreversible-delete --diff-filter=D", base, [b"."]))
    for line in printed.splitlines(keepends=True):
        yield line + b"Binary files differ\n" if line.startswith(b"index ") else line


def _path_of(record: bytes) -> bytes:
    fields = record.split(b" ", _FIELDS.get(record[:1], 0))
    return fields[-1]


def _split(paths: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Give ``paths`` in lists that a command line holds."""
    part: list[bytes] = []
    size = 0
    for path in paths:
        if part and size + len(path) > MAX_NAMED_BYTES:
            yield part
            part, size = [], 0
        part.append(path)
        size += len(path) + 1
    if part:
        yield part


class _Git:
    """git, asked about ``root`` alone."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = {name: value for name, value in environ.items() if name not in _ELSEWHERE}
        self._environ["GIT_OPTIONAL_LOCKS"] = "0"
        self._format, self._index, self._prefix = b"sha1", b"", b""
        self._copy = ""

    def _build_argv(self, words: Iterable[str | bytes]) -> list[str]:
        return ["git", "-C", self._root, "-c", "core.fsmonitor=false", *map(os.fsdecode, words)]

    def _ask(self, words: Sequence[str], stdin: bytes = b"", **more: str) -> bytes:
        """Return what git prints.

        Raises:
            OSError: it fails, or cannot be started.
        """
        found = run_piped(self._build_argv(words), stdin=stdin, env=self._environ | more)
        _ensure_well(found.status)
        return found.stdout

    def list_records(self) -> list[bytes]:
        """Return the records of its status; none without a repository, or without git."""
        words = "status --porcelain=v2 --branch --no-ahead-behind --no-renames --untracked-files=all -z -- ."
        try:
            found = run_piped(self._build_argv(words.split()), env=self._environ)
        except MissingProgram:
            return []
        return found.stdout.split(b"\0")[:-1] if found.status == 0 else []

    def learn_place(self) -> None:
        """Learn where in its repository this is, and of which kind that is."""
        if self._is_plain():
            self._index = b".git/index"
            return
        words = "rev-parse --show-object-format --git-path index --show-prefix"
        found = self._ask(words.split()).split(b"\n")
        if len(found) > 2:
            self._format, self._index, self._prefix = found[:3]

    def _is_plain(self) -> bool:
        """Tell whether this is a repository as nearly all are, and git need not be asked of what kind."""
        try:
            with open(f"{self._root}/.git/config", "rb") as file:
                return b"objectformat" not in file.read().lower() and os.path.isfile(f"{self._root}/.git/HEAD")
        except OSError:
            return False

    def shorten(self, record: bytes) -> bytes:
        """Return ``record`` with its path from here."""
        path = _path_of(record)
        if record[:1] not in _FIELDS or not path.startswith(self._prefix):
            return record
        return record[: len(record) - len(path)] + path[len(self._prefix) :]

    def choose_base(self, records: Iterable[bytes]) -> str:
        """Return what to compare with: the commit, or before the first one nothing."""
        is_first = any(record == b"# branch.oid (initial)" for record in records)
        return _EMPTY.get(self._format, _EMPTY[b"sha1"])[1] if is_first else "HEAD"

    def learn_new(self, new: Sequence[bytes]) -> None:
        """Let git track ``new`` as well, in a copy of its index, until :meth:`forget_new`.

        What is in that copy does not matter, since the commit is compared with the files.
        """
        if new:
            self._copy = f"{ensure_state_dir(self._environ)}/origin.{os.getpid()}.{os.urandom(4).hex()}"
            self._copy_index()
            blob = _EMPTY.get(self._format, _EMPTY[b"sha1"])[0]
            lines = [b"100644 %s 0\t%s%s\0" % (blob, self._prefix, path) for path in new]
            self._ask(["update-index", "-z", "--index-info"], b"".join(lines), GIT_INDEX_FILE=self._copy)

    def _copy_index(self) -> None:
        """Copy it with its time: git reads a file again that was changed in the very second of its index."""
        source = os.path.join(os.fsencode(self._root), self._index)
        try:
            with open(source, "rb") as file:
                data, found = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return  # Before anything was ever added.
        with open(os.open(self._copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.utime(self._copy, ns=(found.st_atime_ns, found.st_mtime_ns))

    def forget_new(self) -> None:
        """Let git track what it tracks."""
        copy, self._copy = self._copy, ""
        for name in (copy, f"{copy}.lock") if copy else ():
            try:
                os.unlink(name)
            except OSError:
                pass

    def diff(self, options: str, base: str, paths: Sequence[bytes], *, literally: bool = False) -> Iterator[bytes]:
        """Give what git prints as the difference of ``paths`` from ``base``, as it comes.

        Raises:
            OSError: git fails, or cannot be started.
        """
        more = {"GIT_LITERAL_PATHSPECS": "1"} if literally else {}
        more |= {"GIT_INDEX_FILE": self._copy} if self._copy else {}
        argv = self._build_argv(["diff", *_PLAIN, *options.split(), base, "--", *paths])
        (out, out_end), null = os.pipe(), os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            pid = start_piped(argv, self._environ | more, (null, out_end, null))
        except BaseException:
            os.close(out)
            raise
        finally:
            os.close(out_end)
            os.close(null)
        try:
            while piece := os.read(out, CHUNK_BYTES):
                yield piece
        finally:
            # Who reads no further ends it thereby.
            os.close(out)
            status = wait_for(pid)
        _ensure_well(status)


def _ensure_well(status: int) -> None:
    if status != 0:
        raise OSError(f"git has ended with {status}")
