"""The arithmetic of the goals, and the picture of them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.cases import FULL, build_cases
from tests.benchmarks.chart import render_chart
from tests.benchmarks.goals import GOALS, judge
from tests.benchmarks.measure import Sample, Samples
from tests.benchmarks.report import render_verdicts


def samples(*seconds: float, peak_kib: int = 10_000) -> Samples:
    return Samples([Sample(value, peak_kib, 0) for value in seconds])


def verdict_on(case: str, title: str, found: dict[str, Samples]):
    return next(one for one in judge({case: found}) if one.goal.case == case and title in one.goal.title)


def test_every_goal_is_of_a_case():
    """A full run measures every goal."""
    assert {goal.case for goal in GOALS} <= {case.name for case in build_cases(FULL)}


@pytest.mark.parametrize(("mtr_s", "met"), [(0.9, True), (1.0, True), (1.1, False)])
def test_throughput_is_to_be_at_least_the_limit(mtr_s: float, met: bool):
    """A transfer as fast as ssh's meets the goal, a tenth more time misses it."""
    verdict = verdict_on("cat", "throughput", {"bare ssh": samples(1.0), "mtr": samples(mtr_s)})
    assert verdict.met is met
    assert verdict.text.startswith("met by" if met else "missed by")


def test_the_median_counts_and_the_memory_of_the_worst_run():
    """One slow run does not miss a goal of time; one large run misses one of memory."""
    mtr = samples(0.5, 0.5, 9.0)
    mtr.runs.append(Sample(0.5, 200_000, 0))
    found = {"bare ssh": samples(0.01), "rsync && ssh": samples(1.0), "mtr": mtr}
    assert verdict_on("unchanged-100000-0ms", "rsync", found).met is True
    assert verdict_on("unchanged-100000-0ms", "memory", found).met is False


def test_what_did_not_run_is_neither_met_nor_missed():
    """A failure is reported with its words, a case left out as such."""
    verdict = verdict_on("help", "--help", {"python -c pass": samples(0.01), "mtr": Samples(failure="status 2: no")})
    assert verdict.met is None
    assert "status 2: no" in verdict.measured_text
    assert all(one.met is None and "left out" in one.measured_text for one in judge({}))


def test_the_chart_and_the_table_name_every_goal():
    """The picture is well-formed XML and shows each goal, measured or not."""
    verdicts = judge({"cat": {"bare ssh": samples(1.0), "mtr": samples(5.0)}})
    drawn = "".join(ET.fromstring(render_chart(verdicts)).itertext())  # noqa: S314  our own text
    assert all(goal.title in drawn for goal in GOALS)
    assert all(goal.title in render_verdicts(verdicts) for goal in GOALS)
