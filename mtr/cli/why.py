"""``mtr why``: whether paths are synced, and which rule of which file decides."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import take, take_json
from mtr.errors import sanitize

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.command_line import Invocation
    from mtr.sync.why import Explanation, Why
    from mtr.workflow import Target


@click.command()
@take("server", "directory")
@take_json
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.pass_obj
def why(invocation: Invocation, paths: tuple[str, ...], *, as_json: bool) -> int:
    """Say whether each PATH is synced, and which rule decides.

    \b
      mtr why data/big.bin    its answer, with file and line of the rule

    Rules, strong to weak: include, exclude, .mtrignore, .gitignore. Tracked files are synced whatever .gitignore
    says. Exits with 0 if every PATH is synced, else with 1.
    """  # noqa: D301  click wants the character itself
    from mtr.voice import Voice
    from mtr.workflow import load_target

    target = load_target(invocation.directory, invocation.server, os.environ, needs_project=True)
    explanation = explain(target, paths)
    for line in explanation.warnings:
        Voice().say(line)
    if as_json:
        print_data("why", [dataclasses.asdict(answer) for answer in explanation.answers])
    else:
        for given, answer in zip(paths, explanation.answers, strict=True):
            click.echo(render_why(given, answer))
    return 0 if all(answer.is_synced for answer in explanation.answers) else 1


def explain(target: Target, paths: tuple[str, ...]) -> Explanation:
    """Return the answers for ``paths`` as typed where ``target`` was chosen.

    Raises:
        UsageError: one of them lies outside the project.
    """
    from mtr.sync.ignore import Rules
    from mtr.sync.why import explain_paths, locate_patterns, resolve_path

    server, project = target.server, target.project
    rules = Rules(exclude=server.exclude, include=server.include, respect_gitignore=server.respect_gitignore)
    start: Path = project.root / project.subdir
    found = [resolve_path(project.root, start, path) for path in paths]
    return explain_paths(project.root, rules, found, locate_patterns(target.config, server), start=start)


def render_why(given: str, answer: Why) -> str:
    """Return the line for the path ``given``: what is true, the rule and its place, and what else to know."""
    rule = f": {answer.source}: {answer.rule}" if answer.rule else ""
    reason = f" ({answer.reason})" if answer.reason else ""
    line = sanitize(f"{given}: {answer.verdict}{rule}{reason}")
    # A newline in a name must not pass for another answer.
    return line.replace("\n", "\\n").replace("\t", "\\t")
