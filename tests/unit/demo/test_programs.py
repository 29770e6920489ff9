"""What the demo says about a machine that lacks something."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from mtr.demo.programs import build_missing_server, build_server_path, find_sshd, has_embedded

if TYPE_CHECKING:
    from pathlib import Path


def make_programs(directory: Path, *names: str) -> dict[str, str]:
    """Return an environment whose PATH holds just these."""
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return {"PATH": str(directory)}


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("apt-get", "apt-get install openssh-server"),
        ("dnf", "dnf install openssh-server"),
        ("brew", "brew install openssh"),
    ],
)
def test_the_hint_is_for_this_machine(tmp_path: Path, installer: str, command: str) -> None:
    """With an installer in PATH the hint is its command alone, with sudo where it needs root."""
    error = build_missing_server("sshd", make_programs(tmp_path, installer))
    assert error.hint == ("sudo " if os.getuid() and installer != "brew" else "") + command


def test_the_servers_side_has_the_programs_of_this_machine(tmp_path: Path) -> None:
    """Also where the PATH here holds Python alone."""
    dirs = build_server_path({"PATH": str(tmp_path)}).split(os.pathsep)
    assert dirs[0] == str(tmp_path)
    assert "/bin" in dirs
    assert dirs[-1] == os.path.dirname(sys.executable)


def test_sshd_is_found_in_path_first(tmp_path: Path) -> None:
    """An absolute path, which sshd needs to start itself again."""
    assert find_sshd(make_programs(tmp_path, "sshd")) == f"{tmp_path}/sshd"


def test_asyncssh_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the server in Python does not count."""
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    assert not has_embedded()


@pytest.mark.parametrize("kind", ["auto", "embedded"])
def test_a_missing_server_names_the_extra(kind: str) -> None:
    """The hint is what to type."""
    assert "pip install 'mtremote[demo]'" in build_missing_server(kind, {}).hint
