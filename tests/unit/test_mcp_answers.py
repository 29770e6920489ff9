"""What an agent is answered: text that is never cut in a character, exact bytes, caps that are named."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mtr.agent.model import Listed, Look
from mtr.errors import MtrError
from mtr.mcp.answers import (
    MAX_COMMAND_CHARACTERS,
    MAX_LISTED,
    build_list,
    build_status,
    build_unknown,
    clean,
    cut_tail,
    cut_text,
    has_news,
    render_failure,
)
from mtr.streams.piece import Piece


def build_look(
    data: bytes, *, start: int = 0, length: int | None = None, status: str = "running", first: int = 0
) -> Look:
    """Return a look at a command that has printed ``data`` to stdout."""
    piece = Piece(start, data, start + len(data) if length is None else length, first)
    return Look("t", "lab", status, stdout=piece)


@given(st.text(), st.lists(st.integers(0, 40)))
def test_text_read_in_any_pieces_is_the_text(text: str, sizes: list[int]) -> None:
    """No character is cut or lost, none comes twice, and nothing is taken for bytes that are no UTF-8."""
    data, at, got = text.encode(), 0, ""
    for size in [*sizes, len(data) + 4]:
        piece = data[at : at + size]
        cut = cut_text(piece, is_end=at + size >= len(data))
        assert cut.exact is None
        got, at = got + cut.text, at + cut.used_bytes
    assert (got, at) == (text, len(data))


@given(st.binary(), st.booleans())
def test_any_bytes_can_be_had_exactly(data: bytes, is_end: bool) -> None:
    """As text, or in base64 beside it; at most three bytes wait for the next read, and none at the end."""
    cut = cut_text(data, is_end=is_end)
    used = data[: cut.used_bytes]
    assert (cut.text.encode() if cut.exact is None else base64.b64decode(cut.exact)) == used
    assert len(data) - len(used) <= (0 if is_end else 3)


def test_a_part_of_a_character_is_no_news_until_the_end() -> None:
    """Or a call that waits for output would be answered with none, again and again."""
    assert not has_news(build_look(b"\xc3"))
    assert has_news(build_look(b"\xc3\xa4"))
    assert has_news(build_look(b"\xff"))
    assert has_news(build_look(b"", status="completed"))
    ended = build_status(build_look(b"\xc3", status="completed"), limit_bytes=100)
    assert (ended["stdout"], ended["stdout_base64"], ended["next_stdout_offset"]) == ("\ufffd", "ww==", 1)


def test_more_says_whether_anything_can_be_read_right_now() -> None:
    """Not for a part of a character at the present end."""
    assert build_status(build_look(b"abc", length=9), limit_bytes=3)["more"]
    assert not build_status(build_look(b"ab\xc3"), limit_bytes=3)["more"]
    found = build_status(build_look(b"ab\xc3", length=4), limit_bytes=3)
    assert (found["stdout"], found["next_stdout_offset"], found["more"]) == ("ab", 2, True)


def test_a_buffer_that_has_dropped_its_oldest_bytes_says_so() -> None:
    """With where the data begins, and how much was dropped."""
    found = build_status(build_look(b"xyz", start=100, first=100), limit_bytes=10)
    names = ("stdout_truncated", "stdout_truncated_bytes", "stdout_start", "stdout_length", "next_stdout_offset")
    assert [found[name] for name in names] == [True, 100, 100, 103, 103]


def test_both_answers_of_a_query_have_the_same_fields() -> None:
    """Those that older callers know, and ours."""
    asked = {
        "token", "status", "exit_code", "stdout", "stderr", "stdout_length", "stderr_length", "stdout_truncated",
        "stderr_truncated", "execution_time", "timeout_occurred",
    }  # fmt: skip
    ours = {
        "server", "next_stdout_offset", "next_stderr_offset", "stdout_start", "stderr_start",
        "stdout_truncated_bytes", "stderr_truncated_bytes", "more", "error", "hint", "caps",
    }  # fmt: skip
    assert set(build_status(build_look(b""), limit_bytes=10)) == asked | ours
    assert set(build_unknown("t", "none", limit_bytes=10)) == asked | ours


def test_a_long_list_is_cut_and_says_of_how_many() -> None:
    """The newest stay; a long command is cut, too."""
    many = [Listed(str(n), "lab", "completed", "x" * 9999, 0, float(n)) for n in range(MAX_LISTED + 5)]
    found = build_list(many, {"off": MtrError("down", hint="mtr up")})
    assert (len(found["commands"]), found["total"]) == (MAX_LISTED, MAX_LISTED + 5)
    assert found["commands"][0]["token"] == str(MAX_LISTED + 4)
    assert len(found["commands"][0]["command"]) == MAX_COMMAND_CHARACTERS + 1
    assert found["not_asked"] == [{"server": "off", "error": "down [error]\nnext: mtr up"}]


def test_a_command_of_a_server_with_two_names_is_one() -> None:
    """Each name tells of it; another command with the same token stays."""
    one = Listed("t", "lab", "running", "x", None, 1.0)
    found = build_list([one, replace(one, server="me@lab"), replace(one, command="y")], {})
    assert (len(found["commands"]), found["total"]) == (2, 2)


def test_an_error_is_what_where_and_what_next() -> None:
    """Control characters of a server are made visible, and its words are cut to their end."""
    assert render_failure(MtrError("m", detail="d\x1b[2J", hint="h")) == "m [error]\nd\\x1b[2J\nnext: h"
    assert len(render_failure(MtrError("m", detail="x" * 99_999))) < 5_000


@given(st.text(alphabet=st.characters()))
def test_every_text_fits_into_the_protocol(text: str) -> None:
    """Also what was no UTF-8 on a server."""
    found = clean({"a": [text, {"b": text + "\udcff"}]})
    json.dumps(found, ensure_ascii=False).encode()


def test_the_end_of_a_stream_says_that_it_is_not_all() -> None:
    """It begins with a whole character; what is no text is bytes."""
    assert cut_tail(Piece(0, b"abc", 3, 0), "n") == "abc"
    assert (
        cut_tail(Piece(7, b"\xa4bc", 10, 0), "n")
        == "[n: the last 2 of 10 bytes; query_command_status reads the rest]\nbc"
    )
    assert cut_tail(Piece(0, b"\xff", 1, 0), "n") == b"\xff"


def test_what_is_hardly_text_is_told_exactly_alone() -> None:
    """A long answer of it has base64 and no text; a short one, or one with a few odd bytes, has both."""
    noise = bytes(range(256)) * 20
    assert (cut_text(noise, is_end=True).text, cut_text(noise, is_end=True).used_bytes) == ("", len(noise))
    assert base64.b64decode(cut_text(noise, is_end=True).exact or "") == noise
    assert cut_text(noise[128:400], is_end=True).text.startswith("\ufffd")
    assert cut_text(b"caf\xe9 " * 1000, is_end=True).text == "caf\ufffd " * 1000
