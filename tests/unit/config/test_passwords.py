"""The three ways to a password, with real commands."""

from __future__ import annotations

import pytest

from mtr.config.model import Secret, Server
from mtr.config.passwords import load_password
from mtr.errors import ConfigError

ENVIRON = {"PATH": "/usr/bin:/bin", "SECRET": "hunter2", "TWO": "a\nb"}


def load(**ways: object) -> Secret | None:
    return load_password(Server("gpu", ("h",), **ways), ENVIRON)  # type: ignore[arg-type]


def test_no_password():
    """A server without one has none."""
    assert load() is None


def test_each_way():
    """As a value, from a variable, and as the first line of a command's output, blanks included."""
    assert load(password=Secret("a")) == Secret("a")
    assert load(password_env="SECRET") == Secret("hunter2")
    assert load(password_command="printf ' a b \\nrest\\n'") == Secret(" a b ")
    assert load(password_command="printf 'x\\r\\n'") == Secret("x")
    assert load(password_command='printf %s "$SECRET"') == Secret("hunter2")


@pytest.mark.parametrize("variable", ["UNSET", "TWO"])
def test_bad_variables(variable: str):
    """A variable that is not set, or holds several lines, is an error that does not show it."""
    with pytest.raises(ConfigError, match=variable) as caught:
        load(password_env=variable)
    assert f"read -rs {variable}" in caught.value.hint
    assert "a\nb" not in caught.value.message + caught.value.detail


def test_failing_command_shows_its_own_words():
    """A command that fails is an error with what it wrote to stderr, and without its output."""
    with pytest.raises(ConfigError, match="status 3") as caught:
        load(password_command="echo hunter2; echo 'no store' >&2; exit 3")
    assert caught.value.detail == "no store\n"
    assert "hunter2" not in caught.value.message


def test_command_without_output():
    """A command that prints nothing gave no password."""
    with pytest.raises(ConfigError, match="printed no password"):
        load(password_command="true")
