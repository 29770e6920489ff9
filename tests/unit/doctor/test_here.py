"""What doctor makes of this machine's surroundings, where no set-up of the lab can stand in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mtr.doctor.directories import check_umask, explain_runtime_dir
from mtr.doctor.remedies import render_install, render_sshd_line
from mtr.ssh.dangers import list_dangers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_runtime_directory_that_cannot_be_used(tmp_path: Path) -> None:
    """Why it is /tmp instead: too long, no directory, odd characters; where it is used there is nothing to say."""
    odd = tmp_path / "a b"
    odd.mkdir()
    for base, why in (("/x" * 50, "is too long for a socket"), ("/nowhere", "is no directory")):
        finding = explain_runtime_dir({"XDG_RUNTIME_DIR": base}, "/tmp/mtr-1")
        assert (finding.state, why in finding.found) == ("warn", True)
        assert finding.remedy == f"export XDG_RUNTIME_DIR=/run/user/{os.getuid()}"
    if len(str(odd)) < 60:
        assert "characters" in explain_runtime_dir({"XDG_RUNTIME_DIR": str(odd)}, "/tmp/mtr-1").found
    assert explain_runtime_dir({"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/mtr").state == "ok"
    assert explain_runtime_dir({}, "/tmp/mtr-1").state == "ok"


@pytest.mark.parametrize(
    ("mask", "state"), [(0o022, "ok"), (0o002, "ok"), (0o077, "ok"), (0o000, "warn"), (0o777, "fail")]
)
def test_umasks(mask: int, state: str) -> None:
    """Told, and left as it was."""
    before = os.umask(mask)
    try:
        assert check_umask().state == state
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_dangers_of_an_ssh_configuration() -> None:
    """Values as `ssh -G` prints them."""
    careless = {
        "stricthostkeychecking": ["false"],
        "userknownhostsfile": ["/dev/null"],
        "serveraliveinterval": ["0"],
        "connecttimeout": ["none"],
    }
    assert [line.partition(":")[0] for line in list_dangers(careless)] == [
        "StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "ServerAliveInterval 0", "ConnectTimeout none",
    ]  # fmt: skip
    assert list_dangers({"stricthostkeychecking": ["accept-new"], "connecttimeout": ["10"]}) == []


def test_commands_that_install() -> None:
    """By the names of each distribution; without sudo for root, and for Homebrew."""
    assert render_install("ssh", "dnf") == "sudo dnf install -y openssh-clients"
    assert render_install("ssh", "brew") == "brew install openssh"
    assert render_install("mv", "apt-get", is_root=True) == "apt-get install -y coreutils"
    assert render_install("rsync", "apk") == "sudo apk add rsync"
    assert render_install("find", "pacman") == "sudo pacman -S findutils"


def test_a_line_for_sshd() -> None:
    """One command to paste, whatever is quoted in it."""
    text = render_sshd_line("dev@a b", "AcceptEnv LC_MTR*", is_root=True)
    assert text.startswith("mtr -s 'dev@a b' --no-sync '")
    assert "tee -a /etc/ssh/sshd_config.d/mtr.conf" in text
