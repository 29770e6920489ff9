"""What is typed while attached: what goes to the job, and what leaves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.jobs.keys import TYPED_BYTES, Keys


def type_all(*pieces: bytes) -> tuple[bytes, bool]:
    keys = Keys()
    return b"".join(keys.take(piece) for piece in pieces), keys.is_leaving


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([b"\x1cd"], b""),
        ([b"\x1c", b"d"], b""),
        ([b"ls\r", b"\x1cD"], b"ls\r"),
        ([b"\x1b[92;5ud"], b""),
        ([b"\x1b[27;5;92~", b"d"], b""),
        ([b"~."], b""),
        ([b"ls\r", b"~", b"."], b"ls\r"),
    ],
)
def test_the_keys_for_leaving_leave_and_are_not_sent(pieces: list[bytes], sent: bytes) -> None:
    r"""Ctrl-\ d however the terminal sends it, and ~. where a line begins; in one piece or key by key."""
    assert type_all(*pieces) == (sent, True)


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([b"\x1c", b"\x1c", b"d"], b"\x1cd"),
        ([b"\x1c\x0e"], b"\x1c\x0e"),  # vim's Ctrl-\ Ctrl-N
        ([b"~~."], b"~."),
        ([b"cd ~", b"."], b"cd ~."),
        ([b"~", b"x", b"~."], b"~x~."),
        ([b"\x03\x1a\x04"], b"\x03\x1a\x04"),
        (["grüße ✓".encode()], "grüße ✓".encode()),
    ],
)
def test_every_other_key_is_the_jobs(pieces: list[bytes], sent: bytes) -> None:
    """The prefix twice is the prefix; before another key it goes with it; Ctrl-C, Ctrl-Z and Ctrl-D are plain keys."""
    assert type_all(*pieces) == (sent, False)


@given(st.binary(min_size=TYPED_BYTES + 1))
def test_what_is_pasted_goes_through_as_it_is(text: bytes) -> None:
    """A larger piece was not typed: no key in it leaves, no tilde is taken from it."""
    assert type_all(b"\r", b"~", text, b"x") == (b"\r~" + text + b"x", False)


@given(st.lists(st.binary(min_size=1, max_size=8)))
def test_nothing_is_lost_but_what_is_for_mtr(pieces: list[bytes]) -> None:
    """Without tilde and prefix, what is typed is what is sent, however it is cut."""
    clean = [piece.replace(b"~", b"a").replace(b"\x1c", b"b").replace(b"\x1b", b"c") for piece in pieces]
    assert type_all(*clean) == (b"".join(clean), False)
