"""How long a server that cannot be reached is asked again, and what ends that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mtr.errors import AuthenticationFailed, ConnectionLost, ConnectionTimeout, HostKeyChanged, LoginShellBroken
from mtr.jobs import patience as module
from mtr.jobs.patience import Patience
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from mtr.errors import ConnectError

TIMEOUT = ConnectionTimeout("cannot reach lab")


@pytest.fixture
def said() -> list[str]:
    """What was said."""
    return []


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Patience:
    """An hour that is half a second, with pauses to match."""
    monkeypatch.setattr(module, "RETRY_S", 0.5)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.05)
    return Patience(said.append, resumes="asking again")


def bear_on(patience: Patience, between: Callable[[], None]) -> NoReturn:
    """Fail until that is not borne any more, and do ``between`` before each time."""
    while True:
        between()
        patience.bear(TIMEOUT, hint="mtr job wait 3f2a91bc")


@pytest.mark.parametrize("kind", [AuthenticationFailed, HostKeyChanged, LoginShellBroken])
def test_what_no_attempt_changes_is_raised_at_once(
    patience: Patience, said: list[str], kind: type[ConnectError]
) -> None:
    """A refused login above all: each attempt may count against the account."""
    error = kind("no")
    with pytest.raises(kind) as raised:
        patience.bear(error, hint="")
    assert raised.value is error
    assert said == []


def test_nothing_but_errors_for_an_hour_ends_it(patience: Patience, said: list[str]) -> None:
    """The error is said once, and the last one names what to type next."""
    with pytest.raises(ConnectionLost, match="cannot reach lab, for an hour now") as raised:
        bear_on(patience, lambda: None)
    assert raised.value.hint == "mtr job wait 3f2a91bc"
    assert said == ["cannot reach lab; asking again"]


def test_a_session_that_stood_begins_the_hour_anew(patience: Patience, said: list[str]) -> None:
    """Though nothing came over it; one that broke at once does not: a server may end them all."""
    started_s = time.monotonic()
    patience.bear(TIMEOUT, hint="")
    patience.note_session()
    wait_until(lambda: time.monotonic() - started_s > 0.6, "longer than the hour")
    patience.bear(TIMEOUT, hint="")
    assert len(said) == 2, "a new break is said"
    with pytest.raises(ConnectionLost, match="for an hour now"):
        bear_on(patience, patience.note_session)


def test_a_pause_ends_with_the_time_there_is(patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a second is not held for the fifteen of a pause."""
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 15.0)
    started_s = time.monotonic()
    for _ in range(4):
        patience.bear(TIMEOUT, hint="", end_s=started_s + 0.1)
    assert time.monotonic() - started_s < 0.45
