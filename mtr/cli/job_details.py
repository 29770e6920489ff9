"""All that is known of one job, for people and as JSON."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from mtr.cli.job_table import render_runtime
from mtr.errors import reveal_controls
from mtr.jobs.model import render_waits
from mtr.voice import render_bytes, render_count

if TYPE_CHECKING:
    from mtr.jobs.details import Details

ORIGIN_STATES = {
    "whole": "",
    "cut": "the patch was cut after 16 MiB",
    "broken": "not all of the patch has come: the line broke, or git failed here",
    "none": "not known: no git repository, or it was started without a sync",
}


def build_details(details: Details) -> dict[str, object]:
    """Return the job as JSON takes it."""
    origin = details.origin
    return {
        **asdict(details.job),
        "directory": details.directory,
        "job_directory": details.job_directory,
        "tree": details.tree,
        "gpus": details.gpus,
        "manifest_files": details.manifest_files,
        "size_bytes": details.size_bytes,
        "code": {
            "state": origin.state,
            "commit": origin.commit,
            "branch": origin.branch,
            "dirty": [{"status": status, "path": reveal_controls(path)} for status, path in origin.dirty],
            "patch_bytes": len(origin.patch),
        },
    }


MAX_DIRTY_SHOWN = 20


def render_details(details: Details) -> str:
    """Return a line for each thing that is known."""
    found, origin = details.job, details.origin
    status = "" if found.status is None else f", status {found.status}"
    reason = f" ({found.explanation})" if found.explanation else ""
    files = "" if details.manifest_files is None else f"{render_count(details.manifest_files, 'file')} had been synced"
    rows = {
        "job": f"{found.id}{f' ({found.name})' if found.name else ''} on {found.server}",
        "command": found.command,
        "directory": details.directory,
        "copy": details.tree,
        "state": f"{found.state}{status}{reason}",
        "waited for": "" if found.state == "queued" else render_waits(found.about),
        "begun": render_time(found.started_s),
        "ended": render_time(found.ended_s),
        "ran" if not found.is_alive else "for": "" if found.runs_s is None else render_runtime(found.runs_s),
        "gpus": details.gpus,
        "printed": f"{found.out_bytes:,} bytes to stdout, {found.err_bytes:,} to stderr",
        "on disk": render_size(details),
        "commit": " ".join(filter(None, (origin.commit, f"({origin.branch})" if origin.branch else ""))),
        "code": ", ".join(filter(None, (files, ORIGIN_STATES[origin.state]))),
        "patch": f"{len(origin.patch):,} bytes: mtr job show --diff {found.id}" if origin.patch else "",
    }
    lines = [f"{name:<11} {reveal_controls(value)}" for name, value in rows.items() if value]
    for number, (status, path) in enumerate(origin.dirty[: MAX_DIRTY_SHOWN + 1]):
        name = "" if number else "changed"
        more = f"and {len(origin.dirty) - MAX_DIRTY_SHOWN:,} more: --json has them"
        lines.append(f"{name:<11} {more if number == MAX_DIRTY_SHOWN else f'{status} {reveal_controls(path)}'}")
    return "\n".join(lines) + "\n"


def render_size(details: Details) -> str:
    """Return what the job takes there, and where."""
    return f"{render_bytes(details.size_bytes)} in {details.job_directory}"


def render_time(seconds: float | None) -> str:
    """Return a time of the server's clock, as the clocks here show it."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
