"""Bytes cut to text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.streams.text import count_torn, count_unfinished, cut_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(texts, st.data())
def test_any_cut_leaves_whole_characters(text: str, data: st.DataObject) -> None:
    """What is left is at most three bytes, and with what follows they are the rest of the text."""
    whole = text.encode()
    at = data.draw(st.integers(0, len(whole)))
    head = cut_text(whole[:at], is_end=False)
    rest = cut_text(whole[head.used_bytes :], is_end=True)
    assert (head.is_exact, rest.is_exact, head.text + rest.text) == (True, True, text)
    assert count_unfinished(whole[:at]) == at - head.used_bytes <= 3


@given(st.binary(max_size=30), st.integers(0, 30))
def test_any_bytes_give_the_same_text_in_two_reads_as_in_one(data: bytes, at: int) -> None:
    """Also those that are no text; all bytes are used, and exact is what can be encoded again."""
    head = cut_text(data[:at], is_end=False)
    rest = cut_text(data[head.used_bytes :], is_end=True)
    one = cut_text(data, is_end=True)
    assert head.text + rest.text == one.text
    assert (one.used_bytes, head.used_bytes + rest.used_bytes) == (len(data), len(data))
    assert one.is_exact == (one.text.encode() == data)


@given(texts, st.data())
def test_a_torn_front_is_the_rest_of_one_character(text: str, data: st.DataObject) -> None:
    """Behind it everything is text again."""
    whole = text.encode()
    at = data.draw(st.integers(0, len(whole)))
    torn = count_torn(whole[at:])
    assert torn <= 3
    assert cut_text(whole[at + torn :], is_end=True).is_exact


@pytest.mark.parametrize("data", [b"\xff", b"a\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
def test_what_can_become_no_character_is_not_waited_for(data: bytes) -> None:
    """Surrogates and overlong forms included."""
    cut = cut_text(data, is_end=False)
    assert (cut.used_bytes, cut.is_exact, count_unfinished(data)) == (len(data), False, 0)
