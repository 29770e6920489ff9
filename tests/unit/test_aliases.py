"""Aliases: splitting, expanding, and what an alias may not do."""

from __future__ import annotations

import random
import shlex
import subprocess

import pytest

from mtr.aliases import expand_alias, find_flaw, split_words
from mtr.command_line import Invocation, parse_arguments
from mtr.errors import UsageError

ALIASES = {
    "train": "python train.py --lr 0.1",
    "top2": "-s gpu-02 --no-sync htop",
    "bench": "!make && ./bench | tee log",
    "bench2": "-s gpu-02 '!make | tee log'",
    "ls": "ls --color",
    "chain": "train now",
    "full": "sync --full",
    "program": "-- sync",
}


def expand(line: str) -> Invocation:
    arguments = shlex.split(line)
    return expand_alias(arguments, parse_arguments(arguments), ALIASES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --epochs 3 'a b'", ["python", "train.py", "--lr", "0.1", "--epochs", "3", "a b"]),
        ("bench", ["make && ./bench | tee log"]),
        ("bench 'a b' \"it's\"", ["make && ./bench | tee log 'a b' 'it'\\''s'"]),
        ("ls -l", ["ls", "--color", "-l"]),
        ("chain", ["train", "now"]),
        ("full", ["sync", "--full"]),
        ("-- train", ["train"]),
        ("run train", ["train"]),
        ("run -- train", ["train"]),
        ("program -x", ["sync", "-x"]),
        ("unknown train", ["unknown", "train"]),
        ("python train", ["python", "train"]),
    ],
)
def test_a_first_word_expands_once(line: str, words: list[str]) -> None:
    """Words follow as typed; text takes them quoted; nothing that is forced to be a program expands."""
    assert expand(line).words == words


def test_options_come_along_and_typed_ones_are_stronger() -> None:
    """-s and --no-sync of an alias count, unless the line says otherwise."""
    assert (expand("top2").server, expand("top2").sync) == ("gpu-02", False)
    assert (expand("-s gpu-03 --sync top2").server, expand("--sync top2").sync) == ("gpu-03", True)
    assert (expand("bench2 x").server, expand("bench2 x").words) == ("gpu-02", ["make | tee log 'x'"])
    assert expand("--dry-run full").own_word == "sync"
    assert expand("program").own_word is None


def test_text_for_a_shell_is_never_an_option_or_a_verb() -> None:
    """Whatever stands behind !."""
    for text in ("!-x", "!sync", "!--help"):
        found = expand_alias(["a"], parse_arguments(["a"]), {"a": text})
        assert (found.words, found.own_word, found.help) == ([text[1:]], None, False)


NO_COMMANDS = ("", " ", "'a", "a \\", "!", "! ", "-x y", "--no-sync", "-s", "--help", "--version", "--init", "-e 1=x y")
FOR_SHELLS = (
    "a | b",
    "echo $HOME",
    'echo "$HOME"',
    "ls ~/x",
    "ls *.py",
    "a; b",
    "a > b",
    "a\nb",
    "(a)",
    "a &",
    "a `b`",
)


@pytest.mark.parametrize("text", [*NO_COMMANDS, *FOR_SHELLS, "--get out"])
def test_what_is_no_command_line_is_refused(text: str) -> None:
    """Also what only a shell would understand: as an argv it would arrive as it is written."""
    assert find_flaw("name", text, is_own=True)
    with pytest.raises(UsageError, match="alias name: "):
        expand_alias(["name"], parse_arguments(["name"]), {"name": text})


@pytest.mark.parametrize("text", ["python -c 'print($x)'", "grep 'a|b'", "ls a~", r"echo \$HOME", "pip install 'a[b]'"])
def test_what_is_quoted_is_meant(text: str) -> None:
    """Quoted, it is a word like any other."""
    assert find_flaw("name", text, is_own=False) == ""


WRITING = ("--log-file /x ls", "--enable-log ls", "--result /x ls", "--pull '*' ls", "--get x ls", "--get x --to /y ls")
ELSEWHERE = ("-C / ls", "get a b", "sync", "trust --yes", "down --all", "-s gpu run --pull '*' -- ls")


@pytest.mark.parametrize("text", [*WRITING, *ELSEWHERE, "--log-level info ls"])
def test_an_alias_of_a_project_does_nothing_here(text: str) -> None:
    """Neither may it write files here, nor lead to another directory, nor stand for a verb; the user's own may."""
    assert "only an alias of your own" in find_flaw("name", text, is_own=False)
    assert find_flaw("name", text, is_own=True) == ""


@pytest.mark.parametrize(
    "text",
    ["-s gpu -e A=b --no-sync --no-tty --timeout 9 -q -v --dry-run ls", "-- sync", "run get", "!get x", "-s x '!a|b'"],
)
def test_an_alias_of_a_project_chooses_what_runs_there(text: str) -> None:
    """As the rest of its file does."""
    assert find_flaw("name", text, is_own=False) == ""


@pytest.mark.parametrize("name", ["sync", "run", "get", "job", "shell-init"])
def test_mtrs_own_words_are_no_aliases(name: str) -> None:
    """Words that are still to come included."""
    assert "word of mtr's own" in find_flaw(name, "ls", is_own=True)


def test_words_are_those_of_a_shell() -> None:
    """The same as dash makes of the same text, for any mixture of quotes, blanks and backslashes."""
    source = random.Random(20)
    for _ in range(150):
        text = "".join(source.choice("ab '\"\\\t") for _ in range(source.randint(0, 10)))
        script = f"for word in {text}\ndo printf '<%s>' \"$word\"; done"
        done = subprocess.run(["dash", "-c", script], capture_output=True, text=True, check=False)
        words = split_words(text)
        if words is not None:
            assert "".join(f"<{word}>" for word in words) == done.stdout, text
        else:
            assert done.returncode != 0 or text.endswith("\\"), text
