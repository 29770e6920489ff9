"""A server on 127.0.0.1 that is none: it answers every connection with bytes of its own."""

from __future__ import annotations

import contextlib
import socket
import threading


class GarbageServer:
    """Says ``words`` to whoever connects, again and again with ``endless``, and with ``silent`` then nothing more."""

    def __init__(self, words: bytes, *, endless: bool = False, silent: bool = False) -> None:
        self._words = words
        self._endless = endless
        self._silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.sendall(self._words)
            while self._endless:
                client.sendall(self._words)
            if not self._silent:
                client.shutdown(socket.SHUT_WR)
                while client.recv(65_536):
                    pass
                client.close()

    def __enter__(self) -> GarbageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._open:
            client.close()
        self._thread.join()
