"""Saying once per server what holds for it from then on: that it is reached another way than usual."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.state import note_once

if TYPE_CHECKING:
    from mtr.ssh.line import Line


def say_once(line: Line, words: str) -> None:
    """Say ``words`` unless they have been said of this server already."""
    if note_once(line.environ, f"{line.facts.address} {words}"):
        line.says(words)
