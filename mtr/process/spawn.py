"""Starting a program on mtr's own stdio: what the user sees and types goes straight to it.

Uses ``posix_spawn`` and nothing else, so that a warm run pays no import. Python ignores SIGPIPE and SIGXFSZ;
the program gets them back as it expects them.
"""

from __future__ import annotations

import _signal
import os

from mtr.errors import MissingProgram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class Listener(Protocol):
        """Hears what is started; ``key`` tells apart what runs at the same time."""

        def started(self, key: int, argv: Sequence[str]) -> None:
            """Hear that a program was started."""

        def opened(self, key: int, what: str, command: str) -> None:
            """Hear that a session was asked for on the master of the server ``what``."""

        def ended(self, key: int, status: int) -> None:
            """Hear how it ended."""


listener: Listener | None = None
"""Who hears of every program and session: a log, or ``-vv``. Nobody, as a rule."""

_RESTORED = tuple(getattr(_signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(_signal, name))


def start_inherited(argv: Sequence[str], environ: Mapping[str, str], *, own_session: bool = False) -> int:
    """Start ``argv`` on the inherited stdin, stdout and stderr, and return its pid.

    ``own_session`` takes it out of reach of the terminal's Ctrl-C; it can still read and write the terminal,
    since job control binds only a terminal's own session (POSIX 11.1.4).
    """
    return _spawn(argv, environ, (), own_session=own_session)


def start_detached(
    argv: Sequence[str],
    environ: Mapping[str, str],
    keep: Sequence[int] = (),
    *,
    log: str = os.devnull,
    own_session: bool = False,
) -> int:
    """Start ``argv`` away from the user's stdio, inheriting also the descriptors in ``keep``; return its pid.

    stdin and stdout are /dev/null; stderr is appended to ``log``.
    """
    appended = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, appended, 0o600),
    )
    for descriptor in keep:
        os.set_inheritable(descriptor, True)
    return _spawn(argv, environ, actions, own_session=own_session)


def start_piped(argv: Sequence[str], environ: Mapping[str, str], descriptors: Sequence[int]) -> int:
    """Start ``argv`` with ``descriptors`` as its stdin, stdout and stderr, in a session of its own; return its pid."""
    actions = [(os.POSIX_SPAWN_DUP2, given, number) for number, given in enumerate(descriptors)]
    return _spawn(argv, environ, actions, own_session=True)


def _spawn(
    argv: Sequence[str], environ: Mapping[str, str], actions: Sequence[tuple[object, ...]], *, own_session: bool
) -> int:
    try:
        pid = os.posix_spawnp(
            argv[0], list(argv), environ, file_actions=actions, setsigdef=_RESTORED, setsid=own_session
        )
    except FileNotFoundError as error:
        raise MissingProgram(f"{argv[0]} is not installed on this machine", hint=f"install {argv[0]}") from error
    if listener is not None:
        listener.started(pid, argv)
    return pid


def wait_for(pid: int) -> int:
    """Wait for ``pid`` to end; return its status as 0 to 255, or ``-n`` for death by signal n."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if listener is not None:
        listener.ended(pid, status)
    return status


def is_ended(pid: int) -> int | None:
    """Return the status of ``pid`` if it has ended, else None."""
    ended, found = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    status = os.waitstatus_to_exitcode(found)
    if listener is not None:
        listener.ended(pid, status)
    return status
