"""The options that verbs share: those of the common table, ``--json``, and what stands behind every verb.

What is given behind a verb replaces, in the invocation, what was given in front of it, so that a verb has one place to
look: ``mtr -s gpu-01 sync`` and ``mtr sync -s gpu-01`` are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from mtr.command_line import OPTIONS
from mtr.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.command_line import Invocation

F = TypeVar("F", bound="Callable[..., Any]")

take_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Gives a verb that answers with data ``--json``: see ``envelope``."""


def take(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a verb the options ``names`` of the common table, for the invocation."""

    def decorate(function: F) -> F:
        for option in reversed([o for o in OPTIONS if o.name in names and o.help]):
            more: dict[str, Any] = {"metavar": option.metavar or None, "is_flag": not option.metavar}
            function = click.option(
                *option.flags, option.name, help=option.help, expose_value=False, callback=_keep, **more
            )(function)
        return function

    return decorate


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(context.obj, str(parameter.name), value)


def take_everywhere(command: click.Command) -> None:
    """Let ``-v``, ``-vv`` and ``-h`` stand behind ``command``, and behind the verbs below it."""
    if all(parameter.name != "verbose" for parameter in command.params):
        text = next(option.help for option in OPTIONS if option.name == "verbose")
        click.option("-v", "--verbose", count=True, expose_value=False, callback=_tell_more, help=text)(command)
        click.help_option("-h", "--help", help=_find_help())(command)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            take_everywhere(below)


def _find_help() -> str:
    return next(option.help for option in OPTIONS if option.name == "help")


def _tell_more(_context: click.Context, _parameter: click.Parameter, value: int) -> None:
    if value:
        from mtr.watched import raise_verbosity

        raise_verbosity(value)


def keep_server(invocation: Invocation, name: str | None) -> None:
    """Let the argument NAME of a verb stand for ``-s NAME``.

    Raises:
        UsageError: both are given, and differ.
    """
    if name is not None and invocation.server not in (None, name):
        raise UsageError(f"{name}, or -s {invocation.server}? They differ", hint="name one server")
    invocation.server = name or invocation.server
