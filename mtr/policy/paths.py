"""Files that an agent may have read and written: here inside the project, on a server below the project's directory.

What is guaranteed of a file here. ``resolve_local`` follows links and ``..`` and refuses what lies outside, at that
moment. ``LocalFile.open`` and ``LocalFile.replace`` then go down from the base by descriptors, name by name, and follow
no link at all (openat(2) with O_NOFOLLOW): whoever swaps a directory for a link in between gets an error, never a file
elsewhere. What goes by ``LocalFile.path`` instead has the first check alone. Not noticed: a hard link that was made
inside the project to a file outside; ``replace`` writes through none, since it makes a new file.

Never touched, at any depth and however they are spelt: ``.git`` (hooks, and configuration that runs programs) and
``.mtr`` (passwords, trust); nor any file that is given as secret, under whatever name.

On a server the path alone is looked at here; links are followed there (``shell/remote/within.sh``).
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mtr.config.load import user_config_file
from mtr.config.trust import is_trusted, leads_out
from mtr.errors import reveal_controls
from mtr.policy.judge import PolicyRefused
from mtr.shell_words import find_flaw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mtr.config.model import Config, Server
    from mtr.config.project import Project
    from mtr.policy.judge import Policy

_KEPT_OUT = frozenset((".git", ".mtr", "git~1", "mtr~1"))
"""With their short names on Windows, as git refuses them (core.protectNTFS)."""

_IGNORED = dict.fromkeys(
    (*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF)  # HFS+; git, utf8.c, next_hfs_char
)

_LOOK = functools.reduce(
    operator.or_, (getattr(os, name, 0) for name in ("O_RDONLY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
)
"""Some of these are missing on Windows, where nothing is opened by it: see :func:`open_beneath`."""

_HINT = "name a file inside the project"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file, whether or not it is there: ``parts`` lead to it from ``base``, and none of them is a link."""

    base: Path
    parts: tuple[str, ...]
    secret_files: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        """Where it lies, for programs that take a path: as it was when it was resolved."""
        return self.base.joinpath(*self.parts)

    def open(self) -> int:
        """Return a descriptor for reading a regular file.

        Raises:
            PolicyRefused: it is no regular file, holds secrets, or is reached through a link by now.
            OSError: it is not there, or cannot be read.
        """
        with self._parent() as (folder, name):
            descriptor = _open_at(folder, name, _LOOK)
        try:
            self._ensure_plain(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def replace(self, chunks: Iterable[bytes]) -> int:
        """Write ``chunks`` as the new content, at once or not at all, and return their bytes; directories are made.

        Raises:
            PolicyRefused: as :meth:`open`.
            OSError: it cannot be written; what was there is still there.
        """
        with self._parent(makes=True) as (folder, name):
            mode = self._find_mode(folder, name)
            # Named as downloads that are under way: no sync takes it along.
            temporary = f".put.mtr-{secrets.token_hex(8)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    count = sum(map(file.write, chunks))
                    file.flush()
                    os.fchmod(descriptor, mode)
                    os.fsync(descriptor)
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
        return count

    @contextlib.contextmanager
    def _parent(self, *, makes: bool = False) -> Iterator[tuple[int, str]]:
        """Hold the directory of the file open."""
        if not self.parts:
            raise PolicyRefused(f"{self.base} is a directory", hint=_HINT)
        folder = open_beneath(self.base, self.parts[:-1], makes=makes)
        try:
            yield folder, self.parts[-1]
        finally:
            os.close(folder)

    def _find_mode(self, folder: int, name: str) -> int:
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0o666 & ~_read_umask()
        self._ensure_plain(found)
        return stat.S_IMODE(found.st_mode) & 0o777

    def _ensure_plain(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise PolicyRefused(f"{_show(self.path)} is no regular file", hint=_HINT)
        for secret in self.secret_files:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(secret), found):
                    raise _refuse_secret(self.path)


def _read_umask() -> int:
    """Return the umask without setting it, which other threads would see; 022 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1], 8) for line in file if line.startswith("Umask:")), 0o022)
    except (OSError, ValueError, IndexError):
        return 0o022


def open_beneath(base: Path, parts: Iterable[str], *, makes: bool = False) -> int:
    """Return a descriptor of the directory ``parts`` below ``base``, reached through no link; or make it.

    Raises:
        PolicyRefused: there is a link, or no directory, on the way; or this system knows no such way (Windows).
        OSError: something is missing, or cannot be opened.
    """
    if os.open not in os.supports_dir_fd:
        raise PolicyRefused("files cannot be opened here so that no link is followed", hint="a person does it: mtr get")
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            if makes:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            inner = _open_at(folder, part, _LOOK | os.O_DIRECTORY)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _open_at(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        # ELOOP for a link, ENOTDIR for a link or a file in the place of a directory, ENXIO for a socket.
        reason = f"{_show(name)} is a link, or not what it was a moment ago ({error.strerror})"
        raise PolicyRefused(reason, hint="look again, and name the file by its own path") from error


# -- which files


def resolve_local(
    path: str, project: Project, *, bases: Iterable[Path] | None = None, secret_files: Iterable[Path] = ()
) -> LocalFile:
    """Return the file here that ``path`` names, absolute or from the project's root.

    ``bases`` are the directories it may lie in, by default the project's root; ``secret_files`` are never touched.

    Raises:
        PolicyRefused: it lies elsewhere, or is not for agents.
    """
    if project.is_refused:
        raise PolicyRefused(f"{project.root} is {project.is_refused}, and no project", hint="start mtr in a project")
    if not path or (flaw := find_flaw(path)):
        raise PolicyRefused(f"the path {flaw}" if path else "the path is empty", hint=_HINT)
    hidden = tuple(secret_files)
    real = Path(os.path.realpath(project.root / path))
    for base in map(_resolve, bases or [project.root]):
        if real == base or base in real.parents:
            parts = real.relative_to(base).parts
            _ensure_open_to_agents(real, parts, hidden)
            return LocalFile(base, parts, hidden)
    raise PolicyRefused(f"{_show(path)} lies outside of the project", hint=_HINT)


def _resolve(base: Path) -> Path:
    return Path(os.path.realpath(base))


def _ensure_open_to_agents(path: Path, parts: Iterable[str], secret_files: Iterable[Path]) -> None:
    if kept := _find_kept_out(parts):
        raise PolicyRefused(f"{_show(path)} lies in {kept}, which is not for agents", hint=_HINT)
    if any(path == _resolve(secret) for secret in secret_files):
        raise _refuse_secret(path)


def _refuse_secret(path: Path) -> PolicyRefused:
    return PolicyRefused(f"{_show(path)} may hold secrets of mtr's, and is not for agents", hint=_HINT)


def _find_kept_out(parts: Iterable[str]) -> str:
    """Return the part that is ``.git`` or ``.mtr`` on some file system that this may be, or "" without one."""
    for part in parts:
        name = part.translate(_IGNORED).partition(":")[0].rstrip(" .").casefold()
        if name in _KEPT_OUT:
            return _show(part)
    return ""


def find_bases(project: Project, server: Server | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the directories here whose files an agent may have read and written.

    The project's root, and the ``download_dir`` of ``server`` where that leads out of it and may be used: the user's
    own configuration says so, or they have trusted it.
    """
    if server is None or not leads_out(server.download_dir):
        return (project.root,)
    if server.download_claim is not None and not is_trusted(server.download_claim, environ):
        return (project.root,)
    return (project.root, project.root / server.download_dir)


def list_secret_files(config: Config, project: Project, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files here that may hold what no agent should see: configurations, ``env_file`` and keys."""
    found = [*config.files, user_config_file(environ)]
    for server in (*config.servers.values(), config.template):
        found += [project.root / server.env_file] if server.env_file else []
        found += [server.key_filename] if server.key_filename else []
    return tuple(dict.fromkeys(found))


# -- on a server


def resolve_remote(path: str, remote_dir: str, policy: Policy) -> str:
    """Return the path on a server that ``path`` names, absolute, with ``~/``, or from ``remote_dir``.

    Raises:
        PolicyRefused: a policy is active, and it does not lie below ``remote_dir``, or lies in ``.git`` or ``.mtr``.
    """
    if not path or (flaw := find_flaw(path)):
        raise PolicyRefused(f"the path {flaw}" if path else "the path is empty", hint="name a file on the server")
    is_free = path == "~" or path.startswith(("/", "~/"))
    full = PurePosixPath(path if is_free else f"{remote_dir}/{path}")
    base = PurePosixPath(remote_dir)
    if not policy.is_active:
        return str(full)
    hint = f"name a file below {remote_dir}, from there: logs/a.txt"
    if ".." in full.parts or (full != base and base not in full.parents):
        raise PolicyRefused(f"{_show(path)} lies outside of the project's directory on the server", hint=hint)
    if kept := _find_kept_out(full.relative_to(base).parts):
        raise PolicyRefused(f"{_show(path)} lies in {kept}, which is not for agents", hint=hint)
    return str(full)


def _show(path: object) -> str:
    return reveal_controls(str(path))
