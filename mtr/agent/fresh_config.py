"""The configuration as it is now, read again only when one of its files has changed."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from mtr.config.load import list_files, load_config
from mtr.config.project import find_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtr.config.model import Config

RACY_NS = 100_000_000
"""A file that was written this moment may be written once more with the same times."""


class FreshConfig:
    """Reads the configuration of the project around ``directory``."""

    def __init__(self, directory: str | None, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self._lock = threading.Lock()
        self._known: tuple[object, Config] | None = None

    def load(self) -> Config:
        """Return it.

        Raises:
            ConfigError: it is wrong.
        """
        project = find_project(self._directory, self._environ)
        looked_ns = time.time_ns()
        files = list_files(project, self._environ)
        state = (str(project.root), [_look(file) for file in files])
        with self._lock:
            if self._known is not None and self._known[0] == state:
                return self._known[1]
        config = load_config(project, self._environ)
        is_racy = any(times is not None and looked_ns - times[0] < RACY_NS for times in state[1])
        with self._lock:
            self._known = None if is_racy else (state, config)
        return config


def _look(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino
