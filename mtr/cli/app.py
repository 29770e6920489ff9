"""mtr's own commands: the table of verbs, the help, and the way from a parsed command line to click.

Each verb group is a file of this package and is imported only when it is used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mtr import __version__
from mtr.command_line import OPTIONS, Invocation
from mtr.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

VERBS = {
    "run": ("", "Run a command, spelt out: mtr run [OPTIONS] -- CMD."),
    "sync": ("mtr.cli.sync:sync", "Sync the project and run nothing."),
    "undo": ("mtr.cli.undo:undo", "Bring back what the last sync replaced or deleted on the server."),
    "why": ("mtr.cli.why:why", "Say whether a path is synced, and which rule decides."),
    "get": ("mtr.cli.get:get", "Bring a file or a directory from the server."),
    "servers": ("mtr.cli.connections:servers", "List the servers and their connections."),
    "up": ("mtr.cli.connections:up", "Open the connection to a server, asking what must be asked."),
    "down": ("mtr.cli.connections:down", "Close it; running commands are left to end."),
    "trust": ("mtr.cli.trust:trust", "Allow what the project's configuration asks of this machine."),
    "demo": ("mtr.cli.demo:demo", "See it all work against a throwaway server on this machine."),
}
"""Verb to (module:function, short help). A verb of ``OWN_WORDS`` that is missing here is still to come."""

_EXAMPLES = """\
  mtr python train.py --lr 0.1      sync, then run there as if typed there
  mtr 'make && ./bench | tee log'   one word is text for the server's shell
  mtr -s dev@10.0.0.7 nvidia-smi    any server, without configuration
  mtr vim notes.md                  full-screen programs work
  mtr -- sync                       a remote program with a name of mtr's own
"""


def run_own(invocation: Invocation) -> int:
    """Do what is not a run: version, help, or one of mtr's own verbs; return the exit status."""
    if invocation.version:
        click.echo(f"mtr {__version__}")
        return 0
    word = invocation.own_word
    if word is None or word == "run":
        click.echo(render_help(), nl=False)
        return 0
    return _invoke(load_verb(word), invocation)


def load_verb(word: str) -> click.Command:
    """Return the click command for ``word``.

    Raises:
        UsageError: the word is reserved for a verb that this version does not have.
    """
    if word not in VERBS:
        raise UsageError(
            f"`mtr {word}` is reserved and not part of this version",
            hint=f"for a remote program of that name: mtr -- {word}",
        )
    module, _, name = VERBS[word][0].partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    return command


def _invoke(command: click.Command, invocation: Invocation) -> int:
    """Run ``command`` with the words behind its name; click's own complaints become errors of mtr's tree."""
    _ensure_taken(command, invocation)
    arguments = [*invocation.words[1:], *(["--help"] if invocation.help else [])]
    name = f"mtr {invocation.words[0]}"
    try:
        result = command.main(arguments, prog_name=name, standalone_mode=False, obj=invocation)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        raise UsageError(error.format_message(), hint=f"{name} --help") from error
    return result if isinstance(result, int) else 0


def _ensure_taken(command: click.Command, invocation: Invocation) -> None:
    """Refuse an option that stands before a verb and means nothing to it: --dry-run must never be overheard."""
    taken = {parameter.name for parameter in command.params} | {"words", "forced", "help", "version"}
    plain = Invocation()
    for option in OPTIONS:
        if option.name not in taken and getattr(invocation, option.name) != getattr(plain, option.name):
            word = invocation.words[0]
            raise UsageError(f"`mtr {word}` takes no {option.flags[-1]}", hint=f"mtr {word} --help")


def take(*names: str) -> Callable[[F], F]:
    """Return a decorator that gives a verb the options ``names`` of the common table."""

    def decorate(function: F) -> F:
        for option in reversed([o for o in OPTIONS if o.name in names]):
            is_flag = not option.metavar
            function = click.option(
                *option.flags, option.name, help=option.help, metavar=option.metavar or None, is_flag=is_flag
            )(function)
        return function

    return decorate


def choose(given: Any, invocation: Invocation, name: str) -> Any:
    """Return the option ``name`` as given behind the verb, else as given before it."""
    return given or getattr(invocation, name)


def render_help() -> str:
    """Return the help: one screen, from the same tables that are parsed."""
    formatter = click.HelpFormatter(width=96)
    formatter.write("Edit here, run there: your files on the server, the command as if typed there.\n\n")
    formatter.write("Usage: mtr [OPTIONS] CMD [ARGS]...\n")
    formatter.write("       mtr VERB [OPTIONS] [ARGS]...\n\n")
    formatter.write(f"Examples:\n{_EXAMPLES}\n")
    with formatter.section("Options, before CMD"):
        formatter.write_dl([(_render_flags(option.flags, option.metavar), option.help) for option in OPTIONS])
    with formatter.section("Verbs"):
        formatter.write_dl([(word, text) for word, (_, text) in VERBS.items()])
    return formatter.getvalue()


def _render_flags(flags: tuple[str, ...], metavar: str) -> str:
    return f"{', '.join(flags)} {metavar}".strip()


def is_interactive() -> bool:
    """Tell whether a person can be asked: stdin and stderr are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()
