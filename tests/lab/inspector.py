"""The official inspector of the Model Context Protocol, as tests/install-inspector has installed it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
"""Of whoever runs the tests: read before any test has a home of its own."""

PROGRAMS = Path(_CACHE) / "mtr-tests" / "inspector-2-node-22" / "node_modules" / ".bin"


def inspect(target: Sequence[str], method: str, *options: str, environ: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    """Ask the server ``target`` (a command, or a URL) for ``method``; return what the inspector prints of the answer.

    With ``--strict`` it leaves with another status where a schema is not for every client.
    """
    assert (PROGRAMS / "mcp-inspector").exists(), "install it: tests/install-inspector"
    found = {**environ, "PATH": f"{PROGRAMS}:{environ['PATH']}"}
    # A command's environment is not its own: what the server needs is handed on by name.
    handed = [word for name, value in environ.items() if name != "PATH" for word in ("-e", f"{name}={value}")]
    argv = [PROGRAMS / "mcp-inspector", "--cli", "--method", method, *options, *handed, "--", *target]
    done = subprocess.run(argv, env=found, cwd=cwd, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    return dict(json.loads(done.stdout))
