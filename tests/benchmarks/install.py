"""mtr installed as a user has it: not editable, in a virtual environment of its own; and the peers likewise."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKOUT = Path(__file__).resolve().parents[2]


class InstallError(Exception):
    """pip's last words."""


def install(target: Path, requirements: Sequence[str]) -> Path:
    """Make a virtual environment at ``target`` with ``requirements`` and return its directory of programs.

    The pip of this interpreter installs into it: Debian's venv module comes without one.
    """
    venv.create(target, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(target / "bin" / "python")]
    # An interrupted pip leaves its files there, and they go with the rest.
    environ = {**os.environ, "TMPDIR": str(target)}
    done = subprocess.run(
        [*pip, "install", "-q", *requirements], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
        raise InstallError(lines[-1] if lines else f"pip ended with {done.returncode}")
    return target / "bin"


def install_mtr(target: Path) -> Path:
    """Install this checkout and return the path of ``mtr``."""
    return install(target, [str(CHECKOUT)]) / "mtr"


def describe_checkout() -> str:
    """Return the commit that is measured, and whether files differ from it; nothing outside a repository."""
    words = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip()
