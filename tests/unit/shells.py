"""The shells that the tests drive: each as a login shell, and each that can stand in for /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOGIN_SHELLS = {
    "bash": ["bash"],
    "dash": ["dash"],
    "zsh": ["zsh"],
    "fish": ["fish"],
    "tcsh": ["tcsh"],
    "mksh": ["mksh"],
    "ash": ["busybox", "ash"],
}
"""Login shells by name: what sshd runs with ``-c`` and the command line."""

POSIX_SHELLS = {name: LOGIN_SHELLS[name] for name in ("bash", "dash", "mksh", "ash")} | {
    "zsh": ["zsh", "--emulate", "sh"]
}
"""What may stand behind /bin/sh on a server."""


def run_shell(
    argv: list[str], cwd: Path, *, extra: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``argv`` as sshd would run a login shell: a session of its own, an environment of its own."""
    environ = {"HOME": str(cwd), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(extra or {})}
    program = shutil.which(argv[0])
    assert program, f"{argv[0]} is not installed: make test installs it"
    return subprocess.run(
        [program, *argv[1:]],
        cwd=cwd,
        env=environ,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
