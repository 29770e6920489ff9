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
from struct import error as StructError  # noqa: N812
from struct import pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from paramiko.ssh_exception import ChannelException, SSHException

from mtr.errors import MtrError
from mtr.ssh import mux
from mtr.ssh.fallback.channel import JoinedChannel, prepare_channel, start_in_channel
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
        self._place = place
        self._transport = transport
        self._max_silence_s = max(MAX_SILENCE_S, 4 * place.keepalive_s)
        self._set_env = dict(setting.partition("=")[::2] for setting in place.set_env)
        self._sessions = 0
        self._count, self._opening = threading.Lock(), threading.Lock()
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
        if not self._transport.is_active() or time.monotonic() - self._heard_s > self._max_silence_s:
            return True
        if self._sessions:
            return False
        return self._is_stopping or time.monotonic() - self._idle_since_s > IDLE_S

    def _ask_for_life(self) -> None:
        """Ask the server now and then whether it is there: TCP alone would notice after a quarter of an hour."""
        while True:
            time.sleep(self._place.keepalive_s or LIVENESS_S)
            self._transport.global_request("keepalive@openssh.com", wait=True)
            self._note_life()

    def _note_life(self) -> None:
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
        except (OSError, SSHException, EOFError, StructError, IndexError):
            pass  # It has gone, or speaks another protocol.
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
        with self._count:
            self._sessions += 1
        try:
            self._open_counted(client, request, parse_request(message))
        finally:
            with self._count:
                self._sessions -= 1
                self._idle_since_s = time.monotonic()

    def _open_counted(self, client: socket.socket, request: int, asked: SessionRequest) -> None:
        descriptors: list[int] = []
        try:
            descriptors += [_take_descriptor(client) for _ in range(3)]
            terminal = (asked.terminal, *read_size(descriptors[0])) if asked.tty else None
            # One at a time: paramiko keeps the reason of a refusal for whoever asks for it first.
            with self._opening:
                channel = prepare_channel(self._transport, {**self._set_env, **asked.environ}, terminal)
        except Exception as error:  # noqa: BLE001  whatever it is, the client is told, and the descriptors are closed
            _close(descriptors)
            words = "Session open refused by peer" if isinstance(error, ChannelException) else str(error)
            _send(client, pack(">II", mux.FAILURE, request) + mux.pack_string(words))
            return
        try:
            # Said before anything is started: whoever is told "not opened" asks again.
            _send(client, pack(">III", mux.SESSION_OPENED, request, channel.get_id()))
            start_in_channel(channel, asked.command, subsystem=asked.subsystem)
        except BaseException:
            _close(descriptors)
            channel.close()
            raise
        self._accompany(client, channel, descriptors)

    def _accompany(self, client: socket.socket, channel: paramiko.Channel, descriptors: list[int]) -> None:
        """Move the bytes of a session until its end, or until its client has gone."""
        size = os.dup(descriptors[0])
        source, out, err = descriptors
        session = JoinedChannel(channel, (source, out, err), owned=True, heard=self._note_life)
        reporter = threading.Thread(target=self._report, args=(client, session, channel.get_id()), daemon=True)
        reporter.start()
        try:
            while message := _read_message(client):
                if unpack_from(">I", message)[0] == mux.RESIZE:
                    session.resize(*read_size(size))
        finally:
            session.close()
            os.close(size)

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


class SessionRequest(NamedTuple):
    """What a client wants of a new session; ``terminal`` is the type of one, where it wants one."""

    tty: bool
    subsystem: bool
    terminal: str
    command: str
    environ: dict[str, str]


def parse_request(message: bytes) -> SessionRequest:
    """Return what a request for a session asks for."""
    offset, strings = 8 + 4 + unpack_from(">I", message, 8)[0], []
    tty, _x11, _agent, subsystem = unpack_from(">IIII", message, offset)
    offset += 20
    while offset < len(message):
        end = offset + 4 + unpack_from(">I", message, offset)[0]
        strings.append(message[offset + 4 : end].decode(errors="surrogateescape"))
        offset = end
    environ = dict(text.partition("=")[::2] for text in strings[2:])
    return SessionRequest(bool(tty), bool(subsystem), strings[0], strings[1], environ)


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
    # What mtr has inherited is not this master's: a lock, a pipe that somebody waits on.
    os.closerange(3, min(os.sysconf("SC_OPEN_MAX"), 1 << 20))
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
