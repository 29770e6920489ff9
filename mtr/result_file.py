"""``--result FILE``: how a run went, for programs, as one JSON object.

    mtr      the version
    phase    where it ended: config, connect, sync, start, run, pull; done when all of it is done
    by       whose ``exit`` is: ``command``, or ``mtr``. It settles whether a 125 was the command's own
    exit     mtr's exit status
    signal   the signal's name where ``exit`` stands for one (128+n, as a shell reports it), or that ended mtr
    code     the stable code of mtr's error, ``message`` its words, ``hint`` the next command
    server   the server's name; ``run`` the id of the run there, ``remote_dir`` its directory
    job      the id of the job that ``-d`` has started; ``by`` is mtr then
    files    how many files were brought; ``bytes`` how many that took on the line, ``deleted`` how many went there
    ms       how long it took, and in ``phases`` each phase, in milliseconds

What is not known, or was not the case, is null. New keys may come; none changes its meaning. FILE is replaced as a
whole when the run ends, and removed when it begins: after a run that was killed there is none. What is there and holds
something else than JSON stays, and nothing runs (``mtr --result train.py``, FILE forgotten). It is made with the
user's umask, like any other file of theirs; a link in its place is replaced, not followed.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import time
from typing import Any

from mtr import __version__
from mtr.errors import (
    EXIT_FAILURE,
    ConfigError,
    ConnectError,
    GateRefused,
    MtrError,
    ProjectError,
    ServerNotFound,
    SyncError,
    TimedOut,
    UsageError,
)
from mtr.process.signals import Expired, Interrupted
from mtr.state import read_regular, remove_file, write_atomic

_PHASES: tuple[tuple[type[MtrError], str], ...] = (
    (UsageError, "config"),
    (ConfigError, "config"),
    (ProjectError, "config"),
    (ServerNotFound, "config"),
    (ConnectError, "connect"),
    (SyncError, "sync"),
    (GateRefused, "start"),
)
"""What an error says of where it happened: it may come over the command's own session."""


class ResultFile:
    """Follows one run, and writes FILE at its end."""

    def __init__(self, path: str) -> None:
        """Remove what an earlier run left at ``path``.

        Raises:
            UsageError: no file can be made there; nothing has been done yet.
        """
        self._path = os.path.abspath(path)
        self._started_s = self._entered_s = time.monotonic()
        self._phase = "config"
        self._spent_s: dict[str, float] = {}
        self._facts: dict[str, Any] = {"files": 0, "bytes": 0, "deleted": 0}
        _ensure_writable(self._path)

    def enter(self, phase: str) -> None:
        """Note that ``phase`` begins."""
        now_s = time.monotonic()
        self._spent_s[self._phase] = self._spent_s.get(self._phase, 0.0) + now_s - self._entered_s
        self._phase, self._entered_s = phase, now_s

    def note(self, **facts: object) -> None:
        """Note what is known of the run now."""
        self._facts.update(facts)

    def finish(self, status: int) -> None:
        """Write that the run came to its end with ``status``, of the command where the run has noted that."""
        by, error = self._facts.get("by", "mtr"), self._facts.get("error")
        # What failed when the command had ended (its results could not be brought) has been told, and was not raised.
        self.enter(self._phase if error else "done")
        self._write(status, by=by, signal_name=_name_signal(status) if by == "command" else None, error=error)

    def fail(self, error: BaseException) -> None:
        """Write that ``error`` ended the run."""
        self.enter(self._phase)
        if isinstance(error, Expired):
            self._write(error.exit_status, by="mtr", error=TimedOut(f"ended after {error.timeout_s:g} s"))
        elif isinstance(error, Interrupted):
            self._write(error.exit_status, by="mtr", signal_name=signal.Signals(error.signum).name)
        elif isinstance(error, BrokenPipeError):
            self._write(128 + signal.SIGPIPE, by="mtr", signal_name="SIGPIPE")
        elif isinstance(error, MtrError):
            if self._phase not in ("pull", "done"):
                self._phase = next((phase for kind, phase in _PHASES if isinstance(error, kind)), self._phase)
            self._write(error.exit_status, by="mtr", error=error)
        else:
            self._write(EXIT_FAILURE, by="mtr", error=MtrError(str(error) or type(error).__name__))

    def _write(self, status: int, *, by: object, signal_name: str | None = None, error: MtrError | None = None) -> None:
        told = {
            "mtr": __version__,
            "phase": self._phase,
            "by": by,
            "exit": status,
            "signal": signal_name,
            "code": error.code if error else None,
            "message": error.message if error else None,
            "hint": (error.hint or None) if error else None,
            **{
                name: self._facts.get(name)
                for name in ("server", "run", "job", "remote_dir", "files", "bytes", "deleted")
            },
            "ms": _to_ms(time.monotonic() - self._started_s),
            "phases": {phase: _to_ms(spent_s) for phase, spent_s in self._spent_s.items()},
        }
        write_atomic(self._path, f"{json.dumps(told, indent=2)}\n".encode(), 0o666)


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _name_signal(status: int) -> str | None:
    try:
        return signal.Signals(status - 128).name if status > 128 else None
    except ValueError:
        return None


def _ensure_writable(path: str) -> None:
    """See that a file can be made at ``path``, and that none stands there."""
    hint = "give --result a file in a directory where you may write"
    try:
        found = os.lstat(path)
    except OSError:
        found = None
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        raise UsageError(f"--result {path} is no file", hint=hint)
    if found is not None and stat.S_ISREG(found.st_mode) and read_regular(path, 1) not in (b"", b"{"):
        hint = f"give --result a file of its own: mtr --result FILE CMD; or: rm {shlex.quote(path)}"
        raise UsageError(f"--result would replace {path}, which is no result of a run", hint=hint)
    try:
        remove_file(path)
        # What could be written now can be written at the end, a full disk apart.
        write_atomic(path, b"", 0o666)
        remove_file(path)
    except OSError as error:
        raise UsageError(f"--result cannot write {path}: {error.strerror}", hint=hint) from error
