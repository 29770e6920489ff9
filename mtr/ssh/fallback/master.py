"""A master without ssh: one login by paramiko, kept open in the background, whose sessions others ask for.

It speaks the protocol of OpenSSH's masters (PROTOCOL.mux), so everything above it is the same, a warm run included, and
a one-time code is asked for once. Started as a program with the socket's path; ``SOCKET.job`` says where to log in, and
``SOCKET.result`` how that went. Questions go to the mtr that waits: see :mod:`mtr.ssh.questions`.

It ends by itself: when the line is lost, after hours without a session, and when it is told to stop and the last
session has ended.
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys
import threading
import time
from struct import pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from paramiko.ssh_exception import ChannelException, SSHException

from mtr.errors import MtrError
from mtr.ssh import mux
from mtr.ssh.fallback.channel import JoinedChannel, open_channel
from mtr.ssh.fallback.login import Login
from mtr.ssh.fallback.resolve import load_place
from mtr.ssh.fallback.terminal import read_size
from mtr.ssh.options import IDLE_S
from mtr.ssh.questions import ask_waiting_mtr
from mtr.state import remove_file, write_atomic

if TYPE_CHECKING:
    import paramiko

    from mtr.ssh.fallback.resolve import Place

LIVENESS_S = 15.0
MAX_SILENCE_S = 60.0
"""A server that leaves questions unanswered this long has gone: ``ServerAliveInterval`` × ``ServerAliveCountMax``."""


class Master:
    """Serves the sessions of one transport on a socket."""

    def __init__(self, path: str, transport: paramiko.Transport, place: Place) -> None:
        self._path = path
        self._transport = transport
        self._set_env = dict(setting.partition("=")[::2] for setting in place.set_env)
        self._sessions = 0
        self._count = threading.Lock()
        self._is_stopping = False
        self._idle_since_s = time.monotonic()
        self._heard_s = time.monotonic()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._inode = os.stat(path).st_ino
        self._listener.listen(64)
        self._listener.settimeout(1.0)

    def serve(self) -> None:
        """Take whoever asks until there is nothing left to serve."""
        threading.Thread(target=self._ask_for_life, daemon=True).start()
        while not self._is_over():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            client.settimeout(None)
            threading.Thread(target=self._attend, args=(client,), daemon=True).start()
        self._forget_socket()

    def _is_over(self) -> bool:
        if not self._transport.is_active() or time.monotonic() - self._heard_s > MAX_SILENCE_S:
            return True
        if self._sessions:
            return False
        return self._is_stopping or time.monotonic() - self._idle_since_s > IDLE_S

    def _ask_for_life(self) -> None:
        """Ask the server now and then whether it is there: TCP alone would notice after a quarter of an hour."""
        while True:
            time.sleep(LIVENESS_S)
            self._transport.global_request("keepalive@openssh.com", wait=True)
            self._heard_s = time.monotonic()

    def _forget_socket(self) -> None:
        """Remove the socket, unless it is another master's by now."""
        try:
            if os.stat(self._path).st_ino == self._inode:
                remove_file(self._path)
        except FileNotFoundError:
            pass

    # -- one client

    def _attend(self, client: socket.socket) -> None:
        """Answer one client until it goes."""
        try:
            while message := _read_message(client):
                self._answer(client, message)
        except OSError:
            pass
        finally:
            client.close()

    def _answer(self, client: socket.socket, message: bytes) -> None:
        kind = unpack_from(">I", message)[0]
        if kind == mux.HELLO:
            _send(client, pack(">II", mux.HELLO, mux.VERSION))
            return
        request = unpack_from(">I", message, 4)[0]
        if kind == mux.NEW_SESSION:
            self._open(client, request, message)
        elif kind == mux.ALIVE_CHECK:
            _send(client, pack(">III", mux.ALIVE, request, os.getpid()))
        elif kind == mux.STOP_LISTENING:
            self._is_stopping = True
            self._forget_socket()
            _send(client, pack(">II", mux.OK, request))
        else:
            _send(client, pack(">II", mux.FAILURE, request) + mux.pack_string("unsupported"))

    def _open(self, client: socket.socket, request: int, message: bytes) -> None:
        """Open a session, and stay with it until its end or its client's."""
        asked = parse_request(message)
        descriptors = [_take_descriptor(client) for _ in range(3)]
        size = os.dup(descriptors[0])
        try:
            channel = open_channel(
                self._transport,
                asked.command,
                {**self._set_env, **asked.environ},
                subsystem=asked.subsystem,
                terminal=(asked.terminal, *read_size(size)) if asked.tty else None,
            )
        except (SSHException, EOFError, OSError) as error:
            _close([*descriptors, size])
            words = "Session open refused by peer" if isinstance(error, ChannelException) else str(error)
            _send(client, pack(">II", mux.FAILURE, request) + mux.pack_string(words))
            return
        with self._count:
            self._sessions += 1
        number = channel.get_id()
        _send(client, pack(">III", mux.SESSION_OPENED, request, number))
        session = JoinedChannel(channel, (descriptors[0], descriptors[1], descriptors[2]), owned=True)
        threading.Thread(target=self._report, args=(client, session, number), daemon=True).start()
        try:
            while message := _read_message(client):
                if unpack_from(">I", message)[0] == mux.RESIZE:
                    session.resize(*read_size(size))
        finally:
            session.close()
            os.close(size)
            with self._count:
                self._sessions -= 1
                self._idle_since_s = time.monotonic()

    def _report(self, client: socket.socket, session: JoinedChannel, number: int) -> None:
        """Tell the client the status, and that there is no more to come."""
        session.wait_for_news(None)
        ended = session.end()
        try:
            if ended.arrived:
                _send(client, pack(">III", mux.EXIT_MESSAGE, number, ended.status))
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # It has gone.


class Asked(NamedTuple):
    """What a client wants of a new session; ``terminal`` is the type of one, where it wants one."""

    tty: bool
    subsystem: bool
    terminal: str
    command: str
    environ: dict[str, str]


def parse_request(message: bytes) -> Asked:
    """Return what a request for a session asks for."""
    offset, strings = 8 + 4 + unpack_from(">I", message, 8)[0], []
    tty, _x11, _agent, subsystem = unpack_from(">IIII", message, offset)
    offset += 20
    while offset < len(message):
        end = offset + 4 + unpack_from(">I", message, offset)[0]
        strings.append(message[offset + 4 : end].decode(errors="surrogateescape"))
        offset = end
    environ = dict(text.partition("=")[::2] for text in strings[2:])
    return Asked(bool(tty), bool(subsystem), strings[0], strings[1], environ)


def _send(client: socket.socket, message: bytes) -> None:
    client.sendall(pack(">I", len(message)) + message)


def _read_message(client: socket.socket) -> bytes:
    """Return the next message, b"" at the end; not a byte more, since descriptors follow some of them."""
    head = _read_exactly(client, 4)
    return _read_exactly(client, unpack_from(">I", head)[0]) if head else b""


def _read_exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = client.recv(size - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def _take_descriptor(client: socket.socket) -> int:
    numbers = array.array("i")
    _, ancillary, _, _ = client.recvmsg(1, socket.CMSG_SPACE(numbers.itemsize))
    for _level, _kind, data in ancillary:
        numbers.frombytes(data[: numbers.itemsize])
    if not numbers:
        raise OSError("no descriptor came along")
    return numbers[0]


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def main(path: str) -> None:
    """Log in, say how that went, and serve."""
    os.umask(0o077)
    os.chdir("/")
    with open(f"{path}.job", encoding="utf-8") as file:
        job = json.load(file)
    said: list[str] = []
    place = load_place(job["place"])
    login = Login(job["name"], place, None, ask_waiting_mtr if job["may_ask"] else None, said.append)
    try:
        transport = login.open()
        master = Master(path, transport, place)
    except MtrError as error:
        result = {"error": type(error).__name__, "message": error.message, "detail": error.detail, "hint": error.hint}
        write_atomic(f"{path}.result", json.dumps({**result, "said": said}).encode())
        return
    write_atomic(f"{path}.result", json.dumps({"pid": os.getpid(), "said": said}).encode())
    master.serve()
    transport.close()


if __name__ == "__main__":
    main(sys.argv[1])
    # Threads may still wait on sessions that nobody needs any more.
    os._exit(0)
