"""The files of ssh's configuration, found as ssh finds them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtr.config.openssh import literal_hosts, read_ssh_config_files

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace


@pytest.fixture
def system(tmp_path: Path) -> str:
    """The path of a system file that is not there yet."""
    (tmp_path / "etc").mkdir()
    return str(tmp_path / "etc/ssh_config")


def names(place: Workplace, system: str) -> list[str]:
    return [Path(file.path).name for file in read_ssh_config_files(place.environ, system)]


def test_nothing_there_is_nothing_read(place: Workplace, system: str):
    """Without any file there is none."""
    assert read_ssh_config_files(place.environ, system) == ()


def test_includes_in_every_spelling(place: Workplace, system: str):
    """Relative, ~, globs, quotes, =, several words, variables, comments: each included file is read once."""
    ssh = place.ssh_config.parent
    place.write(
        place.ssh_config,
        """\
        # Include comment
        Include one "t wo"
        include=~/.ssh/three # Include four
          INCLUDE conf.d/*.conf
        Include ${D}/five 'si x' missing
        IncludeNot seven
        """,
    )
    for name in ("one", "t wo", "three", "four", "conf.d/b.conf", "conf.d/a.conf", "conf.d/c", "five", "si x", "seven"):
        place.write(ssh / name, "Include one\n")
    place.environ["D"] = str(ssh)
    assert names(place, system) == ["config", "one", "t wo", "three", "a.conf", "b.conf", "five", "si x"]


def test_system_file_includes_beside_itself(place: Workplace, system: str):
    """A relative include of the system's file lies beside it, not in ~/.ssh."""
    place.write(Path(system), "Include x\n")
    place.write(Path(system).parent / "x", "")
    place.write(place.ssh_config.parent / "x", "wrong")
    assert [file.data for file in read_ssh_config_files(place.environ, system)] == [b"Include x\n", b""]


def test_includes_end(place: Workplace, system: str):
    """A file that includes itself is read once, and a chain is followed as deep as ssh does."""
    place.write(place.ssh_config, "Include config\nInclude f0\n")
    for i in range(30):
        place.write(place.ssh_config.parent / f"f{i}", f"Include f{i + 1}\n")
    assert len(names(place, system)) == 17


def test_odd_files_are_left_out(place: Workplace, system: str):
    """A directory, a FIFO and a dangling link are left out, and nothing hangs."""
    place.write(place.ssh_config, 'Include d/*\nInclude "a\x00b"\nInclude ~nobody/x\n')
    (place.ssh_config.parent / "d/dir").mkdir(parents=True)
    os.mkfifo(place.ssh_config.parent / "d/fifo")
    (place.ssh_config.parent / "d/link").symlink_to("nowhere")
    assert names(place, system) == ["config"]


def test_literal_hosts(place: Workplace, system: str):
    """Names on Host lines that are no patterns, each once, in order; quotes and = as ssh reads them."""
    place.write(
        place.ssh_config,
        """\
        Host a b *.c ?d !e "f g"
        hostname h
        HOST = i   # j
        Match host k
        Host a
        """,
    )
    assert literal_hosts(read_ssh_config_files(place.environ, system)) == ("a", "b", "f g", "i")


def test_an_edit_shows_in_data_and_stat(place: Workplace, system: str):
    """What changes in a file, changes what is read and its stat."""
    place.write(place.ssh_config, "Host a\n")
    (before,) = read_ssh_config_files(place.environ, system)
    place.write(place.ssh_config, "Host bb\n")
    (after,) = read_ssh_config_files(place.environ, system)
    assert before.data != after.data
    assert before.stat != after.stat


def test_any_bytes_are_read(place: Workplace, system: str):
    """Bytes that are no UTF-8 are kept as they are."""
    place.write(place.ssh_config, "")
    place.ssh_config.write_bytes(b'Host a\xff b\n\\ "unfinished\nHost "x\n')
    (file,) = read_ssh_config_files(place.environ, system)
    assert file.data.startswith(b"Host a\xff")
    assert "b" in literal_hosts([file])
