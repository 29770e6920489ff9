"""The modes of a terminal that joins a job late, and leaves it early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.jobs.screen import Screen, render_history

VIM = b"\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1006;1000h\x1b[2 q\x1b[?25l"


def watch(*pieces: bytes) -> Screen:
    screen = Screen()
    for piece in pieces:
        screen.watch(piece)
    return screen


def test_what_a_program_has_set_is_taken_back() -> None:
    """Mouse, pastes, cursor, keypad, the keys' protocol, and the screen last."""
    left = watch(VIM).leave()
    assert left.endswith(b"\x1b[?1049l\x1b[0m")
    for undo in (b"\x1b[?1000l", b"\x1b[?1006l", b"\x1b[?2004l", b"\x1b[?25h", b"\x1b>", b"\x1b[>4m", b"\x1b[0 q"):
        assert undo in left
    assert watch(b"plain \x1b[31mred\x1b[0m\r\n").leave() == b"\x1b[0m"


def test_what_it_has_taken_back_itself_is_left_alone() -> None:
    """Leaving a screen twice would move the cursor; a shell must not get the keys as an editor wanted them."""
    undone = b"\x1b[?1006;1000l\x1b[?2004l\x1b[?1l\x1b>\x1b[>4;m\x1b[0 q\x1b[?25h\x1b[?1049l"
    assert watch(VIM, undone).leave() == b"\x1b[0m"
    assert watch(VIM, undone).enter() == b""
    assert watch(b"\x1b[?1049h\x1b[?25l", b"bye\x1b[?25h\x1b[?1049l").leave() == b"\x1b[0m"


@given(st.integers(min_value=0, max_value=len(VIM)), st.binary(max_size=60))
def test_a_sequence_may_be_cut_anywhere(cut: int, noise: bytes) -> None:
    """Pieces end where the line has cut them."""
    text = noise.replace(b"\x1b", b"") + VIM
    assert watch(text[:cut], text[cut:]).leave() == watch(text).leave()


def test_modes_of_before_are_taken_up() -> None:
    """The server tells them; unknown ones are nobody's business."""
    screen = Screen()
    screen.recall("1049h,25l,2004h,3h,7h,")
    assert screen.is_full
    assert screen.enter() == b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[2J\x1b[H"
    for text in ("", ",", "h", "1049", "x,25l", "9" * 9999 + "h"):
        Screen().recall(text)


@pytest.mark.parametrize(
    "question",
    [
        b"\x1b[6n", b"\x1b[?6n", b"\x1b[c", b"\x1b[>c", b"\x1b[>0q", b"\x1b[?2026$p", b"\x1b[18t", b"\x1b]11;?\x07",
        b"\x1b]52;c;aGk=\x1b\\", b"\x1bP+q544e\x1b\\", b"\x05", b"\x07", b"\x1b[?u", b"\x1b[?1049h",
    ],
)  # fmt: skip
def test_history_asks_nothing(question: bytes) -> None:
    """A terminal would answer an old question now, and the answer would be typed into the job."""
    assert render_history(b"before" + question + b"after", is_whole=True) == b"beforeafter"


def test_history_keeps_what_is_to_be_seen() -> None:
    """Colours, movements and text stay; what was cut in front of the first line goes."""
    text = "31m\r\n\x1b[1;32mgrün\x1b[0m\x1b[K\x1b[2;5Hx\r\n".encode()
    assert render_history(text, is_whole=False) == text[4:]
    assert render_history(b"no end of a line", is_whole=False) == b"no end of a line"


def test_numbers_without_end_are_nothing() -> None:
    """What a job prints cannot end the client."""
    assert watch(b"\x1b[?" + b"9" * 9999 + b"h").leave() == b"\x1b[0m"
