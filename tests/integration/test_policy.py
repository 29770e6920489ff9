"""A policy on a real server: the words that were judged are what the program gets, and no shell reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import mtr
from mtr.config.load import load_config, user_config_file
from mtr.config.project import find_project
from mtr.policy import ALLOWED, build_policy, resolve_remote

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

COMMANDS = [
    "printf '%s\\0' a 'b c' \"d\" e\\ f '' --",
    "printf '%s\\0' ';' '$(touch evil)' '`touch evil`' '>evil' '*' '~' \\$HOME '#' '!!'",
    "printf '%s\\0' 'a\nb' 'é ｒｍ' '\xa0' -n -- \"it's\" 'say \"hi\"' a\\\\b",
    "printf '%s\\0' HEAD~1 HEAD^ a#b A=1 %1 @x '{a,b}' '[a]'",
]


@pytest.mark.parametrize("pre_cmd", ["", "true"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_executes_what_was_judged(
    home: Home, project: Path, monkeypatch: pytest.MonkeyPatch, command: str, pre_cmd: str
) -> None:
    """With and without a pre_cmd, which a shell runs before."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    if pre_cmd:
        home.configure(project, pre_cmd=pre_cmd)
    write_own(home, "policy: {allow: [\"printf '%s\\\\0' *\", pwd]}\n")
    home.trust(project)
    found = find_project(project, home.environ)
    policy = build_policy(load_config(found, home.environ))
    verdict = policy.judge("lab", command)
    assert (verdict.outcome, verdict.text) == (ALLOWED, None)
    assert verdict.argv is not None
    lab = mtr.connect(directory=str(project))
    done = lab.run(list(verdict.argv))
    assert done.stdout.decode().split("\0")[:-1] == list(verdict.argv[2:])
    alone = policy.judge("lab", " pwd ").argv
    assert alone == ("pwd",)
    remote_dir = lab.run(list(alone)).stdout.decode().strip()
    assert resolve_remote("a.txt", remote_dir, policy) == f"{remote_dir}/a.txt"
    assert lab.run(["ls", "evil"]).status != 0


def write_own(home: Home, text: str) -> None:
    """Write the user's own configuration."""
    path = user_config_file(home.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def test_a_run_asks_for_trust_where_the_users_policy_limits_agents(home: Home, project: Path) -> None:
    """What a project's file makes of a command counts once it is trusted; the error names the value."""
    write_own(home, "policy: {allow: [nvidia-smi]}\n")
    home.configure(project, pre_cmd="touch evil", is_trusted=False)
    done = home.run_mtr(["--no-sync", "true"], project)
    assert done.returncode == 125
    assert b"servers.lab.pre_cmd: touch evil  (decides what a command comes to" in done.stderr
    assert home.run_mtr(["trust", "--yes"], project).returncode == 0, home.run_mtr(["trust", "--help"], project)
    assert home.run_mtr(["--no-sync", "true"], project).returncode == 0
