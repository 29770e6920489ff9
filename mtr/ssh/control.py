"""What a master can be asked besides sessions: whether it is there, and to take no more. Source: PROTOCOL.mux."""

from __future__ import annotations

import socket
from struct import error as StructError  # noqa: N812
from struct import pack, unpack_from

from mtr.ssh import mux

MAX_HELLOS = 8


def ask_alive(path: str, timeout_s: float) -> int | None:
    """Return the pid of the master that answers on ``path``; None where none does in time."""
    answer = _ask(path, mux.ALIVE_CHECK, timeout_s)
    is_alive = len(answer) >= 12 and answer[:4] == pack(">I", mux.ALIVE)
    return unpack_from(">I", answer, 8)[0] if is_alive else None


def ask_to_stop(path: str, timeout_s: float) -> bool:
    """Let the master on ``path`` take no more sessions and go with its last one; tell whether it says it will."""
    return _ask(path, mux.STOP_LISTENING, timeout_s)[:4] == pack(">I", mux.OK)


def _ask(path: str, request: int, timeout_s: float) -> bytes:
    """Return the answer to ``request``, b"" where there is none: a master says hello once, and answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as master:
        master.settimeout(timeout_s)
        try:
            master.connect(path)
            for message in (pack(">II", mux.HELLO, mux.VERSION), pack(">II", request, 1)):
                master.sendall(pack(">I", len(message)) + message)
            stream = master.makefile("rb")
            for _ in range(MAX_HELLOS):
                size = unpack_from(">I", stream.read(4))[0]
                if size > mux.MAX_MESSAGE_BYTES:
                    break
                message = stream.read(size)
                if message[:4] != pack(">I", mux.HELLO):
                    return message
        except (OSError, StructError):
            pass
    return b""
