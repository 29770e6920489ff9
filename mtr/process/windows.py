"""Starting a command, and ending its processes, on Windows: pipes by CreateProcess, a terminal by pywinpty.

There are no sessions, signals or /proc: what a command has started is found through its parents, by taskkill, as long
as these live, and is ended at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mtr.process.piped import run_piped
from mtr.process.started import COLUMNS, ROWS, PtyInitializationError, Started

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def start_on_terminal(argv: Sequence[str], environ: Mapping[str, str], directory: str | None) -> Started:
    """Start ``argv`` on a console of its own.

    Raises:
        PtyInitializationError: pywinpty is not installed, or there is no console.
    """
    try:
        import winpty

        child = winpty.PtyProcess.spawn(list(argv), cwd=directory, env=dict(environ), dimensions=(ROWS, COLUMNS))
    except Exception as error:
        hint = "install pywinpty" if isinstance(error, ImportError) else ""
        raise PtyInitializationError("this system gives no terminal", detail=str(error), hint=hint) from error
    return Started(child.pid, [], is_terminal=True, console=Console(child))


class Console:
    """A console of pywinpty, which speaks text, as bytes."""

    def __init__(self, child: Any) -> None:
        self._child = child

    def read(self, size: int) -> bytes:
        """Return what comes next; empty at the end."""
        try:
            return str(self._child.read(size)).encode(errors="replace")
        except (EOFError, OSError):
            return b""

    def write(self, data: bytes) -> None:
        """Type ``data``."""
        self._child.write(data.decode(errors="replace"))

    def wait(self) -> int:
        """Wait for the end of the program; return its status."""
        return int(self._child.wait())


def end_tree(leaders: Iterable[int]) -> list[int]:
    """End these processes and all below them; return those that would not end."""
    words = [["taskkill", "/T", "/F", "/PID", str(pid)] for pid in leaders]
    # 128: there is no such process (any more).
    return [int(argv[-1]) for argv in words if run_piped(argv, timeout_s=20).status not in (0, 128)]
