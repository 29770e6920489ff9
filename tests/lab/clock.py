"""Clocks that are off: what a program started with these variables takes for the time (libfaketime).

The times of files are the kernel's and stay true, as they do on a disk of another machine.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3600


def shift_clock(seconds: int) -> dict[str, str]:
    """Return the environment in which all clocks are ``seconds`` ahead."""
    return {**_preload(), "FAKETIME": f"{seconds:+d}"}


def jumping_clock(file: Path) -> dict[str, str]:
    """Return the environment in which the time of day is what ``file`` says at every moment: ``+3600`` and the like."""
    return {**_preload(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}


def shift_times(path: Path, seconds: int) -> None:
    """Give ``path`` the times that it would have if it were written by a clock that is ``seconds`` ahead."""
    found = path.lstat()
    shift_ns = seconds * 10**9
    os.utime(path, ns=(found.st_atime_ns + shift_ns, found.st_mtime_ns + shift_ns))


def _preload() -> dict[str, str]:
    places = [f"/usr/{lib}/faketime/libfaketime.so.1" for lib in ("lib/*", "lib", "lib64")]
    found = [path for place in places for path in glob.glob(place)]
    assert found, "libfaketime is not installed: make test installs it"
    return {"LD_PRELOAD": found[0]}
