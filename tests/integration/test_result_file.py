"""``--result FILE``: how a run went, for programs; there is one after every end but a kill, and never an old one."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.kills import list_outliving
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

KEYS = [
    "mtr", "phase", "by", "exit", "signal", "code", "message", "hint", "server", "run", "job", "remote_dir", "files",
    "bytes", "deleted", "ms", "phases",
]  # fmt: skip


@pytest.fixture
def result(home: Home) -> Path:
    """Where the result of a run is to stand; an old one stands there."""
    path = home.dir / "result.json"
    path.write_text('{"exit": 0, "old": true}')
    return path


def tell(home: Home, project: Path, result: Path, *args: str) -> dict[str, Any]:
    """Run mtr and return what FILE says; its exit status is the one that it says."""
    done = home.run_mtr(["--result", str(result), *args], project)
    found: dict[str, Any] = json.loads(result.read_text())
    assert list(found) == KEYS
    assert found["exit"] == done.returncode, done.stderr
    assert "old" not in found
    assert [path.name for path in result.parent.glob("result.json*")] == ["result.json"]
    return found


def test_a_run_that_went_well(home: Home, project: Path, result: Path) -> None:
    """Its server, its run, what was brought, and how long each phase took."""
    found = tell(home, project, result, "true")
    assert (found["phase"], found["by"], found["exit"], found["code"]) == ("done", "command", 0, None)
    assert (found["server"], found["files"], found["deleted"]) == ("lab", 2, 0)
    assert found["bytes"] > 0
    assert len(found["run"]) == 16
    assert found["remote_dir"].startswith("~/")
    assert list(found["phases"]) == ["config", "connect", "sync", "run"]
    assert abs(sum(found["phases"].values()) - found["ms"]) < 10
    again = tell(home, project, result, "true")
    assert (again["files"], list(again["phases"])) == (0, ["config", "sync", "run"])


def test_it_settles_whose_125_it_was(home: Home, project: Path, result: Path) -> None:
    """The command's own, or mtr's."""
    assert tell(home, project, result, "sh", "-c", "exit 125")["by"] == "command"
    home.configure(project, pre_cmd="false")
    found = tell(home, project, result, "true")
    assert (found["exit"], found["by"], found["phase"], found["code"]) == (125, "mtr", "start", "gate")
    assert found["message"] == "lab: pre_cmd ended with status 1; the command did not start"


def test_a_signal_is_named(home: Home, project: Path, result: Path) -> None:
    """The command's own death."""
    found = tell(home, project, result, "sh", "-c", "kill -9 $$")
    assert (found["exit"], found["by"], found["signal"], found["phase"]) == (137, "command", "SIGKILL", "done")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-s", "nope", "true"], (125, "config", "server-not-found")),
        (["-s", "127.0.0.1:1", "true"], (125, "connect", "refused")),
        (["--to", "x", "true"], (2, "config", "usage")),
        (["--no-such-option", "true"], (2, "config", "usage")),
        (["sync", "--no-such-option"], (2, "config", "usage")),
    ],
)
def test_failures_of_mtr(
    home: Home, project: Path, result: Path, args: list[str], expected: tuple[object, ...]
) -> None:
    """Phase and stable code; also where the command line itself is wrong."""
    found = tell(home, project, result, *args)
    assert (found["exit"], found["phase"], found["code"]) == expected
    assert found["by"] == "mtr"


def test_a_sync_that_fails(home: Home, project: Path, result: Path) -> None:
    """The directory there cannot be written."""
    assert home.run_mtr(["true"], project).returncode == 0
    (project / "big").write_bytes(os.urandom(3_000_000))
    there = home.remote(project)
    (there / ".mtr").chmod(0o500)
    if os.access(there / ".mtr", os.W_OK):  # root writes anywhere
        (there / ".mtr").chmod(0o700)
        home.configure(project, remote_dir="/proc/nowhere")
    found = tell(home, project, result, "true")
    there.joinpath(".mtr").chmod(0o700)
    assert (found["by"], found["exit"]) == ("mtr", 125)
    assert found["phase"] in ("sync", "start")


def test_other_verbs_write_one_too(home: Home, project: Path, result: Path) -> None:
    """In front of the verb."""
    found = tell(home, project, result, "sync")
    assert (found["phase"], found["by"], found["files"]) == ("done", "mtr", 2)
    assert tell(home, project, result, "servers")["exit"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_by_what(home: Home, project: Path, result: Path, number: signal.Signals) -> None:
    """mtr ended the command, and itself."""
    running = home.popen_mtr(["--result", str(result), "sh", "-c", "touch begun; sleep 4711"], project)
    wait_until((home.remote(project) / "begun").exists, "the command")
    assert not result.exists()
    running.send_signal(number)
    running.communicate()
    found = json.loads(result.read_text())
    assert (found["exit"], found["by"], found["signal"]) == (128 + number, "mtr", number.name)
    assert (found["phase"], found["code"]) == ("run", None)


def test_a_killed_run_leaves_none(home: Home, project: Path, result: Path) -> None:
    """Nor the old one, nor half of one."""
    running = home.popen_mtr(
        ["--result", str(result), "sh", "-c", "touch begun; sleep 4712"],
        project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until((home.remote(project) / "begun").exists, "the command")
    running.kill()
    running.wait()
    assert list(result.parent.glob("result.json*")) == []
    assert home.run_mtr(["up"], project).returncode == 0
    wait_until(lambda: not list_outliving(home), "the end of what was left")


def test_a_file_that_cannot_be_is_refused_before_anything_runs(home: Home, project: Path) -> None:
    """A directory, a FIFO, a directory that is not there."""
    os.mkfifo(home.dir / "fifo")
    for path in (home.dir, home.dir / "fifo", home.dir / "no" / "such", ""):
        done = home.run_mtr(["--result", str(path), "touch", "ran"], project)
        assert (done.returncode, done.stdout) == (2, b""), path
        assert b"--result" in done.stderr
    assert home.masters() == []


def test_a_file_that_is_no_result_stays(home: Home, project: Path) -> None:
    """`mtr --result train.py`, with FILE forgotten, costs no program; an empty file, as of mktemp, is taken."""
    for words in (["touch", "ran"], [], ["--version"], ["--nosuch"]):
        done = home.run_mtr(["--result", "a.txt", *words], project)
        assert (done.returncode, done.stdout) == (2, b""), words
        assert b"which is no result of a run" in done.stderr
        assert (project / "a.txt").read_text() == "one\n"
    assert home.masters() == []
    (home.dir / "empty").touch()
    assert home.run_mtr(["--result", str(home.dir / "empty"), "true"], project).returncode == 0


def test_it_is_a_file_of_the_user_like_any_other(home: Home, project: Path, result: Path) -> None:
    """By the umask; a link in its place is replaced and not followed; -C does not move it."""
    precious = home.dir / "precious"
    precious.write_text("kept")
    result.unlink()
    result.symlink_to(precious)
    done = home.run_mtr(["--result", "../../result.json", "-C", str(project / "src"), "true"], project)
    assert done.returncode == 0, done.stderr
    assert precious.read_text() == "kept"
    assert not result.is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(result.stat().st_mode) == 0o666 & ~umask


def test_the_values_of_variables_are_not_in_it(home: Home, project: Path, result: Path) -> None:
    """Nor the command's words, which may hold anything."""
    tell(home, project, result, "-e", "GIVEN=planted", "echo", "planted")
    assert "planted" not in result.read_text()


def test_the_log_is_another_file(home: Home, project: Path, result: Path) -> None:
    """The result would take its place; nothing is touched, by another name of the directory neither."""
    done = home.run_mtr(["--result", str(result), "--log-file", f"{home.dir}/h/../result.json", "touch", "x"], project)
    assert done.returncode == 2
    assert b"name the same file" in done.stderr
    assert "old" in result.read_text()
    assert home.masters() == []
