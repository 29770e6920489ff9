"""shell/remote/try_dir.sh: whether a directory can be made and written, with nothing left behind, in every shell."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    from pathlib import Path

shells = pytest.mark.parametrize("shell", POSIX_SHELLS)


def try_dir(shell: str, home: Path, directory: str) -> tuple[int, str]:
    """Run the script; return its status and what it says of the directory."""
    argv = [*POSIX_SHELLS[shell], "-c", load_script("remote/try_dir.sh"), "mtr", directory, "run1"]
    done = run_shell(argv, home)
    return done.returncode, done.stdout.decode().strip()


@shells
@pytest.mark.parametrize("name", ["a", "a/b c/d'e", "-x/-y", "é/$x", "*"])
def test_a_new_directory_is_made_and_goes_again(tmp_path: Path, shell: str, name: str):
    """Whatever its name is and however deep it lies, below home and by its full path."""
    for directory in (f"~/{name}", f"{tmp_path}/{name}"):
        assert try_dir(shell, tmp_path, directory) == (0, "mtr-dir new")
        assert list(tmp_path.iterdir()) == []


@shells
def test_what_was_there_stays(tmp_path: Path, shell: str):
    """An empty directory, one with files, one that mtr has used; only what was missing goes again."""
    (tmp_path / "there").mkdir()
    assert try_dir(shell, tmp_path, "~/there") == (0, "mtr-dir empty")
    assert try_dir(shell, tmp_path, "~/there/more") == (0, "mtr-dir new")
    (tmp_path / "there/.hidden").write_text("x")
    assert try_dir(shell, tmp_path, "~/there") == (0, "mtr-dir used")
    (tmp_path / "there/.mtr").mkdir()
    (tmp_path / "there/.mtr/t.1").write_text("")
    assert try_dir(shell, tmp_path, "~/there") == (0, "mtr-dir known")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [".hidden", ".mtr"]


@shells
def test_a_file_on_the_way(tmp_path: Path, shell: str):
    """It cannot be made, and what could be made of the way goes again."""
    (tmp_path / "file").write_text("x")
    for directory in ("~/file", "~/file/a/b"):
        assert try_dir(shell, tmp_path, directory)[0] == 1
    (tmp_path / "loop").symlink_to("nowhere")
    assert try_dir(shell, tmp_path, "~/loop/x")[0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "loop"]


@shells
def test_a_directory_that_cannot_be_written(tmp_path: Path, shell: str):
    """Where nobody may write, root included: /proc takes no file."""
    assert try_dir(shell, tmp_path, "/proc/self/x")[0] == 1
    assert try_dir(shell, tmp_path, "/proc/self")[0] == 2
    assert os.listdir(tmp_path) == []
