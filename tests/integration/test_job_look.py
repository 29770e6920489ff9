"""One look at a job: its state, and the bytes behind two offsets, in one round trip."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

import mtr
from mtr.errors import MtrError
from mtr.jobs.look import look_at, parse_look
from mtr.jobs.model import JobNotFound
from tests.lab.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.ssh.base import BaseConnection
    from tests.lab.home import Home


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


@pytest.fixture
def line(home: Home, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> BaseConnection:
    """A connection to their server."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    return mtr.connect(directory=str(jobs.project)).connection


def test_a_look_returns_what_is_there_and_how_much_there_is(jobs: Jobs, line: BaseConnection) -> None:
    """Exact bytes of both outputs behind the offsets, no more than the limit of each."""
    job = jobs.start("sh", "-c", "printf 'a\\000\\377b\\r\\nlast'; printf mtr-out >&2; exit 3")
    jobs.ends(job)
    look = look_at(line, job, (0, 0), limit_bytes=1000)
    assert (look.job.state, look.job.status) == ("failed", 3)
    assert (look.out.data, look.out.size_bytes) == (b"a\0\xffb\r\nlast", 10)
    assert (look.err.data, look.err.size_bytes) == (b"mtr-out", 7)
    look = look_at(line, job, (2, 7), limit_bytes=3)
    assert (look.out.data, look.out.size_bytes) == (b"\xffb\r", 10)
    assert (look.err.data, look.err.size_bytes) == (b"", 7)
    assert look_at(line, job, (99, 99), limit_bytes=3).out.data == b""


def test_a_look_waits_for_news_and_for_the_end_and_no_longer(jobs: Jobs, line: BaseConnection) -> None:
    """It returns with the first byte, with the end, and when its time is over."""
    script = "while [ ! -f go ]; do sleep 0.02; done; echo one; while [ ! -f end ]; do sleep 0.02; done"
    job = jobs.start("sh", "-c", script)
    began_s = time.monotonic()
    assert look_at(line, job, (0, 0), limit_bytes=9, wait_s=1).out.data == b""
    assert time.monotonic() - began_s > 0.5
    for name, offset, expected in (("go", 0, "running"), ("end", 4, "done")):
        touch = threading.Timer(0.3, (jobs.home.remote(jobs.project) / name).touch)
        touch.start()
        look = look_at(line, job, (offset, 0), limit_bytes=9, wait_s=30)
        touch.join()
        assert (look.job.state, look.out.data) == (expected, b"one\n"[offset:])
    assert time.monotonic() - began_s < 20


def test_what_is_no_job_is_said(jobs: Jobs, line: BaseConnection) -> None:
    """Unknown, removed, and what is no id at all."""
    job = jobs.start("true")
    jobs.ends(job)
    jobs.mtr("job", "rm", job)
    for word in (job, "../../x", "", "abc;id"):
        with pytest.raises(JobNotFound):
            look_at(line, word, (0, 0), limit_bytes=10)


@pytest.mark.parametrize("data", [b"", b"hello", b"\nmtr-out 5 5\nab", b"\nmtr-out 0 0\n", b"\nmtr-err 1 1\nxnow 1 b"])
def test_an_answer_that_is_none_is_an_error(data: bytes) -> None:
    """Whatever a server says in its place."""
    with pytest.raises(MtrError):
        parse_look(data, "lab", "12345678")
