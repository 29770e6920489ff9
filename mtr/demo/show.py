"""The demo as people see it: four runs of the real ``mtr``, each with its command line and its time.

Owns the order of the acts and how they look (80 columns, colours on a terminal only). What runs is ``python -m
mtr`` as a child on the inherited stdio, so its output is live and nothing of it is staged.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.demo.programs import check_programs
from mtr.demo.server import open_server
from mtr.demo.stage import HOST_ALIAS, open_stage
from mtr.errors import EXIT_INTERRUPTED, MtrError
from mtr.process.spawn import is_ended, start_inherited, wait_for
from mtr.ssh.foreground import Interrupted, raise_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mtr.demo.server import Server
    from mtr.demo.stage import Stage

CHILD_GRACE_S = 10.0
"""How long an interrupted run may take to end its processes on the server."""

MASTERS_GONE_S = 5.0

_EDITED = "train.py"
_OLD, _NEW = "LEARNING_RATE = 0.05", "LEARNING_RATE = 0.8"


@dataclass(frozen=True, slots=True)
class Act:
    """One run on stage: what it shows, the words behind ``mtr``, and the status that must arrive."""

    title: str
    words: tuple[str, ...]
    status: int = 0
    edits: bool = False


_TRAIN = ("python3", "train.py")

ACTS = (
    Act("The first run opens the connection, brings the files over, runs there.", _TRAIN),
    Act("The same again. The connection is open, and nothing has changed.", _TRAIN),
    Act("Edit a file here and run: only what changed travels.", _TRAIN, edits=True),
    Act("One word is text for the shell there. data/ is in .gitignore and stayed here.", ("ls; exit 7",), status=7),
)


class UnexpectedStatus(MtrError):
    """A run of the demo ended with another status than it must."""

    code = "demo-status"


class Screen:
    """Prints for people."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def say(self, line: str = "") -> None:
        """Print a line."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def paint(self, code: str, text: str) -> str:
        """Return ``text`` in an SGR style (ECMA-48), where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def bold(self, text: str) -> str:
        """Return what the eye looks for."""
        return self.paint("1", text)

    def dim(self, text: str) -> str:
        """Return what stands back."""
        return self.paint("2", text)


def has_colours(environ: Mapping[str, str]) -> bool:
    """Tell whether stdout takes colours: a terminal, and nobody said no (no-color.org)."""
    return os.isatty(1) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def run_demo(kind: str, environ: Mapping[str, str]) -> int:
    """Show everything against a throwaway server of ``kind``; return the status for mtr to exit with.

    Raises:
        MissingProgram: this machine lacks ssh, rsync, or any server.
        UnexpectedStatus: a run did not do what it must.
    """
    check_programs(environ)
    screen = Screen(colours=has_colours(environ))
    try:
        with raise_on_signals(), open_stage(environ) as stage, _masters_closed(stage):
            with open_server(kind, stage, lambda: _prove_login(stage)) as server:
                _introduce(screen, stage, server)
                times_s = [_perform(screen, stage, number, act) for number, act in enumerate(ACTS, 1)]
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    _conclude(screen, times_s)
    return 0
