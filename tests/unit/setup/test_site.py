"""Putting a configuration into its place: complete or not at all, and never over what is there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.trust import is_trusted
from mtr.errors import ConfigError, ProjectError
from mtr.setup.answers import Answers
from mtr.setup.draft import explain_present, make_draft
from mtr.setup.site import CONFIG, IGNORE, LOCAL, AlreadySetUp, find_site, put_files

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace

PLAIN = Answers(host="gpu.lan", name="gpu")
MINE = Answers(host="gpu.lan", name="gpu", user="me")


def set_up(place: Workplace, answers: Answers = PLAIN, directory: Path | None = None) -> list[str]:
    """Write ``answers``; return the names of the files."""
    draft = make_draft(find_site(directory or place.root, place.environ), answers, place.environ)
    return [path.name for path in draft.write(place.environ)]


def listing(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_new_configuration_is_for_the_project_and_the_personal_part_for_its_user(place: Workplace):
    """Three files, with the modes that they should have whatever the umask is; nothing else is left."""
    before = os.umask(0)
    try:
        assert set_up(place, MINE) == [CONFIG, LOCAL, IGNORE]
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place.root / ".mtr").iterdir()}
    assert modes == {CONFIG: 0o644, LOCAL: 0o600, IGNORE: 0o644}
    assert [path.name for path in place.root.iterdir()] == [".mtr"]


def test_what_is_configured_is_never_touched(place: Workplace):
    """A second time says what is there and how to add a server, and changes nothing."""
    set_up(place, MINE)
    before = listing(place.root)
    with pytest.raises(AlreadySetUp) as caught:
        set_up(place)
    told = explain_present(caught.value, place.root, Answers(host="other.lan", name="other"), place.environ)
    assert "gpu (the default)" in told.detail
    assert "  other:\n    host: other.lan" in told.detail
    assert "mtr config check" in told.hint
    assert listing(place.root) == before


def test_a_configuration_that_is_broken_is_never_touched(place: Workplace):
    """That it cannot be read is no reason to write over it."""
    place.write(place.project_file, "servers: [")
    with pytest.raises(AlreadySetUp) as caught:
        set_up(place)
    assert "config check" in explain_present(caught.value, place.root, None, place.environ).hint
    assert place.project_file.read_text() == "servers: ["


@pytest.mark.parametrize("kind", ["link", "directory", "dangling"])
def test_what_is_in_the_place_of_the_configuration_is_never_touched(place: Workplace, kind: str):
    """A link, even one that leads nowhere, or a directory."""
    place.project_file.parent.mkdir()
    target = place.root.parent / "elsewhere"
    if kind == "directory":
        place.project_file.mkdir()
    else:
        place.project_file.symlink_to(target)
    if kind == "link":
        target.write_text("servers: {}\n")
    with pytest.raises(AlreadySetUp):
        set_up(place)
    assert target.exists() == (kind == "link")


def test_a_personal_file_alone_is_kept(place: Workplace):
    """It counts, and its values need trust as always, since nobody has typed them here."""
    place.write(place.local_file, "servers: {gpu: {user: other, password_command: steal}}\n", 0o600)
    assert set_up(place) == [CONFIG, IGNORE]
    assert "steal" in place.local_file.read_text()
    config = load_config(find_project(place.root, place.environ), place.environ)
    assert config.servers["gpu"].user == "other"
    assert config.claim is not None
    assert not is_trusted(config.claim, place.environ)


def test_a_personal_file_that_says_otherwise_is_kept_and_told(place: Workplace):
    """With what belongs into it; no password is among that."""
    place.write(place.local_file, "servers: {gpu: {port: 3}}\n", 0o600)
    before = listing(place.root)
    with pytest.raises(ConfigError) as caught:
        set_up(place, MINE)
    assert "user: me" in caught.value.detail
    assert listing(place.root) == before


def test_what_the_user_has_typed_is_trusted(place: Workplace):
    """A command for the password asks for no trust afterwards."""
    set_up(place, Answers(host="gpu.lan", name="gpu", password_command="pass show gpu"))
    claim = load_config(find_project(place.root, place.environ), place.environ).claim
    assert claim is not None
    assert is_trusted(claim, place.environ)


def test_a_directory_with_logs_gets_its_files(place: Workplace):
    """.mtr is there without a configuration: each file is added, an ignore file of the user's grows."""
    place.write(place.root / ".mtr/logs/x", "log")
    (place.root / ".mtr/.gitignore").write_bytes(b"mine\r\n")
    (place.root / ".mtr/.gitignore").chmod(0o640)
    assert set_up(place, MINE) == [CONFIG, LOCAL, IGNORE]
    ignore = place.root / ".mtr/.gitignore"
    assert ignore.read_bytes() == b"mine\r\nlocal.yaml\r\nlogs/\r\n"
    assert ignore.stat().st_mode & 0o777 == 0o640
    assert (place.root / ".mtr/logs/x").read_text() == "log"
    assert [path.name for path in place.root.iterdir()] == [".mtr"]


def test_an_ignore_file_that_is_a_link_is_refused(place: Workplace):
    """git follows none, so nothing would keep what is personal out of a commit."""
    (place.root / ".mtr").mkdir()
    (place.root / ".mtr/.gitignore").symlink_to("../other")
    with pytest.raises(ProjectError, match="symbolic link"):
        set_up(place, MINE)
    assert listing(place.root) == {}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_directory_of_the_projects_own_is_told(place: Workplace, kind: str):
    """A file called .mtr stays, and through a link that a project has brought along nothing is written."""
    elsewhere = place.root.parent / "elsewhere"
    elsewhere.mkdir()
    if kind == "file":
        (place.root / ".mtr").write_text("mine")
    else:
        (place.root / ".mtr").symlink_to(elsewhere)
    with pytest.raises(ProjectError, match="in the way"):
        set_up(place)
    assert list(elsewhere.iterdir()) == []
    assert (place.root / ".mtr").is_symlink() == (kind == "link")


def test_what_a_killed_one_has_left_goes(place: Workplace):
    """A password may be in it; what one that runs has made stays."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        place.write(place.root / f".mtr-init.{pid}.x/mtr/local.yaml", "password: x")
    set_up(place)
    assert [path.name for path in place.root.glob(".mtr-init*")] == [f".mtr-init.{os.getpid()}.x"]


@pytest.mark.parametrize("with_logs", [False, True])
def test_of_two_at_once_one_wins_whole(place: Workplace, with_logs: bool):
    """Both files are of the same one; the other is told, and leaves nothing."""
    if with_logs:
        place.write(place.root / ".mtr/logs/x", "log")
    for attempt in range(20):
        drafts = [
            make_draft(
                find_site(place.root, place.environ), Answers(host=f"h{n}", name=f"n{n}", user=f"u{n}"), place.environ
            )
            for n in range(4)
        ]
        results: list[object] = []
        start = threading.Barrier(len(drafts))

        def write(draft: object, start: threading.Barrier = start, results: list[object] = results) -> None:
            start.wait()
            try:
                results.append(put_files(draft.site, draft.files, place.environ))  # type: ignore[attr-defined]
            except AlreadySetUp as error:
                results.append(error)

        threads = [threading.Thread(target=write, args=(draft,)) for draft in drafts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(result, list) for result in results) == 1, (attempt, results)
        server = next(iter(load_config(find_project(place.root, place.environ), place.environ).servers.values()))
        assert server.user == f"u{server.name[1:]}" == f"u{server.hosts[0][1:]}"
        assert [path.name for path in place.root.iterdir()] == [".mtr"]
        for name in (CONFIG, LOCAL, IGNORE):
            (place.root / ".mtr" / name).unlink()
        if not with_logs:
            (place.root / ".mtr").rmdir()


KILLED = """\
import os, signal, sys
sys.path.insert(0, {source!r})
from pathlib import Path
from mtr.setup import site as module
from mtr.setup.answers import Answers
from mtr.setup.draft import make_draft

calls = int(sys.argv[2])
def counted(function):
    def call(*words, **more):
        global calls
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*words, **more)
    return call
for name in ("mkdir", "open", "rename", "link", "fsync", "unlink", "rmdir", "replace"):
    setattr(os, name, counted(getattr(os, name)))
root = Path(sys.argv[1])
draft = make_draft(module.find_site(root, os.environ), Answers(host="h", name="n", user="u"), os.environ)
calls = int(sys.argv[2])
draft.write(os.environ)
print("done")
"""


@pytest.mark.parametrize("with_logs", [False, True])
def test_a_kill_at_any_step_leaves_all_or_nothing_that_counts(place: Workplace, with_logs: bool):
    """No configuration without its personal file; git sees nothing of what is left, and the next try ends it."""
    subprocess.run(["git", "init", "-q"], cwd=place.root, check=True)
    script = KILLED.format(source=str(Path(__file__).resolve().parents[3]))
    for steps in range(60):
        if with_logs:
            place.write(place.root / ".mtr/logs/x", "log")
        argv = [sys.executable, "-c", script, str(place.root), str(steps)]
        done = subprocess.run(argv, env={**os.environ, **place.environ}, capture_output=True, text=True, check=False)
        if (place.root / ".mtr" / CONFIG).exists():
            assert (place.root / ".mtr" / LOCAL).exists(), steps
            assert (place.root / ".mtr" / IGNORE).exists(), steps
        else:
            listed = subprocess.run(
                ["git", "ls-files", "-co", "--exclude-standard"], cwd=place.root, check=True, capture_output=True
            ).stdout
            assert b"local.yaml" not in listed, steps
            assert set_up(place, Answers(host="h", name="n", user="u"))[0] == CONFIG
            assert not list(place.root.glob(".mtr-init*")), steps
        subprocess.run(["rm", "-rf", *place.root.glob(".mtr*")], check=True)
        if done.stdout == "done\n":
            assert steps > 5
            return
    pytest.fail("it never came to its end")


def test_a_subdirectory_of_a_repository_sets_up_its_top(place: Workplace):
    """The configuration goes where every run will look for it."""
    subprocess.run(["git", "init", "-q"], cwd=place.root, check=True)
    (place.root / "deep/er").mkdir(parents=True)
    found = find_site(place.root / "deep/er", place.environ)
    assert (found.folder, str(found.project.subdir)) == (place.root / ".mtr", "deep/er")


def test_a_home_directory_and_the_root_are_refused(place: Workplace):
    """They are never synced, so they have no configuration."""
    for directory in (place.home, place.home.parent, Path("/")):
        with pytest.raises(ProjectError, match="never synced"):
            find_site(directory, place.environ)


def test_a_worktree_has_what_its_main_worktree_has(place: Workplace):
    """It is told so, and nothing is written."""
    run = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*run, "init", "-q"], cwd=place.root, check=True)
    subprocess.run([*run, "commit", "-q", "--allow-empty", "-m", "x"], cwd=place.root, check=True)
    set_up(place)
    other = place.root.parent / "other"
    subprocess.run([*run, "worktree", "add", "-q", str(other)], cwd=place.root, check=True)
    with pytest.raises(AlreadySetUp, match="already") as caught:
        find_site(other, place.environ)
    assert "is a worktree" in caught.value.detail
    assert not (other / ".mtr").exists()


def test_a_server_of_the_users_own_is_not_taken_for_the_projects(place: Workplace):
    """What the user's own configuration has as its default gives way to what was set up here."""
    place.write(place.user_file, "default: own\nservers: {own: {host: own.lan}}\n")
    set_up(place)
    assert place.select().name == "gpu"
