"""Whether the SDK is installed: it comes with the extra ``mcp``."""

from __future__ import annotations

import sys

from mtr.errors import MissingProgram

HINT = f"{sys.executable} -m pip install 'mtremote[mcp]'"


def ensure_sdk() -> None:
    """Refuse to go on without it. importlib.metadata would tell its version, and takes 25 ms to load.

    Raises:
        MissingProgram: it is not installed, or too old.
    """
    from importlib.util import find_spec

    if find_spec("mcp") is None:
        raise MissingProgram("the Python package mcp is not installed", hint=HINT)
    if find_spec("mcp_types") is None:
        raise MissingProgram("the Python package mcp is older than 2.3, which is needed", hint=HINT)
