"""One session of the embedded server: a command on pipes or on a pseudo-terminal, as sshd runs it.

Owns the bytes in both directions and the status. The command is the leader of a session and a process group of
its own. Backpressure goes both ways: what the client does not take is not read from the command, and the other
way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pwd
import signal
import struct
import termios
from typing import TYPE_CHECKING

import asyncssh

from mtr.process.spawn import is_ended, start_inherited
from mtr.scripts import find_shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CHUNK_BYTES = 65_536
MAX_WAITING_BYTES = 1 << 20
"""What may wait for a command that does not read its stdin, before the client has to wait."""

_ACCEPTED_ENV = ("LANG", "LC_")
"""As Debian's sshd: ``AcceptEnv LANG LC_*``."""


def find_login_shell() -> str:
    """Return the shell of whoever runs this; ``/bin/sh`` for an account that is not meant for logins."""
    shell = pwd.getpwuid(os.getuid()).pw_shell
    return shell if os.access(shell, os.X_OK) and os.path.basename(shell) not in {"nologin", "false"} else "/bin/sh"


class Session(asyncssh.SSHServerSession[bytes]):
    """A session channel, from the request to the status."""

    def __init__(self, environ: Mapping[str, str], running: set[Session]) -> None:
        self._environ = environ
        self._running = running
        self._loop = asyncio.get_running_loop()
        self._outputs: dict[int, Callable[[bytes], None]] = {}
        self._input: int | None = None
        self._waiting = bytearray()
        self._eof = False
        self._terminal: int | None = None
        self._slave: int | None = None
        self._pid: int | None = None
        self._status: int | None = None
        self._command = ""

    # -- requests of the client

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """Keep the channel."""
        self._chan = chan

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        """Make a pseudo-terminal; its modes are the system's default, which an interactive client expects."""
        del term_type, term_modes
        self._terminal, self._slave = os.openpty()
        self.terminal_size_changed(*term_size)
        return True

    def exec_requested(self, command: str) -> bool:
        """Accept any command; it starts once everything about the session is known."""
        self._command = command
        return True

    def session_started(self) -> None:
        """Start the command."""
        argv = [self._environ["SHELL"], "-c", self._command]
        if self._terminal is None or self._slave is None:
            self._start_on_pipes(argv)
        else:
            self._start_on_terminal(argv, self._terminal, os.ttyname(self._slave))
        self._running.add(self)
        for descriptor in self._outputs:
            os.set_blocking(descriptor, False)
        self.resume_writing()
        self.reap()

    def _build_environ(self) -> dict[str, str]:
        user = pwd.getpwuid(os.getuid()).pw_name
        sent = {n: v for n, v in self._chan.get_environment().items() if n.startswith(_ACCEPTED_ENV)}
        peer, here = (self._chan.get_extra_info(name) for name in ("peername", "sockname"))
        connection = f"{peer[0]} {peer[1]} {here[0]} {here[1]}"
        return {**sent, **self._environ, "USER": user, "LOGNAME": user, "SSH_CONNECTION": connection}

    def _start_on_pipes(self, argv: list[str]) -> None:
        (stdin, self._input), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
        os.set_blocking(self._input, False)
        with _lend_stdio(stdin, stdout, stderr):
            self._pid = start_inherited(argv, self._build_environ(), own_session=True)
        self._outputs = {out: self._chan.write, err: self._chan.write_stderr}

    def _start_on_terminal(self, argv: list[str], terminal: int, name: str) -> None:
        environ = {**self._build_environ(), "TERM": self._chan.get_terminal_type() or "dumb", "SSH_TTY": name}
        script = f"{find_shipped('shell')}/demo/terminal.sh"
        self._pid = start_inherited(["sh", script, name, *argv], environ, own_session=True)
        self._outputs = {terminal: self._chan.write}
        self._input = os.dup(terminal)

    # -- from the client to the command

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Hand on what the client sent."""
        del datatype
        self._waiting += data
        self._feed()

    def eof_received(self) -> bool:
        """End the command's stdin; the channel stays open for its output. A terminal has no end."""
        self._eof = self._terminal is None
        self._feed()
        return True

    def _feed(self) -> None:
        """Write what the command takes now, and come back when it takes more."""
        if self._input is None:
            self._waiting.clear()
            return
        try:
            del self._waiting[: os.write(self._input, self._waiting)]
        except BlockingIOError:
            pass
        except OSError:  # The command reads no more: what is left is for nobody.
            self._waiting.clear()
            self._eof = True
        if self._waiting:
            self._loop.add_writer(self._input, self._feed)
        else:
            self._loop.remove_writer(self._input)
            if self._eof:
                self._close_input()
        self._throttle()

    def _throttle(self) -> None:
        if len(self._waiting) > MAX_WAITING_BYTES:
            self._chan.pause_reading()
        else:
            self._chan.resume_reading()

    def _close_input(self) -> None:
        if self._input is not None:
            self._loop.remove_writer(self._input)
            os.close(self._input)
            self._input = None

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Give the terminal its new size; the system tells the command."""
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixwidth, pixheight))

    # -- from the command to the client

    def pause_writing(self) -> None:
        """Read no more from the command while the client takes nothing."""
        for descriptor in self._outputs:
            self._loop.remove_reader(descriptor)

    def resume_writing(self) -> None:
        """Read from the command again."""
        for descriptor in self._outputs:
            self._loop.add_reader(descriptor, self._forward, descriptor)

    def _forward(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # Linux reports the end of a terminal as EIO.
            data = b""
        if data:
            self._outputs[descriptor](data)
        else:
            self._close_output(descriptor)
            self._finish()

    def _close_output(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._outputs[descriptor]
        os.close(descriptor)

    # -- the end

    def reap(self) -> None:
        """Take the command's status if it has ended."""
        if self._pid is None or self._status is not None:
            return
        self._status = is_ended(self._pid)
        if self._status is not None:
            # While this end was open, a command that has not opened its terminal yet was not taken for one
            # that has closed it.
            self._close_slave()
            self._finish()

    def _close_slave(self) -> None:
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None

    def _finish(self) -> None:
        """Report the status once it is known and all output has been sent."""
        if self._status is None or self._outputs:
            return
        self._running.discard(self)
        self._close_input()
        if self._status < 0:
            self._chan.exit_with_signal(signal.Signals(-self._status).name.removeprefix("SIG"))
        else:
            self._chan.exit(self._status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the command: its terminal hangs up, its pipes close, as with sshd."""
        del exc
        self._close_input()
        self._close_slave()
        for descriptor in tuple(self._outputs):
            self._close_output(descriptor)


@contextlib.contextmanager
def _lend_stdio(*ends: int) -> Iterator[None]:
    """Let a program started meanwhile inherit ``ends`` as its stdin, stdout and stderr, and close them here.

    Nothing else runs meanwhile: the server has one thread, and its own stdio is not in use but for the log.
    """
    kept = [os.dup(descriptor) for descriptor in range(3)]
    try:
        for descriptor, end in enumerate(ends):
            os.dup2(end, descriptor)
        yield
    finally:
        for descriptor, own in enumerate(kept):
            os.dup2(own, descriptor)
        for descriptor in (*kept, *ends):
            os.close(descriptor)
