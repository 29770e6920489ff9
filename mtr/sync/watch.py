"""Waiting for the project to change, with the library ``watchfiles``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

QUIET_MS = 30
"""A save is several events; longer than the clock's tick, so that what was saved does not count as racy."""

LONGEST_MS = 300
"""While changes keep coming, sync at least this often."""

_APART = (".git", ".mtr")


def watch_changes(root: str) -> Iterator[None]:
    """Yield whenever something in the project at ``root`` has changed and come to rest, until Ctrl-C."""
    from watchfiles import watch

    def is_ours(_change: object, path: str) -> bool:
        return os.path.relpath(path, root).split(os.sep, 1)[0] not in _APART

    for _ in watch(root, watch_filter=is_ours, debounce=LONGEST_MS, step=QUIET_MS, raise_interrupt=False):
        yield
