"""Quoting: what is sent arrives, in every login shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtr.quoting import MAX_COMMAND_BYTES, build_remote_command, encode_script, quote_posix
from tests.unit.shells import LOGIN_SHELLS, run_shell

if TYPE_CHECKING:
    from pathlib import Path

SHOW = "printf '%s\\0' \"$@\"\n"

EVERY_BYTE = bytes(range(1, 256)).decode("utf-8", "surrogateescape")

HARD = [
    "",
    " ",
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "*",
    "~",
    "!x",
    "\\",
    "\\n",
    "\n",
    "a\n\n",
    "é",
    "日本",
    "-n",
    "%s",
    "\t",
]


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_every_byte_arrives_in_every_login_shell(shell: str, tmp_path: Path) -> None:
    """An argument of all bytes from 1 to 255, and each hard word, arrive unchanged."""
    words = [EVERY_BYTE, *HARD]
    command = build_remote_command("mtr-test", SHOW, words)
    done = run_shell([*LOGIN_SHELLS[shell], "-c", command], tmp_path)
    assert done.stdout.split(b"\0")[:-1] == [w.encode("utf-8", "surrogateescape") for w in words], done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"")), max_size=6))
def test_random_words_arrive_in_every_login_shell(shell: str, tmp_path: Path, words: list[bytes]) -> None:
    """Any list of words arrives as the same list."""
    command = build_remote_command("mtr-test", SHOW, [w.decode("utf-8", "surrogateescape") for w in words])
    done = run_shell([*LOGIN_SHELLS[shell], "-c", command], tmp_path)
    assert done.stdout.split(b"\0")[:-1] == words or (not words and done.stdout == b"\0")


def test_the_encoding_holds_only_safe_characters() -> None:
    """What crosses the line has no quote, no expansion and no newline in it."""
    encoded = encode_script(EVERY_BYTE)
    assert not set(encoded) & set("'\"$`!\n\t*?[]{}()<>|&;#~%^")


def test_quoting_keeps_a_single_quote() -> None:
    """A single quote inside a word is closed, escaped and opened again."""
    assert quote_posix("it's") == "'it'\\''s'"


def test_the_longest_command_is_what_linux_takes() -> None:
    """One argument holds 128 KiB, its NUL included."""
    assert MAX_COMMAND_BYTES == 131_071
