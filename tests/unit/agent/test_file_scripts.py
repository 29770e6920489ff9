"""shell/remote/read_file.sh and write_file.sh: pieces of a file, and files made whole or not at all, in every shell."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    from pathlib import Path

shells = pytest.mark.parametrize("shell", POSIX_SHELLS)
NAMES = ["a", "new dir/-x", "é $x'\"\n.txt", "*", "-r"]


def run(shell: str, home: Path, script: str, *words: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run the script for the project ~/proj; return its status and what it prints."""
    text = load_script("remote/within.sh") + load_script(f"remote/{script}.sh")
    # Without "within", but where that is the second word.
    place = words if words[1:2] == ("within",) else (words[0], "", *words[1:])
    argv = [*POSIX_SHELLS[shell], "-c", text, "mtr", "~/proj", *place]
    done = run_shell(argv, home, stdin=stdin)
    return done.returncode, done.stdout


@shells
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_made_and_read_whatever_its_name_is(tmp_path: Path, shell: str, name: str) -> None:
    """Byte for byte, with its mode, and with nothing beside it; from the project, from home, and by its full path."""
    data = bytes(range(256)) * 9
    for number, path in enumerate((name, f"~/proj/{name}", f"{tmp_path}/proj/{name}")):
        status, said = run(shell, tmp_path, "write_file", path, str(len(data)), "640", "r1", stdin=data)
        assert (status, said.strip()) == (0, b"mtr-wrote replaced" if number else b"mtr-wrote new")
        status, said = run(shell, tmp_path, "read_file", path, "10", "20")
        assert (status, said) == (0, b"\nmtr-file %d 640\n" % len(data) + data[10:30])
    made = tmp_path / "proj" / name
    assert (made.read_bytes(), [*made.parent.iterdir()]) == (data, [made])


@shells
def test_what_arrives_in_part_changes_nothing(tmp_path: Path, shell: str) -> None:
    """And leaves nothing."""
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "a").write_text("old")
    assert run(shell, tmp_path, "write_file", "a", "9", "", "r1", stdin=b"new")[0] == 7
    assert [(path.name, path.read_text()) for path in (tmp_path / "proj").iterdir()] == [("a", "old")]


@shells
def test_modes_and_links_stay(tmp_path: Path, shell: str) -> None:
    """A file keeps its mode, a new one has what the umask leaves; what a link names is written, not the link."""
    folder = tmp_path / "proj"
    folder.mkdir()
    (folder / "a").write_text("old")
    (folder / "a").chmod(0o751)
    (folder / "link").symlink_to("a")
    assert run(shell, tmp_path, "write_file", "link", "3", "", "r1", stdin=b"new")[0] == 0
    assert ((folder / "a").read_text(), os.readlink(folder / "link")) == ("new", "a")
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o751
    assert run(shell, tmp_path, "write_file", "b", "0", "", "r1")[0] == 0
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((folder / "b").stat().st_mode) == 0o666 & ~umask


@shells
def test_what_is_no_file_is_refused(tmp_path: Path, shell: str) -> None:
    """A directory, a FIFO, nothing at all; neither waits."""
    folder = tmp_path / "proj"
    (folder / "dir").mkdir(parents=True)
    os.mkfifo(folder / "fifo")
    assert [run(shell, tmp_path, "read_file", name, "0", "9")[0] for name in ("none", "dir", "fifo")] == [3, 4, 5]
    written = [run(shell, tmp_path, "write_file", name, "0", "", "r1")[0] for name in ("dir", "dir/", "fifo")]
    assert written == [4, 4, 5]
    assert run(shell, tmp_path, "read_file", "dir/../dir/.", "0", "9")[0] == 4


LEADS_OUT = {
    "out": "../secret", "absolute": "{home}/secret", "folder/secret": None, "chain": "chain2", "later": "../new",
    "loops/../../secret": None, "~/secret": None, "missing": "none/../../../secret",
    "hooks/post-merge": None, "config": ".mtr/config", ".GIT/config": None, "sub/.git/config": None,
}  # fmt: skip


@shells
def test_with_a_policy_no_link_leads_out(tmp_path: Path, shell: str) -> None:
    """Relative, absolute, over several links, through a directory, to what is not there yet, and into .git and .mtr."""
    folder = tmp_path / "proj"
    for name in ("loops", ".git/hooks", "sub/.git", ".mtr", ".GIT"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "secret").write_text("s")
    (folder / ".mtr" / "config").write_text("c")
    links = {name: target for name, target in LEADS_OUT.items() if target}
    for name, target in {**links, "folder": "..", "chain2": "folder/secret", "hooks": ".git/hooks"}.items():
        (folder / name).symlink_to(target.format(home=tmp_path))
    for name in LEADS_OUT:
        assert run(shell, tmp_path, "read_file", name, "within", "0", "9") == (8, b""), name
        status, said = run(shell, tmp_path, "write_file", name, "within", "1", "", "r1", stdin=b"x")
        assert (status, said.strip()) == (8, b""), name
        assert run(shell, tmp_path, "resolve", name, "within")[0] == 8, name
    assert (tmp_path / "secret").read_text() == "s"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["proj", "secret"]
    assert [*(folder / ".git" / "hooks").iterdir()] == []


@shells
def test_with_a_policy_links_inside_are_followed(tmp_path: Path, shell: str) -> None:
    """Also where the project's directory is itself reached by a link; loops end, and directories are told as such."""
    folder = tmp_path / "disk" / "real\n"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "proj").symlink_to(folder)
    for name, target in (("link", "there"), ("there", f"{tmp_path}/proj/sub/a"), ("loop", "loop"), ("dir", "sub/")):
        (folder / name).symlink_to(target)
    for name in ("link", "dir/a", "sub/a", "~/proj/link", f"{tmp_path}/proj/dir/a", "dir/./a"):
        assert run(shell, tmp_path, "write_file", name, "within", "3", "640", "r1", stdin=b"new")[0] == 0
        assert run(shell, tmp_path, "read_file", name, "within", "1", "9") == (0, b"\nmtr-file 3 640\new")
        assert run(shell, tmp_path, "resolve", name, "within")[0] == 0
    assert run(shell, tmp_path, "write_file", "new/deep/-x", "within", "1", "", "r1", stdin=b"x")[0] == 0
    assert (folder / "new" / "deep" / "-x").read_text() == "x"
    read = [run(shell, tmp_path, "read_file", name, "within", "0", "9")[0] for name in ("loop", "none", "dir", ".")]
    assert read == [3, 3, 4, 4]
    assert [run(shell, tmp_path, "resolve", name, "within")[0] for name in ("dir/", ".", "none")] == [0, 0, 3]
    assert run(shell, tmp_path, "write_file", "dir", "within", "0", "", "r1")[0] == 4
