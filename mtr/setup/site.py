"""Where a project's configuration goes, and putting it there: all of its files or none, and never over another.

A new ``.mtr/`` is made beside its place, complete, and renamed: the system takes that as one step, and refuses it where
a directory with something in it is there by then. Where ``.mtr/`` is there already (with logs, or a ``local.yaml``),
each file is linked into it, which fails where one of that name is; ``config.yaml`` comes last, and a ``local.yaml`` of
the same answers is taken for done, so that another try ends what a kill has cut off.

Meanwhile the files are in ``.mtr-init.PID.RANDOM/`` (0700), which git and mtr ignore from its first moment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.config.project import find_project
from mtr.errors import ProjectError
from mtr.setup.files import extend_ignore
from mtr.state import drop_file, ensure_state_dir, hold_lock, name_file, read_regular, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.project import Project

CONFIG, LOCAL, IGNORE = "config.yaml", "local.yaml", ".gitignore"
MODES = {CONFIG: 0o644, LOCAL: 0o600, IGNORE: 0o644}
ORDER = (IGNORE, LOCAL, CONFIG)
_STAGE = ".mtr-init."
_MAX_BYTES = 1 << 20


class AlreadySetUp(ProjectError):
    """The project has a configuration; ``file`` is that."""

    code = "already-set-up"

    def __init__(self, file: Path, *, detail: str = "") -> None:
        super().__init__(
            f"{file} is there already; nothing was changed",
            detail=detail,
            hint=f"mtr config check; to change it: ${{EDITOR:-vi}} {file}",
        )
        self.file = file


@dataclass(frozen=True, slots=True)
class Site:
    """A project that can be set up; ``project.config_dir`` is the ``.mtr/`` to be.

    ``local`` and ``ignore`` are what is in it already of these files.
    """

    project: Project
    local: bytes | None = None
    ignore: bytes | None = None

    @property
    def folder(self) -> Path:
        """The ``.mtr/`` to be."""
        return self.project.root / ".mtr"


def find_site(directory: Path, environ: Mapping[str, str]) -> Site:
    """Return where the project around ``directory`` is to be set up.

    Raises:
        AlreadySetUp: it is, or its main worktree is.
        ProjectError: it is a home directory, cannot be written, or its ``.mtr`` is none.
    """
    project = find_project(directory, environ)
    if project.is_refused:
        hint = "cd to the project, then: mtr init"
        raise ProjectError(f"{project.root} is {project.is_refused}, which is never synced", hint=hint)
    _ensure_absent(project)
    folder = project.root / ".mtr"
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        raise ProjectError(f"{folder} is in the way: it is no directory of the project's own", hint=f"ls -ld {folder}")
    written = folder if folder.is_dir() else project.root
    if not os.access(written, os.W_OK | os.X_OK):
        raise ProjectError(f"{written} cannot be written by you", hint=f"ls -ld {written}")
    if (folder / IGNORE).is_symlink():
        # gitignore(5): git does not follow it, so nothing in it would keep a password out of a commit.
        raise ProjectError(f"{folder / IGNORE} is a symbolic link, and git reads none", hint=f"rm {folder / IGNORE}")
    return Site(
        replace(project, config_dir=folder),
        local=_read(folder / LOCAL),
        ignore=_read(folder / IGNORE),
    )


def _ensure_absent(project: Project) -> None:
    """Refuse a project that has a configuration, of its own or in its main worktree."""
    folder = project.config_dir
    if folder is not None and os.path.lexists(folder / CONFIG):
        detail = ""
        if folder.parent != project.root:
            detail = f"{project.root} is a worktree, and uses what the main worktree {folder.parent} has"
        raise AlreadySetUp(folder / CONFIG, detail=detail)


def _read(path: Path) -> bytes | None:
    """Return what is in a file that may be there.

    Raises:
        ProjectError: something that is no file is in its place.
    """
    data = read_regular(str(path), _MAX_BYTES)
    if data is None and os.path.lexists(path):
        raise ProjectError(f"{path} is in the way: it cannot be read as a file", hint=f"ls -l {path}")
    return data


def put_files(site: Site, files: Mapping[str, bytes], environ: Mapping[str, str]) -> list[Path]:
    """Put ``files`` (name to content) and the ``.gitignore`` into the project's ``.mtr/``; return what was written.

    One at a time, so that who fails takes nothing away that another has counted on.

    Raises:
        AlreadySetUp: somebody else was faster.
        OSError: it cannot be written; nothing is there then that was not there before.
    """
    wanted = dict(files)
    ignore = extend_ignore(site.ignore)
    if ignore is not None:
        wanted[IGNORE] = ignore
    lock = f"{ensure_state_dir(environ)}/init.{name_file(str(site.folder))}.lock"
    with hold_lock(lock), _staged(site.folder, wanted) as stage:
        if os.path.lexists(site.folder / CONFIG):
            raise AlreadySetUp(site.folder / CONFIG)
        if site.folder.is_dir() and any(site.folder.iterdir()):
            _link_each(site, stage, wanted)
        else:
            _move_whole(site, stage)
    return [site.folder / name for name in reversed(ORDER) if name in wanted]


class _staged:  # noqa: N801  read as a statement: with _staged(...)
    """Holds a complete ``.mtr/`` beside its place until the block is over."""

    def __init__(self, folder: Path, files: Mapping[str, bytes]) -> None:
        self._root = folder.parent
        self._files = files

    def __enter__(self) -> Path:
        _drop_abandoned(self._root)
        self._base = Path(tempfile.mkdtemp(prefix=f"{_STAGE}{os.getpid()}.", dir=self._root))
        try:
            (self._base / IGNORE).write_bytes(b"*\n")
            stage = self._base / "mtr"
            stage.mkdir()
            for name, data in self._files.items():
                _write_new(stage / name, data, MODES[name])
        except BaseException as error:
            shutil.rmtree(self._base, ignore_errors=True)
            if isinstance(error, OSError):
                error.filename = str(self._root)  # what a write says of itself names no file, and the stage is gone
            raise
        return stage

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._base, ignore_errors=True)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that is not there, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _move_whole(site: Site, stage: Path) -> None:
    try:
        os.rename(stage, site.folder)
    except OSError as error:
        if site.folder.is_dir():
            raise AlreadySetUp(site.folder / CONFIG) from error
        raise


def _link_each(site: Site, stage: Path, files: Mapping[str, bytes]) -> None:
    made: list[Path] = []
    try:
        for name in ORDER:
            if name == IGNORE and name in files and site.ignore is not None:
                mode = (site.folder / name).stat().st_mode & 0o777
                write_atomic(str(site.folder / name), files[name], mode, lasts=True)
            elif name in files and _link(stage / name, site.folder / name, files[name], MODES[name]) and name != IGNORE:
                made.append(site.folder / name)
    except BaseException:
        for path in made:
            drop_file(str(path))
        raise


def _link(source: Path, path: Path, data: bytes, mode: int) -> bool:
    """Put ``source`` into its place; tell whether it was not there already with the same content."""
    try:
        try:
            os.link(source, path)
        except FileExistsError:
            raise
        except OSError:
            # A file system without links, such as that of a USB stick.
            _write_new(path, data, mode)
    except FileExistsError as error:
        if path.name != CONFIG and read_regular(str(path), _MAX_BYTES) == data:
            return False
        raise AlreadySetUp(path) from error
    return True


def _drop_abandoned(root: Path) -> None:
    """Remove what an mtr left that was killed while it wrote: a password may be in it."""
    for path in root.glob(f"{_STAGE}*"):
        pid = path.name.removeprefix(_STAGE).partition(".")[0]
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink() and pid.isdigit() and not _is_running(int(pid)):
                shutil.rmtree(path)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's: running, for all that can be told
    return True
