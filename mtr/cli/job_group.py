"""How click takes the verbs of ``mtr job``: what they share, and what is said of one that is none."""

from __future__ import annotations

from difflib import get_close_matches

import click

from mtr.cli.app import render_options
from mtr.cli.options import take
from mtr.errors import UsageError

_ELSEWHERE = {
    "ls": "list", "ps": "list", "status": "list", "squeue": "list",
    "log": "logs", "tail": "logs -f", "follow": "logs -f", "cat": "logs",
    "kill": "stop", "cancel": "stop", "end": "stop",
    "remove": "rm", "delete": "rm", "clean": "prune", "gc": "prune",
    "run": "start", "submit": "start", "inspect": "show", "info": "show", "describe": "show",
    "get": "pull", "fetch": "pull", "join": "attach", "enter": "attach",
}  # fmt: skip
"""What other tools call these verbs."""


class JobVerbs(click.Group):
    """Every verb of it takes -s and -C behind itself, too."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that ``args`` begin with; one that other tools have is told by its name here."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            close = _ELSEWHERE.get(args[0]) or next(iter(get_close_matches(args[0][:100], self.commands, n=1)), "")
            hint = f"did you mean mtr job {close}? " if close else ""
            raise UsageError(f"`mtr job` has no {args[0]}", hint=f"{hint}mtr job --help")
        return super().resolve_command(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add ``cmd`` with these options, which count more than those in front."""
        if cmd.name != "start":
            take("server", "directory")(cmd)
        super().add_command(cmd, name)


class JobStart(click.Command):
    """Shows the one table of options, which click does not parse here."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the table has."""
        del ctx
        with formatter.section("Options, before the command"):
            formatter.write_dl(render_options())
