"""Examinations in processes of their own: their order, their limits, and what a fault in one comes to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mtr.doctor import children
from mtr.doctor.check import Check, Finding, Ward, fail, ok
from mtr.errors import ConnectError

if TYPE_CHECKING:
    from collections.abc import Callable


def follow(*examinations: Callable[[Ward], None]) -> list[Check]:
    """Make the examinations side by side, of places named by their numbers."""
    started = children.start([(str(number), look) for number, look in enumerate(examinations)])
    return [*children.follow(started, lambda _place, _id: None)]


def hang() -> Finding:
    """Never find anything."""
    while True:
        time.sleep(60)


def test_places_come_in_their_order_and_side_by_side() -> None:
    """A slow one in front does not hold up the others, and is shown first all the same."""

    def slow(ward: Ward) -> None:
        ward.make("a", lambda: (time.sleep(0.5), ok("late"))[1])

    def quick(ward: Ward) -> None:
        ward.make("a", lambda: (time.sleep(0.5), ok("early"))[1])

    started_s = time.monotonic()
    found = follow(slow, quick, quick)
    assert [(check.place, check.found) for check in found] == [("0", "late"), ("1", "early"), ("2", "early")]
    assert time.monotonic() - started_s < 1.4


def test_what_takes_too_long_is_ended_and_told() -> None:
    """The check is named; the others go on."""

    def look(ward: Ward) -> None:
        ward.make("first", lambda: ok("fine"))
        ward.make("second", hang, limit_s=0.2)
        ward.make("third", lambda: ok("never"))

    found = follow(look, lambda ward: ward.make("other", lambda: ok("fine")))
    assert [(check.place, check.id, check.state) for check in found] == [
        ("0", "first", "ok"),
        ("0", "second", "fail"),
        ("1", "other", "ok"),
    ]
    assert "no end within 0.2 s" in found[1].found


def test_what_needs_something_that_failed_is_not_tried() -> None:
    """Down the chain, the beginning of it is named."""

    def look(ward: Ward) -> None:
        ward.make("a", lambda: fail("broken", "mend it"))
        ward.make("b", hang, needs="a")
        ward.make("c", hang, needs="b")
        ward.make("d", lambda: ok("apart"))

    assert [(check.state, check.found) for check in follow(look)] == [
        ("fail", "broken"),
        ("skip", "not tried: needs a"),
        ("skip", "not tried: needs a"),
        ("ok", "apart"),
    ]


def test_errors_are_findings() -> None:
    """mtr's own with their words and hint, the system's with the file; a fault of mtr itself is not kept silent."""

    def refuse() -> Finding:
        raise ConnectError("cannot connect", detail="ssh: no\n", hint="ssh -v")

    def miss() -> Finding:
        raise FileNotFoundError(2, "No such file or directory", "/x")

    def err() -> Finding:
        raise ValueError("odd")

    def look(ward: Ward) -> None:
        for name, act in (("a", refuse), ("b", miss), ("c", err)):
            ward.make(name, act)

    found = follow(look)
    assert [(check.found.partition("\nat ")[0], check.remedy) for check in found] == [
        ("cannot connect\nssh: no", "ssh -v"),
        ("/x: No such file or directory", "ls -ld /x"),
        ("a fault of mtr itself: ValueError: odd", "run it again; if it stays, report these lines"),
    ]
