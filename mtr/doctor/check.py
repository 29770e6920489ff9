"""A check: what was looked at, where, what was found, and what to do about it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from mtr.errors import MtrError

if TYPE_CHECKING:
    from collections.abc import Callable

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"

HERE = "this machine"
"""The place of what is not about a server."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found: ``state`` is one of the four, ``remedy`` the next command, or "" where none is due."""

    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A finding with its ``id``, and the ``place`` it is about: ``HERE``, or the name of a server.

    ``title`` is the place for people: ``gpu-01 (dev@10.0.0.7:22)``. The first line of ``found`` says what, further ones
    are the words of the program or the server that was asked.
    """

    id: str
    place: str
    state: str
    found: str
    remedy: str = ""
    took_ms: int = 0
    title: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them; people alone need the title."""
        fields = asdict(self)
        del fields["title"]
        return fields


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding(OK, found)


def warn(found: str, remedy: str = "") -> Finding:
    """Return what mtr can do without, worse."""
    return Finding(WARN, found, remedy)


def fail(found: str, remedy: str = "") -> Finding:
    """Return what mtr cannot do without."""
    return Finding(FAIL, found, remedy)


def fail_with(error: MtrError) -> Finding:
    """Return an error of mtr's as a finding: its message, the other side's words below it, and its hint."""
    return fail("\n".join(filter(None, (error.message, error.detail.strip("\n")))), error.hint)


class Skipped(Exception):
    """A check that has no meaning here is left out, and not shown."""


class Ward:
    """Makes the checks of one place in turn, and hands each to ``emit``.

    ``starts`` is told of a check before it begins: its id, how long it may take at most (None for as long as a person
    takes), and what to type where it takes longer.
    """

    def __init__(
        self, place: str, emit: Callable[[Check], None], starts: Callable[[str, float | None, str], None] | None = None
    ) -> None:
        self.place = place
        self.title = place
        self.found: dict[str, Finding] = {}
        self._emit = emit
        self._starts = starts or (lambda _id, _limit_s, _remedy: None)

    def make(self, id: str, look: Callable[[], Finding], *, limit_s: float | None = 20.0, needs: str = "") -> None:  # noqa: A002
        """Make the check ``id``, unless what it ``needs`` has failed; an error of mtr's is a finding as well."""
        if needs and self.found.get(needs, ok("")).state in (FAIL, SKIP):
            # What is to be mended is at the beginning of the chain.
            blocker = self.found[needs]
            self._keep(id, blocker if blocker.state == SKIP else Finding(SKIP, f"not tried: needs {needs}"), 0.0)
            return
        self.announce(id, limit_s)
        started_s = time.monotonic()
        try:
            finding = look()
        except Skipped:
            return
        except MtrError as error:
            finding = fail_with(error)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            finding = fail(f"{name}{error.strerror or error}", f"ls -ld {error.filename}" if error.filename else "")
        self._keep(id, finding, time.monotonic() - started_s)

    def announce(self, id: str, limit_s: float | None, remedy: str = "") -> None:  # noqa: A002
        """Tell that the check ``id`` begins, and what to type if it has not ended after ``limit_s``."""
        self._starts(id, limit_s, remedy)

    def _keep(self, id: str, finding: Finding, took_s: float) -> None:  # noqa: A002
        self.found[id] = finding
        took_ms = round(took_s * 1000)
        self._emit(Check(id, self.place, finding.state, finding.found, finding.remedy, took_ms, self.title))
