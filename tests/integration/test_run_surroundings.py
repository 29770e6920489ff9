"""What a command runs in, and for how long: `python`, `env_file`, `--timeout`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.kills import list_outliving
from tests.lab.processes import wait_until
from tests.unit.ssh.test_python import make_conda

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def test_a_run_enters_its_python_environment(home: Home, project: Path) -> None:
    """An environment of conda's on the server, though no rc file is read; a later one is noticed at once."""
    base = make_conda(home.remote(project).parent / "conda", is_base=True)
    for name in ("torch", "jax"):
        make_conda(base / "envs" / name)
        home.configure(project, python=f"conda:{base}/envs/{name}")
        for words in (["sh", "-c", "echo $MARK"], ["echo $MARK"], ["--no-sync", "sh", "-c", "echo $MARK"]):
            done = home.run_mtr(words, project)
            assert (done.returncode, done.stdout) == (0, f"marked {name}\n".encode()), done.stderr


def test_an_environment_that_is_missing_there_is_told(home: Home, project: Path) -> None:
    """The command did not start; what was looked for, what was found, and where to set it."""
    home.configure(project, python="venv:.venv")
    done = home.run_mtr(["touch", "started"], project)
    assert done.returncode == 125
    assert b"there is no venv:.venv there; the command did not start" in done.stderr
    assert b"no bin/python in " in done.stderr
    assert not (home.remote(project) / "started").exists()
    home.configure(project, python="torch")
    assert b"must be conda:NAME" in home.run_mtr(["true"], project).stderr


def test_variables_come_from_a_file_here(home: Home, project: Path) -> None:
    """It is never synced; an edit counts at once, `env` is stronger, -e the strongest, a dry run hides them."""
    home.configure(project, env_file=".env", env={"B": "configured"})
    show = ["sh", "-c", "echo $A $B $C"]
    for value in ("one", "two"):
        (project / ".env").write_text(f"A={value}\nB=file\nC=file\n")
        assert home.run_mtr(["-e", "C=typed", *show], project).stdout == f"{value} configured typed\n".encode()
        assert home.run_mtr([*show], project).stdout == f"{value} configured file\n".encode()
    assert not (home.remote(project) / ".env").exists()
    dry = home.run_mtr(["--dry-run", "true"], project).stdout
    assert b"# with A=***" in dry
    assert b"two" not in dry
    (project / ".env").unlink()
    done = home.run_mtr(show, project)
    assert (done.returncode, b"there is no env_file" in done.stderr) == (125, True)


@pytest.mark.parametrize("client", ["openssh", "paramiko"])
@pytest.mark.usefixtures("nothing_of_a_run_left")
def test_a_command_is_ended_after_its_time(home: Home, project: Path, client: str) -> None:
    """With everything that it started; what it printed has come, and the status is that of timeout(1)."""
    home.configure(project, client=client)
    assert home.run_mtr(["true"], project).returncode == 0
    started_s = time.monotonic()
    done = home.run_mtr(
        ["--result", "told", "--timeout", "4", "sh", "-c", "echo begun; sleep 4321 & sleep 4321"], project
    )
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert done.stderr == b"mtr: ended after 4 s, as --timeout says\n"
    told = json.loads((project / "told").read_text())
    assert (told["by"], told["exit"], told["code"]) == ("mtr", 124, "timed-out")
    assert time.monotonic() - started_s < 30
    wait_until(lambda: not list_outliving(home), "the command's processes to end")
    done = home.run_mtr(["--timeout=60", "sh", "-c", "exit 3"], project)
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.usefixtures("nothing_of_a_run_left")
def test_a_command_on_a_terminal_is_ended_after_its_time(home: Home, project: Path) -> None:
    """The same there, and the terminal is usable again."""
    child = home.spawn_mtr(["--timeout", "2", "cat"], project)
    child.expect_exact("mtr: ended after 2 s")
    child.expect_exact(pexpect.EOF)
    child.close()
    assert child.exitstatus == 124


def test_the_files_that_a_sync_brings_do_not_count(home: Home, project: Path) -> None:
    """Time is the command's own: connecting and syncing take as long as they take."""
    (project / "large").write_bytes(b"x" * 40_000_000)
    done = home.run_mtr(["--timeout", "10", "wc", "-c", "large"], project)
    assert (done.returncode, done.stdout.split()[:1]) == (0, [b"40000000"]), done.stderr


def test_an_activation_that_ends_the_shell_is_told_as_such(home: Home, project: Path) -> None:
    """And not as a pre_cmd, where there is none."""
    base = make_conda(home.server.home_of("bash") / home.dir.name / "conda", is_base=True)
    prefix = make_conda(base / "envs" / "torch")
    (prefix / "etc" / "conda" / "activate.d" / "z.sh").write_text("exit 3\n")
    home.configure(project, python=f"conda:{prefix}")
    done = home.run_mtr(["touch", "ran"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"when it is activated ended with status 3" in done.stderr
    assert b"pre_cmd" not in done.stderr
