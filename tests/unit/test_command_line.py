"""Parsing what stands behind ``mtr``."""

from __future__ import annotations

import re

import click
import pytest

from mtr.cli.app import GROUPS, VERBS, load_verb, render_help, render_options, run_own
from mtr.command_line import OPTIONS, OWN_WORDS, parse_arguments
from mtr.errors import UsageError


def test_options_end_at_the_first_word() -> None:
    """From the first word that is no option, everything is the remote command's."""
    found = parse_arguments(["-s", "gpu", "--no-sync", "gcc", "-shared", "-s", "x.c", "--", "--tty"])
    assert (found.server, found.sync, found.tty) == ("gpu", False, None)
    assert found.words == ["gcc", "-shared", "-s", "x.c", "--", "--tty"]


@pytest.mark.parametrize("words", [["-sgpu", "x"], ["-s", "gpu", "x"], ["--server=gpu", "x"], ["--server", "gpu", "x"]])
def test_an_argument_is_attached_or_the_next_word(words: list[str]) -> None:
    """As getopt_long does it."""
    found = parse_arguments(words)
    assert (found.server, found.words) == ("gpu", ["x"])


def test_two_dashes_force_a_remote_program() -> None:
    """``mtr -- sync`` runs a program called sync; without them it is mtr's own."""
    assert parse_arguments(["--", "sync"]).own_word is None
    assert parse_arguments(["sync"]).own_word == "sync"
    assert parse_arguments(["run", "--no-sync", "--", "sync", "-x"]).words == ["sync", "-x"]
    assert parse_arguments(["run", "sync"]).own_word is None


def test_a_lone_dash_is_a_word() -> None:
    """It is no option."""
    assert parse_arguments(["-", "x"]).words == ["-", "x"]


def test_environment_variables_are_checked() -> None:
    """NAME=VALUE, repeated; the value may hold anything."""
    assert parse_arguments(["-e", "A=b=c", "-e", "B=", "x"]).env == {"A": "b=c", "B": ""}
    for wrong in ("A", "=x", "1A=x", "A B=x", "é=x"):
        with pytest.raises(UsageError):
            parse_arguments(["-e", wrong, "x"])


@pytest.mark.parametrize(
    "words", [["-x"], ["--nosuch", "y"], ["--tty=yes", "y"], ["-s"], ["-qv", "y"], ["-s", "", "y"], ["-C", "", "y"]]
)
def test_an_unknown_option_is_an_error(words: list[str]) -> None:
    """It never becomes part of the command."""
    with pytest.raises(UsageError):
        parse_arguments(words)


def test_help_is_one_screen_and_names_every_verb() -> None:
    """80 columns and 24 lines, without tabs; every option is in the long form's help."""
    text = render_help()
    grouped = [verb for words, _ in GROUPS for verb in words]
    assert sorted([*grouped, "run"]) == sorted(VERBS)
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    shown = " ".join(flags for flags, _ in render_options())
    assert all(flag in shown for option in OPTIONS for flag in option.flags if option.help)


def test_a_level_of_words_adds_up_in_no_way() -> None:
    """-v is 1, -vv is 2, and the stronger word counts."""
    assert [parse_arguments(words).verbose for words in (["x"], ["-v", "x"], ["-vv", "x"])] == [0, 1, 2]


def test_options_that_fetch_stand_for_get() -> None:
    """``--get R`` without a command is ``mtr get R``; with one it belongs to the run."""
    assert parse_arguments(["--get", "out", "--to", "x"]).own_word == "get"
    found = parse_arguments(["--get", "out", "--pull", "*.a", "--pull", "*.b", "make"])
    assert (found.own_word, found.get, found.pull, found.words) == (None, "out", ["*.a", "*.b"], ["make"])
    assert parse_arguments(["--init"]).own_word == "init"
    for words in (["--init", "make"], ["--to", "x", "make"], ["--timeout", "0", "x"], ["--timeout", "ten", "x"]):
        with pytest.raises(UsageError):
            parse_arguments(words)


def test_every_verb_is_one_of_the_frozen_words() -> None:
    """A script's ``mtr WORD`` must not change its meaning later; no common program's name is among them."""
    assert set(VERBS) <= OWN_WORDS
    assert not OWN_WORDS & {"env", "view", "top", "watch", "test", "python", "make", "bash", "ls", "cat"}


def list_commands() -> list[tuple[str, click.Command]]:
    """Return every verb, and every verb below one, by what is typed."""
    found = [(f"mtr {word}", load_verb(word)) for word in VERBS]
    below = [
        (f"{name} {word}", child)
        for name, command in found
        if isinstance(command, click.Group)
        for word, child in command.commands.items()
    ]
    return [*found, *below]


@pytest.mark.parametrize(("name", "command"), list_commands())
def test_the_help_of_a_verb_fits(name: str, command: click.Command) -> None:
    """80 columns, no line that click has cut, and -v and -h as everywhere."""
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    assert max(map(len, text.splitlines())) <= 80
    assert re.findall(r"[a-z,]\.\.\.$", text, re.MULTILINE) == []
    for flags in ("-v, --verbose", "-h, --help"):
        assert text.count(flags) == 1
    assert "Print this help." in text


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["get", "--forse", "x"], "no option --forse", "did you mean --force? mtr get --help"),
        (["get"], "`mtr get` needs REMOTE... [LOCAL]", "mtr get --help"),
        (["up", "a", "b"], "got unexpected extra argument (b)", "mtr up --help"),
        (["up", "a", "-s", "b"], "a, or -s b? They differ", "name one server"),
        (["config", "path", "-s", "b"], "no option -s", "mtr config path --help"),
        (
            ["-s", "b", "config", "schema"],
            "-s chooses what `mtr config show` shows; nothing else of it",
            "mtr config --help",
        ),
    ],
)
def test_words_that_a_verb_does_not_take_are_refused(words: list[str], message: str, hint: str) -> None:
    """In the words of mtr's own parser, and with the help of that verb as the next command."""
    with pytest.raises(UsageError) as caught:
        run_own(parse_arguments(words))
    assert (caught.value.message, caught.value.hint) == (message, hint)
