"""The demo as people see it: four runs of the real ``mtr``, each with its command line and its time.

Owns the order of the acts and how they look (80 columns, colours on a terminal only). What runs is ``python -m
mtr`` as a child on the inherited stdio, so its output is live and nothing of it is staged.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.demo.server import open_server, read_log
from mtr.demo.stage import HOST_ALIAS, open_stage
from mtr.errors import MtrError
from mtr.process.signals import Interrupted, signals_held
from mtr.process.spawn import is_ended, start_inherited, wait_for
from mtr.ssh.connection import connect
from mtr.ssh.master import kill_master, list_masters
from mtr.state import ensure_runtime_dir
from mtr.voice import wants_colour
from mtr.workflow import load_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.demo.server import Server
    from mtr.demo.stage import Stage

OWN_END_S = 0.5
"""A run that the same Ctrl-C reached ends by itself; one that did not is told after this."""

GRACE_S = 10.0
"""How long a run may then take to end its processes on the server."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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

    def __init__(self, *, has_colour: bool) -> None:
        self._has_colour = has_colour

    def say(self, line: str = "") -> None:
        """Print a line."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def paint(self, code: str, text: str) -> str:
        """Return ``text`` in an SGR style (ECMA-48), where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour else text

    def bold(self, text: str) -> str:
        """Return what the eye looks for."""
        return self.paint("1", text)

    def dim(self, text: str) -> str:
        """Return what stands back."""
        return self.paint("2", text)


def run_demo(kind: str, environ: Mapping[str, str]) -> int:
    """Show everything against a throwaway server of ``kind``; return the status for mtr to exit with.

    Raises:
        MissingProgram: this machine lacks any server.
        ServerFailed: no server came up that lets this user in.
        UnexpectedStatus: a run did not do what it must.
        Interrupted: a signal ended the demo; everything has been cleaned up.
    """
    screen = Screen(has_colour=wants_colour(1))
    _conclude(screen, _play(screen, kind, environ))
    return 0


def _play(screen: Screen, kind: str, environ: Mapping[str, str]) -> list[float]:
    """Set the stage, perform every act, clear the stage; return how long each run took, in seconds."""
    with contextlib.ExitStack() as stack:
        try:
            stage = stack.enter_context(open_stage(environ))
            # After the server: without its connection a session there would be an orphan, which nobody finds.
            stack.callback(_close_masters, stage)
            server = stack.enter_context(open_server(kind, stage, lambda: _prove_login(stage)))
            _introduce(screen, stage, server)
            return [_perform(screen, stage, server, number) for number in range(1, len(ACTS) + 1)]
        finally:
            _ignore_signals()  # the clean-up, which comes now, is short


def _ignore_signals() -> None:
    """Let no further Ctrl-C interrupt; a handler of no effect, since programs would inherit SIG_IGN."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda _signum, _frame: None)


def _prove_login(stage: Stage) -> None:
    """Log in once and leave, so that the first act opens a connection as on any other day."""
    try:
        connect(load_target(str(stage.project), HOST_ALIAS, stage.environ, needs_project=True).server, stage.environ)
    finally:
        _close_masters(stage)


def _close_masters(stage: Stage) -> None:
    for socket, _ in list_masters(ensure_runtime_dir(stage.environ)):
        kill_master(socket)


def _introduce(screen: Screen, stage: Stage, server: Server) -> None:
    screen.say()
    screen.say(screen.bold("mtr: edit here, run there"))
    screen.say()
    screen.say(f"  here   {stage.project}, a small project")
    screen.say(f"  there  127.0.0.1:{server.port}, {server.label} just for this demo")
    if shutil.which("ssh", path=stage.environ.get("PATH")) is None:
        screen.say("  by     paramiko, since there is no ssh here")


def _perform(screen: Screen, stage: Stage, server: Server, number: int) -> float:
    """Perform act ``number``, counted from 1, and return how long its run took, in seconds."""
    act = ACTS[number - 1]
    screen.say()
    screen.say(screen.bold(f"{number}  {act.title}"))
    if act.edits:
        _edit(screen, stage)
    screen.say(f"{screen.dim('$')} {screen.paint('36', f'mtr {shlex.join(act.words)}')}")
    started_s = time.monotonic()
    status = _run_mtr(stage, act.words)
    took_s = time.monotonic() - started_s
    if status != act.status:
        raise _build_unexpected(act, status, stage, server)
    end = f"exit status {status}, {took_s:.2f} s" if status else f"{took_s:.2f} s"
    screen.say(screen.dim(f"-- {end}"))
    return took_s


def _edit(screen: Screen, stage: Stage) -> None:
    """Change one line of the project and show it as a diff does."""
    path = stage.project / _EDITED
    path.write_text(path.read_text(encoding="utf-8").replace(_OLD, _NEW), encoding="utf-8")
    screen.say(f"   {_EDITED}: {screen.paint('31', f'- {_OLD}')}")
    screen.say(f"   {' ' * len(_EDITED)}  {screen.paint('32', f'+ {_NEW}')}")


def _run_mtr(stage: Stage, words: Sequence[str]) -> int:
    """Run the real mtr in the project and return its status.

    Raises:
        Interrupted: a signal reached the demo, or Ctrl-C the command on the server's terminal.
    """
    # -P: the project's own modules must not stand in for those of Python.
    argv = [sys.executable, "-P", "-m", "mtr", "-C", str(stage.project), *words]
    pid = 0
    try:
        with signals_held():
            pid = start_inherited(argv, stage.environ)
        status = wait_for(pid)
    except Interrupted:
        if pid:
            _end_run(pid)
        raise
    if status == 128 + signal.SIGINT:
        raise Interrupted(signal.SIGINT)
    return status


def _end_run(pid: int) -> None:
    """Wait for an interrupted run to end; make it end if it does not."""
    for number, patience_s in ((signal.SIGTERM, OWN_END_S), (signal.SIGKILL, GRACE_S)):
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            try:
                ended = is_ended(pid)
            except ChildProcessError:
                return  # The signal came when its end had just been seen.
            if ended is not None:
                return
            time.sleep(0.01)
        os.kill(pid, number)
    wait_for(pid)


def _build_unexpected(act: Act, status: int, stage: Stage, server: Server) -> UnexpectedStatus:
    message = f"mtr {shlex.join(act.words)} ended with status {status} instead of {act.status}"
    return UnexpectedStatus(message, detail=read_log(stage), hint=server.hint_other())


def _conclude(screen: Screen, times_s: Sequence[float]) -> None:
    first_s, again_s = times_s[0], times_s[1]
    screen.say()
    screen.say(f"First {first_s:.2f} s, then {again_s:.2f} s, on a connection that stays open.")
    screen.say("The server, its keys and its files are gone again.")
    screen.say(f"With a server of your own: {screen.bold('mtr -s user@host CMD')}")
