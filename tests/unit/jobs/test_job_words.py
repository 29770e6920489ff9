"""What is told of a job in one line of JSON, and how a command looks as it would be typed."""

from __future__ import annotations

import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from mtr.jobs.start import build_about, build_pulls
from mtr.quoting import quote_as_typed


@given(st.dictionaries(st.sampled_from(["name", "command"]), st.text(st.characters(exclude_categories=["Cs"]))))
def test_json_reads_it_back(fields: dict[str, str]) -> None:
    """In one line of ASCII, whatever the text holds."""
    text = build_about(fields)
    assert json.loads(text) == fields
    assert text.isascii()
    assert text.isprintable()


def test_a_byte_that_was_no_utf_8_is_a_mark() -> None:
    """JSON has no such character, and the rest of the command is worth having."""
    assert json.loads(build_about({"command": "cat \udce9\U0001f600"})) == {"command": "cat \ufffd\U0001f600"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_a_shell_reads_the_words_back(words: list[str]) -> None:
    """Quotes stand where they are needed."""
    assert shlex.split(quote_as_typed(words)) == words


def test_plain_words_stay_as_they_are() -> None:
    """And those that a shell would read something into do not."""
    assert (
        quote_as_typed(["python", "train.py", "--lr=0.1", "a b", "$x", ""]) == "python train.py --lr=0.1 'a b' '$x' ''"
    )


def test_what_is_to_be_brought_is_one_a_line() -> None:
    """Never with a place here: that is said by who brings it."""
    assert build_pulls(["a", "b/*"]) == {"pull": "a\nb/*"}
