"""Jobs from Python: ``mtr.connect("gpu-01").jobs`` starts, reads, waits for, stops and removes them, with types."""

from __future__ import annotations

import os
import pydoc
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from mypy import api

import mtr
from mtr.command_line import parse_arguments
from mtr.errors import ConfigError, GateRefused, UsageError
from mtr.job_start import run_detached
from mtr.jobs.model import JobError, JobNotFound
from mtr.run import open_line
from mtr.voice import Voice
from tests.lab.documents import CHECKOUT
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.workflow import Remote
    from tests.lab.home import Home


@pytest.fixture
def lab(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """The server as a script of this person's has it."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    remote = mtr.connect(directory=str(project))
    remote.sync()
    yield remote
    for job in remote.jobs.list():
        job.stop(grace_s=1)
        job.remove()


def test_a_job_is_started_read_and_waited_for(lab: Remote) -> None:
    """In the project's directory, with what it prints to each stream byte for byte, and its exact status."""
    job = lab.jobs.start(["sh", "-c", "cat a.txt; printf 'a\\0\\377'; echo oh >&2; exit 3"], name="train")
    assert b"".join(job.read_output()) == b"one\na\0\xff"
    assert b"".join(job.read_output(stream="err")) == b"oh\n"
    assert b"".join(job.read_output(offset=-2, follow=False)) == b"\0\xff"
    ended = job.wait(timeout_s=30)
    assert (ended.state, ended.status, ended.out_bytes, ended.is_alive) == ("failed", 3, 7, False)
    assert repr(job) == f"<job {job.id} 'train' on lab: failed 3>"
    assert lab.jobs.find("train").id == job.id


def test_a_string_is_text_for_a_shell(lab: Remote) -> None:
    """As a run's; words are an argv."""
    job = lab.jobs.start("echo $((6 * 7)) | tee answer")
    assert b"".join(job.read_output()) == b"42\n"
    assert job.wait(timeout_s=30).status == 0
    assert lab.run(["cat", "answer"]).stdout == b"42\n"


def test_output_comes_while_the_job_prints(lab: Remote) -> None:
    """A reader gets the first line before there is a second one."""
    job = lab.jobs.start("echo first; while [ ! -e go ]; do sleep 0.05; done; echo second")
    pieces = job.read_output()
    assert next(pieces) == b"first\n"
    lab.run(["touch", "go"])
    assert b"".join(pieces) == b"second\n"


def test_a_job_outlives_the_script(home: Home, project: Path, lab: Remote) -> None:
    """Another process, and the command line, find it, by its name too."""
    script = "import mtr; print(mtr.connect().jobs.start(['sleep', '60'], name='long').id)"
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=project, env=home.environ, capture_output=True, check=True, text=True)
    job = lab.jobs.find(done.stdout.strip())
    assert (job.job.name, job.job.state) == ("long", "running")
    assert f"{job.id}  long".encode() in home.run_mtr(["job", "list"], project).stdout


def test_waiting_has_an_end_that_leaves_the_job(lab: Remote) -> None:
    """JobError after ``timeout_s``, and the job goes on; stop() ends it, and says how."""
    job = lab.jobs.start(["sleep", "60"])
    with pytest.raises(JobError, match=r"has not ended within 0\.2 s"):
        job.wait(timeout_s=0.2)
    assert job.refresh().state == "running"
    assert (job.stop().state, job.job.status) == ("stopped", 143)


def test_waiting_outlasts_its_connection(home: Home, lab: Remote) -> None:
    """A master that is killed while somebody waits is replaced."""
    job = lab.jobs.start("while [ ! -e go ]; do sleep 0.05; done")
    for pid in home.masters():
        os.kill(pid, 9)
    wait_until(lambda: not home.masters(), "the master to go")
    with pytest.raises(JobError, match="has not ended"):
        job.wait(timeout_s=0.5)
    lab.run(["touch", "go"])
    assert job.wait(timeout_s=30).state == "done"


def test_the_server_ends_a_job_whose_time_is_over(lab: Remote) -> None:
    """As --timeout: 124."""
    job = lab.jobs.start(["sleep", "60"], timeout_s=0.3)
    assert (job.wait(timeout_s=30).state, job.job.status) == ("timeout", 124)


def test_what_is_gone_is_not_found(lab: Remote) -> None:
    """A job that runs cannot be removed, one that was removed cannot be asked."""
    job = lab.jobs.start(["sleep", "60"])
    with pytest.raises(JobError, match="has not ended, and stays"):
        job.remove()
    job.stop(grace_s=1)
    job.remove()
    for ask in (job.refresh, job.wait, lambda: list(job.read_output()), lambda: lab.jobs.find(job.id)):
        with pytest.raises(JobNotFound):
            ask()


def test_bad_values_are_refused_before_anything_is_done(lab: Remote) -> None:
    """A name of two words, no time, a stream that is none."""
    for more in ({"name": "a b"}, {"name": "a\nb"}, {"name": "-x"}, {"timeout_s": 0}, {"timeout_s": float("nan")}):
        with pytest.raises(UsageError):
            lab.jobs.start(["true"], **more)  # type: ignore[arg-type]
    assert lab.jobs.list() == []
    job = lab.jobs.start(["true"])
    with pytest.raises(UsageError, match="out and err"):
        job.read_output(stream="both")


def test_what_the_gate_refuses_is_said(home: Home, project: Path, lab: Remote) -> None:
    """The environment is not there: as for a run."""
    home.configure(project, python="conda:nowhere")
    with pytest.raises(GateRefused, match="conda:nowhere"):
        mtr.connect(directory=str(project)).jobs.start(["true"])
    assert lab.jobs.list() == []


def test_a_server_that_runs_windows_has_no_jobs(lab: Remote) -> None:
    """Said at once, and the list is empty."""
    lab.connection.facts.system = "cmd"
    with pytest.raises(ConfigError, match="runs Windows"):
        lab.jobs.start(["true"])
    assert lab.jobs.list() == []
    lab.connection.facts.system = ""
    invocation = parse_arguments(["-d", "-C", str(lab.target.project.root), "true"])
    route, _ = open_line(invocation, os.environ, Voice(), may_prompt=False)
    route.facts.system = "cmd"
    with pytest.raises(ConfigError, match="runs Windows"):
        run_detached(invocation, os.environ, Voice(), route=route)
    assert lab.jobs.list() == []


def test_help_shows_what_there_is() -> None:
    """help(mtr) shows connect(), which loads on first use; the classes behind it tell what they raise."""
    assert "connect(server: " in pydoc.plain(pydoc.render_doc(mtr))
    assert "connect" in dir(mtr)
    text = pydoc.plain(pydoc.render_doc("mtr.jobs.handle"))
    for name in ("start(self, argv", "read_output(self", "wait(self", "stop(self", "remove(self", "refresh(self"):
        assert name in text
    assert "Raises:" in text


def test_a_script_is_checked_with_types(tmp_path: Path) -> None:
    """A type checker knows each of them in a user's script; an ignored mistake that is none would be one."""
    good = """\
        import mtr
        from mtr.jobs.handle import JobHandle
        from mtr.jobs.model import Job

        gpu = mtr.connect("gpu-01")
        job: JobHandle = gpu.jobs.start(["python", "train.py"], name="train", timeout_s=60)
        size: int = sum(len(piece) for piece in job.read_output(stream="err", offset=10))
        ended: Job = job.wait(timeout_s=1.5)
        status: int | None = ended.status
        alive: list[JobHandle] = [found for found in gpu.jobs.list() if found.job.is_alive]
        job.stop(grace_s=5).reason.upper()
        gpu.jobs.start(["x"], timeout_s="60")  # type: ignore[arg-type]
        """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(good))
    config = f"--config-file={CHECKOUT / 'pyproject.toml'}"
    said, _, status = api.run([config, "--no-incremental", f"--cache-dir={tmp_path / 'cache'}", str(path)])
    assert (status, said) == (0, "Success: no issues found in 1 source file\n")
