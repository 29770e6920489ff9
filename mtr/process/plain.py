"""Running a program to its end where the system has no ``posix_spawn`` (Windows)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def run_plain(
    argv: Sequence[str], stdin: bytes, env: Mapping[str, str], timeout_s: float | None
) -> tuple[int, bytes, bytes] | None:
    """Run ``argv`` and return its status, stdout and stderr; None if it ran longer than ``timeout_s``.

    Raises:
        MissingProgram: ``argv[0]`` is not installed.
    """
    try:
        done = subprocess.run(argv, input=stdin, env=env, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise MissingProgram(f"{argv[0]} is not installed on this machine", hint=f"install {argv[0]}") from error
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, done.stdout, done.stderr
