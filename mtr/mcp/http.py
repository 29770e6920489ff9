"""The way over HTTP: on loopback alone, for whoever has the token.

A page in a browser can reach loopback, too: a Host that is no name of this machine (a rebound name) and an Origin that
is not this server's are refused before anything is looked at, and everything else needs the token.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from mtr.errors import MtrError, UsageError
from mtr.mcp.serving import build_server, prepare_to_stay
from mtr.state import drop_file, ensure_state_dir, write_atomic
from mtr.voice import Voice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mtr.mcp.desk import Desk

PATH = "/mcp"
LOOPBACK = {"127.0.0.1": socket.AF_INET, "localhost": socket.AF_INET, "::1": socket.AF_INET6}
NAMES = frozenset(("127.0.0.1", "localhost", "[::1]"))
MAX_BODY_BYTES = 4 << 20
MIN_TOKEN = 16
MAX_TOKEN_BYTES = 4096


def serve_http(desk: Desk, host: str, port: int, token_file: str | None, environ: Mapping[str, str]) -> int:
    """Serve until a signal ends it; return the exit status.

    Raises:
        UsageError: ``host`` is not of this machine alone.
        MtrError: the port is taken, or the token is not private.
    """
    listening = listen(host, port)
    port = listening.getsockname()[1]
    path = token_file or f"{ensure_state_dir(environ)}/mcp-{port}.token"
    server = build_server(desk)

    def close() -> None:
        if token_file is None:
            drop_file(path)
        desk.close()

    prepare_to_stay(close)  # Before there is a token, which a signal is to take away again.
    token = load_token(path) if token_file else make_token(path)
    application = Guard(
        server.streamable_http_app(streamable_http_path=PATH, max_request_body_size=MAX_BODY_BYTES), token
    )
    name = f"[{host}]" if ":" in host else host
    voice = Voice()
    voice.say(f"serving at http://{name}:{port}{PATH}")
    voice.say(f"Authorization: Bearer {token}")
    voice.say(f"the token is in {path}; Ctrl-C ends it, and the commands go on")
    anyio.run(_serve, application, listening)
    close()
    return 0


async def _serve(application: ASGIApp, listening: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave them: a signal ends the process, whoever still holds a stream open."""
            yield

    config = uvicorn.Config(application, log_config=None, access_log=False, server_header=False)
    await Server(config).serve(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on loopback.

    Raises:
        UsageError: ``host`` is not of this machine alone.
        MtrError: the port is taken.
    """
    if host not in LOOPBACK:
        hint = f"from elsewhere: ssh -L {port}:127.0.0.1:{port} to this machine, and the token"
        raise UsageError(f"--host takes {', '.join(LOOPBACK)}, not {host}: it serves this machine alone", hint=hint)
    listening = socket.socket(LOOPBACK[host], socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1" if host == "localhost" else host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise MtrError(
            f"{host}:{port}: {error.strerror}", hint="mtr mcp --http --port 0 takes one that is free"
        ) from error
    return listening


def make_token(path: str) -> str:
    """Return a new token, written to ``path`` for this user alone."""
    token = secrets.token_urlsafe(32)
    write_atomic(path, f"{token}\n".encode(), 0o600)
    return token


def load_token(path: str) -> str:
    """Return the token in ``path``; where nothing is, a new one is put there.

    Raises:
        MtrError: others can read it, or it is too short to be a secret.
    """
    path = os.path.abspath(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return make_token(path)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise MtrError(f"{path} is not a file that you alone can read", hint=f"chmod 600 {path}; ls -l {path}")
        token = file.read(MAX_TOKEN_BYTES).decode(errors="replace").strip()
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise MtrError(f"{path} holds no token: one word of {MIN_TOKEN} characters or more", hint=f"rm {path}")
    return token


def judge(headers: Mapping[str, str], token: str) -> tuple[int, str] | None:
    """Return the status and the words with which a request with these ``headers`` is refused; None where it is not."""
    host, origin = headers.get("host", ""), headers.get("origin")
    name, colon, port = host.rpartition(":")
    if not (colon and port.isdigit()):
        name = host
    if name not in NAMES:
        return 421, "this is not the host that you mean"
    if origin is not None and origin != f"http://{host}":
        return 403, "a page of another origin has nothing to ask here"
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return 401, "the token is missing or wrong: Authorization: Bearer TOKEN, as mtr mcp --http has printed it"
    return None


class Guard:
    """Lets to ``application`` only what may be asked."""

    def __init__(self, application: ASGIApp, token: str) -> None:
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused; pass on every other."""
        refused = judge(_read_headers(scope["headers"]), self._token) if "headers" in scope else None
        if refused is None:
            await self._application(scope, receive, send)
            return
        status, words = refused
        headers = [(b"content-type", b"text/plain"), *([(b"www-authenticate", b"Bearer")] if status == 401 else [])]
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": f"mtr: {words}\n".encode()})
        else:
            await send({"type": "websocket.close", "code": 1008})


def _read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name; one that is there twice is refused as a Host that nobody has."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        twice = key in headers and key in {"host", "origin", "authorization"}
        headers[key] = "\0" if twice else value.decode("latin-1")
    return headers
