"""Masters by paramiko, for a machine without ssh: found, opened and shared as those of ssh are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mtr import errors
from mtr.errors import ConnectError, ConnectionTimeout
from mtr.ssh.endpoint import Endpoint
from mtr.ssh.fallback.resolve import Place, resolve_place
from mtr.ssh.login import OPEN_TIMEOUT_S
from mtr.ssh.options import SshClient
from mtr.ssh.questions import Answers, Asked
from mtr.ssh.sessions import Sessions
from mtr.state import MAX_LOG_BYTES, ensure_runtime_dir, note_once, read_log, read_regular, remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server

    Says = Callable[[str], None]

_KEY_HEX_DIGITS = 16


class FallbackSessions(Sessions):
    """Finds or opens a master by paramiko for one address; ``why`` says why it is not ssh."""

    def __init__(
        self,
        server: Server,
        destination: str,
        environ: Mapping[str, str],
        *,
        why: str,
        may_prompt: bool = False,
        says: Says | None = None,
    ) -> None:
        self._place = resolve_place(server, destination, environ)
        self._why = why
        endpoint = build_endpoint(server, destination, self._place)
        super().__init__(server, endpoint, environ, may_prompt=may_prompt, says=says)

    @property
    def is_direct(self) -> bool:
        """Whether no other host is logged in to on the way."""
        return not self._place.jumps

    def build_opening_argvs(self) -> list[list[str]]:
        """Return no argv: no ssh is started."""
        return []

    def _start(self) -> None:
        """Start a master in the background and answer what it asks, until it has logged in or failed."""
        from mtr.config.passwords import load_password

        if note_once(self._environ, f"{self.endpoint.address} {self._why}"):
            self.says(f"{self._why}: connecting to {self.server.name} by paramiko")
        password = load_password(self.server, self._environ)
        job = {
            "name": self.server.name,
            "place": asdict(self._place),
            "may_ask": password is not None or self._may_prompt,
        }
        write_atomic(f"{self.socket}.job", json.dumps(job).encode(errors="surrogateescape"))
        answers = Answers(self.endpoint, password, may_prompt=self._may_prompt)
        with Asked(ensure_runtime_dir(self._environ), answers) as asked:
            result = self._wait_for_result(asked)
        for line in result.get("said", ()):
            self.says(line)
        if "error" in result:
            kind = getattr(errors, result["error"], ConnectError)
            raise kind(result["message"], detail=result["detail"], hint=result["hint"])

    def _wait_for_result(self, asked: Asked) -> dict[str, Any]:
        from mtr.process.spawn import start_detached

        package = os.path.dirname(os.path.dirname(errors.__file__))
        path = os.pathsep.join([package, *filter(None, [self._environ.get("PYTHONPATH")])])
        environ = {**self._environ, **asked.environ, "PYTHONPATH": path}
        argv = [sys.executable, "-P", "-m", "mtr.ssh.fallback.master", self.socket]
        pid = start_detached(argv, environ, log=f"{self.socket}.log", own_session=True)
        return self._take_result(pid, asked)

    def _take_result(self, pid: int, asked: Asked) -> dict[str, Any]:
        """Answer what the master asks until it says how its login went; a login that goes on alone is ended."""
        from mtr.process.spawn import is_ended

        started_s, has_ended = time.monotonic(), False
        try:
            while (result := _read_result(self.socket)) is None:
                asked.serve()
                if has_ended:
                    words = read_log(f"{self.socket}.log")
                    raise ConnectError(f"cannot connect to {self.endpoint.label}", detail=words)
                # Once more after its end: the last that it does may be to say why.
                has_ended = is_ended(pid) is not None
                if not self._may_prompt and time.monotonic() - started_s > OPEN_TIMEOUT_S:
                    message = f"the login to {self.endpoint.label} did not end within {OPEN_TIMEOUT_S:g} s"
                    raise ConnectionTimeout(message, hint=f"log in on a terminal: mtr up -s {self.server.name}")
                time.sleep(0.005)
        except BaseException:
            if not has_ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise
        return result


def _read_result(socket: str) -> dict[str, Any] | None:
    data = read_regular(f"{socket}.result", MAX_LOG_BYTES)
    try:
        found: dict[str, Any] | None = None if data is None else json.loads(data)
    except ValueError as error:
        raise ConnectError(f"{socket}.result is not what a login leaves there", hint="run it again") from error
    if found is None:
        return None
    remove_file(f"{socket}.result")
    remove_file(f"{socket}.job")
    return found


def build_endpoint(server: Server, destination: str, place: Place) -> Endpoint:
    """Return ``place`` as the endpoint of masters; all that decides the login counts in its key."""
    text = json.dumps(asdict(place), sort_keys=True)
    return Endpoint(
        server_name=server.name,
        destination=destination,
        address=place.address,
        key=hashlib.sha256(b"paramiko" + text.encode(errors="surrogateescape")).hexdigest()[:_KEY_HEX_DIGITS],
        client=SshClient("", (8, 5)),
        config="",
        explicit=(),
        session_options=(),
        send_env=place.send_env,
        known_name=place.known_name,
        known_hosts=(*place.known_hosts, *place.global_known_hosts),
    )
