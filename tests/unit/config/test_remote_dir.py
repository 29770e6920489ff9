"""Where a project lies on a server."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.config.model import Server
from mtr.config.project import Project, find_project
from mtr.config.remote_dir import find_path_flaw, load_machine_id, normalize, resolve_remote_dir
from mtr.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.config.workplace import Workplace


def resolve(place: Workplace, remote_dir: str | None, root: Path | None = None) -> str:
    server = Server("gpu", ("h",), remote_dir=remote_dir)
    return resolve_remote_dir(server, find_project(root or place.root, place.environ), place.environ)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("/data/x", "/data/x"),
        ("/data//x/./y/", "/data/x/y"),
        ("~/x", "~/x"),
        ("x/y", "~/x/y"),
        ("./x", "~/x"),
        ('/a b/it\'s "$HOME" é', '/a b/it\'s "$HOME" é'),
        ("/d/{project}-{{x}}", "/d/project-{x}"),
        ("/a~/~b", "/a~/~b"),
    ],
)
def test_templates(place: Workplace, template: str, expected: str):
    """Absolute and ~/ paths stay, relative ones are at home; placeholders are filled in, doubled braces are one."""
    assert resolve(place, template) == expected


@pytest.mark.parametrize(
    "template",
    ["/", "//", "/.", "~", "~/", "~/.", ".", "", "..", "/a/../b", "~x/y", "/a\nb", "/{x}", "/{", "/}", "/{}"],
)
def test_what_is_refused(place: Workplace, template: str):
    """Homes, the root, upward paths, others' homes, control characters and unknown placeholders are refused."""
    with pytest.raises(ConfigError, match="gpu: remote_dir") as caught:
        resolve(place, template)
    assert "~/" in caught.value.hint


def test_branch_and_user(place: Workplace):
    """{branch} is one directory name also with slashes in it; {user} is the person here."""
    place.write(place.root / ".git/HEAD", "ref: refs/heads/feature/x\n")
    assert resolve(place, "/d/{user}/{branch}") == f"/d/{pwd.getpwuid(os.getuid()).pw_name}/feature-x"


def test_branch_outside_a_repository(place: Workplace):
    """{branch} where there is none is an error, not an empty name."""
    with pytest.raises(ConfigError, match="not in a git repository"):
        resolve(place, "/d/{branch}")


def test_default_is_one_directory_for_each_checkout(place: Workplace):
    """Without remote_dir two checkouts of one name get two directories, and each always the same."""
    other = place.home / "project"
    other.mkdir()
    first, second = resolve(place, None), resolve(place, None, other)
    assert re.fullmatch(r"~/mtr/project-[0-9a-f]{8,}", first)
    assert first != second
    assert first == resolve(place, None)


@pytest.mark.parametrize(("name", "expected"), [("my project!", "my-project"), ("项目", "project"), ("..a", "a")])
def test_default_has_a_plain_name(place: Workplace, name: str, expected: str):
    """Whatever the directory is called here, its name there needs no quoting."""
    (place.root / name).mkdir()
    assert re.fullmatch(rf"~/mtr/{expected}-[0-9a-f]+", resolve(place, None, place.root / name))


def test_default_with_a_name_that_is_no_utf8(tmp_path: Path):
    """A path of any bytes has a directory there."""
    project = Project(tmp_path / "a\udcff", PurePosixPath())
    assert resolve_remote_dir(Server("gpu", ("h",)), project, {}).startswith("~/mtr/a-")


def test_machine_id_stays():
    """What tells machines apart is the same at each call, and not empty."""
    assert load_machine_id() == load_machine_id() != ""


@given(st.text("/.~ab \n{}", max_size=12))
def test_results_are_always_safe(path: str):
    """Whatever is written, the result is absolute or below home, and has no way upwards."""
    if find_path_flaw(path) is None:
        result = normalize(path)
        assert re.match(r"~?/[^/]", result)
        assert not {"", ".", ".."} & set(result.split("/")[1:])
        assert find_path_flaw(result) is None
        assert normalize(result) == result
