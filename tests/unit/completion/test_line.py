"""Where the cursor stands on a line, and how bash gets a word back."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtr.completion.line import find_cursor, quote_for_bash, split_line


@pytest.mark.parametrize(
    ("line", "words", "quote"),
    [
        ("mtr ", ["mtr", ""], ""),
        ("mtr a", ["mtr", "a"], ""),
        (r"mtr a\ b", ["mtr", "a b"], ""),
        ("mtr 'a b", ["mtr", "a b"], "'"),
        ('mtr "a b', ["mtr", "a b"], '"'),
        ("mtr 'a' ", ["mtr", "a", ""], ""),
        ("", [""], ""),
    ],
)
def test_a_line_has_its_words_without_quotes(line: str, words: list[str], quote: str) -> None:
    """An unfinished word is the last one, a quote that is open is told."""
    assert split_line(line) == (words, quote)


def test_options_are_told_from_the_command() -> None:
    """As a run is parsed: their arguments, attached ones, --, run, and where they end."""
    cursor = find_cursor(["mtr", "-s", "gpu", "-C", "/x", "-e", "A=b", "--no-sync", "python", "-s", ""])
    assert (cursor.server, cursor.directory, cursor.words, cursor.option) == ("gpu", "/x", ["python", "-s"], None)
    assert find_cursor(["mtr", "-s", "x"]).option is not None
    attached = find_cursor(["mtr", "--server=gp"])
    assert (attached.option is not None, attached.current[attached.attached :]) == (True, "gp")
    assert find_cursor(["mtr", "-sgp"]).attached == 2
    assert find_cursor(["mtr", "--", "sync", ""]).verb == ""
    assert find_cursor(["mtr", "run", "sync", ""]).verb == ""
    assert find_cursor(["mtr", "sync", ""]).verb == "sync"
    assert find_cursor(["mtr-gpu-01", "sync", ""]).server == "gpu-01"


@settings(max_examples=40, deadline=None)
@given(word=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=12))
def test_bash_reads_back_what_it_was_given(word: str) -> None:
    """Whatever a server calls its files, unquoted and in either quote, and nothing of it is run."""
    for quote in ("", "'", '"'):
        quoted = quote_for_bash(word, f"mtr get {quote}", "", quote)
        if not quoted:
            assert quote
            continue
        script = f'set -- {quote}{quoted}{quote}; printf %s "$1"'
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
        assert done.stdout.decode() == word
