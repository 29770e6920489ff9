"""What a log shows of an argv: as typed, without what is secret by its look."""

from __future__ import annotations

import pytest

from mtr.log import MAX_WORD, render_argv, render_remote
from mtr.quoting import build_remote_command
from mtr.scripts import load_script


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["rsync", "-az", "a b/", "h:c"], "rsync -az 'a b/' h:c"),
        (["curl", "--token=abc", "https://me:pw@host/x"], "curl --token=*** https://***@host/x"),
        (["x", "--api-key", "abc", "-v"], "x --api-key *** -v"),
        (["x", "HF_TOKEN=abc", "password:abc"], "x HF_TOKEN=*** password:***"),
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization: Bearer ***"),
        (["ssh", "-o", "SetEnv=A=planted", "-oSetEnv B=planted"], "ssh -o SetEnv=*** -oSetEnv ***"),
        (["ssh", "-T", "--", "host", "powershell", "$env:A='planted'"], "ssh -T -- host powershell ***"),
        (["HF_TOKEN=abc x --password 'a b' --n 1"], "HF_TOKEN=*** x --password *** --n 1"),
        (["cp", "--no-target-directory", "tokenizer.json"], "cp --no-target-directory tokenizer.json"),
    ],
)  # fmt: skip
def test_an_argv_is_shown_without_secrets(argv: list[str], shown: str) -> None:
    """Flags and variables that are named like one, addresses, headers, SetEnv, what runs on a Windows server."""
    assert render_argv(argv) == shown


def test_a_script_shows_as_its_name() -> None:
    """And none of its arguments: a run's may be anything."""
    command = build_remote_command("mtr-script", load_script("remote/token.sh"), ["~/x", "planted"])
    assert render_remote(command) == "mtr-script remote/token.sh"
    shown = render_argv(["/usr/bin/setpriv", "--", "/usr/bin/ssh", "-S", "s", "-tt", "--", "host", command])
    assert shown == "/usr/bin/setpriv -- /usr/bin/ssh -S s -tt -- host 'mtr-script remote/token.sh'"
    assert render_remote("") == ""


def test_a_long_word_is_cut() -> None:
    """A line stays one that can be read."""
    assert len(render_argv(["echo", "x" * 10_000])) == len("echo ") + MAX_WORD
