"""A command of which somebody wants to know more: ``-v``, ``-vv``, a log, ``--result``.

Loaded only then, and loads no more than what was asked for: ``-v`` must not make slow what it tells the time of. What
it sets up holds for the whole process, whatever speaks, starts programs or fails in it, and is taken down again at its
end.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mtr import __version__
from mtr.errors import MtrError, UsageError
from mtr.process import spawn
from mtr.process.signals import Interrupted
from mtr.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.command_line import Invocation
    from mtr.log import Log
    from mtr.result_file import ResultFile


def run_watched(invocation: Invocation, act: Callable[[Invocation], int]) -> int:
    """Do ``act``, tell of it what was asked for, and return its status, or raise what it raises.

    Raises:
        UsageError: the log or FILE cannot be written; nothing was done.
    """
    _ensure_apart(invocation)
    before = Voice.verbosity, Voice.log, Voice.result_file, spawn.listener
    # An alias that asks for more than was typed comes here once more: what is open already is gone on with.
    is_new = invocation.result is not None and Voice.result_file is None
    result_file = begin(invocation.result) if is_new and invocation.result is not None else None
    try:
        log = _open_log(invocation) if Voice.log is None else None
    except BaseException as error:
        fail(result_file, error)
        raise
    Voice.verbosity, Voice.log, Voice.result_file = (
        invocation.verbose,
        log or Voice.log,
        result_file or Voice.result_file,
    )
    if (invocation.verbose > 1 or log is not None) and spawn.listener is None:
        _listen()
    try:
        if log is not None:
            log.write("info", _describe(invocation))
        status = act(invocation)
        sys.stdout.flush()
    except BaseException as error:
        if log is not None:
            _log_failure(error)
        fail(result_file, error)
        raise
    else:
        if log is not None:
            _log("info", f"mtr ended with {status}")
        if result_file is not None:
            finish(result_file, status)
        return status
    finally:
        Voice.verbosity, Voice.log, Voice.result_file, spawn.listener = before
        if log is not None:
            log.close()


def _ensure_apart(invocation: Invocation) -> None:
    """Refuse one file for both: the result takes its place at the end, and the log would be gone.

    Raises:
        UsageError: they are one.
    """
    result, log_file = invocation.result, invocation.log_file
    if result is not None and log_file is not None and os.path.realpath(result) == os.path.realpath(log_file):
        hint = "give each a file of its own"
        raise UsageError(f"--result and --log-file name the same file, {result}", hint=hint)


def raise_verbosity(verbosity: int) -> None:
    """Tell as much as ``-v`` behind a verb asks for."""
    Voice.verbosity = max(Voice.verbosity, verbosity)
    if Voice.verbosity > 1 and spawn.listener is None:
        _listen()


def begin(path: str) -> ResultFile:
    """Return the file that is to take the result of the run that begins."""
    from mtr.result_file import ResultFile

    return ResultFile(path)


def finish(result_file: ResultFile, status: int) -> None:
    """Write FILE; a run that has been done is not failed for it."""
    try:
        result_file.finish(status)
    except OSError as error:
        Voice().say(f"--result: cannot write {error.filename}: {error.strerror}")


def fail(result_file: ResultFile | None, error: BaseException) -> None:
    """Write FILE, if one was asked for, after a failure, which counts more than that it cannot be written."""
    if result_file is None:
        return
    try:
        result_file.fail(error)
    except OSError as other:
        Voice().say(f"--result: cannot write {other.filename}: {other.strerror}")


def _open_log(invocation: Invocation) -> Log | None:
    if invocation.log_file is None and not invocation.enable_log:
        return None
    from mtr.log import open_log

    return open_log(invocation)


def _listen() -> None:
    from mtr.log import Programs

    spawn.listener = Programs()


def _log(level: str, text: str) -> None:
    if Voice.log is not None:
        Voice.log.write(level, text)


def _log_failure(error: BaseException) -> None:
    """Log an error with the other side's own words, as it is shown."""
    if isinstance(error, Interrupted):
        _log("warning", f"interrupted: mtr ends with {error.exit_status}")
    elif isinstance(error, MtrError):
        said = [f"{error.code}: {error.message}", error.detail.strip(), error.hint and f"try: {error.hint}"]
        _log("error", " | ".join(filter(None, said)))
        _log("info", f"mtr ended with {error.exit_status}")
    else:
        _log("error", f"{type(error).__name__}: {error}")


def _describe(invocation: Invocation) -> str:
    """Return how a log begins: the version and what was asked for, the values of variables left out."""
    python = ".".join(map(str, sys.version_info[:3]))
    words = _describe_words(invocation)
    server = f" on {invocation.server}" if invocation.server else ""
    return f"mtr {__version__}, Python {python} on {sys.platform}, in {os.getcwd()}: {words}{server}"


def _describe_words(invocation: Invocation) -> str:
    from mtr.log import render_argv, render_word

    if not invocation.words:
        return "no command"
    kind = "verb" if invocation.own_word else "text for a shell" if len(invocation.words) == 1 else "command"
    shown = render_word(invocation.words[0]) if len(invocation.words) == 1 else render_argv(invocation.words)
    return f"{kind} {shown}"
