"""mtr's own files on this machine: the runtime and the state directory, locks, atomic writes.

The runtime directory holds sockets, masters' records and the logs of running sessions; it may vanish at any
time (a reboot, a cleaner of /tmp) and is then made anew. It is ``$XDG_RUNTIME_DIR/mtr``, or ``/tmp/mtr-UID``
where that is unset, too long for a socket, or holds characters that ssh or rsync would expand. It belongs to
this user alone: mode 0700, no symlink, checked at each use, because /tmp is everybody's.
"""

from __future__ import annotations

import _thread
import os
import stat
import time

from mtr.errors import LockTimeout, MtrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SOCKET_PATH_BYTES = 86
"""ssh appends 17 characters while binding, and sun_path holds 104 on macOS, 108 on Linux (unix(7))."""

SOCKET_NAME_BYTES = 20

LOCK_TIMEOUT_S = 60.0
"""Locks are held for moments, but whoever holds one can be stopped."""

MAX_LOG_BYTES = 1 << 20
MACHINE_ID = "/etc/machine-id"

_LOOK = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Some of these are missing on Windows."""

_PLAIN_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/+-")


def ensure_runtime_dir(environ: Mapping[str, str]) -> str:
    """Return the runtime directory, made if missing.

    Raises:
        MtrError: somebody else owns it, or it is a symlink; nothing in it can be trusted then.
    """
    path = _resolve_runtime_dir(environ)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        found = _make_private(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise MtrError(f"{path} is not a directory of yours", hint=f"ls -ld {path}, and remove it")
    if found.st_mode & 0o077:
        os.chmod(path, 0o700)
    return path


def _make_private(path: str) -> os.stat_result:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass  # another mtr was faster
    return os.lstat(path)


def _resolve_runtime_dir(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_RUNTIME_DIR", "")
    path = f"{base}/mtr"
    fits = len(path) + 1 + SOCKET_NAME_BYTES <= MAX_SOCKET_PATH_BYTES
    if base and fits and path.startswith("/") and _PLAIN_CHARACTERS.issuperset(path) and _is_own_directory(base):
        return path
    return f"/tmp/mtr-{os.getuid()}"  # noqa: S108  ownership and mode are checked by the caller


def _is_own_directory(path: str) -> bool:
    """Tell whether ``path`` is a directory of this user: after ``sudo -E`` it is somebody else's."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def ensure_state_dir(environ: Mapping[str, str]) -> str:
    """Return the directory for what is to stay: ``$XDG_STATE_HOME/mtr``, or ``~/.local/state/mtr``; made if missing.

    Raises:
        MtrError: somebody else owns it.
    """
    base = environ.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):
        # The XDG Base Directory Specification: a relative path is invalid and ignored.
        base = f"{environ.get('HOME') or os.path.expanduser('~')}/.local/state"
    path = f"{base}/mtr"
    try:
        found = os.stat(path)
    except OSError:
        os.makedirs(path, 0o700, exist_ok=True)
        found = os.stat(path)
    if os.name == "posix" and (found.st_mode & 0o022 or found.st_uid != os.getuid()):
        _ensure_private(path, found)
    return path


def _ensure_private(path: str, found: os.stat_result) -> None:
    """See that nobody else writes into the state directory; one of the caller's is fine for root (``sudo -E``)."""
    uid = os.getuid()
    if uid not in (found.st_uid, 0):
        raise MtrError(f"{path} belongs to somebody else", hint=f"ls -ld {path}, or set XDG_STATE_HOME")
    os.chmod(path, stat.S_IMODE(found.st_mode) & ~0o077)


def name_file(text: str) -> str:
    """Return the name of the file that stands for ``text``: 16 hexadecimal digits."""
    from zlib import crc32

    data = os.fsencode(text)
    return f"{crc32(data):08x}{crc32(data[::-1]):08x}"


def note_once(environ: Mapping[str, str], words: str) -> bool:
    """Note ``words``; tell whether that is the first time on this machine. Where it cannot be noted, it always is."""
    folder = f"{ensure_state_dir(environ)}/said"
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700)
    except OSError:
        return True
    try:
        path = f"{folder}/{name_file(words)}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass
    return True


def read_regular(path: str, limit_bytes: int) -> bytes | None:
    """Return what the file ``path`` holds, up to ``limit_bytes``; None where no file is that can be read.

    What else may stand in its place (a FIFO, a directory, a device) is neither waited for nor read.
    """
    try:
        descriptor = os.open(path, _LOOK)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(descriptor)
        return os.read(descriptor, min(found.st_size, limit_bytes)) if stat.S_ISREG(found.st_mode) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def write_atomic(path: str, data: bytes, mode: int = 0o600, *, lasts: bool = False) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old or the new content, never a part.

    With ``lasts`` a crash of the machine leaves one of them, too: for what is the user's own, and cannot be made again.

    Raises:
        OSError: it cannot be written; ``filename`` is ``path``.
    """
    # Two threads write the same file at once where many servers are asked.
    temporary = f"{path}.{_thread.get_ident():x}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if lasts:
                file.flush()
                os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException as error:
        drop_file(temporary)
        if isinstance(error, OSError):
            error.filename = path
        raise


def drop_file(path: str) -> None:
    """Remove ``path`` where that can be done: it is in nobody's way, and something else counts more."""
    try:
        os.unlink(path)
    except OSError:
        pass


def read_machine_id() -> str:
    """Return what tells this machine from others and stays (machine-id(5)); "" where there is no such thing."""
    return (read_regular(MACHINE_ID, 256) or b"").decode(errors="replace").strip()


def read_log(path: str) -> str:
    """Return what ssh has written to its log so far."""
    return (read_regular(path, MAX_LOG_BYTES) or b"").decode(errors="replace")


def remove_file(path: str) -> None:
    """Remove ``path`` if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


class hold_lock:  # noqa: N801  read as a statement: with hold_lock(path)
    """Hold an exclusive lock on ``path`` among the processes of this machine; wait for it if need be.

    The file goes when the lock is released. Whoever waited on the removed file notices that the path no
    longer names it, and starts over.

    Raises:
        LockTimeout: another holds it for longer than ``timeout_s``, stopped perhaps; None waits for ever.
    """

    def __init__(self, path: str, timeout_s: float | None = LOCK_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for(descriptor)
                if _names(self._path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        self._descriptor = descriptor

    def _wait_for(self, descriptor: int) -> None:
        if self._timeout_s is None:
            lock_file(descriptor)
            return
        end_s = time.monotonic() + self._timeout_s
        while not lock_file(descriptor, wait=False):
            if time.monotonic() > end_s:
                held = f"another mtr has held {self._path} for {self._timeout_s:g} s"
                raise LockTimeout(held, hint=f"see who that is, a stopped one perhaps: fuser -v {self._path}")
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        remove_file(self._path)
        os.close(self._descriptor)


def lock_file(descriptor: int, *, wait: bool = True) -> bool:
    """Take the lock on an open file; tell whether that is so. Where the system knows none, it always is.

    With ``wait`` false, a lock that another holds is not waited for.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: str, descriptor: int) -> bool:
    """Tell whether ``path`` still names the open file ``descriptor``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
