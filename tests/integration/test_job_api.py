"""Jobs from Python: ``mtr.connect("gpu-01").jobs`` starts, reads, waits for, stops and removes them, with types."""

from __future__ import annotations

import json
import os
import pydoc
import shutil
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import pytest
from mypy import api

import mtr
from mtr.command_line import parse_arguments
from mtr.errors import ConfigError, GateRefused, UsageError
from mtr.job_start import run_detached
from mtr.jobs.model import JobError, JobNotFound
from mtr.jobs.start import new_job_id
from mtr.run import open_line
from mtr.sync.manifest import TICK_NS
from mtr.voice import Voice
from tests.lab.documents import CHECKOUT
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.jobs.handle import JobHandle
    from mtr.remote import Remote
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


def test_a_script_that_goes_on_has_no_dead_child(home: Home, project: Path, lab: Remote) -> None:
    """What tells of the code after the start is nobody's child; the code arrives all the same."""
    script = (
        "import mtr, os; job = mtr.connect().jobs.start(['true'], sync=True); print(job.id)\n"
        "pid = os.getpid(); print(open(f'/proc/{pid}/task/{pid}/children').read().split())"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=project, env=home.environ, capture_output=True, check=True, text=True)
    job, children = done.stdout.splitlines()
    assert children == "[]"
    shown = json.loads(home.run_mtr(["job", "show", "--json", job], project).stdout)
    assert shown["data"]["code"]["state"] == "whole"


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


def show(home: Home, project: Path, job: JobHandle) -> dict[str, Any]:
    """Return what the command line shows of ``job``."""
    done = home.run_mtr(["job", "show", "--json", job.id], project)
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def test_a_job_waits_for_others_in_a_copy_of_its_own(home: Home, project: Path, lab: Remote) -> None:
    """``after`` takes handles, ids and names; it reads what was synced then, and what it has made is brought."""
    first = lab.jobs.start("while [ ! -e go ]; do sleep 0.05; done", name="first")
    job = lab.jobs.start("cat a.txt >out", after=[first, "first", first.id[:5]])
    assert (job.job.state, job.job.reason) == ("queued", f"waits for job {first.id}")
    (project / "a.txt").write_text("later\n")
    lab.sync()
    lab.run(["touch", "go"])
    assert job.wait(timeout_s=30).state == "done"
    lab.get("out", project / "here", job=job)
    assert (project / "here").read_text() == "one\n"
    assert lab.run(["ls", "out"]).status == 2, "the project has none"
    with pytest.raises(JobNotFound, match="no job nobody"):
        lab.jobs.start(["true"], after="nobody")


@pytest.mark.parametrize(("snapshot", "place"), [(True, "/tree"), (None, "/proj"), (False, "/proj")])
def test_a_copy_can_be_had_or_left(lab: Remote, snapshot: bool | None, place: str) -> None:
    """True is a copy; without it one that waits for nothing has none."""
    job = lab.jobs.start(["pwd"], snapshot=snapshot)
    assert b"".join(job.read_output()).decode().strip().endswith(place)


def test_a_job_has_a_terminal_if_it_is_to(lab: Remote) -> None:
    """``pty``: without one here, it has the size of a common one."""
    job = lab.jobs.start("stty size", pty=True)
    assert b"".join(job.read_output()) == b"24 80\r\n"
    assert job.job.is_pty


def test_what_the_server_refuses_leaves_no_job(home: Home, lab: Remote) -> None:
    """GPUs where there are none: the server's words, no job, and no note of one."""
    with pytest.raises(GateRefused, match="no job was started") as raised:
        lab.jobs.start(["true"], gpus=1)
    assert "nvidia-smi" in raised.value.detail
    assert lab.jobs.list() == []
    assert os.listdir(home.home / ".state" / "mtr" / "jobs") == []


def sync_settled(lab: Remote, *written: Path) -> None:
    """Sync once the clock that stamps files has gone on: what is stamped with the present tick may change within it."""
    last_ns = max(path.stat().st_ctime_ns for path in written)
    wait_until(lambda: time.time_ns() > last_ns + 2 * TICK_NS, "the clock to go on")
    lab.sync()


def test_the_code_of_a_job_is_known(home: Home, project: Path, lab: Remote) -> None:
    """Commit and differences, as with mtr -d; none where what is here is not what the server has."""
    home.git(project, "add", ".")
    home.git(project, "commit", "-qm", "one")
    (project / "a.txt").write_text("changed\n")
    (project / "secret.env").write_text("mine\n")
    (project / ".mtrignore").write_text("*.env\n")
    sync_settled(lab, project / "a.txt", project / ".mtrignore")
    job = lab.jobs.start(["true"])
    code = show(home, project, job)["code"]
    assert (code["state"], code["branch"]) == ("whole", "main")
    assert {"status": "M", "path": "a.txt"} in code["dirty"]
    patch = home.run_mtr(["job", "show", "--diff", job.id], project).stdout
    assert b"+changed" in patch
    assert b"mine" not in patch
    assert show(home, project, job)["manifest_files"] == 3
    (project / "a.txt").write_text("not synced\n")
    assert show(home, project, lab.jobs.start(["true"]))["code"]["state"] == "none"
    sync_settled(lab, project / "a.txt")
    assert show(home, project, lab.jobs.start(["true"]))["code"]["state"] == "whole"
    shutil.rmtree(home.remote(project) / ".mtr")
    assert show(home, project, lab.jobs.start(["true"]))["code"]["state"] == "none", "the tree there is nobody's"


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
    """A name of two words, no time, fewer GPUs than none, a stream that is none."""
    names = [{"name": "a b"}, {"name": "a\nb"}, {"name": "-x"}]
    for more in (*names, {"timeout_s": 0}, {"timeout_s": float("nan")}, {"gpus": -1}, {"gpus": 1000}):
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
        gpu.jobs.start(["y"], after=job, gpus=2, snapshot=True, pty=True)
        gpu.jobs.start("z", after=[job, "train"], snapshot=None)
        gpu.get("out/*.pt", "here/", job=job)
        gpu.jobs.start(["x"], timeout_s="60")  # type: ignore[arg-type]
        gpu.jobs.start(["x"], after=[ended])  # type: ignore[list-item]
        """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(good))
    config = f"--config-file={CHECKOUT / 'pyproject.toml'}"
    said, _, status = api.run([config, "--no-incremental", f"--cache-dir={tmp_path / 'cache'}", str(path)])
    assert (status, said) == (0, "Success: no issues found in 1 source file\n")


def test_a_job_reads_what_it_is_sent(lab: Remote) -> None:
    """Byte for byte, in as many parts as one likes, to the end; then it takes no more."""
    job = lab.jobs.start(["sh", "-c", "cat; echo over"], stdin=True)
    data = bytes(range(256)) * 256
    for piece in (b"one\n", data, b""):
        job.send(piece)
    assert job.refresh().is_alive
    job.send(b"two", end=True)
    assert b"".join(job.read_output()) == b"one\n" + data + b"twoover\n"
    assert job.wait(timeout_s=30).status == 0
    with pytest.raises(JobError, match="takes no more input"):
        job.send(b"three")


def test_input_that_nobody_reads_or_takes_is_an_error(lab: Remote) -> None:
    """More than its FIFO holds is said not to have come; without stdin there is nothing to send to."""
    job = lab.jobs.start(["sleep", "1000"], stdin=True)
    job.send(b"x" * 60_000)
    with pytest.raises(JobError, match="does not read its input"):
        job.send(b"x" * 60_000)
    with pytest.raises(UsageError):
        job.send(b"x" * 70_000)
    assert job.stop(grace_s=1).state == "stopped"
    with pytest.raises(JobError, match="takes no input"):
        lab.jobs.start(["true"]).send(b"x")


def test_what_ends_or_closes_its_stdin_first_leaves_nothing(lab: Remote) -> None:
    """No process waits for input of a job that has ended; a stdin that ended is not opened again."""
    job = lab.jobs.start("exec <&-; sleep 0.2; echo done", stdin=True)
    assert job.wait(timeout_s=30).status == 0
    other = lab.jobs.start("cat; sleep 1000", stdin=True)
    other.send(b"", end=True)
    with pytest.raises(JobError, match="takes no more input"):
        other.send(b"x")
    other.stop(grace_s=1)
    for ended in (job, other):
        assert lab.run(f"grep -l -a -z -x -s MTR_JOB={ended.id} /proc/[0-9]*/environ").stdout == b""


def test_a_job_of_an_agent_has_a_directory_and_a_name_of_its_own(lab: Remote) -> None:
    """The id was drawn before, and the directory counts from the project's."""
    job_id = new_job_id()
    job = lab.jobs.start("pwd; cat b.py", directory="./src/", job_id=job_id)
    assert job.id == job_id
    assert b"".join(job.read_output()).split(b"\n", 1)[0].endswith(b"/src")
    assert lab.jobs.start("pwd", directory="/tmp").wait(timeout_s=30).status == 0
