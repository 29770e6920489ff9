"""Asking git which files belong to a work tree.

Owns how git is called: on the user's repository without touching its index, without running what its
configuration names (file system monitors), without fetching; and, where there is no repository, with an empty
``--git-dir`` of mtr's own, so that ``.gitignore`` files mean the same everywhere. Nothing is ever written into
the user's tree.

On disk: ``RUNTIME/no-repository.git`` (``HEAD``, ``objects/``, ``refs/``), shared by all runs, never changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram
from mtr.sync.patterns import Pattern, render_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtr.process.piped import Captured

GITLINK_MODE = b"160000"

TIMEOUT_S = 600.0
"""A million files on a cold disk take minutes; a file system that has gone away takes for ever."""

_REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
)
"""What a hook or an alias of git exports about another repository (``git rev-parse --local-env-vars``)."""


class GitFailed(Exception):
    """git is there but did not do what it was asked; the text is its own words."""


@dataclass(frozen=True, slots=True)
class WorkTree:
    """Where git looks: ``directory``, and the place of it (``prefix``) within the work tree that git knows.

    ``git_dir`` is set where git must take an empty repository for this directory; ``warning`` says why.
    """

    directory: bytes
    prefix: bytes = b""
    git_dir: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Paths below a work tree's directory: files, and directories that are repositories of their own."""

    files: frozenset[bytes]
    nested: frozenset[bytes]
    warnings: tuple[str, ...] = ()


def find_work_tree(directory: bytes) -> WorkTree:
    """Return how git sees ``directory``: part of a repository, or of none.

    A directory that the repository around it ignores is a project of its own: nobody means to sync nothing.
    """
    if not _is_below_git(directory):
        return build_bare_tree(directory)
    answer = _run_git(["rev-parse", "--is-inside-work-tree", "--show-prefix"], directory)
    if answer.status:
        words = _first_words(answer)
        return build_bare_tree(directory, "" if "not a git repository" in words else words)
    inside, _, prefix = answer.stdout.removesuffix(b"\n").partition(b"\n")
    if inside != b"true" or b"\0" in prefix or (prefix and _is_ignored(directory)):
        return build_bare_tree(directory)
    return WorkTree(directory, prefix.removesuffix(b"/"))


def build_bare_tree(directory: bytes, warning: str = "") -> WorkTree:
    """Return a work tree around ``directory`` that has no repository: nothing in it is tracked."""
    return WorkTree(directory, git_dir=_ensure_empty_git_dir(), warning=warning)


def list_work_tree(
    tree: WorkTree, patterns: Sequence[Pattern], *, respect_gitignore: bool, paths: Sequence[bytes] = ()
) -> Found:
    """Return what git tracks or would track in ``tree``, less what ``patterns`` (seen from there) leave out.

    ``paths`` asks about these alone, and what lies below them. git lists tracked files whatever is ignored;
    ``patterns`` are mtr's, and apply to tracked files too.

    Raises:
        GitFailed: git cannot read this repository.
        MissingProgram: there is no git.
    """
    excludes = [f"--exclude={render_pattern(pattern, tree.prefix)}" for pattern in patterns]
    standard = ["--exclude-standard"] if respect_gitignore else []
    asked = ["--", *map(os.fsdecode, paths)] if paths else []
    listed = _ask_git(
        ["--literal-pathspecs", "ls-files", "-t", "-s", "-c", "-o", "-z", *standard, *excludes, *asked], tree
    )
    tracked, others, nested = parse_listing(listed.stdout)
    # A submodule that a file or a link has replaced is that file.
    replaced = {path for path in nested if not _is_directory(os.path.join(tree.directory, path))}
    tracked, nested = tracked | replaced, nested - replaced
    if excludes and (tracked or nested):
        excluded = set(
            _ask_git(["--literal-pathspecs", "ls-files", "-c", "-i", "-z", *excludes, *asked], tree).stdout.split(b"\0")
        )
        tracked, nested = tracked - excluded, nested - excluded
    return Found(tracked | others, nested, _describe_trouble(tree, listed.stderr))


def _is_directory(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def parse_listing(output: bytes) -> tuple[frozenset[bytes], frozenset[bytes], frozenset[bytes]]:
    r"""Return tracked files, untracked files and nested repositories of ``git ls-files -t -s -c -o -z``.

    A record is ``? PATH`` or ``TAG MODE OBJECT STAGE\tPATH``; a submodule has the mode of a gitlink, an
    untracked repository a trailing slash.
    """
    tracked, others, nested = set[bytes](), set[bytes](), set[bytes]()
    for record in output.split(b"\0"):
        if record.startswith(b"? "):
            (nested if record.endswith(b"/") else others).add(record[2:].rstrip(b"/"))
        elif record:
            mode, _, path = record[2:].partition(b"\t")
            (nested if mode.startswith(GITLINK_MODE) else tracked).add(path)
    return frozenset(tracked), frozenset(others), frozenset(nested)


def find_common_dir(directory: bytes) -> str:
    """Return what all worktrees of the repository around ``directory`` share; "" without git or a repository."""
    try:
        answer = _run_git(["rev-parse", "--git-common-dir"], directory)
    except MissingProgram:
        return ""
    found = answer.stdout.removesuffix(b"\n")
    if answer.status or not found or b"\0" in found:
        return ""
    return os.path.realpath(os.fsdecode(os.path.join(directory, found)))


def list_forced(tree: WorkTree) -> tuple[bytes, ...]:
    """Return what git tracks in ``tree`` although an ignore file leaves it out, sorted."""
    answer = _ask_git(["ls-files", "-c", "-i", "-z", "--exclude-standard"], tree)
    return tuple(sorted(path for path in answer.stdout.split(b"\0") if path))


def find_rule_files(tree: WorkTree) -> tuple[list[str], list[str]]:
    """Return the files outside of ``tree`` that decide what git lists there, and its index; there or not."""
    config = _run_git(["config", "--list", "--show-origin", "-z"], tree.directory).stdout.split(b"\0")
    home = os.environ.get("HOME") or os.path.expanduser("~")
    base = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    found = [f"{home}/.gitconfig", f"{base}/git/config", f"{base}/git/ignore", "/etc/gitconfig"]
    for origin, setting in zip(config[::2], config[1::2], strict=False):
        if origin.startswith(b"file:"):
            found.append(os.fsdecode(origin[5:]))
        name, _, value = setting.partition(b"\n")
        if name.lower() == b"core.excludesfile":
            found.append(os.path.expanduser(os.fsdecode(value)))
        if name.lower().startswith(b"include") and name.lower().endswith(b".path"):
            # It need not be there yet.
            found.append(os.path.join(os.path.dirname(os.fsdecode(origin[5:])), os.path.expanduser(os.fsdecode(value))))
    # Rules above the project count as well, up to the top of the work tree.
    levels = len(tree.prefix.split(b"/")) if tree.prefix else 0
    found += ["../" * level + ".gitignore" for level in range(1, levels + 1)]
    indexes = []
    if not tree.git_dir:
        named = _run_git(["rev-parse", "--git-path", "info/exclude", "--git-path", "index"], tree.directory)
        if named.status or named.stdout.count(b"\n") < 2:
            raise GitFailed(_first_words(named))
        exclude, index = (os.fsdecode(path) for path in named.stdout.split(b"\n")[:2])
        found.append(exclude)
        indexes.append(index)
    directory = os.fsdecode(tree.directory)
    return [os.path.join(directory, path) for path in found], [os.path.join(directory, path) for path in indexes]


def match_patterns(paths: Iterable[bytes], patterns: Sequence[Pattern]) -> frozenset[bytes]:
    """Return those of ``paths`` that ``patterns`` match, by git's rules but without looking at any file.

    ``git check-ignore`` runs in an empty work tree, so each path is taken as a file and its parents as
    directories; it refuses a path in a repository's own ``.git`` in no way.

    Raises:
        GitFailed, MissingProgram: as :func:`list_work_tree`.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="match.", dir=_runtime_dir()) as scratch:
        git_dir, work_tree = Path(scratch, "git"), Path(scratch, "tree")
        _write_empty_git_dir(git_dir)
        work_tree.mkdir()
        (git_dir / "info").mkdir()
        lines = (os.fsencode(_guard_line(render_pattern(pattern))) for pattern in patterns)
        (git_dir / "info" / "exclude").write_bytes(b"".join(line + b"\r\n" for line in lines))
        tree = WorkTree(os.fsencode(work_tree), git_dir=str(git_dir))
        # The dot keeps git from reading a leading colon as pathspec magic.
        stdin = b"".join(b"./" + path + b"\0" for path in paths)
        arguments = ["check-ignore", "--no-index", "--stdin", "-z"]
        answer = _ask_git(arguments, tree, stdin=stdin, config=f"core.excludesFile={os.devnull}", fine=(0, 1))
    return frozenset(path[2:] for path in answer.stdout.split(b"\0") if path)


def _guard_line(pattern: str) -> str:
    """Return ``pattern`` as a line of a file, where a leading ``#`` would start a comment.

    The line is to end in CR LF: git takes one CR off, which would else be a last one of the pattern's own.
    """
    return "\\" + pattern if pattern.startswith("#") else pattern


def _is_below_git(directory: bytes) -> bool:
    """Tell whether ``directory`` or a parent holds ``.git``; where none does, git need not be asked."""
    place = os.path.realpath(directory)
    while not os.path.lexists(os.path.join(place, b".git")):
        parent = os.path.dirname(place)
        if parent == place:
            return False
        place = parent
    return True


def _is_ignored(directory: bytes) -> bool:
    return _run_git(["check-ignore", "-q", "--", "."], directory).status == 0


def _ask_git(
    arguments: Sequence[str], tree: WorkTree, *, stdin: bytes = b"", config: str = "", fine: tuple[int, ...] = (0,)
) -> Captured:
    options = ["-c", config] if config else []
    if tree.git_dir:
        options += [f"--git-dir={tree.git_dir}", "--work-tree=."]
    answer = _run_git([*options, *arguments], tree.directory, stdin=stdin)
    if answer.status not in fine:
        raise GitFailed(_first_words(answer))
    return answer


def _run_git(arguments: Sequence[str], directory: bytes, *, stdin: bytes = b"") -> Captured:
    from mtr.process.piped import run_piped

    argv = ["git", "-C", os.fsdecode(directory), "-c", "core.fsmonitor=false", *arguments]
    return run_piped(argv, stdin=stdin, env=_build_environment(), timeout_s=TIMEOUT_S)


def _build_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _REPOSITORY_VARIABLES}
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}


def _first_words(answer: Captured) -> str:
    lines = answer.stderr.decode(errors="replace").splitlines()
    return lines[0] if lines else f"git exited with status {answer.status}"


def _describe_trouble(tree: WorkTree, stderr: bytes) -> tuple[str, ...]:
    """Return why there is no repository here, and what git could not read while it went on."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line]
    return tuple(f"in {os.fsdecode(tree.directory)}, git: {line}" for line in [tree.warning, *lines] if line)


def _runtime_dir() -> str:
    from mtr.state import ensure_runtime_dir

    return ensure_runtime_dir(os.environ)


def _ensure_empty_git_dir() -> str:
    place = Path(_runtime_dir(), "no-repository.git")
    if not (place / "HEAD").exists():
        _write_empty_git_dir(place)
    return str(place)


def _write_empty_git_dir(place: Path) -> None:
    """Make the least that git takes for a repository (gitrepository-layout(5)); HEAD comes last."""
    from mtr.state import write_atomic

    for folder in ("objects", "refs"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    write_atomic(str(place / "HEAD"), b"ref: refs/heads/none\n")


def list_index(tree: WorkTree) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Return the tracked files of ``tree`` and its submodules, by the index alone.

    Raises:
        GitFailed, MissingProgram: as :func:`list_work_tree`.
    """
    tracked, _, submodules = parse_listing(_ask_git(["ls-files", "-t", "-s", "-c", "-z"], tree).stdout)
    return tracked, submodules


def is_nested(tree: WorkTree, path: bytes) -> bool:
    """Tell whether git takes the untracked directory ``path`` of ``tree`` for a repository of its own."""
    arguments = ["ls-files", "-t", "-o", "-z", "--", os.fsdecode(b":(literal)" + path)]
    return path in parse_listing(_ask_git(arguments, tree).stdout)[2]


def find_ignore_lines(tree: WorkTree, paths: Iterable[bytes]) -> list[tuple[bytes, int, bytes] | None]:
    """Return for each of ``paths`` the line of git's that decides: file, number and pattern.

    The file is ``.gitignore``, ``info/exclude`` or the user's global one, its path absolute. A pattern with
    ``!`` brings the path back. The index does not count here. Below a directory that is ignored, the answer is
    the directory's. No path may lie in another repository or behind a symbolic link: git refuses those.
    """
    asked = list(paths)
    stdin = b"".join(b"./" + path + b"\0" for path in asked)
    answer = _ask_git(["check-ignore", "-v", "-n", "-z", "--no-index", "--stdin"], tree, stdin=stdin, fine=(0, 1))
    fields = answer.stdout.split(b"\0")[:-1]
    top = tree.directory.rstrip(b"/")
    for _ in filter(None, tree.prefix.split(b"/")):
        top = os.path.dirname(top)
    if len(fields) != 4 * len(asked) or not all(line.isdigit() or not line for line in fields[1::4]):
        raise GitFailed("git check-ignore answers something else than it was asked")
    records = zip(fields[::4], fields[1::4], fields[2::4], strict=True)
    return [(os.path.join(top, file), int(line), text) if file else None for file, line, text in records]
