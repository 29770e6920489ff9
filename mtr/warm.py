"""The entry: the straight line that ``mtr CMD`` takes through the layers.

Everything that is not a run goes to click. Errors of mtr's tree are rendered here, once, on stderr; no
traceback reaches a user for anything that they can cause.
"""

from __future__ import annotations

import os
import sys

from mtr.command_line import Invocation, parse_arguments
from mtr.errors import EXIT_INTERRUPTED, MtrError, render_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mtr`` with ``arguments`` (default: this process's) and return its exit status."""
    try:
        status = _dispatch(parse_arguments(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except MtrError as error:
        sys.stderr.write(render_error(error))
        return error.exit_status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Nobody reads stdout any more (mtr servers | head): end as a filter does, without a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13
    return status


def _dispatch(invocation: Invocation) -> int:
    if invocation.help or invocation.version or not invocation.words or invocation.own_word:
        from mtr.cli.app import run_own

        return run_own(invocation)
    from mtr.workflow import run

    return run(invocation, os.environ)
