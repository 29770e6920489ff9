"""The terminal of a job, as its start asks for it. Builtin modules alone: starting a job is as warm as a run."""

from __future__ import annotations

import os

from mtr.scripts import load_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.ssh.gate import Command

DEFAULT_SIZE = (24, 80)
DEFAULT_TYPE = "xterm-256color"


def add_terminal(command: Command, environ: Mapping[str, str]) -> None:
    """Let ``command``, which starts a job with the option pty, give it a terminal like the one here."""
    rows, columns, kind = measure_terminal(environ)
    programs = map(load_script, ("remote/job/terminal.py", "remote/job/terminal_script.sh"))
    script, *words = command.argv
    command.argv = (load_script("remote/job/terminal.sh") + script, *programs, f"{rows} {columns}", kind, *words)


def measure_terminal(environ: Mapping[str, str]) -> tuple[int, int, str]:
    """Return rows, columns and type of the terminal here, or of a common one."""
    kind = environ.get("TERM", "")
    for descriptor in (1, 0, 2):
        try:
            columns, rows = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if rows and columns:
            return rows, columns, kind if kind not in ("", "dumb") else DEFAULT_TYPE
    return *DEFAULT_SIZE, DEFAULT_TYPE
