"""The report: two tables that are Markdown too, and the JSON with every sample."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import unicodedata
from typing import TYPE_CHECKING, Any

from tests.benchmarks.install import describe_checkout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.cases import Case
    from tests.benchmarks.goals import Results, Verdict
    from tests.benchmarks.measure import Samples

MOST_IN_A_CELL = 60

HEADINGS = ("case", "contestant", "median", "fastest", "runs", "mtr ÷ this", "peak")


def _words(*argv: str) -> str:
    """Return what a program says about itself."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def describe_machine(mtr: Path) -> dict[str, str]:
    """Return what the figures depend on, by name."""
    python = mtr.with_name("python")
    rsync = " ".join(_words("rsync", "--version").split()[:3])
    return {
        "mtr": f"{_words(str(mtr), '--version')} {describe_checkout()}".strip(),
        "interpreter": f"{_words(str(python), '-V')} ({os.path.realpath(python)})",
        "ssh": _words("ssh", "-V"),
        "rsync": rsync,
        "git": _words("git", "--version"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "load": describe_load(),
    }


def describe_load() -> str:
    """Return how busy the machine was in the last 1, 5 and 15 minutes: others spoil figures."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def render_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return an aligned Markdown table; columns from ``left`` on are aligned to the right."""
    widths = [max(_width(row[column]) for row in (headings, *rows)) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell + " " * (width - _width(cell)) if column < left else " " * (width - _width(cell)) + cell
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if column < left else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return "\n".join([line(headings), line(rule), *map(line, rows)])


def shorten(text: str) -> str:
    """Return a text that fits into a cell; the JSON has all of it."""
    text = text.replace("|", "/")
    return text if len(text) <= MOST_IN_A_CELL else text[: MOST_IN_A_CELL - 1] + "…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _seconds(value_s: float) -> str:
    return f"{value_s * 1000:.1f} ms" if value_s < 0.1 else f"{value_s * 1000:,.0f} ms"


def _row(title: str, name: str, samples: Samples, mtr: Samples | None) -> list[str]:
    if not samples.runs:
        return [title, name, f"not run: {shorten(samples.failure)}", "", "", "", ""]
    ratio = f"{mtr.median_s / samples.median_s:.2f}" if mtr and mtr.runs and mtr is not samples else ""
    peak = f"{samples.peak_mb:.0f} MB"
    return [title, name, _seconds(samples.median_s), _seconds(samples.min_s), str(len(samples.runs)), ratio, peak]


def render_results(cases: Sequence[Case], results: Results) -> str:
    """Return the table of everything measured; ``mtr ÷ this`` divides the medians."""
    rows = []
    for case in cases:
        found = results.get(case.name, {})
        for number, (name, samples) in enumerate(found.items()):
            rows.append(_row("" if number else case.title, name, samples, found.get("mtr")))
    return render_table(HEADINGS, rows, 2)


def render_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return the table of the goals."""
    rows = [[one.goal.title, one.goal.limit_text, shorten(one.measured_text), one.text] for one in verdicts]
    return render_table(("goal", "limit", "measured", "verdict"), rows, 1)


def render_report(
    machine: Mapping[str, str], cases: Sequence[Case], results: Results, verdicts: Sequence[Verdict]
) -> str:
    """Return the whole report."""
    facts = "\n".join(f"- {name}: {value}" for name, value in machine.items())
    return "\n\n".join(["# mtr side by side", facts, NOTES, render_results(cases, results), render_verdicts(verdicts)])


NOTES = """\
Wall time from start to end, stdin empty, stdout a pipe that is read to its end; contestants in turn, one round to
warm up. Each tree is a git repository with everything committed; rsync leaves .git and .mtr out, as mtr does. Bare ssh
and rsync share one open master, mtr has its own open one; the peers log in anew each time, as they do by themselves.
First sync is mtr sync against rsync -a, into a new directory each time. "mtr ÷ this" divides medians. "peak" is the
largest single process of a run that was waited for; 11 MB is the least that can be seen."""


def build_json(machine: Mapping[str, str], results: Results, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "machine": dict(machine),
        "cases": {
            case: {name: dataclasses.asdict(samples) for name, samples in found.items()}
            for case, found in results.items()
        },
        "goals": [
            {
                "goal": one.goal.title,
                "case": one.goal.case,
                "limit": one.goal.limit,
                "unit": one.goal.unit,
                "at_least": one.goal.at_least,
                "measured": one.value,
                "met": one.met,
                "reason": one.reason,
            }
            for one in verdicts
        ],
    }
