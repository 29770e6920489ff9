"""Jobs as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.cli.table import Cell, measure_narrowest, render_table
from mtr.errors import reveal_controls
from mtr.voice import render_bytes, render_span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtr.jobs.model import Job

ENDED_SHOWN = 20
"""How many of the jobs that have ended are shown without ``--all``: the newest."""

_HEAD = [Cell(text, "dim") for text in ("ID", "NAME", "SERVER", "STATE", "STARTED", "TIME", "OUTPUT", "COMMAND")]
_COMMAND, _NAME, _SERVER = 7, 1, 2
_LEFT_OUT = (6, 4, 5)
"""The columns that a narrow terminal does without, in this order: OUTPUT, STARTED, TIME."""

_STYLES = {"running": "green", "queued": "bold", "failed": "red", "lost": "red", "timeout": "red"}


def choose_rows(jobs: Sequence[Job], *, everything: bool, running: bool) -> list[Job]:
    """Return which of ``jobs`` are shown: those that have not ended, and unless ``running`` the last that have."""
    ended = [job.id for job in jobs if not job.is_alive]
    shown = set() if running else set(ended if everything else ended[-ENDED_SHOWN:])
    return [job for job in jobs if job.is_alive or job.id in shown]


def render_jobs(jobs: Sequence[Job], *, width: int | None, has_colour: bool) -> str:
    """Return the table; where it is wider than ``width``, commands give way first, then names, then whole columns."""
    rows = [_HEAD, *(_build_row(job) for job in jobs)]
    kept, left_out = list(range(len(_HEAD))), list(_LEFT_OUT)
    while True:
        shown = [[row[index] for index in kept] for row in rows]
        yields = [kept.index(index) for index in (_COMMAND, _NAME, _SERVER)]
        if width is None or not left_out or measure_narrowest(shown, yields) <= width:
            return render_table(shown, yields=yields, width=width, has_colour=has_colour)
        kept.remove(left_out.pop(0))


def _build_row(job: Job) -> list[Cell]:
    runs = "-" if job.runs_s is None or job.state == "queued" else render_runtime(job.runs_s)
    size = job.out_bytes + job.err_bytes
    return [
        Cell(job.id),
        Cell(job.name or "-", "bold" if job.name else "dim"),
        Cell(job.server),
        Cell(render_state(job), _STYLES.get(job.state, "")),
        Cell("-" if job.age_s is None else f"{render_span(job.age_s)} ago"),
        Cell(runs),
        Cell(render_bytes(size) if size else "-"),
        Cell(f"({job.explanation}) {job.command}" if job.explanation else job.command),
    ]


def render_state(job: Job) -> str:
    """Return e.g. ``running``, ``done``, ``failed 3`` or ``timed out``."""
    state = _name_state(job)
    return f"{state} {job.status}" if job.state == "failed" and job.status is not None else state


def render_end(ended: Job) -> str:
    """Return what became of a job, as a line: ``job 3f2a91bc failed with 3``."""
    status = "" if ended.status is None else f" with {ended.status}"
    return f"job {ended.id} {_name_state(ended)}{status}{f': {ended.explanation}' if ended.explanation else ''}"


def _name_state(job: Job) -> str:
    return "timed out" if job.state == "timeout" else job.state


def render_pruned(gone: Sequence[tuple[Job, int]]) -> str:
    """Return a line for each job with the bytes that it took."""
    rows = [(job.id, job.server, render_bytes(size), job.command) for job, size in gone]
    return "".join(f"{reveal_controls('  '.join(row))}\n" for row in rows)


def render_runtime(seconds: float) -> str:
    """Return e.g. ``3d04h``, ``2h05m``, ``4m07s`` or ``12s``."""
    total = int(seconds)
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if total >= size:
            return f"{total // size}{unit}{total % size // smaller:02}{small_unit}"
    return f"{total}s"
