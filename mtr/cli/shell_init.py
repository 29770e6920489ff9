"""``mtr shell-init``: what a shell evaluates when it starts, and the answers to its TABs.

``answer`` is the way without click, on which both go: it prints, or leaves the words to click where they ask for help
or are wrong.
"""

from __future__ import annotations

import os
import sys

from mtr.completion.start import SHELLS, build_start, detect_shell, ensure_alias, find_program
from mtr.errors import MtrError, render_error
from mtr.names import Names, load_own_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from mtr.command_line import Invocation
    from mtr.completion.candidates import Answer


def answer(words: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """Print what the plain forms of ``mtr shell-init`` ask for and return the status; None for any other form."""
    if words[:1] == ["--complete"] and len(words) > 2:
        print_candidates(words[1], list(words[2:]), environ)
        return 0
    rest = list(words)
    shell = rest.pop(0) if rest and rest[0] in SHELLS else ""
    if rest and (len(rest) != 2 or rest[0] != "--alias"):
        return None
    print_start(shell, rest[1] if rest else None, environ)
    return 0


def print_start(shell: str, alias: str | None, environ: Mapping[str, str]) -> None:
    """Print what ``shell`` evaluates; a configuration that is wrong is said, and leaves the shell without its names."""
    if alias is not None:
        ensure_alias(alias)
    shell = shell or detect_shell(environ)
    try:
        names = load_own_names(environ)
    except (MtrError, OSError) as error:
        sys.stderr.write(render_error(error if isinstance(error, MtrError) else MtrError(str(error))))
        names = Names([], [], {})
    program, commands = find_program(sys.argv[0], environ)
    sys.stdout.write(build_start(shell, names, program, commands, alias or ""))


def print_candidates(shell: str, given: list[str], environ: Mapping[str, str]) -> None:
    """Print the kind of the answer, then one candidate a line; whatever goes wrong, a TAB says nothing."""
    from mtr.cli.tree import load_tree
    from mtr.completion.candidates import complete
    from mtr.completion.line import find_cursor, split_line

    words, quote = split_line(given[0]) if shell == "bash" else (given, "")
    try:
        found = complete(find_cursor(words), environ, lambda: load_tree(environ))
    except (MtrError, OSError):
        return
    if shell == "bash":
        found.words = _fit_for_bash(found, given, words[-1], quote)
    sys.stdout.write(render_answer(found))


def _fit_for_bash(found: Answer, given: list[str], current: str, quote: str) -> list[tuple[str, str]]:
    """Return the words as bash puts them in: quoted, without what it keeps of the line, and without descriptions."""
    from mtr.completion.line import count_kept, quote_for_bash

    kept = 0 if quote else count_kept(given[0], current, "".join(given[1:]))
    words = [word for word, _ in found.words]
    if found.kind == "paths":
        words = list(filter(None, (quote_for_bash(word[kept:], given[0], current, quote) for word in words)))
    else:
        words = [word[kept:] for word in words]
    return [(word, "") for word in words]


def render_answer(found: Answer) -> str:
    """Return the lines for a shell: the kind, then the words, a tab before a description."""
    lines = [found.kind]
    for word, text in found.words:
        shown = "".join(character for character in " ".join(text.split())[:100] if character.isprintable())
        lines.append(f"{word}\t{shown}" if shown else word)
    return "\n".join(lines) + "\n"


def _build_command() -> click.Command:
    import click

    @click.command()
    @click.argument("shell", required=False, type=click.Choice(list(SHELLS)))
    @click.option("--alias", metavar="NAME", help="Define NAME as a short form of mtr, too.")
    @click.pass_obj
    def shell_init(invocation: Invocation, shell: str | None, alias: str | None) -> None:
        """Print what a shell needs for short names and completion.

        \b
          eval "$(mtr shell-init)"              in ~/.bashrc or ~/.zshrc
          mtr shell-init fish | source          in ~/.config/fish/config.fish
          eval "$(mtr shell-init --alias m)"    and m is short for mtr

        TAB then completes options, verbs, servers, aliases, the server's programs, and behind mtr get its files; it
        asks the server only where a connection is open. For the servers and aliases of your own
        ~/.config/mtr/config.yaml there are commands: mtr-NAME CMD is mtr -s NAME CMD, and an alias is a command where
        no other is called so.
        """  # noqa: D301  click wants the character itself
        del invocation
        print_start(shell or "", alias, os.environ)

    return shell_init


def __getattr__(name: str) -> object:
    # click loads with the command alone: no start of a shell waits for it.
    if name == "shell_init":
        return _build_command()
    raise AttributeError(name)
