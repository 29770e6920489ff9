"""Aliases: first words of the user's own that stand for a longer command line. Pure; builtin modules alone.

An alias is text that is split into words as a POSIX shell splits it, and no shell reads it: what only a shell
understands in it (``|``, ``$HOME``, ``*``) is refused when the configuration is read. With ``!`` in front the rest is
text for the server's shell, and further words are appended to it quoted, as git does it:

    train: python train.py --lr 0.1         mtr train --epochs 3 → python train.py --lr 0.1 --epochs 3
    top2: -s gpu-02 --no-sync htop          options of mtr may come first; those that are typed are stronger
    bench: "!make && ./bench | tee log"     one word of text

What an alias leads to is not expanded again: ``ls: ls --color`` means the program, and an alias of a project's file
never reaches one of the user's own, which may do more. mtr's own words are never expanded, nor is anything behind
``--`` or ``run``.
"""

from __future__ import annotations

from mtr.command_line import OPTIONS, OWN_WORDS, Invocation, parse_arguments
from mtr.errors import UsageError
from mtr.quoting import quote_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HARMLESS = frozenset(("server", "env", "sync", "tty", "timeout_s", "dry_run", "quiet", "verbose"))
"""Options that an alias of a project's file may carry: they write nothing here and lead to no other directory."""

_FOR_SHELLS = frozenset("|&;<>()$`*?[\n")


def expand_alias(arguments: Sequence[str], invocation: Invocation, aliases: Mapping[str, str]) -> Invocation:
    """Return what ``arguments``, parsed as ``invocation``, mean with ``aliases``: the same where none is meant.

    Raises:
        UsageError: the words of an alias are no command line.
    """
    if invocation.forced or invocation.own_word or not invocation.words or invocation.words[0] not in aliases:
        return invocation
    name, *rest = invocation.words
    typed = arguments[: len(arguments) - len(invocation.words)]
    options, words, is_text = split_alias(name, aliases[name])
    command = ["--", f"{words[0]} {quote_all(rest)}".rstrip()] if is_text else [*words, *rest]
    expanded = parse_arguments([*options, *typed, *command])
    expanded.alias = f"{name}: {aliases[name]}"
    return expanded


def split_alias(name: str, text: str) -> tuple[list[str], list[str], bool]:
    """Return the options of mtr in front, the words of the command, and whether that is one word of text for a shell.

    Raises:
        UsageError: it is no command line, with the reason.
    """
    if text.startswith("!"):
        return [], [_ensure_text(name, text)], True
    if found := find_shell_syntax(text):
        shown = "a newline" if found == "\n" else found
        reason = f"holds {shown}, which only a shell understands; put ! in front of the text, or quote it"
        raise UsageError(f"alias {name}: {reason}", hint="mtr config check")
    words = split_words(text)
    if words is None:
        raise UsageError(f"alias {name}: a quote is not closed", hint="mtr config check")
    try:
        parsed = parse_arguments(words)
    except UsageError as error:
        raise UsageError(f"alias {name}: {error.message}", hint=error.hint) from error
    command = parsed.words
    if not command or parsed.help or parsed.version or parsed.init:
        raise UsageError(f"alias {name}: names no command", hint="mtr run --help")
    if command[0].startswith("!") and len(command) == 1:
        return words[:-1], [_ensure_text(name, command[0])], True
    # `--` and `run` stay in front of their command: what they force is still forced.
    split = len(words) - len(command)
    if words[:split] and words[split - 1] in ("--", "run"):
        split -= 1
    return words[:split], words[split:], False


def _ensure_text(name: str, text: str) -> str:
    if not text[1:].strip():
        raise UsageError(f"alias {name}: names no command", hint="mtr run --help")
    return text[1:].strip()


def find_flaw(name: str, text: str, *, is_own: bool) -> str:
    """Return what is wrong with an alias, "" for nothing; ``is_own`` says that the user's own file holds it.

    An alias of a project's file may come with a clone. It may choose what runs on the server, as the rest of that file
    may, but neither write here, nor lead elsewhere, nor stand for a verb of mtr's.
    """
    if name in OWN_WORDS:
        return "is a word of mtr's own, which no alias can stand for"
    try:
        options, words, is_text = split_alias(name, text)
        parsed = parse_arguments([*options, *(["--"] if is_text else []), *words])
    except UsageError as error:
        return error.message.removeprefix(f"alias {name}: ")
    if is_own:
        return ""
    if parsed.own_word:
        return f"stands for `mtr {parsed.own_word}`, which only an alias of your own ~/.config/mtr/config.yaml may"
    plain = Invocation()
    for option in OPTIONS:
        if option.name not in HARMLESS and getattr(parsed, option.name) != getattr(plain, option.name):
            return f"carries {option.flags[-1]}, which only an alias of your own ~/.config/mtr/config.yaml may"
    return ""


def find_shell_syntax(text: str) -> str:
    """Return the first character of ``text`` that a shell would not take for itself, "" where there is none."""
    before = " "
    for character, quote in _scan(text):
        if not quote and (character in _FOR_SHELLS or (character == "~" and before.isspace())):
            return character
        if quote == '"' and character in ("$", "`"):
            return character
        before = "" if quote else character
    return ""


def split_words(text: str) -> list[str] | None:
    """Return the words of ``text`` as a POSIX shell splits it, without expanding anything; None: a quote stays open."""
    words: list[str] = []
    word: str | None = None
    for character, quote in _scan(text):
        if quote == _OPEN:
            return None
        if quote or character not in " \t\n":
            word = (word or "") + character
        elif word is not None:
            words.append(word)
            word = None
    return words if word is None else [*words, word]


_OPEN = "open"


def _scan(text: str) -> Iterator[tuple[str, str]]:
    """Yield the characters of ``text`` less its quoting, each with what quotes it: "" for nothing.

    A quote that begins yields "" in that quote, since it makes a word even where nothing is in it; one that stays open
    yields ``_OPEN`` at the end.
    """
    quote, characters = "", iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            following = next(characters, "")
            if not following:
                quote = _OPEN
                break
            is_kept = quote and following not in '\\"$`\n'
            yield f"\\{following}" if is_kept else following, "\\"
        elif character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
            yield "", quote
        else:
            yield character, quote
    if quote:
        yield "", _OPEN
