"""Commands for a server that runs Windows: quoted for its own shell, since no POSIX sh reads them there. Pure.

Sources: "Parsing C Command-Line Arguments" (Microsoft C runtime), for what a program makes of its command line;
``cmd /?`` for the characters that cmd takes for itself; about_Quoting_Rules and about_Parsing of PowerShell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mtr.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBE = "echo %OS% $env:OS"
"""Each of the two shells fills in its own half; a POSIX sh neither."""

_CMD_SPECIAL = re.compile(r'([()%!^"<>&|])')


def parse_shell(output: str) -> str:
    """Return the shell that has answered ``PROBE``: ``cmd``, ``powershell``, or "" where it is neither."""
    words = output.split()
    if words[:2] == ["Windows_NT", "$env:OS"]:
        return "cmd"
    return "powershell" if words[:2] == ["%OS%", "Windows_NT"] else ""


def quote_argument(word: str) -> str:
    """Return ``word`` as the C runtime reads it back: quotes around blanks, backslashes doubled before a quote."""
    if word and not re.search(r'[\s"]', word):
        return word
    doubled = re.sub(r'(\\*)"', r'\1\1\\"', word)
    return '"' + re.sub(r"(\\+)$", r"\1\1", doubled) + '"'


def build_windows_command(
    argv: Sequence[str], *, is_text: bool, shell: str, directory: str, env: Mapping[str, str]
) -> str:
    """Return the command line that runs ``argv`` in ``directory`` there; with ``is_text`` its one word is shell text.

    ``directory`` is relative to the home directory, where a session begins, or absolute, with slashes of either kind.

    Raises:
        UsageError: a line break in an argument: neither shell can hand it on.
    """
    if any(c in word for word in ([directory, *argv] if not is_text else [directory]) for c in "\n\r\0"):
        raise UsageError("an argument with a line break cannot be passed to Windows", hint="put it into a file")
    build = _build_powershell if shell == "powershell" else _build_cmd
    return build(argv, is_text, directory.replace("/", "\\"), env)


def _build_cmd(argv: Sequence[str], is_text: bool, directory: str, env: Mapping[str, str]) -> str:
    sets = [_escape_cmd(f'set "{name}={value}"') for name, value in env.items()]
    # cmd takes a caret for "the next character is none of mine", quotes included, so it sees no quotes at all.
    words = argv[0] if is_text else _escape_cmd(" ".join(map(quote_argument, argv)))
    return " && ".join([_escape_cmd(f'cd /d "{directory}"'), *sets, words])


def _escape_cmd(text: str) -> str:
    return _CMD_SPECIAL.sub(r"^\1", text)


def _build_powershell(argv: Sequence[str], is_text: bool, directory: str, env: Mapping[str, str]) -> str:
    place = f"$ErrorActionPreference='Stop'; Set-Location -LiteralPath {_quote_powershell(directory)}"
    sets = [f"$env:{name}={_quote_powershell(value)}" for name, value in env.items()]
    # Before 7.3 a quote inside an argument reaches a program only with a backslash.
    words = argv[0] if is_text else "& " + " ".join(_quote_powershell(word.replace('"', '\\"')) for word in argv)
    return "; ".join([place, *sets, "$ErrorActionPreference='Continue'", words, "exit $LASTEXITCODE"])


def _quote_powershell(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
