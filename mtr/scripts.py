"""Finding and reading the shell files that mtr ships.

In a wheel they stand inside the package (``mtr/_shell``), in a checkout, editable installs included, beside
it (``shell/``). No shell logic lives in Python strings: what runs on a server is a file there.
"""

from __future__ import annotations

import os

from mtr.errors import MtrError

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def find_shipped(folder: str) -> str:
    """Return the path of ``folder`` (``shell`` or ``examples``) as this installation has it."""
    for path in (f"{_PACKAGE}/_{folder}", f"{os.path.dirname(_PACKAGE)}/{folder}"):
        if os.path.isdir(path):
            return path
    raise MtrError(f"this installation of mtr lacks its folder {folder}/", hint="reinstall mtremote")


def list_scripts(folder: str) -> list[str]:
    """Return the names of the scripts in ``shell/FOLDER``."""
    return sorted(name for name in os.listdir(f"{find_shipped('shell')}/{folder}") if name.endswith(".sh"))


def load_script(name: str) -> str:
    """Return the text of ``shell/NAME`` without full-line comments, which need not cross the line."""
    with open(f"{find_shipped('shell')}/{name}", encoding="utf-8") as file:
        return "".join(line for line in file if not line.lstrip().startswith("#"))
