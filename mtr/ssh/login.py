"""Running the ssh that logs in and becomes a master, and answering what it asks.

Who answers, by what this machine has: mtr itself, where ssh can be told to ask another program (OpenSSH 8.4); for an
older ssh ``sshpass``, which types a password at the first prompt; else pexpect at ssh's prompt. A person without a
password in the configuration needs none of them: ssh asks on the terminal.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from mtr.errors import ConnectionTimeout
from mtr.ssh.questions import Answers, Asked
from mtr.state import ensure_runtime_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Secret
    from mtr.ssh.endpoint import Endpoint

OPEN_TIMEOUT_S = 120.0
"""For a login that nobody can be asked about. ConnectTimeout bounds reaching the server; this, the rest."""

HELPERS = ("askpass", "sshpass", "pexpect")


def run_login(
    endpoint: Endpoint,
    socket: str,
    argv: list[str],
    password: Secret | None,
    environ: Mapping[str, str],
    *,
    may_prompt: bool,
) -> int:
    """Run ssh until it has logged in and forked, or failed; return the status of its first process.

    Raises:
        AuthenticationFailed: it asked for what nobody could answer.
        ConnectionTimeout: it did not end in time.
    """
    timeout_s = None if may_prompt else OPEN_TIMEOUT_S
    log = f"{socket}.log"
    if password is None:
        from mtr.process.spawn import start_detached

        return _wait_for_login(endpoint, start_detached(argv, environ, log=log), timeout_s)
    answers = Answers(endpoint, password, may_prompt=may_prompt)
    helper = choose_helper(endpoint, environ)
    if helper == "askpass":
        with Asked(ensure_runtime_dir(environ), answers) as asked:
            if asked.works:
                from mtr.process.spawn import start_detached

                pid = start_detached(argv, {**environ, **asked.environ}, log=log)
                return _wait_for_login(endpoint, pid, timeout_s, asked.serve)
        helper = _choose_typist(endpoint, environ)
    if helper == "sshpass":
        return _run_under_sshpass(endpoint, argv, password, environ, log, timeout_s)
    from mtr.process.prompted import run_prompted

    status = run_prompted(argv, environ, answers.answer, timeout_s=timeout_s)
    if status is None:
        raise _build_timeout(endpoint, timeout_s or 0)
    return status


def choose_helper(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return who hands over a password: see the module. ``MTR_PASSWORD_HELPER`` names another, for tests."""
    wanted = environ.get("MTR_PASSWORD_HELPER", "")
    if wanted in HELPERS and not (wanted == "sshpass" and endpoint.has_jump):
        return wanted
    return "askpass" if endpoint.client.version >= (8, 4) else _choose_typist(endpoint, environ)


def _choose_typist(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return who types the password at ssh's prompt."""
    # sshpass types the password at whatever prompt comes first, a jump host's as well.
    has_sshpass = shutil.which("sshpass", path=environ.get("PATH")) is not None
    return "sshpass" if has_sshpass and not endpoint.has_jump else "pexpect"


def _run_under_sshpass(
    endpoint: Endpoint,
    argv: list[str],
    password: Secret,
    environ: Mapping[str, str],
    log: str,
    timeout_s: float | None,
) -> int:
    from mtr.process.spawn import start_detached

    read_end, write_end = os.pipe()
    try:
        # The pipe's buffer holds any password, so nobody has to read before sshpass does.
        os.write(write_end, os.fsencode(password.reveal()) + b"\n")
        os.close(write_end)
        # When sshpass ends it hangs up its terminal, which kills an ssh that is just going into the background:
        # nohup keeps it alive until it has left that terminal's session.
        pid = start_detached(["sshpass", "-d", str(read_end), "nohup", *argv], environ, [read_end], log=log)
    finally:
        os.close(read_end)
    return _wait_for_login(endpoint, pid, timeout_s)


def _wait_for_login(
    endpoint: Endpoint, pid: int, timeout_s: float | None, meanwhile: Callable[[], None] = lambda: None
) -> int:
    """Wait for the first process of ssh; end it when time is up, the user interrupts or ``meanwhile`` fails."""
    from mtr.process.spawn import is_ended

    started_s = time.monotonic()
    try:
        while (status := is_ended(pid)) is None:
            meanwhile()
            if timeout_s is not None and time.monotonic() - started_s > timeout_s:
                raise _build_timeout(endpoint, timeout_s)
            time.sleep(0.005)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        raise
    return status


def _build_timeout(endpoint: Endpoint, timeout_s: float) -> ConnectionTimeout:
    hint = f"log in on a terminal: mtr up -s {endpoint.server_name}"
    return ConnectionTimeout(f"the login to {endpoint.label} did not end within {timeout_s:g} s", hint=hint)
