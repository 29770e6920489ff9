"""Starting a command whose output somebody follows while it runs: on pipes, or on a terminal of its own.

It leads a session of its own, has none of mtr's descriptors, and its stdin is never mtr's: a server that speaks on
its own stdin would have its requests eaten. On Linux starting is safe with any number of threads: nothing of Python
runs between fork and exec.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtr.errors import MissingProgram, MtrError
from mtr.process import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROWS, COLUMNS = 24, 80


class PtyInitializationError(MtrError):
    """No terminal could be had for a command; nothing was started."""

    code = "pty"


@dataclass(slots=True)
class Started:
    """A program under way, and our ends of its streams: descriptors that whoever holds this closes."""

    pid: int
    """The leader of its session and of its process group."""
    outputs: list[int]
    """One for each stream: stdout and stderr, or the terminal."""
    sink: int | None = None
    """Where its input goes; the terminal's own descriptor where it has one."""
    is_terminal: bool = False
    console: Any = None
    """Its terminal, where that is no descriptor (Windows)."""
    held: int | None = None
    """The program's side of its terminal, open until it has ended: who redirects all its streams is not hung up."""
    process: subprocess.Popen[bytes] | None = None
    """What waits for it, where it was started so."""

    def close(self) -> None:
        """Close our ends of its streams."""
        for descriptor in {*self.outputs, self.sink, self.held} - {None}:
            os.close(descriptor or 0)

    def wait(self) -> int:
        """Wait for its end, once; return its status, ``128+n`` for death by signal n."""
        if self.process is not None:
            status = self.process.wait()
        elif self.console is not None:
            status = self.console.wait()
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if spawn.listener is not None:
            spawn.listener.ended(self.pid, status)
        return status if status >= 0 else 128 - status


def build_argv(command: str | Sequence[str]) -> list[str]:
    """Return what runs ``command``: a string is for a shell, bash where it is there; a list is an argv."""
    if isinstance(command, str) and sys.platform == "win32":
        return [os.environ.get("COMSPEC", "cmd.exe"), "/d", "/s", "/c", command]
    if isinstance(command, str):
        return [_find_shell(), "-c", command]
    return list(command)


def _find_shell() -> str:
    return shutil.which("bash") or "/bin/sh"


def start_on_pipes(
    argv: Sequence[str], environ: Mapping[str, str], directory: str | None, *, has_input: bool
) -> Started:
    """Start ``argv`` with a pipe for each of its streams; without ``has_input`` stdin is /dev/null.

    Raises:
        MissingProgram: there is no such program.
        MtrError: the system does not start it.
    """
    source = subprocess.PIPE if has_input else subprocess.DEVNULL
    process = _popen(argv, environ, directory, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if spawn.listener is not None:
        spawn.listener.started(process.pid, argv)
    out, err, *sink = [_take(file) for file in (process.stdout, process.stderr, process.stdin) if file is not None]
    process.stdin = process.stdout = process.stderr = None
    return Started(process.pid, [out, err], sink[0] if sink else None, process=process)


def _take(file: Any) -> int:
    """Return a descriptor of our own for ``file``, which is closed."""
    with file:
        return os.dup(file.fileno())


def start_on_terminal(argv: Sequence[str], environ: Mapping[str, str], directory: str | None) -> Started:
    """Start ``argv`` on a new terminal of 80 by 24, which is its stdin, stdout and stderr, and its session's.

    Raises:
        PtyInitializationError: no terminal could be had.
        MissingProgram: there is no such program.
        MtrError: the system does not start it.
    """
    program = _find_program(argv[0], environ, directory)
    if sys.platform == "win32":
        from mtr.process.windows import start_on_terminal as start_on_console

        return start_on_console([program, *argv[1:]], environ, directory)
    start = start_through_shell if sys.platform == "linux" else start_through_library
    started = start([program, *argv[1:]], environ, directory)
    if spawn.listener is not None:
        spawn.listener.started(started.pid, argv)
    return started


def start_through_shell(argv: Sequence[str], environ: Mapping[str, str], directory: str | None) -> Started:
    """Start ``argv`` behind a shell that makes the terminal its session's: opening it is enough on Linux."""
    from mtr.scripts import find_shipped

    ours, theirs, name = _open_terminal()
    wrapper = ["/bin/sh", f"{find_shipped('shell')}/local/terminal.sh", name, *argv]
    try:
        process = _popen(wrapper, environ, directory, stdin=theirs, stdout=theirs, stderr=theirs)
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise
    return Started(process.pid, [ours], ours, is_terminal=True, held=theirs, process=process)


def start_through_library(argv: Sequence[str], environ: Mapping[str, str], directory: str | None) -> Started:
    """Start ``argv`` through ptyprocess, which forks: the session's terminal takes a system call elsewhere."""
    import ptyprocess

    try:
        child = ptyprocess.PtyProcess.spawn(list(argv), cwd=directory, env=dict(environ), dimensions=(ROWS, COLUMNS))
    except Exception as error:
        raise PtyInitializationError("this system gives no terminal", detail=str(error)) from error
    ours = os.dup(child.fd)
    child.fileobj.close()
    child.closed = True  # Else it would end the program when it is collected.
    return Started(child.pid, [ours], ours, is_terminal=True, held=_open_other_side(ours))


def _open_terminal() -> tuple[int, int, str]:
    try:
        import termios

        ours, theirs = os.openpty()
    except (ImportError, OSError) as error:
        raise PtyInitializationError("this system gives no terminal", detail=str(error)) from error
    try:
        termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
        return ours, theirs, os.ttyname(theirs)
    except (OSError, termios.error) as error:
        os.close(ours)
        os.close(theirs)
        raise PtyInitializationError("this system gives no terminal", detail=str(error)) from error


def _open_other_side(terminal: int) -> int | None:
    """Open the side of a terminal that programs have; ptsname(3), which Python has from 3.13 on."""
    import ctypes

    libc = ctypes.CDLL(None)
    libc.ptsname.restype = ctypes.c_char_p
    try:
        return os.open(libc.ptsname(terminal) or b"", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None


def _find_program(name: str, environ: Mapping[str, str], directory: str | None) -> str:
    """Return the path of a program, since behind a wrapper nobody tells that there is none."""
    at = os.path.join(directory or "", name) if os.path.dirname(name) else name
    path = shutil.which(at, path=environ.get("PATH", os.defpath))
    if path is None:
        raise _build_missing(name)
    return os.path.abspath(path)


def _build_missing(name: str) -> MissingProgram:
    return MissingProgram(f"{name} is not installed on this machine", hint=f"install {name}")


def _popen(
    argv: Sequence[str], environ: Mapping[str, str], directory: str | None, **streams: Any
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(argv, env=environ, cwd=directory, start_new_session=True, **streams)
    except FileNotFoundError as error:
        if directory is not None and error.filename == directory:
            raise MtrError(f"cannot start in {directory}", detail=str(error)) from error
        raise _build_missing(argv[0]) from error
    except (OSError, ValueError) as error:
        raise MtrError(f"cannot start {os.path.basename(argv[0])}", detail=str(error)) from error
