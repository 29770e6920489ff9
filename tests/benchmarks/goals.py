"""What is asked of mtr, and what one benchmark says about it.

A goal is a figure of one case and a limit; a figure is a ratio of medians unless its unit says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.benchmarks.measure import Samples

    Results = Mapping[str, Mapping[str, Samples]]


@dataclass(frozen=True)
class Goal:
    """``figure`` of ``case`` is to be at most (or at least) ``limit``."""

    title: str
    case: str
    figure: Callable[[Mapping[str, Samples]], float]
    limit: float
    unit: str = "×"
    at_least: bool = False

    def show(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{value:.2f}×" if self.unit == "×" else f"{value:.0f} {self.unit}"

    @property
    def limit_text(self) -> str:
        """The limit as people write it."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{'' if self.unit == '×' else ' '}{self.unit}"


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured; ``reason`` says why nothing was."""

    goal: Goal
    value: float | None = None
    reason: str = ""

    @property
    def strain(self) -> float | None:
        """How much of the limit is used up: 1 is exactly at the limit, more is missed."""
        if self.value is None:
            return None
        return self.goal.limit / self.value if self.goal.at_least else self.value / self.goal.limit

    @property
    def met(self) -> bool | None:
        """Whether the goal holds; None when it was not measured."""
        return None if self.strain is None else self.strain <= 1

    @property
    def measured_text(self) -> str:
        """The figure, or why there is none."""
        return f"not run: {self.reason}" if self.value is None else self.goal.show(self.value)

    @property
    def text(self) -> str:
        """``met`` or ``missed``, and by how much."""
        if self.value is None:
            return "-"
        by = abs(self.goal.limit - self.value)
        return f"{'met' if self.met else 'missed'} by {self.goal.show(by)}"


def _ratio(other: str) -> Callable[[Mapping[str, Samples]], float]:
    return lambda case: case["mtr"].median_s / case[other].median_s


def _peak_mb(case: Mapping[str, Samples]) -> float:
    return case["mtr"].peak_mb


def _throughput(case: Mapping[str, Samples]) -> float:
    return case["bare ssh"].median_s / case["mtr"].median_s


def _extra_ms(case: Mapping[str, Samples]) -> float:
    return (case["mtr"].median_s - case["python -c pass"].median_s) * 1000


_BARE, _PAIR = _ratio("bare ssh"), _ratio("rsync && ssh")

GOALS = (
    Goal("unchanged, 10 files, loopback: bare ssh", "unchanged-10-0ms", _BARE, 3),
    Goal("unchanged, 10 files, 100 ms: bare ssh", "unchanged-10-100ms", _BARE, 1.15),
    Goal("unchanged, 10,000 files, 100 ms: bare ssh", "unchanged-10000-100ms", _BARE, 1.35),
    Goal("unchanged, 10,000 files, loopback: rsync && ssh", "unchanged-10000-0ms", _PAIR, 0.6),
    Goal("unchanged, 100,000 files, loopback: rsync && ssh", "unchanged-100000-0ms", _PAIR, 0.8),
    Goal("unchanged, 100,000 files: memory", "unchanged-100000-0ms", _peak_mb, 150, "MB"),
    Goal("one file edited, 10 files, 100 ms: bare ssh", "edited-10-100ms", _BARE, 1.2),
    Goal("one file edited, 10,000 files, 100 ms: bare ssh", "edited-10000-100ms", _BARE, 1.45),
    Goal("first sync, 10,000 files, loopback: rsync -a", "first-10000-0ms", _ratio("rsync -a"), 1),
    Goal("first sync, 10,000 files, 100 ms: rsync -a", "first-10000-100ms", _ratio("rsync -a"), 1),
    Goal("first sync by SFTP, 2,000 files, loopback: sftp put", "first-sftp-2000-0ms", _ratio("sftp put -r"), 1.5),
    Goal("first sync by SFTP, 200 files, 50 ms: sftp put", "first-sftp-200-50ms", _ratio("sftp put -r"), 0.2),
    Goal("first sync by tar, 2,000 files, loopback: rsync -a", "first-tar-2000-0ms", _ratio("rsync -a"), 1),
    Goal("first sync by tar, 2,000 files, loopback: by rsync", "first-tar-2000-0ms", _ratio("mtr by rsync"), 1),
    Goal("unchanged by paramiko: bare paramiko", "unchanged-paramiko-1000-0ms", _ratio("bare paramiko"), 1.2),
    Goal("cat: throughput of ssh", "cat", _throughput, 0.95, at_least=True),
    Goal("cat: memory", "cat", _peak_mb, 40, "MB"),
    Goal("mtr --help: more than the bare interpreter", "help", _extra_ms, 60, "ms"),
    Goal("mtr shell-init: more than the bare interpreter", "shell-init", _extra_ms, 60, "ms"),
    Goal("a TAB: more than the bare interpreter", "completion", _extra_ms, 60, "ms"),
)


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on every goal."""
    return [_judge_one(goal, results.get(goal.case)) for goal in GOALS]


def _judge_one(goal: Goal, case: Mapping[str, Samples] | None) -> Verdict:
    if case is None:
        return Verdict(goal, reason="left out")
    failed = [f"{name}: {samples.failure}" for name, samples in case.items() if samples.failure]
    return Verdict(goal, reason="; ".join(failed)) if failed else Verdict(goal, goal.figure(case))
