"""Which shell asks, under which name mtr is typed, and which names are a shell's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mtr.completion.start import _look_by_proc, _look_by_ps, detect_shell, find_program, is_command, is_plain
from mtr.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_ps_says_what_proc_says() -> None:
    """macOS has no /proc."""
    parent, words, program = _look_by_proc(os.getpid())
    assert _look_by_ps(os.getpid())[0] == parent == os.getppid()
    assert _look_by_ps(os.getpid())[1][0] == words[0]
    assert program.startswith("python")


@pytest.mark.parametrize(
    ("around", "found"),
    [
        ("bash -c '{}; :'", "bash"),
        ("zsh -c '{}; :'", "zsh"),
        ("bash -c \"sh -c '{}; :'; :\"", "bash"),
        ("zsh -c \"dash -c '{}; :'; :\"", "zsh"),
        ("zsh -c \"env A=b '{}'; :\"", "zsh"),
    ],
)
def test_the_nearest_shell_counts(tmp_path: Path, around: str, found: str) -> None:
    """A sh -c in between does not, nor does another program."""
    script = tmp_path / "ask"
    script.write_text(f"#!{sys.executable}\nimport os, sys\nsys.path[:0] = {sys.path!r}\n")
    with script.open("a") as file:
        file.write("from mtr.completion.start import detect_shell\nprint(detect_shell({'SHELL': '/bin/ksh'}))\n")
    script.chmod(0o755)
    done = subprocess.run(["sh", "-c", around.format(script)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{found}\n"


def test_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process above is a shell, $SHELL counts; one that mtr has no file for is an error."""
    monkeypatch.setattr("mtr.completion.start.MAX_ANCESTORS", 0)
    assert detect_shell({"SHELL": "/usr/bin/fish"}) == "fish"
    for environ in ({"SHELL": "/bin/ksh"}, {}):
        with pytest.raises(UsageError, match="which shell"):
            detect_shell(environ)


def test_a_plain_name_stands_for_the_program_on_the_path(tmp_path: Path) -> None:
    """Where $PATH leads to another one, its whole path does."""
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mtr").touch(0o755)
    ours = str(tmp_path / "ours" / "mtr")
    assert find_program(ours, {"PATH": f"{tmp_path}/ours"}) == (["mtr"], ["mtr"])
    assert find_program(ours, {"PATH": f"{tmp_path}/theirs:{tmp_path}/ours"}) == ([ours], [ours])
    (tmp_path / "ours" / "mtremote").symlink_to("mtr")
    found = find_program(f"{tmp_path}/ours/mtremote", {"PATH": f"{tmp_path}/theirs:{tmp_path}/ours"})
    assert found == (["mtremote"], ["mtremote"])
    assert find_program("/x/mtr/__main__.py", {})[0] == [sys.executable, "-m", "mtr"]


def test_names_without_meaning_to_a_shell() -> None:
    """Letters, digits and _ . @ + -; a command begins with a letter or _ and is no keyword."""
    assert [name for name in ("gpu-01", "a.b", "u@h", "", "a b", "a;b", "é", "a$b", "a\n") if is_plain(name)] == [
        "gpu-01", "a.b", "u@h",
    ]  # fmt: skip
    assert [name for name in ("m", "_x", "if", "end", "-x", "1a", ".a", "do") if is_command(name)] == ["m", "_x"]
