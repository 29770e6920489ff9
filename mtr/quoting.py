r"""Quoting for shells: the one way that survives every login shell, and POSIX quoting inside it.

No plain quoting survives bash, dash, zsh, fish and tcsh alike: fish treats backslashes in single quotes its
own way, tcsh ``!`` and newlines. What every one of them passes on unchanged is a single-quoted word of safe
characters, with every other byte written ``\0ooo`` and decoded by ``printf %b`` of a POSIX sh on the far side:

    exec /bin/sh -c 'mtr_sent=$(printf %b "$1") && eval "$mtr_sent"' NAME 'ENC'

What decodes is a process of its own: were it killed, half of a script would run, or nothing and with status 0.
ENC decodes to ``set -- ARGUMENTS``, a newline, and the text of a script under ``shell/remote``. Pure; no I/O.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SAFE_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@ ")
"""Bytes that no login shell touches inside single quotes, and that ``printf %b`` leaves alone."""

MAX_COMMAND_BYTES = 128 * 1024 - 1
"""Linux takes no single argument longer than MAX_ARG_STRLEN, 32 pages (execve(2)), its NUL included."""

_TYPED = frozenset(map(chr, SAFE_BYTES - {ord(" ")}))

_ENCODED = [chr(b) if b in SAFE_BYTES else f"\\0{b:03o}" for b in range(256)]


def quote_posix(text: str) -> str:
    """Return ``text`` as one word for a POSIX shell, always in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


def quote_all(words: Iterable[str]) -> str:
    """Return ``words`` as a list of single-quoted words for a POSIX shell."""
    return " ".join(map(quote_posix, words))


def quote_as_typed(words: Iterable[str]) -> str:
    """Return ``words`` as a person would type them: in quotes where a shell would read anything into them."""
    return " ".join(word if word and _TYPED.issuperset(word) else quote_posix(word) for word in words)


def encode_script(script: str) -> str:
    r"""Return ``script`` with every unsafe byte as ``\0ooo``.

    Arguments from the command line carry bytes that are not UTF-8 as surrogates; they come out as those bytes.
    """
    return "".join([_ENCODED[b] for b in os.fsencode(script)])


def build_remote_command(name: str, script: str, arguments: Iterable[str]) -> str:
    """Return the command line that runs ``script`` with ``arguments`` under any login shell.

    ``name`` becomes ``$0`` there, and with it what ``ps`` shows: letters, digits and ``-`` only.
    """
    encoded = encode_script(f"set -- {quote_all(arguments)}\n{script}")
    return f"exec /bin/sh -c 'mtr_sent=$(printf %b \"$1\") && eval \"$mtr_sent\"' {name} '{encoded}'"
