"""Variables from a file of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.config.env_file import _parse, load_env_file
from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.errors import ConfigError, MtrError

if TYPE_CHECKING:
    from pathlib import Path


def load(root: Path, name: str) -> dict[str, str]:
    """Return what the file ``name`` gives to a server of the project at ``root``."""
    (root / ".mtr").mkdir(exist_ok=True)
    (root / ".mtr" / "config.yaml").write_text(f"servers: {{lab: {{env_file: '{name}'}}}}\n")
    project = find_project(root, {"HOME": "/nosuch"})
    return load_env_file(load_config(project, {"HOME": str(root / "h")}).servers["lab"], project)


def test_lines_of_a_dotenv_file_are_variables(tmp_path: Path) -> None:
    """Quotes, comments, export and several lines as dotenv files have them; nothing is expanded."""
    text = "# a comment\nA=1\nexport B='x y'\nC=\"two\nlines\" # why\nD=$HOME ${A}\nE=\nA=2\n\n"
    (tmp_path / ".env").write_text(text)
    assert load(tmp_path, ".env") == {"A": "2", "B": "x y", "C": "two\nlines", "D": "$HOME ${A}", "E": ""}


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"A=1\nsecret-token\n", 2), (b"=hidden", 1), (b"1A=hidden", 1), (b"A=1\nB=\xff", 2), (b"A-B=hidden", 1)],
)
def test_a_line_that_is_no_assignment_is_named_and_not_shown(tmp_path: Path, data: bytes, line: int) -> None:
    """What stands there may be a secret."""
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, ".env")
    assert caught.value.message.startswith(f"{tmp_path}/.env:{line}: ")
    assert not {"hidden", "secret"} & set(str(caught.value).replace("-", " ").split())


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """A command without its variables would go wrong in its own way."""
    with pytest.raises(ConfigError, match="there is no env_file"):
        load(tmp_path, "nosuch.env")


def test_a_link_that_leads_out_of_the_project_is_refused(tmp_path: Path) -> None:
    """A clone can bring a link to any file here, and its server would get what is in it."""
    root = tmp_path / "proj"
    root.mkdir()
    (tmp_path / "secrets").write_text("TOKEN=x\n")
    (root / ".env").symlink_to("../secrets")
    with pytest.raises(ConfigError, match="leads out of the project"):
        load(root, ".env")
    (root / "real").write_text("A=1\n")
    (root / "inner").symlink_to("real")
    assert load(root, "inner") == {"A": "1"}


def test_a_path_out_of_the_project_asks_for_trust(tmp_path: Path) -> None:
    """In a file of the project; in the user's own configuration it does not."""
    for name, asks in (("~/x", True), ("/etc/passwd", True), ("../x", True), (".git/config", True), (".env", False)):
        (tmp_path / ".mtr").mkdir(exist_ok=True)
        (tmp_path / ".mtr" / "config.yaml").write_text(f"servers: {{lab: {{env_file: '{name}'}}}}\n")
        config = load_config(find_project(tmp_path, {"HOME": "/nosuch"}), {"HOME": str(tmp_path / "h")})
        assert (config.servers["lab"].claim is not None) is asks, name


@given(st.binary(max_size=200))
def test_any_bytes_are_variables_or_an_error(data: bytes) -> None:
    """Names are names, values hold no NUL."""
    try:
        found = dict(_parse("/x", data))
    except MtrError:
        return
    assert all(name.isascii() and name.isidentifier() and "\0" not in value for name, value in found.items())
