"""Command lines split into words exactly as a POSIX shell splits them, or refused. Pure; no I/O.

``parse_argv`` takes a text only where splitting it into words is all that a shell would do with it (POSIX.1-2017, Shell
Command Language, 2.2 and 2.3): what a shell would expand, redirect, join or leave out is refused unless it is quoted.
So the words can be judged, and executed, as they are. ``list_commands`` is its opposite: it finds the commands in any
text as well as that can be done without a shell, for what is advice and no boundary.
"""

from __future__ import annotations

import re

WILD = "\0"
"""Stands in a word of a pattern for a ``*`` that is not quoted; no word holds a NUL."""

_SYNTAX = {
    **dict.fromkeys(";&|", "which joins commands"),
    **dict.fromkeys("<>", "which redirects"),
    **dict.fromkeys("()", "which groups commands"),
    **dict.fromkeys("{}", "which groups or expands"),
    "\n": "which ends a command",
    "$": "which a shell expands",
    "`": "which runs a command within the command",
    **dict.fromkeys("*?[", "which a shell expands to names of files"),
    "!": "which negates, or recalls what was typed before",
}

_RESERVED = frozenset(
    """case coproc do done elif else esac fi for foreach function if in repeat select then time until while end
    nocorrect""".split()  # noqa: SIM905  a page of words
)
"""POSIX.1-2017, 2.4, and what bash, mksh and zsh have added, less what holds one of the characters above."""

_PREFIXES = _RESERVED | {"!", "{", "}", "builtin", "command", "exec", "nohup"}
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


class NotPlainWords(ValueError):
    """A shell would do more with a text than split it into words; the message says what, as the end of a sentence."""


def parse_argv(text: str) -> tuple[str, ...]:
    """Return the words of ``text``.

    Raises:
        NotPlainWords: a shell would do more with it than split it.
    """
    return tuple(_Scanner(text, "").scan())


def parse_pattern(text: str) -> tuple[str, ...]:
    """Return the words of a pattern: as :func:`parse_argv`, and ``*`` that are not quoted are ``WILD``.

    Raises:
        NotPlainWords: as there.
    """
    return tuple(_Scanner(text, "*").scan())


def find_flaw(word: str) -> str:
    """Return why ``word`` can be no part of any command, as the end of a sentence; "" where it can."""
    for character in word:
        if "\ud800" <= character <= "\udfff":
            return "is not text in UTF-8"
        if (character < " " and character not in "\t\n") or "\x7f" <= character <= "\x9f":
            return f"holds the control character {character!r}"
    return ""


class _Scanner:
    """Walks through a text once; ``wild`` are the characters that stand for ``WILD`` where they are not quoted."""

    def __init__(self, text: str, wild: str) -> None:
        if flaw := find_flaw(text):
            raise NotPlainWords(flaw)
        self._characters = iter(text)
        self._wild = wild
        self._words: list[str] = []
        self._word: str | None = None
        self._plain = ""
        """The beginning of the word, as far as nothing in it is quoted."""

    def scan(self) -> list[str]:
        """Return the words."""
        for character in self._characters:
            if character in " \t":
                self._end_word()
            elif character == "'":
                self._take_single()
            elif character == '"':
                self._take_double()
            elif character == "\\":
                self._quote(self._take_escaped())
            else:
                self._take_bare(character)
        self._end_word()
        return self._words

    def _take_bare(self, character: str) -> None:
        if character in self._wild:
            self._quote(WILD)
            return
        if character in _SYNTAX:
            raise NotPlainWords(f"holds {_show(character)} outside of quotes, {_SYNTAX[character]}")
        if not character.isprintable():
            raise NotPlainWords(f"holds U+{ord(character):04X} outside of quotes, which looks like a blank or nothing")
        if character == "#" and self._word is None:
            raise NotPlainWords("holds # at the beginning of a word, which begins a comment")
        if character == "~" and (self._word is None or self._word[-1:] in ("=", ":")):
            raise NotPlainWords("holds ~ outside of quotes, which a shell expands to a home directory")
        if self._word is None or self._word == self._plain:
            self._plain += character
        self._word = (self._word or "") + character

    def _quote(self, text: str) -> None:
        """Add what is quoted, even nothing: it makes a word, and is never a part of a name that is assigned to."""
        self._word = (self._word or "") + text
        if self._word == self._plain:
            # Empty quotes: what follows is no longer the beginning of the word.
            self._plain += WILD

    def _take_single(self) -> None:
        self._quote("")
        for character in self._characters:
            if character == "'":
                return
            self._quote(character)
        raise NotPlainWords("has a ' that is not closed")

    def _take_double(self) -> None:
        self._quote("")
        for character in self._characters:
            if character == '"':
                return
            if character in "$`":
                raise NotPlainWords(f"holds {character} in double quotes, {_SYNTAX[character]}")
            if character == "\\":
                following = self._take_escaped()
                self._quote(following if following in '$`"\\' else f"\\{following}")
            else:
                self._quote(character)
        raise NotPlainWords('has a " that is not closed')

    def _take_escaped(self) -> str:
        following = next(self._characters, "")
        if not following:
            raise NotPlainWords("ends with a backslash")
        if following == "\n":
            raise NotPlainWords("holds a backslash in front of a newline, which a shell leaves out")
        return following

    def _end_word(self) -> None:
        if self._word is None:
            return
        if not self._words and _ASSIGNMENT.match(self._plain):
            raise NotPlainWords("begins with NAME=, which sets a variable; name the program first")
        if not self._words and self._plain == self._word and self._word in _RESERVED:
            raise NotPlainWords(f"begins with `{self._word}`, a word of the shell's own")
        self._words.append(self._word)
        self._word, self._plain = None, ""


def _show(character: str) -> str:
    return "a newline" if character == "\n" else character


# -- what can be found in any text


def list_commands(text: str) -> list[tuple[str, ...]]:
    """Return the words of each command that ``text`` seems to hold, less assignments and words of the shell in front.

    Good guesses: what a shell expands stays as it is written, and what is not meant as a command may pass for one.
    """
    finder = _Finder(text)
    finder.walk()
    return [words for words in map(_strip, finder.commands) if words]


def _strip(words: list[str]) -> tuple[str, ...]:
    index = 0
    while index < len(words) and (words[index] in _PREFIXES or _ASSIGNMENT.match(words[index])):
        index += 1
    return tuple(words[index:])


class _Finder:
    """Walks through any text, and into what runs within it: ``$(...)`` and backticks, also in double quotes."""

    def __init__(self, text: str) -> None:
        self.commands: list[list[str]] = [[]]
        self._text = text
        self._word: str | None = None
        self._is_target = False
        """Whether the next word is what a redirection goes to."""
        self._quote = ""
        self._outer: list[tuple[str, str]] = []
        """What ends each command within a command, and the quote around that."""

    def walk(self) -> None:
        """Fill ``commands``."""
        characters = iter(self._text)
        before = ""
        for character in characters:
            if character == "\\" and self._quote != "'":
                self._word = (self._word or "") + next(characters, "")
            elif self._quote == "'" and character != "'":
                self._word = (self._word or "") + character
            elif character in "'\"" and self._quote in ("", character):
                self._quote = "" if self._quote else character
                self._word = self._word or ""
            else:
                self._take(before, character)
            before = character
        self._end_word()

    def _take(self, before: str, character: str) -> None:
        if self._outer and character == self._outer[-1][0] and not self._quote:
            self._begin_command(self._outer.pop()[1])
        elif character == "`" or (character == "(" and before == "$"):
            self._outer.append(("`" if character == "`" else ")", self._quote))
            self._begin_command("")
        elif self._quote or character not in " \t\n;|&()<>":
            self._word = (self._word or "") + character
        elif character in " \t<>":
            if character in "<>" and (self._word or "").isdigit():
                self._word = None  # which descriptor is redirected
            self._end_word()
            self._is_target = self._is_target or character in "<>"
        else:
            self._begin_command("")

    def _begin_command(self, quote: str) -> None:
        self._end_word()
        self._is_target, self._quote = False, quote
        self.commands.append([])

    def _end_word(self) -> None:
        if self._word is None:
            return
        if not self._is_target:
            self.commands[-1].append(self._word)
        self._word, self._is_target = None, False
