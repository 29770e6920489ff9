"""Which jobs may go: by age, by size, and never one that lives."""

from __future__ import annotations

import pytest

from mtr.errors import UsageError
from mtr.jobs.model import Job
from mtr.jobs.prune import choose_prunable, parse_age, parse_size

NOW_S = 1_000_000.0


def job(name: str, state: str = "done", *, ended_s: float | None = None, started_s: float | None = None) -> Job:
    return Job(name, "lab", state, ended_s=ended_s, started_s=started_s)


def choose(jobs: list[Job], **more: float | int) -> list[str]:
    sizes = {found.id: 100 for found in jobs}
    return [found.id for found in choose_prunable(jobs, sizes, NOW_S, **more)]  # type: ignore[arg-type]


def test_what_ended_long_ago_goes() -> None:
    """A job counts from its end; a lost one from its start; one of which nothing is known is the oldest."""
    jobs = [
        job("new", ended_s=NOW_S - 5, started_s=5.0),
        job("old", ended_s=NOW_S - 500),
        job("lost", "lost", started_s=NOW_S - 400),
        job("bare", "lost"),
    ]
    assert choose(jobs, older_s=100) == ["bare", "old", "lost"]


def test_the_oldest_go_until_the_rest_fits() -> None:
    """What lives counts for the room, and stays, however little is left for others."""
    jobs = [job("a", ended_s=1), job("b", ended_s=2), job("c", ended_s=3), job("r", "running"), job("q", "queued")]
    assert choose(jobs, keep_bytes=500) == []
    assert choose(jobs, keep_bytes=499) == ["a"]
    assert choose(jobs, keep_bytes=300) == ["a", "b"]
    assert choose(jobs, keep_bytes=0) == ["a", "b", "c"]
    assert choose(jobs, older_s=NOW_S - 1.5, keep_bytes=400) == ["a"]


def test_a_clock_that_was_set_back_removes_nothing() -> None:
    """An end in the future is not long ago."""
    assert choose([job("a", ended_s=NOW_S + 999)], older_s=0) == []


def test_ages_and_sizes() -> None:
    """A bare number counts days, and bytes."""
    assert [parse_age(text) for text in ("14d", "2", "12h", "90m", "1.5d", "30s", "1w", "0d")] == [
        14 * 86400, 2 * 86400, 43200, 5400, 129600, 30, 604800, 0,
    ]  # fmt: skip
    assert [parse_size(text) for text in ("5GB", "500M", "1.5GiB", "0", "12", "3kb", "7 MB", "1T")] == [
        5 * 10**9, 5 * 10**8, 3 << 29, 0, 12, 3000, 7_000_000, 10**12,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "d", "-1d", "1x", "1.d", "nan", "inf", "٣d", "1e3", "9" * 30])
def test_an_age_that_is_none(text: str) -> None:
    """Refused with what it should be."""
    with pytest.raises(UsageError, match="14d"):
        parse_age(text)


@pytest.mark.parametrize("text", ["", "GB", "-1", "1X", "1.", "nan", "٣", "1e3", "i", "5IB"])
def test_a_size_that_is_none(text: str) -> None:
    """Refused with what it should be."""
    with pytest.raises(UsageError, match="5GB"):
        parse_size(text)
