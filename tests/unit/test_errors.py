"""How errors look, and that a server's words cannot play tricks on the terminal."""

from __future__ import annotations

from mtr.errors import ConnectionRefused, MtrError, UsageError, render_error, sanitize


def test_an_error_says_what_where_their_words_and_the_next_command() -> None:
    """Four parts, indented to the message."""
    error = ConnectionRefused("cannot reach gpu-01", detail="ssh: refused\r\nbye\n", hint="mtr doctor -s gpu-01")
    assert render_error(error) == (
        "mtr: cannot reach gpu-01\n     ssh: refused\\r\n     bye\n     try: mtr doctor -s gpu-01\n"
    )


def test_escape_sequences_are_shown_and_not_obeyed() -> None:
    """No control character but newline and tab reaches the terminal."""
    assert sanitize("a\x1b]0;title\x07b\u202e\x9b1m\té\n") == "a\\x1b]0;title\\x07b\\u202e\\x9b1m\té\n"


def test_statuses() -> None:
    """mtr's own failure is 125, a wrong command line 2."""
    assert (MtrError("x").exit_status, UsageError("x").exit_status) == (125, 2)


def test_every_class_has_a_code_of_its_own() -> None:
    """Programs tell errors apart by code."""

    def below(kind: type[MtrError]) -> list[type[MtrError]]:
        return [kind] + [found for child in kind.__subclasses__() for found in below(child)]

    kinds = [kind for kind in below(MtrError) if kind.__module__.startswith("mtr.")]
    assert len({kind.code for kind in kinds}) == len(kinds)
