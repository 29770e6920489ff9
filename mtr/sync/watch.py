"""Waiting for the project to change, with the library ``watchfiles``."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from mtr.process.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_MS = 30
"""A save is several events; longer than the clock's tick, so that what was saved does not count as racy."""

LONGEST_MS = 300
"""While changes keep coming, sync at least this often."""

START_MS = 100
"""The library says by its first time-out that it has begun to watch."""

_APART = (".git", ".mtr")


def watch_changes(root: str) -> Iterator[None]:
    """Yield once when the watching has begun, and whenever something in the project at ``root`` has come to rest.

    What changed before the first of them is found only by looking.

    Raises:
        Interrupted: a signal has ended it.
    """
    from watchfiles import watch

    def is_ours(_change: object, path: str) -> bool:
        return os.path.relpath(path, root).split(os.sep, 1)[0] not in _APART

    options: Any = {"debounce": LONGEST_MS, "step": QUIET_MS, "rust_timeout": START_MS, "yield_on_timeout": True}
    has_begun = False
    try:
        for changes in watch(root, watch_filter=is_ours, **options):
            if changes or not has_begun:
                has_begun = True
                yield
    except KeyboardInterrupt as interrupt:
        # The library takes any signal for this one.
        raise Interrupted(signal.SIGINT) from interrupt
