"""Programs whose output mtr reads, driven through the library ``sh``.

Output is bytes, exactly as written; stdin is what the caller gives, else empty, never the user's own. A
program that does not exist is an error, a failing one is a status: the caller knows what it means.

Statuses are as ``waitpid`` gives them: 0 to 255, or ``-n`` for death by signal n.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtr.errors import MissingProgram, MtrError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ANY_STATUS = range(-64, 256)


@dataclass(frozen=True, slots=True)
class Captured:
    """What a finished program left: status, and both streams as bytes."""

    status: int
    stdout: bytes
    stderr: bytes


class ProgramTimeout(MtrError):
    """A program that mtr drives did not end in time; it was killed."""

    code = "program-timeout"


class _Sink:
    """A file-like object that hands every chunk to a callback: ``sh`` decodes nothing for it."""

    def __init__(self, on_chunk: Callable[[bytes], None]) -> None:
        self.write = on_chunk


def run_captured(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    cwd: Path | None = None,
) -> Captured:
    """Run ``argv`` to its end and return its status and output.

    Raises:
        MissingProgram: ``argv[0]`` is not installed.
        ProgramTimeout: it ran longer than ``timeout_s``; its process group was killed.
    """
    out, err = io.BytesIO(), io.BytesIO()
    status = _run(argv, out, err, stdin=stdin, env=env, timeout_s=timeout_s, cwd=cwd)
    return Captured(status, out.getvalue(), err.getvalue())


def stream(
    argv: Sequence[str],
    *,
    on_stdout: Callable[[bytes], None],
    on_stderr: Callable[[bytes], None],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    cwd: Path | None = None,
) -> int:
    """Run ``argv`` to its end, handing over its output in chunks as they come, and return its status.

    The callbacks run on threads of their own, one per stream. Raises as :func:`run_captured` does.
    """
    return _run(argv, _Sink(on_stdout), _Sink(on_stderr), stdin=stdin, env=env, timeout_s=timeout_s, cwd=cwd)


def _run(
    argv: Sequence[str],
    out: object,
    err: object,
    *,
    stdin: bytes,
    env: Mapping[str, str] | None,
    timeout_s: float | None,
    cwd: Path | None,
) -> int:
    import sh

    options: dict[str, Any] = {
        "_in": stdin,
        "_out": out,
        "_err": err,
        "_no_out": True,  # keep no second copy of the output in memory
        "_no_err": True,
        "_out_bufsize": 65_536,
        "_err_bufsize": 65_536,
        "_tty_out": False,
        "_ok_code": ANY_STATUS,
        "_bg": True,
        "_bg_exc": False,
        "_new_session": True,  # a group of its own, so that a timeout ends its children too
        "_timeout": timeout_s,
        "_cwd": cwd and str(cwd),
        "_env": dict(env) if env is not None else None,
    }
    try:
        command = sh.Command(argv[0])
    except sh.CommandNotFound as error:
        raise MissingProgram(f"{argv[0]} is not installed on this machine", hint=f"install {argv[0]}") from error
    running = command(*argv[1:], **options)
    try:
        running.wait()
    except sh.TimeoutException as error:
        _kill_group(running.pid)
        raise ProgramTimeout(f"{argv[0]} did not end within {timeout_s:g} s and was killed") from error
    except BaseException:
        _kill_group(running.pid)
        raise
    return int(running.exit_code)


def _kill_group(pid: int) -> None:
    """End what is left of a program's process group, also when its leader has already gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
