"""The file for ssh's ``Include``, and what mtr reads of the user's own file: never more than its own is taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.config.openssh import drop_own_include, find_own_include, list_dependencies, own_file, read_ssh_config_files
from mtr.ssh.included import parse_sections, render_file, render_include
from mtr.ssh.options import parse_query

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home with a file of mtr's own, and another beside it."""
    folder = tmp_path / ".config" / "mtr"
    folder.mkdir(parents=True)
    (folder / "ssh_config").write_text("Host gpu\n  HostName 10.0.0.7\n")
    (folder / "ssh_other").write_text("Host other\n  HostName 10.0.0.8\n")
    (tmp_path / ".ssh").mkdir()
    return {"HOME": str(tmp_path)}


def write(environ: dict[str, str], text: str) -> bytes:
    """Write ~/.ssh/config and return it as bytes."""
    with open(f"{environ['HOME']}/.ssh/config", "w", encoding="utf-8") as file:
        file.write(text)
    return text.encode()


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("Include {own}", ""),
        ('include "{own}"', ""),
        ("Include ~/.config/mtr/ssh_config", ""),
        ("Include=~/.config/mtr/../mtr/ssh_config # mtr", ""),
        ("Include ../.config/mtr/ssh_config", ""),
        ("Include a {own} b", 'Include "a" "b"'),
        ("Include ~/.config/mtr/ssh_*", 'Include "{home}/.config/mtr/ssh_other"'),
    ],
)
def test_mtr_reads_the_users_file_without_its_own(environ: dict[str, str], line: str, rest: str) -> None:
    """However it is written; every other line stays in its place, so that ssh's complaints name the right one."""
    names = {"own": own_file(environ), "home": environ["HOME"]}
    data = write(environ, f"# first\n{line}\nHost a\n  User b\n".format(**names))
    assert find_own_include(data, environ) == "top"
    assert drop_own_include(data, environ) == f"# first\n{rest}\nHost a\n  User b\n".format(**names).encode()
    assert own_file(environ) not in [file.path for file in read_ssh_config_files(environ, "/nowhere")]
    assert own_file(environ) not in list_dependencies(environ, "/nowhere")[0]


def test_other_includes_stay_byte_for_byte(environ: dict[str, str]) -> None:
    """What is not mtr's is left as it is."""
    data = write(environ, "Include  config.d/*\r\n\tInclude ~/x  # y\nHost a\n")
    assert (find_own_include(data, environ), drop_own_include(data, environ)) == ("", data)


def test_an_include_inside_a_block_does_not_count(environ: dict[str, str]) -> None:
    """It would hold for the hosts of that block alone."""
    line = render_include(environ)
    assert find_own_include(write(environ, f"Host a\n  User b\n{line}\n"), environ) == "block"
    assert find_own_include(write(environ, f"Host *\n  User b\n{line}\n"), environ) == "top"


def test_sections_are_read_as_they_were_written() -> None:
    """Whatever the path of a project; what somebody has put in front is not kept."""
    sections = {
        root: f'# mtr: "{shown}" 0123\n\nHost a\n  User b\n'
        for root, shown in (("", ""), ("/a b", "/a b"), ("/x\ny\u2028z", "/x\\ny\\u2028z"))
    }
    text = render_file(sections)
    assert parse_sections(text) == sections
    assert parse_sections("Host x\n" + text) == sections
    assert parse_sections("# mtr: nonsense\nHost x\n") == {}


def test_a_value_with_a_line_separator_is_one_value() -> None:
    """ssh ends lines with newlines alone: what comes behind another separator is no option of its own."""
    text = "hostname a\nsetenv A=\u2028hostname evil\x85port 1\nport 22\n"
    assert parse_query(text) == {"hostname": ["a"], "setenv": ["A=\u2028hostname evil\x85port 1"], "port": ["22"]}
