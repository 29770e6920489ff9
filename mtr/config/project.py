"""Where the project is: its root, its ``.mtr/`` directory, and its git branch. Starts no program.

The root is the nearest directory upwards with ``.mtr/``, never past the top of the git repository; else that
top; else the current directory. A home directory, whatever lies in it, never becomes the root of what is below
it, nor does anything above one: a stray ``~/.mtr``, or dotfiles kept in git, would sync everything there. A
worktree is the same project as the main worktree and reads the ``.mtr/`` there, unless it has one of its own.

On disk (gitrepository-layout(5)): ``.git`` is a directory with ``HEAD``, or a file ``gitdir: PATH``; a
worktree's git directory has a file ``commondir``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mtr.config.model import home_dir
from mtr.errors import ProjectError
from mtr.state import read_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SHORT_HASH_DIGITS = 7


@dataclass(frozen=True, slots=True)
class Project:
    """A project: what is synced, and where in it the user stands.

    ``config_dir`` is its ``.mtr/``, in a worktree possibly the main worktree's; ``main_config_dir`` is the main
    worktree's in any case. ``is_refused`` says why the root can never be synced, for people.
    """

    root: Path
    subdir: PurePosixPath
    config_dir: Path | None = None
    main_config_dir: Path | None = None
    git_dir: Path | None = None
    is_refused: str | None = None

    @property
    def name(self) -> str:
        """The name of the root directory."""
        return self.root.name

    def ensure_syncable(self) -> None:
        """Make sure that the root may be synced.

        Raises:
            ProjectError: it is a home directory, above one, ``/``, or gone.
        """
        hint = "cd into a project, or run without sync: mtr --no-sync CMD"
        if self.is_refused:
            raise ProjectError(f"{self.root} is {self.is_refused}, and never synced", hint=hint)
        if not self.root.is_dir():
            raise ProjectError(f"{self.root} is not there any more", hint=hint)

    def load_branch(self) -> str | None:
        """Return the git branch, a short hash where HEAD is detached, or None without a repository."""
        head = _read_line(self.git_dir / "HEAD") if self.git_dir else None
        if head is None:
            return None
        if not head.startswith("ref:"):
            return head[:SHORT_HASH_DIGITS] or None
        branch = head.removeprefix("ref:").strip().removeprefix("refs/heads/")
        # Repositories with reftables keep HEAD elsewhere and leave this name, which no branch can have.
        return None if branch == ".invalid" else branch


def find_project(directory: str | Path | None, environ: Mapping[str, str] | None = None) -> Project:
    """Return the project around ``directory``, or the current one; whether it may be synced is asked later.

    Raises:
        ProjectError: there is no such directory.
    """
    start = Path(os.path.realpath(directory or _find_current()))
    if not start.is_dir():
        raise ProjectError(f"{directory} is not a directory", hint="mtr -C DIR CMD, with a directory that is there")
    homes = _list_homes(os.environ if environ is None else environ)
    chain = _list_candidates(start, homes)
    git_dir = _find_git_dir(chain[-1])
    main = _find_main_worktree(chain[-1], git_dir)
    root, config_dir = _choose_root(chain, main, is_repository=git_dir is not None)
    main_config_dir = main / root.relative_to(chain[-1]) / ".mtr" if main else None
    return Project(
        root=root,
        subdir=PurePosixPath(*start.relative_to(root).parts),
        config_dir=config_dir,
        main_config_dir=main_config_dir if main_config_dir and main_config_dir.is_dir() else None,
        git_dir=git_dir,
        is_refused=_refuse(root, homes),
    )


def _find_current() -> str:
    """Return the current directory, which somebody may have removed."""
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise ProjectError("the current directory no longer exists", hint="cd to one that does") from error


def _list_homes(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the home directories of this user: the environment's and the password database's."""
    homes = {home_dir(environ)}
    try:
        import pwd

        homes.add(pwd.getpwuid(os.getuid()).pw_dir)
    except (ImportError, KeyError):
        pass  # Windows, or a container's user without an entry: $HOME is all there is.
    return tuple(Path(os.path.realpath(home)) for home in homes if os.path.isabs(home))


def _list_candidates(start: Path, homes: tuple[Path, ...]) -> list[Path]:
    """Return ``start`` and the directories above it that may be the root, up to the top of the repository."""
    chain: list[Path] = []
    for directory in (start, *start.parents):
        if chain and _refuse(directory, homes):
            break
        chain.append(directory)
        if _find_git_dir(directory):
            break
    return chain


def _choose_root(chain: list[Path], main: Path | None, *, is_repository: bool) -> tuple[Path, Path | None]:
    """Return the root and the ``.mtr/`` directory to read: this tree's own, else the main worktree's."""
    top = chain[-1]
    for directory in chain:
        if (directory / ".mtr").is_dir():
            return directory, directory / ".mtr"
    for directory in chain if main else ():
        mirrored = main / directory.relative_to(top) / ".mtr"  # type: ignore[operator]
        if mirrored.is_dir():
            return directory, mirrored
    return (top if is_repository else chain[0]), None


def _find_git_dir(directory: Path) -> Path | None:
    """Return the git directory of the worktree whose top is ``directory``, or None if it is no such top."""
    path = directory / ".git"
    if path.is_file():
        line = _read_line(path) or ""
        if not line.startswith("gitdir:"):
            return None
        path = directory / line.removeprefix("gitdir:").strip()
    try:
        return path if (path / "HEAD").is_file() else None
    except OSError:
        return None  # A name too long: nothing that git could follow either.


def _find_main_worktree(top: Path, git_dir: Path | None) -> Path | None:
    """Return the top of the main worktree, if ``top`` is another worktree of the same repository."""
    common = _read_line(git_dir / "commondir") if git_dir else None
    if git_dir is None or not common:
        return None
    if "\0" in common:
        return None
    shared = Path(os.path.realpath(git_dir / common))
    # A bare repository has no main worktree, whatever lies beside it.
    return shared.parent if shared.name == ".git" and shared.parent != top else None


def _refuse(root: Path, homes: tuple[Path, ...]) -> str | None:
    if root == root.parent:
        return "the root of the file system"
    if root in homes:
        return "a home directory"
    if any(root in home.parents for home in homes):
        return "above a home directory"
    return None


def _read_line(path: Path) -> str | None:
    """Return the first line of a small file of git's, or None if it cannot be read."""
    data = read_regular(str(path), 65_536)
    return None if data is None else os.fsdecode(data.partition(b"\n")[0]).strip("\r\n")
