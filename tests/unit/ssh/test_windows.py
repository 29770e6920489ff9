"""Command lines for Windows, read back by the rules of the C runtime and of the shells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.errors import UsageError
from mtr.ssh.windows import build_windows_command, parse_shell, quote_argument

WORDS = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize(
    ("output", "shell"),
    [
        ("Windows_NT $env:OS\r\n", "cmd"),
        ("%OS%\r\nWindows_NT\r\n", "powershell"),
        ("%OS% :OS\n", ""),
        ("%OS%\n", ""),
        ("", ""),
    ],
)
def test_the_shell_says_what_it_is(output: str, shell: str) -> None:
    """Each fills in its own half of the question."""
    assert parse_shell(output) == shell


def parse_c_runtime(line: str) -> list[str]:
    """Return the arguments in a command line by the rules of the C runtime: backslashes count before quotes alone."""
    words, word, is_quoted, index = [], None, False, 0
    while index < len(line):
        slashes = len(line[index:]) - len(line[index:].lstrip("\\"))
        index += slashes
        if line[index : index + 1] == '"':
            word = (word or "") + "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                is_quoted = not is_quoted
        elif slashes:
            word = (word or "") + "\\" * slashes
            continue
        elif line[index] in " \t" and not is_quoted:
            words += [word] if word is not None else []
            word = None
        else:
            word = (word or "") + line[index]
        index += 1
    return [*words, *([word] if word is not None else [])]


@given(st.lists(WORDS | st.text('\\" a', max_size=6), min_size=1, max_size=4))
def test_the_c_runtime_reads_every_argument_back(words: list[str]) -> None:
    """Blanks, quotes, backslashes in any number and order."""
    assert parse_c_runtime(" ".join(map(quote_argument, words))) == words


def unescape_cmd(text: str) -> str:
    """Return what cmd hands on: a caret goes, and the character behind it stays; a bare special one would act."""
    found, index = "", 0
    while index < len(text):
        if text[index] == "^":
            index += 1
        else:
            assert text[index] not in '()%!"<>&|', text
        found += text[index]
        index += 1
    return found


@given(st.lists(WORDS, min_size=2, max_size=4))
def test_cmd_takes_nothing_for_itself(words: list[str]) -> None:
    """Behind the directory stands the command line, whatever is in it."""
    line = build_windows_command(words, is_text=False, shell="cmd", directory="mtr/x", env={})
    start = r'cd /d ^"mtr\x^" && '
    assert line.startswith(start)
    assert unescape_cmd(line.removeprefix(start)) == " ".join(map(quote_argument, words))


def test_powershell_reads_single_quotes() -> None:
    """Nothing is expanded in them; a quote for the program has its backslash."""
    line = build_windows_command(
        ["prog", "it's", 'say "x"', "$HOME"], is_text=False, shell="powershell", directory="C:/a b", env={"K": "v'"}
    )
    assert "Set-Location -LiteralPath 'C:\\a b'; $env:K='v'''" in line
    assert "& 'prog' 'it''s' 'say \\\"x\\\"' '$HOME'; exit $LASTEXITCODE" in line


def test_text_is_the_shells_own() -> None:
    """One word is text for that shell, as it is for a POSIX one."""
    line = build_windows_command(["dir & ver"], is_text=True, shell="cmd", directory="x", env={"A": "1 & 2"})
    assert line == 'cd /d ^"x^" && set ^"A=1 ^& 2^" && dir & ver'


def test_a_line_break_is_refused() -> None:
    """Neither shell can hand it on."""
    with pytest.raises(UsageError):
        build_windows_command(["a", "b\nc"], is_text=False, shell="cmd", directory="x", env={})
