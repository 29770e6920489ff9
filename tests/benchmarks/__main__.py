"""``python -m tests.benchmarks``: options, progress on stderr, the report on stdout.

The exit status is 0 when everything could be measured, whether goals are met or not; 1 when mtr failed somewhere,
130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.cases import FULL, QUICK, Case, Extent, build_cases, select_cases
from tests.benchmarks.chart import render_chart
from tests.benchmarks.goals import judge
from tests.benchmarks.ground import Ground, choose_place
from tests.benchmarks.install import InstallError
from tests.benchmarks.measure import Meter, Samples, run_round_robin
from tests.benchmarks.report import build_json, describe_load, describe_machine, render_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    Found = dict[str, dict[str, Samples]]


def _parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="mtr side by side.")
    parser.add_argument("--quick", action="store_true", help="fewer runs, lines and bytes: about two minutes")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="cases with NAME in their name")
    parser.add_argument("--list", action="store_true", help="list the cases' names")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each contestant in each case")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), metavar="FILE", help="every sample")
    parser.add_argument("--dir", type=Path, default=choose_place(), help="where the trees lie (%(default)s)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="a picture of the goals")
    return parser.parse_args(words)


def _say(words: str) -> None:
    sys.stderr.write(f"bench: {words}\n")
    sys.stderr.flush()


def _measure(ground: Ground, meter: Meter, case: Case, runs: int, budget_s: float) -> dict[str, Samples]:
    """Run one case; what is on the server is kept for the next one on the same tree."""
    _say(case.title)
    found = run_round_robin(meter, case.build(ground), runs, budget_s)
    if case.is_last_on_its_tree:
        ground.clear_remote()
    return found


def _run(cases: Sequence[Case], extent: Extent, options: argparse.Namespace) -> tuple[dict[str, str], Found]:
    _say("an ssh server, lines to it, mtr installed as a user has it")
    with Ground(extent.round_trips_ms, options.dir) as ground, Meter() as meter:
        machine = {**describe_machine(ground.mtr), "trees": f"in {options.dir}"}
        budget_s = math.inf if options.runs else extent.case_s
        found = {case.name: _measure(ground, meter, case, options.runs or case.runs, budget_s) for case in cases}
        return machine | {"load afterwards": describe_load()}, found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measure, then report."""
    options = _parse()
    extent = QUICK if options.quick else FULL
    cases = list(select_cases(build_cases(extent), options.only))
    if options.list or not cases:
        sys.stdout.write("".join(f"{case.name}\n" for case in cases or build_cases(extent)))
        return 0 if options.list else 2
    signal.signal(signal.SIGTERM, _interrupt)
    began_s = time.monotonic()
    try:
        machine, results = _run(cases, extent, options)
    except KeyboardInterrupt:
        return 130
    except InstallError as error:
        _say(f"mtr cannot be installed: {error}")
        return 1
    verdicts = judge(results)
    _say(f"{time.monotonic() - began_s:.0f} s")
    sys.stdout.write(render_report(machine, cases, results, verdicts) + "\n")
    _write(options.json, json.dumps(build_json(machine, results, verdicts), indent=1) + "\n")
    if options.plot:
        _write(options.plot, render_chart(verdicts))
    return int(any(results[case.name]["mtr"].failure for case in cases))


if __name__ == "__main__":
    sys.exit(main())
