"""doctor.sh under each POSIX shell: what it says of this machine, and that nothing of it stays."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mtr.doctor.facts import ServerFacts, parse_facts
from mtr.quoting import build_remote_command
from mtr.scripts import load_script
from tests.unit.shells import LOGIN_SHELLS, POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    from pathlib import Path


def ask(shell: list[str], home: Path, directory: str) -> ServerFacts:
    """Run the script with ``shell`` in the place of /bin/sh."""
    text = f"set -- '{directory}' 0123abcd\n{load_script('remote/doctor.sh')}"
    done = run_shell([*shell, "-c", text], home, extra={"LC_MTR_PROBE": "1", "SHELL": "/bin/x"})
    assert done.stderr == b""
    facts = parse_facts(done.stdout.decode())
    assert facts is not None
    return facts


@pytest.mark.parametrize("name", POSIX_SHELLS)
def test_it_speaks_every_posix_shell(name: str, tmp_path: Path) -> None:
    """The same answers from each."""
    facts = ask(POSIX_SHELLS[name], tmp_path, "~/not/there")
    assert facts.clock_s is not None
    assert abs(facts.clock_s - time.time()) < 60
    assert (facts.payload, facts.shell, facts.missing) == ("LC_MTR", "/bin/x", ())
    assert (facts.nearest, facts.is_there, facts.is_written) == (str(tmp_path), False, True)
    assert facts.is_root == (os.getuid() == 0)
    assert facts.free_bytes
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LOGIN_SHELLS)
def test_it_passes_every_login_shell(name: str, tmp_path: Path) -> None:
    """Encoded as it travels."""
    command = build_remote_command("mtr-script", load_script("remote/doctor.sh"), ("~", "0123abcd"))
    done = run_shell([*LOGIN_SHELLS[name], "-c", command], tmp_path)
    facts = parse_facts(done.stdout.decode())
    assert facts is not None
    assert (facts.nearest, facts.is_there, facts.is_written) == (str(tmp_path), True, True)


@pytest.mark.parametrize("name", POSIX_SHELLS)
def test_odd_directories(name: str, tmp_path: Path) -> None:
    """Blanks, a leading dash, stars, a dangling link, a file in the way, / itself."""
    shell = POSIX_SHELLS[name]
    odd = tmp_path / "-a * b$HOME"
    odd.mkdir()
    assert ask(shell, tmp_path, str(odd)).nearest == str(odd)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for blocked in ("link", "file/below"):
        facts = ask(shell, tmp_path, f"{tmp_path}/{blocked}")
        assert (facts.is_written, "is not a directory" in facts.refused) == (False, True)
    assert ask(shell, tmp_path, "/proc/nothing").refused
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["-a * b$HOME", "file", "link"]
