"""A file that was found valid is checked again only when it, or what it is checked by, has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.config import checked
from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.source import parse_source
from mtr.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.config.source import Source


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home of its own."""
    return {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Which files are checked."""
    real, found = checked.ensure_valid, []

    def ensure_valid(source: Source, *, is_own: bool) -> None:
        found.append((source.file.name, is_own))
        real(source, is_own=is_own)

    monkeypatch.setattr(checked, "ensure_valid", ensure_valid)
    return found


def load(project: Path, environ: dict[str, str]) -> None:
    load_config(find_project(project), environ)


def write(project: Path, text: str) -> None:
    (project / ".mtr").mkdir(parents=True, exist_ok=True)
    (project / ".mtr" / "config.yaml").write_text(text)


def test_a_valid_file_is_checked_once(tmp_path: Path, environ: dict[str, str], seen: list[tuple[str, bool]]) -> None:
    """Until a byte of it changes; what it was before is still known."""
    write(tmp_path / "p", "default: a\nservers: {a: {host: h}}\n")
    for _ in range(3):
        load(tmp_path / "p", environ)
    assert seen == [("config.yaml", False)]
    write(tmp_path / "p", "default: b\nservers: {b: {host: h}}\n")
    load(tmp_path / "p", environ)
    write(tmp_path / "p", "default: a\nservers: {a: {host: h}}\n")
    load(tmp_path / "p", environ)
    assert len(seen) == 2


def test_a_wrong_file_is_wrong_every_time(tmp_path: Path, environ: dict[str, str]) -> None:
    """Nothing is noted of it."""
    write(tmp_path / "p", "servers: {a: {hots: h}}\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="did you mean 'host'"):
            load(tmp_path / "p", environ)
    assert not (tmp_path / "state" / "mtr" / "valid").exists()


def test_what_the_users_own_may_say_is_no_projects(tmp_path: Path, environ: dict[str, str]) -> None:
    """The same bytes in another place are another file."""
    text = "servers: {a: {host: h}}\naliases: {sync: ls}\n"
    own = tmp_path / ".config" / "mtr" / "config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("servers: {a: {host: h}}\naliases: {t: '-s a true'}\n")
    (tmp_path / "p").mkdir()
    load(tmp_path / "p", environ)
    lines = (tmp_path / "state" / "mtr" / "valid").read_bytes().splitlines()
    write(tmp_path / "p", own.read_text())
    load(tmp_path / "p", environ)
    assert len((tmp_path / "state" / "mtr" / "valid").read_bytes().splitlines()) == len(lines) + 1
    write(tmp_path / "p", text)
    with pytest.raises(ConfigError):
        load(tmp_path / "p", environ)


def test_another_version_checks_again(
    tmp_path: Path, environ: dict[str, str], seen: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rules may be others."""
    write(tmp_path / "p", "servers: {a: {host: h}}\n")
    load(tmp_path / "p", environ)
    monkeypatch.setattr(checked, "__version__", "99")
    load(tmp_path / "p", environ)
    assert len(seen) == 2


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 500, b"x\n" * 99, b"\xff" * 100_000])
def test_a_damaged_note_is_none(
    tmp_path: Path, environ: dict[str, str], seen: list[tuple[str, bool]], data: bytes
) -> None:
    """It is written anew, and stays small."""
    note = tmp_path / "state" / "mtr" / "valid"
    note.parent.mkdir(parents=True)
    note.write_bytes(data)
    write(tmp_path / "p", "servers: {a: {host: h}}\n")
    for _ in range(2):
        load(tmp_path / "p", environ)
    assert len(seen) == 1
    for number in range(checked.MAX_KEPT + 5):
        write(tmp_path / "p", f"servers: {{a{number}: {{host: h}}}}\n")
        load(tmp_path / "p", environ)
    assert note.stat().st_size <= checked.MAX_KEPT * 65


def test_a_file_that_is_none_yet_is_always_checked(tmp_path: Path, environ: dict[str, str]) -> None:
    """What is about to be written has no digest; an empty line in the notes is not it."""
    (tmp_path / "state" / "mtr").mkdir(parents=True)
    (tmp_path / "state" / "mtr" / "valid").write_bytes(b"\n\n")
    source = parse_source(tmp_path / "config.yaml", b"nonsense: 1\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="nonsense"):
            checked.ensure_checked(source, environ, is_own=False)


def test_a_note_that_cannot_be_kept_costs_time_alone(
    tmp_path: Path, environ: dict[str, str], seen: list[tuple[str, bool]]
) -> None:
    """A directory in its place."""
    (tmp_path / "state" / "mtr" / "valid").mkdir(parents=True)
    write(tmp_path / "p", "servers: {a: {host: h}}\n")
    for _ in range(2):
        load(tmp_path / "p", environ)
    assert len(seen) == 2
