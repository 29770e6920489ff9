"""Command lines are split as shells split them, or refused: compared with all that may stand behind /bin/sh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mtr.shell_words import WILD, NotPlainWords, list_commands, parse_argv, parse_pattern
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    from pathlib import Path

SPECIAL = [
    *"'\"\\ \t\n;&|<>()`$*?[]~{}!#=:^%+@,./-_aA1",
    "\r", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\xa0", "\u2009", "\u200b", "\u2028", "\u202e", "\u3000", "\ufeff",
    "é", "ｒ", "；", "＄", "😀", "\u0401", "\u0300", "$(", "\\\n", "''", '""', "~/", "=~", ":~", "A=", "a+=", "{a,b}",
    "--", "-n", "!!", "!$", "$'a'", '$"a"', " #", "2>", "&&", "||", ";;", "<<", "if", "then", "time", "\\\\",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SPECIAL) | st.characters(codec="utf-8"), max_size=12).map("".join)


def split_by_shells(texts: list[str], shell: str, tmp_path: Path) -> list[list[str]]:
    """Return the words that ``shell`` makes of each of ``texts``; one call for all."""
    script = "".join(f"printf '%s\\0' {text}\nprintf '\\001\\0'\n" for text in texts)
    done = run_shell([*POSIX_SHELLS[shell], "-c", script], tmp_path)
    assert (done.returncode, done.stderr) == (0, b""), (texts, done)
    groups = done.stdout.decode().split("\x01\0")[:-1]
    return [group.split("\0")[:-1] for group in groups]


def take(text: str) -> list[str] | None:
    try:
        return list(parse_argv(text))
    except NotPlainWords:
        return None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with files that every pattern of names would find."""
    folder = tmp_path_factory.mktemp("words")
    for name in ("a", "A", "aA", "1", "a=1", "-n", "é"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("shell", sorted(POSIX_SHELLS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(texts=st.lists(TEXTS, min_size=20, max_size=60))
@example(
    texts=[
        "a\\b",
        "'a'\\''b'",
        '"a\\$\\`\\"\\\\\\b\'"',
        "HEAD~1 HEAD^ a~",
        "''~ \\~ '~' \"~\"",
        "a#b \\# '#'",
        "'a\nb'",
    ]
)
@example(
    texts=[
        "-n -- -x --",
        "'' \"\" ''''",
        "a\\ b\\\tc",
        "A=1 B+=2",
        "é ｒｍ 😀 \u0401\u0300",
        "'\xa0' \"\u3000\"",
        "a]b ]",
    ]
)
@example(texts=["\"a!b\" '!!' \\!", "%1 %% @a ,b :c =d", "x:y x=y", "'{a,b}' \\{a,b\\}", '"*?[a]" \\*', "if then time"])
def test_what_is_taken_is_what_a_shell_makes_of_it(shell: str, place: Path, texts: list[str]) -> None:
    """For every text that is taken: the same words, whatever shell reads it, and nothing else happens."""
    # The text stands behind a program here; a first word has rules of its own, which the next test tries.
    taken = [text for text in texts if (words := take(text)) is not None and words]
    assert split_by_shells(taken, shell, place) == [take(text) for text in taken]


@pytest.mark.parametrize("shell", sorted(POSIX_SHELLS))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(
    heads=st.lists(
        st.lists(
            st.sampled_from(["prog", "'", '"', "\\", "A", "=", "A=", "''", "a+=", "!", "time", " ", "#"]), max_size=6
        )
        .map("".join)
        .filter(lambda text: (take(f"{text} x") or [""])[0] == "prog"),
        min_size=1,
        max_size=6,
    )
)
@example(heads=["prog", "'prog'", "p\\rog", '"prog"', "''prog", "p''rog"])
def test_the_first_word_is_the_program(shell: str, place: Path, heads: list[str]) -> None:
    """However it is quoted, a shell starts the program that the words name, with the words that follow."""
    program = place / "prog"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\nprintf '\\001\\0'\n")
    program.chmod(0o755)
    script = f"PATH={place}:$PATH\n" + "".join(f"{head} x 'y z'\n" for head in heads)
    done = run_shell([*POSIX_SHELLS[shell], "-c", script], place)
    assert (done.returncode, done.stderr) == (0, b""), (heads, done)
    given_words = [group.split("\0")[:-1] for group in done.stdout.decode().split("\x01\0")[:-1]]
    assert given_words == [list(parse_argv(f"{head} x 'y z'"))[1:] for head in heads]


REFUSED = [
    "a; b", "a;b", "a & b", "a && b", "a | b", "a || b", "a > f", "a >f", "a 2>&1", "a < f", "a << E", "a <<< b",
    "(a)", "a (b)", "$(a)", "a $(b)", "a `b`", 'a "$(b)"', 'a "`b`"', "a $b", 'a "$b"', "a ${b}", "a $((1))", "a $",
    "a $'b'",
    "a\nb", "a\n", "\na", "a \\\nb", 'a "b\\\nc"', "a\rb", "a\r\nb", "a 'b\rc'", "a\0b", "a '\0'", "a \x1b[0m",
    "a '\x7f'",
    "a \x0b b", "a\x0cb", "a '\x85'", "a '\x9b2J'",
    "a *", "a *.txt", "a ?", "a [b]", "a [!b]", "a ~", "a ~/b", "a ~root", "a --dir=~", "a x:~", "~/a", "a {b,c}",
    "a {1..3}",
    "{ a; }", "{ a", "! a", "a !", "a !!", "a !$", "# a", "a #b", "a # b",
    "A=1 a", "A= a", "A+=1 a", "PATH=. a", "LD_PRELOAD=./x.so a", "A=1", "_=1 a", "A='1' a", "A=\"1\" a",
    "a '", 'a "', "a 'b", 'a "b\\"', "a \\", "a 'b'\"c",
    "if a", "while a", "for a", "case a", "function a", "time a", "coproc a", "select a", "then", "do a", "repeat 3 a",
    "a\xa0b", "rm\u2009-rf", "a\u3000b", "a\u200bb", "\ufeffa", "a \u202eb", "a\u2028b", "a\u2029b", "a \u00ad",
    "a \ud800", "a '\udc80'",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_shell_would_do_more_with_is_refused(text: str) -> None:
    """Operators, expansions, blanks that are none, what is not closed: with a reason in words."""
    with pytest.raises(NotPlainWords) as caught:
        parse_argv(text)
    assert str(caught.value).isprintable()
    assert str(caught.value).split()[0] in ("holds", "has", "begins", "ends", "is")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        (" \t ", ()),
        ("git diff HEAD~1 HEAD^ a#b", ("git", "diff", "HEAD~1", "HEAD^", "a#b")),
        ("a ';' '&' \"|\" \\; \\$ '`'", ("a", ";", "&", "|", ";", "$", "`")),
        ("a 'b\nc' \"d\ne\" 'f\tg'", ("a", "b\nc", "d\ne", "f\tg")),
        ("a A=1 -e B=2", ("a", "A=1", "-e", "B=2")),
        ("'A=1' b", ("A=1", "b")),
        ("A\\=1 b", ("A=1", "b")),
        ("''A=1 b", ("A=1", "b")),
        ("1A=1 b", ("1A=1", "b")),
        ("\\if a", ("if", "a")),
        ("'time' a", ("time", "a")),
        ("'' a", ("", "a")),
        ("a '' \"\"", ("a", "", "")),
        ("ｒｍ -rf", ("ｒｍ", "-rf")),
        ("а b", ("а", "b")),  # Cyrillic
        ("rm '\xa0'", ("rm", "\xa0")),
        ("a " + "x" * 100_000, ("a", "x" * 100_000)),
    ],
)
def test_plain_words_are_taken(text: str, words: tuple[str, ...]) -> None:
    """What is quoted is literal; nothing is normalized, so what looks like another name stays another."""
    assert parse_argv(text) == words


def test_a_pattern_knows_which_stars_are_quoted() -> None:
    """A quoted star is a star."""
    assert parse_pattern("a * 'b*' \\* c*d \"*\"") == ("a", WILD, "b*", "*", f"c{WILD}d", "*")


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("a && rm -rf b", [("a",), ("rm", "-rf", "b")]),
        ("X=1 Y=2 /bin/rm y|sudo z", [("/bin/rm", "y"), ("sudo", "z")]),
        ('echo "$(rm q)"; rm b', [("echo", "$"), ("rm", "q"), ("",), ("rm", "b")]),
        ("if rm a; then >f rm b; fi", [("rm", "a"), ("rm", "b")]),
        ('echo `rm a` "`rm b`"', [("echo",), ("rm", "a"), ("",), ("rm", "b"), ("",)]),
        ("echo 'rm x; rm y' \"it's; rm z\"", [("echo", "rm x; rm y", "it's; rm z")]),
        ("a\nr\\m b 2>/dev/null", [("a",), ("rm", "b")]),
        ("{ rm x; } & ! rm y", [("rm", "x"), ("rm", "y")]),
        ("(cd x; exec rm y)", [("cd", "x"), ("rm", "y")]),
        ("a 'not closed", [("a", "not closed")]),
        ("a; rm \\", [("a",), ("rm", "")]),
        ("", []),
    ],
)
def test_commands_are_found_in_any_text(text: str, commands: list[tuple[str, ...]]) -> None:
    """Behind operators, in substitutions, behind assignments and words of the shell."""
    assert list_commands(text) == commands


@given(st.lists(st.sampled_from([*SPECIAL, "rm", "\ud800", "\0"]), max_size=30).map("".join))
def test_any_text_can_be_looked_through(text: str) -> None:
    """Without an end in an error; what is plain words is found as such."""
    found = list_commands(text)
    words = take(text)
    if words and not any(word in text for word in ("if", "then", "time")) and "=" not in text and "\\" not in text:
        assert [tuple(words)] == found


def test_a_long_text_is_read_in_a_moment() -> None:
    """Quadratic work would take minutes."""
    text = "a " + "'b'\\'" * 20_000 + ";" * 20_000 + "$(" * 20_000
    assert len(list_commands(text)) == 20_001
    assert take("a " + "'b'c\\' " * 20_000) is not None
