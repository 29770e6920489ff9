"""Checks in processes of their own: side by side, ended when one takes too long, and on Ctrl-C.

A process is forked for each place, since a thread that hangs in a login could not be ended, and what it had started
would stay. What it finds comes back through a pipe, as JSON, a line each: ``{"starts": ID, "limit_s": S, "remedy": …}``
before a check, then ``{"check": {…}}``. The terminal stays the process's own, so a login can ask.

Where the system cannot fork, the checks are made in this process, one place after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mtr.doctor.check import FAIL, Check, Ward, fail_with
from mtr.errors import build_internal
from mtr.process.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ENDING_S = 3.0
"""How long an examination may take to end what it has started."""


class Child:
    """The examination of one place, under way in a process of its own."""

    def __init__(self, place: str, examine: Callable[[Ward], None]) -> None:
        self.place = place
        self.is_over = False
        self.doing = ""
        self._title = place
        self._checks: list[Check] = []
        self._buffer = b""
        self._limit_s: float | None = None
        self._remedy = ""
        self._deadline_s: float | None = None
        self.pipe, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self.pipe)
            _examine_and_exit(place, examine, writing)
        os.close(writing)

    @property
    def left_s(self) -> float | None:
        """How long the check under way may still take; None for as long as it likes."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def take_checks(self) -> list[Check]:
        """Return what has been found since the last call."""
        found, self._checks = self._checks, []
        return found

    def read(self) -> None:
        """Take what has come through the pipe; its end is the end of the examination."""
        data = os.read(self.pipe, 65_536)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        if not data:
            self.end()

    def _take(self, message: dict[str, Any]) -> None:
        if "check" in message:
            check = Check(**message["check"])
            self._title = check.title
            self._checks.append(check)
            return
        self.doing, limit_s = message["starts"], message["limit_s"]
        self._limit_s, self._remedy = limit_s, message["remedy"]
        self._deadline_s = None if limit_s is None else time.monotonic() + limit_s

    def give_up(self) -> None:
        """End an examination whose check under way takes too long, and say so."""
        words = f"no end within {self._limit_s:g} s; nothing more was tried"
        name = shlex.quote(self.place)
        remedy = self._remedy or f"mtr down {name}; mtr -v -s {name} --no-sync true"
        self._checks.append(Check(self.doing, self.place, FAIL, words, remedy, title=self._title))
        self.end()

    def end(self) -> None:
        """End the process, gently at first, so that it can end what it has started."""
        if self.is_over:
            return
        self.is_over = True
        os.close(self.pipe)
        end_s = time.monotonic() + ENDING_S
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
            while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > end_s:
                    os.kill(self._pid, signal.SIGKILL)
                time.sleep(0.005)


def _examine_and_exit(place: str, examine: Callable[[Ward], None], writing: int) -> None:
    """Make the checks, as the process that was forked for them."""
    status = 1
    try:
        _examine(place, examine, lambda message: _write(writing, message))
        status = 0
    except (Interrupted, BrokenPipeError):
        pass
    finally:
        os._exit(status)


def _examine(place: str, examine: Callable[[Ward], None], send: Callable[[dict[str, Any]], None]) -> None:
    ward = Ward(
        place,
        lambda check: send({"check": asdict(check)}),
        lambda name, limit_s, remedy: send({"starts": name, "limit_s": limit_s, "remedy": remedy}),
    )
    try:
        examine(ward)
    except Exception as error:  # noqa: BLE001  what nobody has thought of is a finding as well, and not silence
        found = fail_with(build_internal(error))
        send({"check": asdict(Check("doctor", place, FAIL, found.found, found.remedy, title=ward.title))})


def _write(descriptor: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def start(places: Sequence[tuple[str, Callable[[Ward], None]]]) -> list[Child]:
    """Begin the examinations of ``places``, all at once; whatever comes of it, :func:`follow` ends them."""
    children: list[Child] = []
    try:
        for place, examine in places:
            children.append(Child(place, examine))
    except BaseException:
        end_all(children)
        raise
    return children


def follow(children: Sequence[Child], waits: Callable[[str, str], None]) -> Iterator[Check]:
    """Yield what is found, place by place in their order; ``waits`` is told what is waited for: place, check."""
    try:
        for child in children:
            yield from child.take_checks()
            while not child.is_over:
                waits(child.place, child.doing)
                _wait(children)
                yield from child.take_checks()
    finally:
        end_all(children)


def _wait(children: Sequence[Child]) -> None:
    """Wait for news of any child, or for the time of one to be up."""
    going = [child for child in children if not child.is_over]
    limits = [left_s for child in going if (left_s := child.left_s) is not None]
    ready, _, _ = select.select([child.pipe for child in going], [], [], min(limits, default=None))
    for child in going:
        if child.pipe in ready:
            child.read()
        elif child.left_s == 0:
            child.give_up()


def end_all(children: Sequence[Child]) -> None:
    """End what still goes on."""
    for child in children:
        child.end()
