"""What the demo says about a machine that lacks something."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from mtr.demo.programs import build_missing_server, check_programs, find_sshd, has_embedded
from mtr.errors import MissingProgram

if TYPE_CHECKING:
    from pathlib import Path


def make_programs(directory: Path, *names: str) -> dict[str, str]:
    """Return an environment whose PATH holds just these."""
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return {"PATH": str(directory)}


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    """One error for all programs, and without an installer in PATH the command of each."""
    with pytest.raises(MissingProgram) as caught:
        check_programs(make_programs(tmp_path))
    assert caught.value.message == "ssh, ssh-keygen and rsync are not installed on this machine"
    for command in ("apt-get install openssh-client rsync", "dnf install openssh-clients openssh rsync", "brew"):
        assert command in caught.value.hint


@pytest.mark.parametrize(
    ("installer", "command"),
    [("apt-get", "apt-get install rsync"), ("dnf", "dnf install rsync"), ("brew", "brew install rsync")],
)
def test_the_hint_is_for_this_machine(tmp_path: Path, installer: str, command: str) -> None:
    """With an installer in PATH the hint is its command alone, with sudo where it needs root."""
    with pytest.raises(MissingProgram) as caught:
        check_programs(make_programs(tmp_path, "ssh", "ssh-keygen", installer))
    assert caught.value.message == "rsync is not installed on this machine"
    assert caught.value.hint == ("sudo " if os.getuid() and installer != "brew" else "") + command


def test_a_complete_machine_passes(tmp_path: Path) -> None:
    """Nothing is asked for beyond ssh, ssh-keygen and rsync."""
    check_programs(make_programs(tmp_path, "ssh", "ssh-keygen", "rsync"))


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
