"""Finding the project: its root, its .mtr/, its branch, and what is never a root."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from mtr.config.load import load_config
from mtr.config.project import Project, find_project
from mtr.errors import ProjectError

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    argv = ["git", *identity, *arguments]
    return subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


def make_dirs(*paths: Path) -> None:
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)


@pytest.fixture
def repository(place: Workplace) -> Path:
    """A repository with one commit; its top is the project's directory."""
    git(place.root, "init", "-q")
    git(place.root, "commit", "-q", "--allow-empty", "-m", "first")
    return place.root


def find(place: Workplace, directory: Path) -> Project:
    return find_project(directory, place.environ)


def test_nearest_mtr_directory_is_the_root(place: Workplace):
    """The root is the nearest directory upwards with .mtr/; the rest of the way is the subdirectory."""
    make_dirs(place.root / ".mtr", place.root / "a/.mtr", place.root / "a/b/c", place.root / "x/y")
    assert find(place, place.root / "a/b/c").root == place.root / "a"
    found = find(place, place.root / "x/y")
    assert (found.root, found.subdir) == (place.root, PurePosixPath("x/y"))
    assert found.config_dir == place.root / ".mtr"
    assert found.name == "project"


def test_root_is_never_past_the_top_of_the_repository(place: Workplace, repository: Path):
    """A .mtr/ above the repository is somebody else's; the top of the repository is the root."""
    make_dirs(place.root.parent / ".mtr", repository / "deep/er")
    found = find(place, repository / "deep/er")
    assert (found.root, found.config_dir) == (repository, None)


def test_current_directory_is_the_last_resort(place: Workplace):
    """Without .mtr/ and without git, the current directory is the root."""
    make_dirs(place.root / "a")
    assert find(place, place.root / "a").root == place.root / "a"


def test_a_file_named_mtr_and_an_empty_git_directory_mean_nothing(place: Workplace):
    """Only a directory .mtr/ counts, and only a .git that git itself takes for one."""
    (place.root / ".mtr").write_text("")
    make_dirs(place.root / ".git", place.root / "a")
    assert find(place, place.root / "a").root == place.root / "a"


@pytest.mark.parametrize("stray", ["mtr", "git"])
def test_stray_files_in_the_home_directory_do_not_make_it_a_root(place: Workplace, stray: str):
    """A ~/.mtr, or dotfiles in git, never make the home directory the root of a directory below it."""
    if stray == "git":
        git(place.home, "init", "-q")
    else:
        make_dirs(place.home / ".mtr")
    make_dirs(place.home / "a/b")
    found = find(place, place.home / "a/b")
    assert found.root == place.home / "a/b"
    found.ensure_syncable()


@pytest.mark.parametrize("which", ["home", "above", "root", "link"])
def test_home_and_root_are_refused_only_when_asked_to_sync(place: Workplace, which: str):
    """A home directory, what lies above it, and / are found, and refused before anything is synced."""
    link = place.root / "link"
    link.symlink_to(place.home)
    directory = {"home": place.home, "above": place.home.parent, "root": Path("/"), "link": link}[which]
    found = find(place, directory)
    assert found.is_refused
    with pytest.raises(ProjectError, match="never synced") as caught:
        found.ensure_syncable()
    assert "--no-sync" in caught.value.hint


def test_missing_directories_are_errors(place: Workplace):
    """A directory that is not there is an error at once; a root that has gone, when it is to be synced."""
    with pytest.raises(ProjectError, match="not a directory"):
        find(place, place.root / "gone")
    found = find(place, place.root)
    place.root.rmdir()
    with pytest.raises(ProjectError, match="not there any more"):
        found.ensure_syncable()


def test_branch_is_read_from_files(place: Workplace, repository: Path):
    """The branch is HEAD's, slashes included; detached it is a short hash; without a repository there is none."""
    git(repository, "checkout", "-q", "-b", "feature/x")
    assert find(place, repository).load_branch() == "feature/x"
    git(repository, "checkout", "-q", "--detach")
    assert find(place, repository).load_branch() == git(repository, "rev-parse", "HEAD")[:7]
    assert find(place, place.root.parent).load_branch() is None


def test_branch_before_the_first_commit(place: Workplace):
    """A repository without a commit already has the branch that it will be."""
    git(place.root, "init", "-q")
    assert find(place, place.root).load_branch() == "main"


@pytest.fixture
def worktree(place: Workplace, repository: Path) -> Path:
    """Another worktree of the repository, on a branch of its own."""
    path = place.root.parent / "tree"
    git(repository, "worktree", "add", "-q", "-b", "side", str(path))
    return path


def test_worktree_reads_the_main_worktrees_configuration(place: Workplace, repository: Path, worktree: Path):
    """A worktree without .mtr/ is a root of its own and reads the main worktree's .mtr/; keys stay the main's."""
    place.write(place.project_file, "servers: {gpu: {host: a, key_filename: keys/id}}")
    make_dirs(worktree / "sub")
    found = find(place, worktree / "sub")
    assert (found.root, found.config_dir) == (worktree, repository / ".mtr")
    assert found.load_branch() == "side"
    assert load_config(found, place.environ).servers["gpu"].key_filename == repository / "keys/id"


def test_worktree_with_its_own_configuration_keeps_the_personal_file(place: Workplace, worktree: Path):
    """A committed .mtr/ is the worktree's own; the personal file, which git does not carry, is the main's."""
    place.write(place.project_file, "servers: {gpu: {host: main}}")
    place.write(place.local_file, "servers: {gpu: {user: me}}")
    place.write(worktree / ".mtr/config.yaml", "servers: {gpu: {host: side}}")
    server = load_config(find(place, worktree), place.environ).servers["gpu"]
    assert (server.hosts, server.user) == (("side",), "me")
    place.write(worktree / ".mtr/local.yaml", "servers: {gpu: {port: 1}}")
    assert load_config(find(place, worktree), place.environ).servers["gpu"].user is None


def test_worktree_mirrors_a_project_below_the_top(place: Workplace, repository: Path, worktree: Path):
    """Where the main worktree's .mtr/ lies in a subdirectory, that subdirectory is the worktree's root as well."""
    make_dirs(repository / "sub/.mtr", worktree / "sub/deep")
    found = find(place, worktree / "sub/deep")
    assert (found.root, found.config_dir) == (worktree / "sub", repository / "sub/.mtr")


def test_worktree_of_a_bare_repository_has_no_main_one(place: Workplace, repository: Path):
    """Beside a bare repository nothing is read, though a .mtr/ may lie there."""
    bare = place.root.parent / "bare.git"
    git(place.root.parent, "clone", "-q", "--bare", str(repository), str(bare))
    git(bare, "worktree", "add", "-q", str(place.root.parent / "tree"))
    make_dirs(place.root.parent / ".mtr")
    found = find(place, place.root.parent / "tree")
    assert (found.root, found.config_dir) == (place.root.parent / "tree", None)


def test_submodule_is_a_repository_of_its_own(place: Workplace, repository: Path):
    """The top of a submodule is a top; it has no main worktree."""
    origin = place.root.parent / "origin"
    git(place.root.parent, "clone", "-q", str(repository), str(origin))
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin), "sub")
    make_dirs(repository / ".mtr")
    found = find(place, repository / "sub")
    assert (found.root, found.config_dir, found.main_config_dir) == (repository / "sub", None, None)
    assert found.load_branch() == "main"
