"""The whole program among odd things: arguments, variables, files of configuration, servers that print anything.

Whatever they are, it runs or says what is wrong: no traceback, no waiting, and nothing of the project is lost there.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.scale import pick
from tests.fuzz.test_state_files import FAULTS, clear
from tests.lab.processes import end_tree, is_alive, processes_mentioning, wait_until
from tests.lab.trees import read_tree

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home

RUN_S = 60.0


def is_clear(done: subprocess.CompletedProcess[bytes], *, among: bytes = b"") -> bool:
    """Tell whether a run went well; else it must have said why, beginning as mtr does, behind what is ``among``."""
    words = done.stderr
    assert b"Traceback" not in words, words.decode(errors="replace")
    if done.returncode in {2, 125}:
        assert words.startswith((b"mtr: ", b"Usage: ")) or b"\nmtr: " in words or among in words, words
        return False
    assert done.returncode >= 0, words
    return done.returncode == 0


LONG = "x" * 100_000

ARGUMENTS: list[list[str | bytes]] = [
    [""],
    ["", ""],
    [b"\xff\xfe"],
    ["-"],
    ["--"],
    ["run"],
    ["run", "--"],
    ["-s"],
    ["-s", ""],
    ["-s", b"\xff@\xff.x", "true"],
    ["-s", LONG, "true"],
    ["-s", "@" * 100_000, "true"],
    ["-s", "a@[::1", "true"],
    ["-s", "a@b:99999", "true"],
    ["-s", "-oProxyCommand=touch x", "true"],
    ["-s", "a@b\nc", "true"],
    ["-C", "", "true"],
    ["-C", "/dev/null", "true"],
    ["-C", LONG, "true"],
    ["-C", b"\xff", "true"],
    ["-e", "=", "true"],
    ["-e", "A", "true"],
    ["-e", b"\xff=1", "true"],
    ["-e", b"A=\xff\n'\\", "true"],
    ["--no-syn", "true"],
    ["--serv", "lab", "true"],
    ["--sync=1", "true"],
    ["-qv", "true"],
    ["-" + LONG],
    ["true", LONG],
    ["sync", "--x"],
    ["sync", LONG],
    ["why"],
    ["why", b"\xff", "", "/", "..", LONG],
    ["why", "a\nb"],
    ["get"],
    ["get", ""],
    ["get", b"\xff"],
    ["get", LONG],
    ["get", "a.txt", "/dev/null/x"],
    ["undo", "x"],
    ["up", ""],
    ["up", b"\xff"],
    ["down", "nobody"],
    ["servers", "--json", "x"],
    ["init"],
    ["job", "x"],
    ["--version", "x"],
    ["--dry-run", b"\xff\0".replace(b"\0", b""), LONG],
]


def test_any_arguments_run_or_are_refused(home: Home, project: Path) -> None:
    """Bytes, nothing, a book, options of every kind and abbreviations of them."""
    for arguments in pick(ARGUMENTS, 16):
        is_clear(home.run_mtr(arguments, project, timeout_s=RUN_S))
    assert not (project / "x").exists()
    shutil.rmtree(project / "downloads", ignore_errors=True)
    assert home.run_mtr(["true"], project).returncode == 0
    assert read_tree(project) == read_tree(home.remote(project))


ODD = ("", "relative/path", "/nonexistent/x", "/dev/null", "/", "/proc/1", b"/tmp/\xff\xfe", "a\nb", "~", "x" * 5000)
VARIABLES = (
    "HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "MTR_SERVER",
    "MTR_PASSWORD_HELPER", "MTR_ASKPASS", "MTR_ASKPASS_PID", "TERM", "LANG", "LC_ALL", "SHELL", "PATH", "USER",
    "TMPDIR",
    "SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "KRB5CCNAME", "GIT_DIR", "GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL",
    "GIT_INDEX_FILE", "COLUMNS", "NO_COLOR", "XMODIFIERS", "LC_MTR0",
)  # fmt: skip


@settings(settings.get_profile("fuzz-programs"))
@given(odd=st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(ODD), min_size=1, max_size=3))
def test_any_variables_run_or_are_refused(home: Home, project: Path, odd: dict[str, str | bytes]) -> None:
    """Nothing in the environment makes mtr fall over, and a run that goes well has brought everything."""
    names = [name for name, value in odd.items() if value in {"/", "relative/path", "~", "a\nb"}]
    # Where state would be kept below such a place it would be left there by the test.
    kept = {"HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"}
    environ = {name: value for name, value in odd.items() if not (name in names and name in kept)}
    done = home.run_mtr(["true"], project, environ=environ, timeout_s=RUN_S)  # type: ignore[arg-type]
    if is_clear(done):
        assert read_tree(project) == read_tree(home.remote(project))


@pytest.mark.parametrize("place", ["user", "project", "local", "ssh"])
def test_anything_in_place_of_a_configuration_is_read_or_named(home: Home, project: Path, place: str) -> None:
    """Cut, noise, a directory, a FIFO, links to nothing and to no end, gigabytes: never a traceback, never a wait."""
    paths = {
        "user": home.home / ".config" / "mtr" / "config.yaml",
        "project": project / ".mtr" / "config.yaml",
        "local": project / ".mtr" / "local.yaml",
        "ssh": home.home / ".ssh" / "config",
    }
    path = paths[place]
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    for name in pick([*FAULTS], 3, len(place)):
        if place == "ssh" and name in {"fifo", "device", "huge", "gone", "empty", "cut", "flipped"}:
            continue  # ssh itself waits for those, or leaves the lab
        clear(path)
        path.write_bytes(before)
        path.chmod(0o600)
        FAULTS[name](path)
        is_clear(home.run_mtr(["--no-sync", "true"], project, timeout_s=RUN_S))
    clear(path)
    path.write_bytes(before)
    path.chmod(0o600)
    assert home.run_mtr(["true"], project).returncode == 0


NOISE = {
    "lines": "echo hello; echo world >&2",
    "no end of line": "printf 'no end'; printf 'none' >&2",
    "bytes": r"printf '\000\001\377\376\033]0;x\007\n'",
    "words of mtr's": "printf 'mtr-token x/../y\nmtr-done\nmtr-trash 5\nmtr-seeded x\n'",
    "answers of mtr's": "printf 'mtr-probe system cmd\nmtr-probe stat z\nmtr-probe archive none\n'",
    "a list of mtr's": "printf 'mtr-token abc\nmtr-list\nxxx\n'",
    "a great deal": "head -c 3000000 /dev/zero",
    "colours": r"printf '\033[31mred\033[0m\r'",
    "an error": "nosuchcommand; false",
}


@pytest.fixture
def rc_file(home: Home, server_rc: Path) -> Iterator[Path]:
    """The rc file of the lab's user, there for one test; every master of the home is ended."""
    yield server_rc
    server_rc.unlink(missing_ok=True)
    for pid in filter(is_alive, home.masters()):
        end_tree(pid)


@pytest.fixture
def server_rc(home: Home) -> Path:
    """Where it is."""
    return home.server.home_of("bash") / ".bashrc"


@pytest.mark.parametrize(("name", "engine"), pick([(name, engine) for engine in ("auto", "sftp") for name in NOISE], 6))
def test_what_rc_files_print_changes_nothing(home: Home, project: Path, rc_file: Path, name: str, engine: str) -> None:
    """Before the first contact and in the middle: the tree is brought, or the reason is said, and nothing is lost."""
    home.configure(project, sync=engine)
    for _ in range(2):
        rc_file.write_text(NOISE[name] + "\n")
        (project / "a.txt").write_text(os.urandom(8).hex())
        done = home.run_mtr(["true"], project, timeout_s=RUN_S)
        if is_clear(done, among=b"try: "):
            assert read_tree(project) == read_tree(home.remote(project))
        rc_file.write_text("")
        assert home.run_mtr(["true"], project, timeout_s=RUN_S).returncode == 0
        assert read_tree(project) == read_tree(home.remote(project))


@pytest.mark.parametrize("noise", pick(["exec cat /dev/zero", "exec yes", "exec yes >&2"], 1))
def test_an_rc_file_without_end_is_named(home: Home, project: Path, rc_file: Path, noise: str) -> None:
    """mtr neither waits for ever nor gathers it all, before the first contact and after it, and nothing is left."""
    rc_file.write_text(noise + "\n")
    done = home.run_mtr(["true"], project, timeout_s=RUN_S)
    assert done.returncode == 125
    assert not is_clear(done)
    assert b"try: " in done.stderr
    rc_file.write_text("")
    assert home.run_mtr(["true"], project, timeout_s=RUN_S).returncode == 0
    rc_file.write_text(noise + "\n")
    done = home.run_mtr(["sync", "--full"], project, timeout_s=RUN_S)
    assert done.returncode == 125
    assert not is_clear(done)
    assert b"try: " in done.stderr
    rc_file.write_text("")
    wait_until(
        lambda: not any("/dev/zero" in line for line in processes_mentioning([home.dir.name]).values()), "its end"
    )
    assert home.run_mtr(["true"], project, timeout_s=RUN_S).returncode == 0
    assert read_tree(project) == read_tree(home.remote(project))
