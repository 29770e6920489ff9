"""How long the fuzz tests look: a minute by default, as long as ``MTR_FUZZ_EXAMPLES`` says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

EXAMPLES = int(os.environ.get("MTR_FUZZ_EXAMPLES") or 40)
IS_LONG = EXAMPLES >= 200


def pick(everything: Sequence[T], count: int, turn: int = 0) -> list[T]:
    """Return all of ``everything`` in a long run, else ``count`` of them, others at each ``turn``."""
    if IS_LONG:
        return list(everything)
    step = max(1, len(everything) // count)
    return [everything[(turn + step * number) % len(everything)] for number in range(count)]
