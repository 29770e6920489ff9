"""``mtr doctor``: all that mtr needs, tried, and what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import click

from mtr.cli.envelope import print_data
from mtr.cli.options import keep_server, take, take_json
from mtr.errors import UsageError, reveal_controls
from mtr.progress import ERASE_LINE, can_erase
from mtr.voice import Voice, render_count, wants_colour

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtr.command_line import Invocation
    from mtr.doctor.check import Check

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_WIDTH = 12


@click.command()
@take("server", "directory")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Try every server of the configuration, side by side.")
@take_json
@click.pass_obj
def doctor(invocation: Invocation, name: str | None, *, everything: bool, as_json: bool) -> int:
    """Try all that mtr needs, here and on the server, and say what is missing.

    Every check is the real thing: programs are run, a connection is opened as for a run, commands run over it. Below
    each fault stands the command that mends it. NAME is the same as -s NAME; a project is not needed.

    \b
      mtr doctor                 this machine, and the server that runs go to
      mtr doctor dev@10.0.0.7    any server, without configuration
      mtr doctor --all --json    every server of the configuration, for a script

    Nothing is changed, here or there. The connection stays open as after `mtr up`, and as there the key of a new
    host is stored and shown. A login may ask on a terminal, but never with --all. Exits with 1 if something
    fails; warnings leave 0.
    """  # noqa: D301  click wants the character itself
    from mtr.doctor.examine import examine

    keep_server(invocation, name)
    if everything and invocation.server:
        raise UsageError("--all takes no server beside it", hint="mtr doctor --all")
    waiting, voice = _Waiting(), Voice()
    checks = examine(
        invocation.directory,
        invocation.server,
        os.environ,
        voice,
        everything=everything,
        may_prompt=voice.can_ask() and not as_json,
        waits=waiting.show,
    )
    with closing(checks):
        found = _print_json(checks) if as_json else _print_list(checks, waiting)
    return 1 if found["fail"] else 0


def _print_json(checks: Iterable[Check]) -> Counter[str]:
    found = [*checks]
    print_data("doctor", [check.to_json() for check in found])
    return Counter(check.state for check in found)


def _print_list(checks: Iterable[Check], waiting: _Waiting) -> Counter[str]:
    """Print each check as it comes, below its place; what was not tried for one reason shares a line."""
    counts: Counter[str] = Counter()
    title = ""
    skipped: list[Check] = []
    failed: list[Check] = []
    for check in checks:
        waiting.clear()
        counts[check.state] += 1
        failed += [check] if check.state == "fail" else []
        if skipped and (check.state, check.found, check.title) != (
            skipped[0].state,
            skipped[0].found,
            skipped[0].title,
        ):
            _print_skipped(skipped)
            skipped = []
        if check.title != title:
            click.echo(("\n" if title else "") + click.style(reveal_controls(check.title), bold=wants_colour(1)))
            title = check.title
        if check.state == "skip":
            skipped.append(check)
        else:
            _print_check(check.state, check.id, check.found, check.remedy)
    if skipped:
        _print_skipped(skipped)
    waiting.clear()
    click.echo(f"\n{_render_summary(counts, failed)}")
    return counts


def _print_skipped(checks: list[Check]) -> None:
    ids = ", ".join(check.id for check in checks)
    _print_check("skip", "", f"{checks[0].found}: {ids}", "")


def _print_check(state: str, id: str, found: str, remedy: str) -> None:  # noqa: A002
    """Print the mark, the name, what was found, further words below it, and the remedy last."""
    mark = click.style(f"{state:<4}", fg=_COLOURS[state]) if wants_colour(1) else f"{state:<4}"
    first, *more = [reveal_controls(line) for line in found.splitlines()] or [""]
    indent = " " * (_WIDTH + 9)
    start = f"{id:<{_WIDTH}} {first}" if id else first
    for number, line in enumerate(_wrap(start, len(indent) if id else 8, first=8)):
        click.echo(f"  {mark}  {line}".rstrip() if number == 0 else line)
    for line in more:
        click.echo(f"{indent}{line}")
    if remedy:
        # In one line, however long: it is there to be copied.
        click.echo(f"{indent}try: {reveal_controls(remedy)}")


def _wrap(text: str, indent: int, *, first: int) -> list[str]:
    """Return ``text`` in lines that fit on the terminal, further ones ``indent``ed; elsewhere as it is."""
    if not sys.stdout.isatty():
        return [text]
    width = max(60, shutil.get_terminal_size().columns)
    wrapped = textwrap.wrap(
        " " * first + text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
    return [wrapped[0][first:], *wrapped[1:]] if wrapped else [text]


def _render_summary(counts: Counter[str], failed: list[Check]) -> str:
    """Return how it went in one line, with what failed by name: it may have scrolled away."""
    warnings = render_count(counts["warn"], "warning")
    rest = f", {counts['skip']} not tried" if counts["skip"] else ""
    if failed:
        tried = counts.total() - counts["skip"]
        names = ", ".join(f"{check.id} ({check.place})" for check in failed)
        return reveal_controls(f"{len(failed)} of {tried} checks failed: {names}; {warnings}{rest}")
    return f"nothing failed: {counts['ok']} ok, {warnings}{rest}"


class _Waiting:
    """Shows on a terminal what is waited for, where the finding will stand.

    The cursor goes back to the start of the line, so that what a login asks, or mtr says, is written over it.
    """

    def __init__(self) -> None:
        self._shown = ""
        self._is_terminal = sys.stdout.isatty() and can_erase()

    def show(self, place: str, id: str) -> None:  # noqa: A002
        """Show that ``id`` is being looked at."""
        text = f"  ...   {id} ({reveal_controls(place)})"
        if self._is_terminal and id and text != self._shown:
            sys.stdout.write(f"{ERASE_LINE}{text}\r")
            sys.stdout.flush()
            self._shown = text

    def clear(self) -> None:
        """Take away what is shown."""
        if self._shown:
            sys.stdout.write(ERASE_LINE)
            sys.stdout.flush()
            self._shown = ""
