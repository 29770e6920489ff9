"""Files of agents: inside the project here, below its directory there, never where git or mtr read what to do."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from mtr.config.model import Server
from mtr.config.project import find_project
from mtr.config.trust import store_trust
from mtr.policy import Policy, PolicyRefused, find_bases, list_secret_files, resolve_local, resolve_remote
from tests.unit.config.workplace import Workplace
from tests.unit.policy.test_judge import policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mtr.config.project import Project
    from mtr.policy import LocalFile


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A project with a file, and one outside of it."""
    found = Workplace(tmp_path)
    found.write(found.root / "src/a.txt", "inside")
    found.write(found.home / "secret", "planted")
    for name in (".mtr", ".git", "src/.git/hooks"):
        (found.root / name).mkdir(parents=True)
    return found


@pytest.fixture
def project(place: Workplace) -> Project:
    return find_project(place.root, place.environ)


def read(file: LocalFile) -> bytes:
    with os.fdopen(file.open(), "rb") as stream:
        return stream.read()


@pytest.mark.parametrize(
    "path", ["src/a.txt", "./src//a.txt", "src/../src/a.txt", "link", "links/a.txt", "{root}/src/a.txt"]
)
def test_files_of_the_project_are_read(place: Workplace, project: Project, path: str) -> None:
    """Also by their absolute path, by links that stay inside, and by ``..`` that does."""
    (place.root / "link").symlink_to("src/a.txt")
    (place.root / "links").symlink_to(place.root / "src")
    found = resolve_local(path.format(root=place.root), project)
    assert (found.path, read(found)) == (place.root / "src/a.txt", b"inside")


@pytest.mark.parametrize(
    "path",
    [
        "", "..", "../x", "src/../../x", "/etc/passwd", "{home}/secret", "out", "out/x", "dangling", "deep/secret",
        "src/a\0b",
        "src/\x1b", "/", "{root}x/a", "/proc/self/environ", "/dev/stdin", "loop/x/../../../../../../etc/passwd",
        "\udc80",
    ],
)  # fmt: skip
def test_nothing_outside_is_reached(place: Workplace, project: Project, path: str) -> None:
    """By ``..``, by links, by absolute paths, by names that begin like the project's."""
    (place.root / "out").symlink_to("/etc")
    (place.root / "dangling").symlink_to(place.home / "new")
    (place.root / "deep").symlink_to(place.home)
    (place.root / "loop").symlink_to("loop")
    with pytest.raises(PolicyRefused):
        resolve_local(path.format(root=place.root, home=place.home), project).open()
    assert not (place.home / "new").exists()


@pytest.mark.parametrize(
    "path",
    [
        ".git/hooks/pre-commit", ".git", ".mtr/local.yaml", ".mtr", "src/.git/hooks/x", ".GIT/config", ".Mtr/x",
        ".git /x",
        ".git./x", ".git::$INDEX_ALLOCATION/x", "git~1/x", ".g\u200cit/x", "hooks/x", "src/../.git/x",
        ".mtr/../.git/x", "mtr",
    ],
)  # fmt: skip
def test_git_and_mtr_are_kept_out(place: Workplace, project: Project, path: str) -> None:
    """However they are spelt, and by links to them; for reading and writing."""
    (place.root / "hooks").symlink_to(".git/hooks")
    (place.root / "mtr").symlink_to(".mtr")
    with pytest.raises(PolicyRefused, match="not for agents"):
        resolve_local(path, project)


@pytest.mark.parametrize("path", [".github/x", ".gitignore", ".mtrignore", "git/x", "a.git/x", ".mtr-notes"])
def test_what_is_named_alike_is_not(project: Project, path: str) -> None:
    """Only those two directories are meant."""
    resolve_local(path, project).replace([b"x"])
    assert read(resolve_local(path, project)) == b"x"


def test_a_home_directory_is_no_project(place: Workplace) -> None:
    """Where no project is found, nothing is read."""
    with pytest.raises(PolicyRefused, match="a home directory"):
        resolve_local("secret", find_project(place.home, place.environ))


def test_files_with_secrets_are_kept_back(place: Workplace) -> None:
    """``env_file`` and keys of the servers, under whatever name: a link, or a second name."""
    text = "servers: {gpu: {env_file: .env, key_filename: keys/id}}\n"
    config = place.load(text)
    project = find_project(place.root, place.environ)
    for name in (".env", "keys/id"):
        place.write(place.root / name, "planted")
    (place.root / "link").symlink_to(".env")
    os.link(place.root / ".env", place.root / "second")
    hidden = list_secret_files(config, project, place.environ)
    for path in (".env", "keys/id", "link", "second", "src/../.env"):
        with pytest.raises(PolicyRefused):
            resolve_local(path, project, secret_files=hidden).open()
        with pytest.raises(PolicyRefused):
            resolve_local(path, project, secret_files=hidden).replace([b"x"])
    assert (place.root / ".env").read_text() == "planted"


def test_writing_makes_directories_and_keeps_modes(place: Workplace, project: Project) -> None:
    """At once or not at all; nothing is left beside it."""
    found = resolve_local("new/dir/x.sh", project)
    assert found.replace([b"one", b"two"]) == 6
    assert found.path.read_bytes() == b"onetwo"
    found.path.chmod(0o750)
    found.replace([b"three"])
    assert (found.path.read_bytes(), found.path.stat().st_mode & 0o7777) == (b"three", 0o750)

    def fail() -> object:
        yield b"half"
        raise OSError("the line broke")

    with pytest.raises(OSError, match="the line broke"):
        found.replace(fail())  # type: ignore[arg-type]
    assert found.path.read_bytes() == b"three"
    assert os.listdir(found.path.parent) == ["x.sh"]


def test_writing_goes_through_no_second_name(place: Workplace, project: Project) -> None:
    """A hard link to a file outside is replaced, not written through."""
    os.link(place.home / "secret", place.root / "second")
    resolve_local("second", project).replace([b"mine"])
    assert ((place.home / "secret").read_text(), (place.root / "second").read_bytes()) == ("planted", b"mine")


def test_odd_files_are_neither_waited_for_nor_read(
    place: Workplace, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, a directory, a socket: refused at once, for writing as well."""
    os.mkfifo(place.root / "pipe")
    # A socket's path is short.
    monkeypatch.chdir(place.root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        for name in ("pipe", "src", "s"):
            with pytest.raises(PolicyRefused):
                resolve_local(name, project).open()
            with pytest.raises(PolicyRefused):
                resolve_local(name, project).replace([b"x"])


@pytest.mark.parametrize("part", ["src", "src/a.txt"])
def test_a_link_that_is_put_in_place_later_is_not_followed(place: Workplace, project: Project, part: str) -> None:
    """Neither as a directory on the way nor as the file itself."""
    found = resolve_local("src/a.txt", project)
    outside = place.home / "other"
    place.write(outside / "a.txt", "planted")
    swapped = place.root / part
    shutil.rmtree(swapped) if swapped.is_dir() else swapped.unlink()
    swapped.symlink_to(outside if part == "src" else outside / "a.txt")
    with pytest.raises(PolicyRefused, match="is a link"):
        found.open()
    with pytest.raises(PolicyRefused):
        found.replace([b"mine"])
    assert (outside / "a.txt").read_text() == "planted"
    assert sorted(os.listdir(outside)) == ["a.txt"]


def swap(folder: Path, aside: Path, outside: Path, ends: threading.Event) -> None:
    """Let ``folder`` be a directory and a link to ``outside`` by turns."""
    while not ends.is_set():
        folder.rename(aside)
        put(folder, lambda: folder.symlink_to(outside))
        folder.unlink()
        put(folder, lambda: aside.rename(folder))


def put(folder: Path, bring: Callable[[], object]) -> None:
    """Put something in the place of ``folder``, which a writer makes anew when it misses it."""
    while True:
        try:
            bring()
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return


def test_a_race_is_lost_by_whoever_swaps(place: Workplace, project: Project) -> None:
    """A directory that turns into a link and back all the time: what is read is the project's, what is written too."""
    outside = place.home / "other"
    place.write(outside / "a.txt", "planted")
    folder, aside = place.root / "src", place.root / "aside"
    ends = threading.Event()

    swapper = threading.Thread(target=swap, args=(folder, aside, outside, ends))
    swapper.start()
    seen = set()
    try:
        for _ in range(1_500):
            try:
                found = resolve_local("src/a.txt", project)
                seen.add(read(found))
                found.replace([b"mine"])
            except (PolicyRefused, OSError):
                continue
    finally:
        ends.set()
        swapper.join()
    assert seen <= {b"inside", b"mine"}
    assert ((outside / "a.txt").read_text(), os.listdir(outside)) == ("planted", ["a.txt"])


def test_a_download_dir_outside_counts_once_it_may_be_used(place: Workplace) -> None:
    """The user's own, or one that they have trusted; another one's files are out of reach."""
    elsewhere = place.home / "downloads"
    place.write(elsewhere / "x", "there")
    config = place.load(f"servers: {{gpu: {{download_dir: {elsewhere}}}}}\n")
    project = find_project(place.root, place.environ)
    server = config.servers["gpu"]
    assert find_bases(project, server, place.environ) == (place.root,)
    assert find_bases(project, Server("x", ("x",)), place.environ) == (place.root,)
    assert server.download_claim is not None
    store_trust(server.download_claim, place.environ)
    bases = find_bases(project, server, place.environ)
    assert read(resolve_local(str(elsewhere / "x"), project, bases=bases)) == b"there"
    with pytest.raises(PolicyRefused):
        resolve_local(str(place.home / "secret"), project, bases=bases)


# -- on a server


@pytest.mark.parametrize(
    ("path", "full"),
    [
        ("a/b", "~/mtr/p/a/b"),
        ("./a", "~/mtr/p/a"),
        ("~/mtr/p/a", "~/mtr/p/a"),
        ("-n", "~/mtr/p/-n"),
        ("a b/*", "~/mtr/p/a b/*"),
        ("~x", "~/mtr/p/~x"),
        (".", "~/mtr/p"),
    ],
)
def test_paths_there_begin_at_the_projects_directory(path: str, full: str) -> None:
    """And are names, whatever a shell would make of them."""
    assert resolve_remote(path, "~/mtr/p", policy(max_running=1)) == full


@pytest.mark.parametrize(
    "path",
    [
        "", "..", "../x", "a/../../x", "a/../b", "/etc/passwd", "~", "~/", "~/x", "~/mtr/px", "~/mtr/p/../q",
        "~/.ssh/id", "a\0b",
        ".mtr/t.x", "a/.git/hooks/x", ".GIT/config", "/mtr/p/x", "\x1b[0m",
    ],
)  # fmt: skip
def test_nothing_else_there_is_reached_with_a_policy(path: str) -> None:
    """By the path; what a link there leads to is the server's matter."""
    with pytest.raises(PolicyRefused):
        resolve_remote(path, "~/mtr/p", policy(max_running=1))


def test_without_a_policy_a_path_there_is_free() -> None:
    """As it is for `mtr get`."""
    assert resolve_remote("/data/x", "~/mtr/p", Policy()) == "/data/x"
    assert resolve_remote("/data/p/x", "/data/p", policy(max_running=1)) == "/data/p/x"


def test_names_may_be_as_long_as_names_may_be(place: Workplace, project: Project) -> None:
    """What is written meanwhile has a short one."""
    found = resolve_local("é" * 127, project)
    assert (found.replace([b"x"]), read(found)) == (1, b"x")


def test_where_links_cannot_be_ruled_out_nothing_is_opened(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    for act in (lambda file: file.open(), lambda file: file.replace([b"x"])):
        with pytest.raises(PolicyRefused, match="no link is followed"):
            act(resolve_local("src/a.txt", project))
