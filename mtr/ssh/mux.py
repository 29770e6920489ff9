"""A client of the master's own protocol: opens a session and reads its status without starting an ``ssh``.

It hands three descriptors to the master, which moves the bytes itself, and so tells exactly whether a session
opened and which status came; an ``ssh`` in front would cost its start on every run (8 ms against 2), and can only be
asked through its log. With a terminal ``ssh`` stands in front, where there is one.

Source: PROTOCOL.mux of OpenSSH, version 4 (OpenSSH 5.6 and newer). Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import _socket
import time
from struct import error as StructError  # noqa: N812
from struct import pack, unpack_from

from mtr.process.piped import is_ready
from mtr.ssh.outcome import Ended, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERSION = 4
ASK_TIMEOUT_S = 5.0
MAX_MESSAGE_BYTES = 256 << 10
"""OpenSSH takes and sends no longer ones (mux.c); what says it does is no master."""
MAX_MESSAGES = 100
"""Of one session there are three or four."""

HELLO = 0x00000001
NEW_SESSION = 0x10000002
ALIVE_CHECK = 0x10000004
STOP_LISTENING = 0x10000009
OK = 0x80000001
PERMISSION_DENIED = 0x80000002
FAILURE = 0x80000003
EXIT_MESSAGE = 0x80000004
ALIVE = 0x80000005
SESSION_OPENED = 0x80000006
RESIZE = 0x1F000001
"""Not of OpenSSH: the window of a session's terminal has another size. Only mtr's own masters get it."""

_NO_ESCAPE = 0xFFFFFFFF

DRAINS_WITHIN_S = 0.02
"""A status and the end of its session come together, unless there is output in between."""


class Session:
    """One session on a master, from its request to its end."""

    def __init__(
        self,
        socket: str,
        command: str,
        environ: Iterable[str],
        descriptors: Sequence[int],
        *,
        forward_agent: bool = False,
        subsystem: bool = False,
        terminal: str = "",
    ) -> None:
        """Ask the master on ``socket`` for a session; its end tells whether it opened.

        With ``subsystem``, ``command`` is the name of one (RFC 4254, 6.5). ``terminal`` is the type of the terminal
        that the session gets, "" for none; ssh's own masters are asked for those by an ``ssh`` alone.

        ``environ`` are strings ``NAME=VALUE``, of which the master sends on what its ``SendEnv`` allows;
        ``descriptors`` are stdin, stdout and stderr, and may be closed here afterwards.
        """
        self._buffer = b""
        self._words = ""
        self._status: int | None = None
        self._opened = False
        self._refused = False
        self._heard = 0
        self._told_s, self._has_drained = 0.0, False
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            # A master that has been stopped takes nothing from its socket.
            self._socket.settimeout(ASK_TIMEOUT_S)
            self._socket.connect(socket)
            self._send(pack(">II", HELLO, VERSION))
            flags = (bool(terminal), False, forward_agent, subsystem)
            self._send(_build_request(command, environ, terminal, flags))
            for descriptor in descriptors:
                rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack("i", descriptor))
                self._socket.sendmsg([b"\0"], [rights])
        except OSError as error:
            # Nothing was asked for in full, so nothing runs.
            self._words = f"{socket}: {error.strerror or error}"
            self.close()

    def _send(self, message: bytes) -> None:
        self._socket.sendall(pack(">I", len(message)) + message)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the session has news, -1 after its end."""
        return self._socket.fileno()

    def resize(self, *_size: int) -> None:
        """Let the master look how large the terminal on the descriptors is now: see ``RESIZE``."""
        self._send(pack(">I", RESIZE))

    def close(self) -> None:
        """Let go of the session; the master closes it on the server."""
        self._socket.close()

    @property
    def is_over(self) -> bool:
        """Whether the session has ended, or never opened."""
        return self._socket.fileno() < 0

    def wait_for_news(self, timeout_s: float | None) -> bool:
        """Take what the master says next; tell whether it said anything within ``timeout_s``."""
        self._socket.settimeout(timeout_s)
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            data = b""
        if not data:
            self._has_drained = self._has_drained or 0 < self._told_s < time.monotonic() - DRAINS_WITHIN_S
            self.close()
        self._take(data)
        return True

    def end(self) -> Ended:
        """Return how the session ended; it is let go of where it has not."""
        self.close()
        return self._build_end()

    @property
    def has_opened(self) -> bool:
        """Whether the server has opened the session."""
        return self._opened

    @property
    def has_drained(self) -> bool:
        """Whether, when the status came, there was output still to come, or to be written to who is slow to read it."""
        return self._has_drained

    def _take(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + unpack_from(">I", self._buffer)[0]
            if end > MAX_MESSAGE_BYTES:
                self._give_up("what answers there does not speak the multiplexing protocol")
                return
            if len(self._buffer) < end:
                return
            try:
                self._read_message(self._buffer[4:end])
            except StructError:
                self._give_up("a message of the master is cut")
                return
            self._buffer = self._buffer[end:]

    def _give_up(self, words: str) -> None:
        self._words, self._buffer = words, b""
        self.close()

    def _read_message(self, message: bytes) -> None:
        kind = unpack_from(">I", message)[0]
        self._heard += 1
        if self._heard > MAX_MESSAGES:
            self._give_up("what answers there talks without end")
        elif kind == SESSION_OPENED:
            self._opened = True
        elif kind == EXIT_MESSAGE:
            self._status = unpack_from(">I", message, 8)[0]
            self._told_s = time.monotonic()
            self._has_drained = not all(is_ready(end, writing=True, timeout_s=0.0) for end in (1, 2))
        elif kind in (FAILURE, PERMISSION_DENIED):
            self._words = message[12:].decode(errors="replace")
            self._refused = "refused by peer" in self._words
            self.close()
        elif kind == HELLO and unpack_from(">I", message, 4)[0] != VERSION:
            self._words = "the master speaks another version of the multiplexing protocol"
            self.close()

    def _build_end(self) -> Ended:
        if self._opened and self._status is not None:
            return Ended(self._status, Outcome.STATUS)
        if self._opened:
            return Ended(255, Outcome.NO_STATUS, self._words)
        return Ended(255, Outcome.REFUSED if self._refused else Outcome.NEVER_OPENED, self._words)


def _build_request(command: str, environ: Iterable[str], terminal: str, flags: Iterable[bool]) -> bytes:
    # Flags for tty, X11, agent, subsystem; escape character; then terminal type, command, environment.
    numbers = pack(">IIIII", *flags, _NO_ESCAPE)
    strings = b"".join(map(pack_string, (terminal, command, *environ)))
    return pack(">II", NEW_SESSION, 1) + pack_string("") + numbers + strings


def pack_string(text: str) -> bytes:
    """Return ``text`` as the protocol writes it: its length, then its bytes."""
    data = text.encode(errors="surrogateescape")
    return pack(">I", len(data)) + data
