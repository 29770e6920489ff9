"""mtr's own commands: the table of verbs, the help, and the way from a parsed command line to click.

Each verb group is a file of this package and is imported only when it is used.
"""

from __future__ import annotations

import importlib

import click

from mtr import __version__
from mtr.cli.envelope import print_failure
from mtr.cli.options import take_everywhere
from mtr.command_line import OPTIONS, Invocation
from mtr.errors import MtrError, UsageError

VERBS = {
    "init": ("mtr.cli.init:init", "Set up this project: ask, try the connection, write the configuration."),
    "run": ("mtr.cli.run:run", "Run a command, spelt out: mtr run [OPTIONS] -- CMD."),
    "sync": ("mtr.cli.sync:sync", "Sync the project and run nothing."),
    "undo": ("mtr.cli.undo:undo", "Bring back what the last sync replaced or deleted on the server."),
    "why": ("mtr.cli.why:why", "Say whether a path is synced, and which rule decides."),
    "get": ("mtr.cli.get:get", "Bring files and directories from the server."),
    "servers": ("mtr.cli.connections:servers", "List the servers and their connections."),
    "up": ("mtr.cli.connections:up", "Open the connection to a server, asking what must be asked."),
    "down": ("mtr.cli.connections:down", "Close it; running commands are left to end."),
    "doctor": ("mtr.cli.doctor:doctor", "Try all that mtr needs, here and there, and say what is missing."),
    "config": ("mtr.cli.config:config", "Show, check and locate the configuration."),
    "trust": ("mtr.cli.trust:trust", "Allow what the project's configuration asks of this machine."),
    "ssh-config": ("mtr.cli.ssh_config:ssh_config", "Let scp, git and editors share mtr's connections."),
    "shell-init": ("mtr.cli.shell_init:shell_init", "Print what a shell needs for aliases and completion."),
    "job": ("mtr.cli.job:job", "Commands that go on when their client has gone."),
    "mcp": ("mtr.cli.mcp:mcp", "Serve agents over the Model Context Protocol."),
    "demo": ("mtr.cli.demo:demo", "See it all work against a throwaway server on this machine."),
}
"""Verb to (module:function, short help). A verb of ``OWN_WORDS`` that is missing here is still to come."""

GROUPS = (
    (("sync", "why", "undo"), "bring the files; explain what is synced; take back"),
    (("get",), "bring results here"),
    (("job",), "what goes on when you have gone: start, list, logs, wait, stop"),
    (("servers", "up", "down"), "connections, seen and steered by hand"),
    (("init", "config", "trust"), "set up a project; see and check what counts"),
    (("doctor", "demo"), "find what is wrong; see it work on this machine"),
    (("ssh-config", "shell-init", "mcp"), "for scp, git, editors; your shell; agents"),
)
"""The verbs as the help shows them: those that belong together, and what they are for."""

EVERYWHERE = frozenset(("check_update", "enable_log", "log_file", "log_level", "result", "verbose"))
"""Options that every verb takes, in front of it: they are about mtr itself."""

_EXAMPLES = """\
  mtr init                           set this project up, once
  mtr python train.py --lr 0.1       sync, then run there as if typed there
  mtr 'make && ./bench | tee log'    one word is text for the server's shell
  mtr --pull 'out/*.png' ./plot      and bring back what it has made
  mtr -s dev@gpu-01 --no-sync bash   any server, without configuration
"""


def run_own(invocation: Invocation) -> int:
    """Do what is not a run: version, help, or one of mtr's own verbs; return the exit status."""
    if invocation.version:
        click.echo(f"mtr {__version__}")
        return 0
    word = invocation.own_word
    if word is None:
        click.echo(render_help(), nl=False)
        return 0
    return _invoke(load_verb(word), word, invocation)


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
    take_everywhere(command)
    return command


def _invoke(command: click.Command, word: str, invocation: Invocation) -> int:
    """Run ``command`` with what was given for it; with ``--json``, a failure is told as data, too."""
    arguments = _list_arguments(invocation)
    try:
        _ensure_taken(command, word, invocation)
        return _call(command, f"mtr {word}", arguments, invocation)
    except MtrError as error:
        if "--json" in arguments[: arguments.index("--") if "--" in arguments else None]:
            print_failure(word, error)
        raise


def _list_arguments(invocation: Invocation) -> list[str]:
    """Return the words behind the verb's name; ``--get R --to L`` are those of ``get``."""
    if invocation.words:
        return [*invocation.words[1:], *(["--help"] if invocation.help else [])]
    return ["--", *filter(None, (invocation.get, invocation.to))] if invocation.get else []


def _call(command: click.Command, name: str, arguments: list[str], invocation: Invocation) -> int:
    """Let click parse and run; its own complaints become errors of mtr's tree."""
    try:
        # Not main(), which makes 1 of a reader that has gone; make_context() takes words off the list that it gets.
        with command.make_context(name, [*arguments], obj=invocation) as context:
            result = command.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        raise _build_usage_error(error, name) from error
    return result if isinstance(result, int) else 0


def _build_usage_error(error: click.ClickException, name: str) -> UsageError:
    """Return click's complaint in the words that mtr's own parser has for it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"{context.command_path if context else name} --help"
    if isinstance(error, click.NoSuchOption):
        close = error.possibilities or ()
        return UsageError(f"no option {error.option_name}", hint=f"did you mean {close[0]}? {hint}" if close else hint)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        needed = error.param.make_metavar(click.Context(click.Command(name)))
        return UsageError(f"`{hint.removesuffix(' --help')}` needs {needed}", hint=hint)
    message = error.format_message().removesuffix(".")
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _ensure_taken(command: click.Command, word: str, invocation: Invocation) -> None:
    """Refuse an option that stands before a verb and means nothing to it: --dry-run must never be overheard."""
    taken = {parameter.name for parameter in command.params} | {"words", "forced", "help", "version"} | EVERYWHERE
    if not invocation.words:
        taken |= {"init", "get", "to"}
    plain = Invocation()
    for option in OPTIONS:
        if option.name not in taken and getattr(invocation, option.name) != getattr(plain, option.name):
            raise UsageError(f"`mtr {word}` takes no {option.flags[-1]}", hint=f"mtr {word} --help")


def render_help() -> str:
    """Return the help: one screen of 80 columns and 24 lines."""
    formatter = click.HelpFormatter(width=80)
    formatter.write("Edit here, run there: your files on the server, the command as if typed there.\n\n")
    formatter.write("Usage: mtr [OPTIONS] CMD [ARGS]...\n       mtr VERB [OPTIONS] [ARGS]...\n\n")
    formatter.write(f"{_EXAMPLES}\n")
    formatter.write("Options: -s SERVER, -C DIR, -e K=V, --no-sync, --no-tty, --dry-run; all of them:\n")
    formatter.write("  mtr run --help\n\n")
    formatter.write("Verbs; mtr VERB --help says more, mtr -- VERB runs a remote program so called:\n")
    formatter.indent()
    formatter.write_dl([(", ".join(words), text) for words, text in GROUPS])
    return formatter.getvalue()


def render_options() -> list[tuple[str, str]]:
    """Return every option that may stand before a command, and what it does."""
    return [(_render_flags(option.flags, option.metavar), option.help) for option in OPTIONS if option.help]


def _render_flags(flags: tuple[str, ...], metavar: str) -> str:
    return f"{', '.join(flags)} {metavar}".strip()
