"""``mtr run``: the long form of a run. The words behind it are parsed where every run's are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mtr.cli.app import render_options
from mtr.errors import UsageError

if TYPE_CHECKING:
    from mtr.command_line import Invocation


class _Run(click.Command):
    """Shows the one table of options, which click does not parse here."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the table has."""
        del ctx
        with formatter.section("Options, before the command"):
            formatter.write_dl(render_options())


@click.command(cls=_Run, options_metavar="[OPTIONS] [--] CMD [ARGS]...")
@click.pass_obj
def run(invocation: Invocation) -> int:
    """Sync the project, then run CMD on the server, in its copy of the directory you stand in.

    The same as mtr [OPTIONS] CMD, for a CMD that has a name of mtr's own. Options end at the first word that is
    none. CMD alone, as one word, is text for the server's shell; several words are an argv, and arrive as they are.
    Exits with the command's own status, 128+n for death by signal n; 125 when mtr itself failed.
    """
    del invocation
    raise UsageError("a run needs a command", hint="mtr run [OPTIONS] -- CMD; mtr run --help")
