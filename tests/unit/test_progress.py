"""What the progress bar and the figures beside it look like, at every width and in every locale."""

from __future__ import annotations

import re

import pytest

from mtr.ending import describe_status, is_conversation
from mtr.progress import is_unicode, render_bar, render_left
from mtr.voice import render_bytes, render_count, render_duration, render_span, shorten

MB = 1_000_000


def bar(width: int, *, is_unicode: bool = True, has_colour: bool = False, rate: float = 2.0 * MB) -> tuple[str, int]:
    return render_bar("sync", 45 * MB, 90 * MB, rate, width, is_unicode=is_unicode, has_colour=has_colour)


def test_a_wide_terminal_shows_all_of_it() -> None:
    """Label, bar, percent, bytes of bytes, rate, time left: sizes in one system of units."""
    assert bar(79)[0] == f"mtr: sync {'━' * 12}{'─' * 12}  50%  45 MB of 90 MB  2.0 MB/s  0:23 left"


@pytest.mark.parametrize("width", range(1, 140))
@pytest.mark.parametrize("has_colour", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, *, has_colour: bool) -> None:
    """A line that wraps could not be taken away again; what is said of its width is true, colours not counted."""
    line, columns = bar(width, has_colour=has_colour)
    assert len(re.sub(r"\x1b\[[0-9;]*m", "", line)) == columns <= width


def test_a_narrow_terminal_keeps_what_counts_most() -> None:
    """The time left goes first, then the rate, then the bar, the bytes, the label."""
    assert bar(50)[0] == f"mtr: sync {'━' * 4}{'─' * 5}  50%  45 MB of 90 MB  2.0 MB/s"
    assert bar(30)[0] == "mtr: sync  50%  45 MB of 90 MB"
    assert bar(20)[0] == "mtr: sync  50%"
    assert bar(8)[0] == "mtr: 50%"
    assert bar(4)[0] == " 50%"
    assert bar(3) == ("", 0)


def test_ascii_where_the_locale_has_no_more() -> None:
    """``#`` and ``-``."""
    assert bar(79, is_unicode=False)[0].startswith(f"mtr: sync {'#' * 12}{'-' * 12}  50%")
    assert bar(79, is_unicode=False)[0].isascii()


def test_what_is_not_known_is_not_shown() -> None:
    """No rate, no time left; a project of empty files divides nothing by nothing."""
    assert bar(79, rate=0)[0].endswith("50%  45 MB of 90 MB")
    assert render_bar("get", 0, 0, 0, 79, is_unicode=True, has_colour=False)[0].endswith("0%  0 B of 0 B")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, False),  # what Python itself sets in a C locale
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({}, False),
    ],
)
def test_the_locale_is_the_users(environ: dict[str, str], *, expected: bool) -> None:
    """LC_ALL, LC_CTYPE, LANG, in that order, without what Python changes for itself."""
    assert is_unicode(environ) is expected


def test_times_read_as_a_person_says_them() -> None:
    """Two figures at most."""
    seconds = (0.0001, 0.012, 0.9996, 3.44, 59.94, 59.96, 134, 11_100, 187_200)
    shown = ["<1 ms", "12 ms", "1.0 s", "3.4 s", "59.9 s", "1 min 0 s", "2 min 14 s", "3 h 5 min", "2 d 4 h"]
    assert [render_duration(second) for second in seconds] == shown
    assert [render_left(second) for second in (0, 6.2, 750, 11_100, 1e12)] == [
        "0:00", "0:07", "12:30", "3:05:00", "99:59:59"
    ]  # fmt: skip


def test_a_span_is_told_roughly() -> None:
    """One unit is enough; a clock that was set back shows as none."""
    shown = {-3: "0 s", 0: "0 s", 2.5: "2 s", 59.9: "1 min", 119: "2 min", 7300: "2 h", 10_799.6: "3 h", 2e5: "2 d"}
    assert {seconds: render_span(seconds) for seconds in shown} == shown


def test_one_is_no_plural() -> None:
    """And thousands are set apart."""
    assert [render_count(count, "file") for count in (0, 1, 1204)] == ["0 files", "1 file", "1,204 files"]


def test_sizes_never_show_a_thousand_of_a_unit() -> None:
    """What rounds up to the next unit is shown in it."""
    assert [render_bytes(size) for size in (0, 999, 1000, 9_949, 9_950, 999_499, 999_500, 12_345_678)] == [
        "0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "12 MB"
    ]  # fmt: skip


def test_a_status_names_its_signal() -> None:
    """137 is what the kernel's OOM killer leaves; 255 is no signal."""
    assert [describe_status(status) for status in (0, 3, 128, 137, 255)] == ["0", "3", "128", "137 (SIGKILL)", "255"]
    assert shorten("abcdefgh", 6) == "abc..."


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["vim", "a.py"], True),
        (["/usr/bin/htop"], True),
        (["bash"], True),
        (["bash", "-l"], True),
        (["python3 -q"], True),
        (["bash", "train.sh"], False),
        (["bash -c 'sleep 1'"], False),
        (["python", "train.py"], False),
        (["make"], False),
        ([" "], False),
    ],
)
def test_what_a_person_ends_is_no_long_run(words: list[str], *, expected: bool) -> None:
    """An editor, a pager, a shell: nobody waits for their end. A script is waited for."""
    assert is_conversation(words) is expected
