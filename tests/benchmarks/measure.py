"""Runs contestants in turn and keeps their samples.

Round robin, so that a machine that slows down slows everybody down; one round warms up and does not count. Who
fails is out, with the reason.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.contestants import Contestant

DEADLINE_S = 300.0
FEWEST_RUNS = 3


class RunFailed(Exception):
    """A contestant ended with another status than 0, or not in time."""


@dataclass(frozen=True)
class Sample:
    """One run: ``peak_kib`` is the largest process of it."""

    seconds: float
    peak_kib: int
    bytes: int


@dataclass
class Samples:
    """The runs of one contestant in one case; ``failure`` says why there are none."""

    runs: list[Sample] = field(default_factory=list)
    failure: str = ""

    @property
    def median_s(self) -> float:
        """The median of the wall times."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def min_s(self) -> float:
        """The fastest run."""
        return min(run.seconds for run in self.runs)

    @property
    def peak_mb(self) -> float:
        """The most memory that one process of any run held, in units of 10^6 bytes."""
        return max(run.peak_kib for run in self.runs) * 1024 / 1e6


class Meter:
    """The measuring process; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("meter.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def run(self, contestant: Contestant) -> Sample:
        """Run a contestant once.

        Raises:
            RunFailed: it ended with another status than 0, or not within the deadline.
        """
        with tempfile.NamedTemporaryFile(prefix="mtr-lab-", dir="/tmp") as stderr:
            request = {
                "argv": contestant.argv,
                "cwd": str(contestant.cwd),
                "environ": dict(contestant.environ),
                "stderr": stderr.name,
                "deadline_s": DEADLINE_S,
            }
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
            words = Path(stderr.name).read_text(errors="replace").strip().splitlines()
        if answer.get("late"):
            raise RunFailed(f"no end within {DEADLINE_S:.0f} s")
        if "error" in answer:
            raise RunFailed(answer["error"])
        if answer["status"]:
            raise RunFailed(f"status {answer['status']}: {_gist(words)}")
        return Sample(answer["seconds"], answer["peak_kib"], answer["bytes"])


def _gist(stderr: Sequence[str]) -> str:
    """Return the line that says most: an error's first one, a traceback's last."""
    if not stderr:
        return "no words"
    return stderr[-1] if stderr[0].startswith("Traceback") else stderr[0]


def run_round_robin(meter: Meter, contestants: Sequence[Contestant], runs: int, budget_s: float) -> dict[str, Samples]:
    """Return the samples by contestant's name, of ``runs`` rounds after one to warm up.

    No round begins after ``budget_s``, but three there are.
    """
    found = {contestant.name: Samples(failure=contestant.missing) for contestant in contestants}
    _run_round(meter, contestants, found)
    for samples in found.values():
        samples.runs.clear()
    # What the first round wrote is on the disk before anything counts.
    os.sync()
    end_s = time.monotonic() + budget_s
    for turn in range(runs):
        if turn < FEWEST_RUNS or time.monotonic() < end_s:
            _run_round(meter, contestants, found)
    return found


def _run_round(meter: Meter, contestants: Sequence[Contestant], found: dict[str, Samples]) -> None:
    for contestant in contestants:
        samples = found[contestant.name]
        if samples.failure:
            continue
        contestant.before()
        try:
            samples.runs.append(meter.run(contestant))
        except RunFailed as error:
            samples.failure = str(error)
            samples.runs.clear()
        contestant.after()
