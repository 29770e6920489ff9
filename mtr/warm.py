"""The entry: the straight line that ``mtr CMD`` takes through the layers.

Everything that is not a run goes to click. Errors of mtr's tree are rendered here, once, on stderr; no
traceback reaches a user for anything that they can cause.
"""

from __future__ import annotations

import _signal
import gc
import os
import sys

from mtr.command_line import Invocation, parse_arguments
from mtr.errors import EXIT_FAILURE, MtrError, build_internal
from mtr.process.signals import Interrupted, raise_on_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mtr`` with ``arguments`` and return its exit status; without them, as this process, which then ends.

    It ends at once: taking the interpreter down in good order takes longer than asking the server.
    """
    if arguments is not None:
        return _run(arguments)
    # A run lives for moments and keeps what it makes: looking for cycles in it is in vain.
    gc.set_threshold(100_000)
    status = _run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        status = status or EXIT_FAILURE
    try:
        sys.stderr.flush()
    except OSError:
        pass  # Words of mtr's own: how the command ended counts for more.
    os._exit(status)


def _run(arguments: Sequence[str]) -> int:
    _open_missing_stdio()
    # Whoever started mtr may ignore it; then no status of a program could be read.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    try:
        with raise_on_signals():
            status = _watch(_parse(arguments), lambda invocation: _dispatch(arguments, invocation))
            sys.stdout.flush()
            return status
    except MtrError as error:
        _show(error)
        return error.exit_status
    except Interrupted as interrupted:
        _show(None, interrupted.words)
        return interrupted.exit_status
    except BrokenPipeError:
        # Nobody reads stdout any more (mtr servers | head): end as a filter does.
        _drop_stdout()
        return 128 + 13
    except Exception as error:  # noqa: BLE001  a status of 1 would pass for the command's own
        _drop_stdout()
        _show(_describe_failure(error) if isinstance(error, OSError) else build_internal(error))
        return EXIT_FAILURE


def _describe_failure(error: OSError) -> MtrError:
    """Return what this system has refused, with the place."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    where, hint = (f"{name}: ", f"ls -ld {name}; df -h {os.path.dirname(name)}") if name else ("", "")
    return MtrError(f"{where}{error.strerror or error}", hint=hint)


def _parse(arguments: Sequence[str]) -> Invocation:
    """Parse the command line; what is wrong with it is told in the file of ``--result`` too, once that was read."""
    invocation = Invocation()
    try:
        return parse_arguments(arguments, invocation)
    except MtrError as error:
        if invocation.result is not None:
            from mtr.watched import begin, fail

            fail(begin(invocation.result), error)
        raise


def _show(error: MtrError | None, words: str = "") -> None:
    """Show ``error``, else ``words``, in place of what is drawn on the terminal."""
    from mtr.voice import show_error, write_line

    if error is None:
        write_line(words)
    else:
        show_error(error)


def _watch(invocation: Invocation, act: Callable[[Invocation], int]) -> int:
    """Do ``act``, and tell more of it where that is asked for."""
    if not _is_watched(invocation):
        return act(invocation)
    from mtr.watched import run_watched

    return run_watched(invocation, act)


def _is_watched(invocation: Invocation) -> bool:
    return bool(invocation.verbose or invocation.log_file or invocation.enable_log or invocation.result)


def _dispatch(arguments: Sequence[str], invocation: Invocation) -> int:
    """Do one of mtr's own verbs, or a run, by whatever the first word stands for."""
    if _is_own(invocation):
        return _run_own(arguments, invocation)
    from mtr.run import expand, run

    expanded, route = expand(arguments, invocation, os.environ)

    def act(found: Invocation) -> int:
        return _run_own(arguments, found) if _is_own(found) else run(found, os.environ, route=route)

    # An alias may ask to be told more than was typed.
    return act(expanded) if expanded is invocation else _watch(expanded, act)


def _run_own(arguments: Sequence[str], invocation: Invocation) -> int:
    if list(arguments[:1]) == ["shell-init"]:
        from mtr.cli.shell_init import answer

        # Each start of a shell, and each TAB, waits for it: click is for --help and for what is wrong.
        if (status := answer(invocation.words[1:], os.environ)) is not None:
            return status
    from mtr.cli.app import run_own

    return run_own(invocation)


def _is_own(invocation: Invocation) -> bool:
    return bool(invocation.help or invocation.version or not invocation.words or invocation.own_word)


def _open_missing_stdio() -> None:
    """Open /dev/null where a standard stream is closed (``mtr CMD <&-``).

    Otherwise the next file that mtr opens would become the command's stdin or stdout.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < descriptor:
                pass
            setattr(sys, name, os.fdopen(descriptor, "r" if descriptor == 0 else "w"))


def _drop_stdout() -> None:
    """Let what is still buffered for stdout go nowhere: flushing it at exit would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
