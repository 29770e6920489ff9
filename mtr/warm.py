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
from mtr.errors import EXIT_FAILURE, MtrError
from mtr.process.signals import Interrupted, raise_on_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


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
            status = _do(arguments, _parse(arguments))
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
    except OSError as error:
        _drop_stdout()
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        where, hint = (f"{name}: ", f"ls -ld {name}; df -h {os.path.dirname(name)}") if name else ("", "")
        _show(MtrError(f"{where}{error.strerror or error}", hint=hint))
        return EXIT_FAILURE
    except Exception as error:  # noqa: BLE001  a status of 1 would pass for the command's own
        _drop_stdout()
        _show(_build_internal(error))
        return EXIT_FAILURE


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


def _build_internal(error: Exception) -> MtrError:
    """Return the error for what nobody has thought of: where it happened, for whoever mends it."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
    message = f"a fault of mtr itself: {type(error).__name__}: {error}"
    return MtrError(message, detail=f"at {where}", hint="run it again; if it stays, report these lines")


def _do(arguments: Sequence[str], invocation: Invocation) -> int:
    if _is_watched(invocation):
        from mtr.watched import run_watched

        return run_watched(invocation, lambda watched: _dispatch(arguments, watched))
    return _dispatch(arguments, invocation)


def _is_watched(invocation: Invocation) -> bool:
    return bool(invocation.verbose or invocation.log_file or invocation.enable_log or invocation.result)


def _dispatch(arguments: Sequence[str], invocation: Invocation) -> int:
    if list(arguments[:1]) == ["shell-init"]:
        from mtr.cli.shell_init import answer

        # Each start of a shell, and each TAB, waits for it: click is for --help and for what is wrong.
        if (status := answer(invocation.words[1:], os.environ)) is not None:
            return status
    if _is_own(invocation):
        return _run_own(invocation)
    from mtr.run import expand, run

    expanded, route = expand(arguments, invocation, os.environ)

    def act(found: Invocation) -> int:
        return _run_own(found) if _is_own(found) else run(found, os.environ, route=route)

    if expanded is not invocation and _is_watched(expanded):
        from mtr.watched import run_watched

        return run_watched(expanded, act)
    return act(expanded)


def _run_own(invocation: Invocation) -> int:
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
