"""The server of a demo: started, proved by a login, and ended with everything that it started.

Owns sshd's configuration, the environment of sessions there, and the choice between the system's sshd and the
embedded server. A keeper (``shell/demo/keep.sh``) stands between: it ends the server when it is told to, and
also when the demo has been killed.

On disk, in the stage's ``server/``: ``sshd_config`` or ``embedded.json``, ``lifeline`` (a FIFO), ``log`` (the
server's own words), ``ready`` (once it listens), ``ended`` (its status, if it ended by itself).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.demo.programs import build_missing_server, build_server_path, find_sshd, has_embedded
from mtr.demo.stage import find_user
from mtr.errors import MtrError
from mtr.process.spawn import is_ended, start_inherited, wait_for
from mtr.scripts import find_shipped
from mtr.state import remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mtr.demo.stage import Stage

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
"""The keeper gives TERM 2 s and KILL 2 more; a loaded machine takes longer to answer."""

START_ATTEMPTS = 3
"""A port that was free a moment ago may be taken by now; privilege separation may need its directory."""

_SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {server}/host_key
AuthorizedKeysFile {server}/authorized_keys
PidFile {server}/ready
AllowUsers {user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitUserRC no
PrintMotd no
PrintLastLog no
X11Forwarding no
AllowAgentForwarding no
AllowTcpForwarding no
AcceptEnv LANG LC_*
SetEnv {environ}
"""
# StrictModes would refuse a key below /tmp, which is everybody's; the directory itself is ours alone.

_PRIVSEP = re.compile(r"Missing privilege separation directory: (/\S+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens: ``kind`` is ``sshd`` or ``embedded``, ``keeper_pid`` and ``lifeline`` end it."""

    kind: str
    port: int
    keeper_pid: int
    lifeline: int

    @property
    def label(self) -> str:
        """What it is, for people."""
        return "OpenSSH's sshd" if self.kind == "sshd" else "an SSH server in Python"

    def hint_other(self) -> str:
        """Return the command that tries the other kind."""
        return f"mtr demo --server {'embedded' if self.kind == 'sshd' else 'sshd'}"


class ServerFailed(MtrError):
    """The throwaway server did not come up, or nobody can log in to it."""

    code = "demo-server"


@contextlib.contextmanager
def open_server(kind: str, stage: Stage, proves: Callable[[], None]) -> Iterator[Server]:
    """Start a server of ``kind`` (``sshd``, ``embedded`` or ``auto``) and end it afterwards.

    ``proves()`` logs in to it: an account may be locked or have no shell, which only a login shows. With
    ``auto`` the embedded server is tried where sshd failed.

    Raises:
        MissingProgram: this machine has no such server.
        ServerFailed: it did not come up; the detail holds its own words.
    """
    server = _start_first(_list_starters(kind, stage.environ), stage, proves)
    try:
        yield server
    finally:
        stop_server(server)


def _list_starters(kind: str, environ: Mapping[str, str]) -> list[Callable[[Stage], Server]]:
    """Return what can start a server of ``kind`` here, the preferred one first."""
    sshd = find_sshd(environ) if kind in {"auto", "sshd"} else None
    starters: list[Callable[[Stage], Server]] = []
    if sshd:
        starters.append(lambda stage: _start_sshd(sshd, stage))
    if kind in {"auto", "embedded"} and has_embedded():
        starters.append(_start_embedded)
    if not starters:
        raise build_missing_server(kind, environ)
    return starters


def _start_first(starters: Sequence[Callable[[Stage], Server]], stage: Stage, proves: Callable[[], None]) -> Server:
    """Return the first server that lets this user in; the error tells what was wrong with each."""
    failed: list[MtrError] = []
    for start in starters:
        try:
            return _start_proved(start, stage, proves)
        except MtrError as error:
            failed.append(error)
    earlier = [f"before: {error.message}\n{error.detail}" for error in failed[:-1]]
    last = failed[-1]
    raise ServerFailed(last.message, detail="\n".join([last.detail, *earlier]), hint=last.hint) from last


def _start_proved(start: Callable[[Stage], Server], stage: Stage, proves: Callable[[], None]) -> Server:
    server = start(stage)
    try:
        stage.write_ssh_config(server.port)
        proves()
    except MtrError as error:
        stop_server(server)
        raise ServerFailed(
            f"{server.label} runs, but a login to it fails: {error.message}",
            detail=f"{error.detail}\n{read_log(stage)}".strip(),
            hint=server.hint_other(),
        ) from error
    except BaseException:
        stop_server(server)
        raise
    return server


def build_session_environ(stage: Stage) -> dict[str, str]:
    """Return the environment of sessions on the server: a throwaway home, the programs of this machine."""
    return {"HOME": str(stage.server_home), "PATH": build_server_path(stage.environ)}


def render_sshd_config(port: int, server_dir: str, user: str, environ: Mapping[str, str]) -> str:
    """Return the text of ``sshd_config``.

    ``SetEnv`` takes everything on one line, since sshd reads only the first one of it (servconf.c).
    """
    words = " ".join(f'"{name}={value}"' for name, value in environ.items() if '"' not in value)
    return _SSHD_CONFIG.format(port=port, server=server_dir, user=user, environ=words)


def _start_sshd(sshd: str, stage: Stage) -> Server:
    """Start the system's sshd as whoever runs this."""
    config = stage.server / "sshd_config"
    for attempt in range(START_ATTEMPTS):
        port = _find_free_port()
        config.write_text(
            render_sshd_config(port, str(stage.server), find_user().pw_name, build_session_environ(stage))
        )
        try:
            keeper_pid, lifeline = _start_kept([sshd, "-D", "-e", "-f", str(config)], stage)
            return Server("sshd", port, keeper_pid, lifeline)
        except ServerFailed as error:
            missing = _PRIVSEP.search(error.detail)
            if attempt == START_ATTEMPTS - 1:
                raise
            if missing and os.getuid() == 0:
                # It stays: a real sshd that started meanwhile would need it, and it is empty.
                os.makedirs(missing[1], mode=0o755, exist_ok=True)
    raise AssertionError("the last attempt returns or raises")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start_embedded(stage: Stage) -> Server:
    """Start the server in Python, which chooses its port itself and writes it to ``ready``."""
    wanted = {"environ": build_session_environ(stage), "directory": str(stage.server)}
    (stage.server / "embedded.json").write_text(json.dumps(wanted))
    argv = [sys.executable, "-P", "-m", "mtr.demo.embedded", str(stage.server / "embedded.json")]
    keeper_pid, lifeline = _start_kept(argv, stage)
    return Server("embedded", int((stage.server / "ready").read_text()), keeper_pid, lifeline)


def _start_kept(argv: Sequence[str], stage: Stage) -> tuple[int, int]:
    """Start ``argv`` under a keeper and wait until it listens; return the keeper's pid and the lifeline.

    Raises:
        ServerFailed: it ended, or was not ready in time; the detail holds its own words.
    """
    for name in ("ready", "ended", "lifeline"):
        remove_file(str(stage.server / name))
    os.mkfifo(stage.server / "lifeline", 0o600)
    # Open for both, so that the keeper never waits for a writer, not even for one that was killed by then.
    lifeline = os.open(stage.server / "lifeline", os.O_RDWR | os.O_CLOEXEC)
    script = f"{find_shipped('shell')}/demo/keep.sh"
    path = build_server_path(stage.environ)
    shell = shutil.which("sh", path=path) or "sh"
    argv = [shell, script, str(stage.dir), *argv]
    keeper_pid = start_inherited(argv, {**stage.environ, "PATH": path}, own_session=True)
    # From now on programs inherit it: when the demo is killed, the run that it has started may end first, on
    # a server and in directories that are still there. (ssh closes what it inherits, so no master holds it.)
    os.set_inheritable(lifeline, True)
    try:
        _wait_until_ready(stage)
    except BaseException:
        _stop_keeper(keeper_pid, lifeline)
        raise
    return keeper_pid, lifeline


def _wait_until_ready(stage: Stage) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while not (stage.server / "ready").exists():
        if (stage.server / "ended").exists() or time.monotonic() > deadline_s:
            raise ServerFailed("the throwaway server did not come up", detail=read_log(stage))
        time.sleep(0.01)


def read_log(stage: Stage) -> str:
    """Return the last words of the server."""
    try:
        return "\n".join((stage.server / "log").read_text(errors="replace").splitlines()[-8:])
    except FileNotFoundError:
        return ""


def stop_server(server: Server) -> None:
    """End the server with everything that it started."""
    _stop_keeper(server.keeper_pid, server.lifeline)


def _stop_keeper(pid: int, lifeline: int) -> None:
    os.write(lifeline, b"stop\n")
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while is_ended(pid) is None:
        if time.monotonic() > deadline_s:
            os.kill(pid, signal.SIGKILL)
            wait_for(pid)
            break
        time.sleep(0.005)
    os.close(lifeline)


def write_ready(path: str, port: int) -> None:
    """Say that a server listens on ``port``; called by the embedded server itself."""
    write_atomic(path, str(port).encode())
