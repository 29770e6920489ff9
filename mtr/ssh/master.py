"""Masters: opened apart from any command, found, asked, closed, and killed when wedged.

A master holds one login in the background, an ssh or a process of ``fallback``; its sessions attach through a socket
in the runtime directory. Files of one master: ``KEY.N`` (the socket; N counts masters of the same key, since sshd
limits the sessions of one), ``KEY.N.json`` (its record), ``KEY.N.log`` (ssh's own words), ``KEY.N.lock`` while it
opens.

Invariants: one process opens a given socket at a time (lock); a socket counts only when its master answers;
a stale one is unlinked before ssh starts, since ``-M`` on an existing socket leaves an ssh that nobody can
reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import time
from dataclasses import asdict, dataclass, fields

from mtr.errors import ConnectionTimeout, LockTimeout, MtrError
from mtr.ssh import options
from mtr.ssh.control import ask_alive, ask_to_stop
from mtr.ssh.diagnosis import build_connect_error, drop_noise
from mtr.ssh.login import run_login
from mtr.state import LOCK_TIMEOUT_S, hold_lock, read_log, read_regular, remove_file, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mtr.config.model import Secret
    from mtr.ssh.endpoint import Endpoint

CHECK_TIMEOUT_S = 5.0
"""A living master answers on its socket within milliseconds; a stopped one never does."""


DIAGNOSIS_TIMEOUT_S = 20.0
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class MasterRecord:
    """What is known of an open master; stands beside its socket as JSON.

    ``payload`` names what carries a payload to this server: ``LC_MTR``, ``XMODIFIERS`` or ``file``; ``stat`` the kind
    of stat there (c: GNU or busybox, f: BSD, "": none); ``archive`` what unpacks a push: ``tar64`` (also from base64),
    ``tar``, or ""; ``rsync`` says that it is there; ``system`` is the shell of a
    Windows server (``cmd``, ``powershell``), "" elsewhere. ``is_learnt`` says that the server has been asked for these.
    ``opened_s`` is in seconds since the epoch.
    """

    server_name: str
    address: str
    destination: str
    pid: int
    opened_s: float
    payload: str = "file"
    stat: str = ""
    archive: str = ""
    rsync: bool = False
    system: str = ""
    is_learnt: bool = False


def build_socket_path(runtime_dir: str, key: str, slot: int) -> str:
    """Return the socket of the ``slot``-th master of ``key``."""
    return f"{runtime_dir}/{key}.{slot}"


def load_record(socket: str) -> MasterRecord | None:
    """Return the record beside ``socket``; None when there is none, or none that can be read."""
    try:
        record = MasterRecord(**json.loads(read_regular(f"{socket}.json", MAX_RECORD_BYTES) or b""))
    except (ValueError, TypeError, RecursionError):
        return None
    is_whole = all(type(getattr(record, field.name)).__name__ == field.type for field in fields(record))
    return record if is_whole and 1 < record.pid < 1 << 31 else None


def write_record(socket: str, record: MasterRecord) -> None:
    """Store ``record`` beside ``socket``."""
    write_atomic(f"{socket}.json", json.dumps(asdict(record)).encode())


def find_master(socket: str) -> int | None:
    """Return the pid of the master that answers on ``socket``, else None.

    A master that does not answer in time (stopped, wedged) counts as none.
    """
    return ask_alive(socket, CHECK_TIMEOUT_S) if _is_own_socket(socket) else None


def _is_own_socket(path: str) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def ensure_master(
    endpoint: Endpoint,
    socket: str,
    *,
    start: Callable[[], None],
    learn: Callable[[], None],
    says: Callable[[str], None],
    timeout_s: float | None = LOCK_TIMEOUT_S,
) -> None:
    """``start`` the master of ``endpoint`` on ``socket`` unless one answers there; ``learn`` what its server takes.

    Nobody else uses the master before that is known: a session that asks must not be refused for those that run.
    Another mtr that opens it just now is waited for at most ``timeout_s``; None waits as long as it takes.

    Raises:
        ConnectError: it could not be opened; the detail holds the words that say why.
    """
    with _login_lock(endpoint, socket, timeout_s):
        pid = find_master(socket)
        if pid is None:
            if kill_master(socket):
                says(f"no answer from the connection to {endpoint.label}; its sessions end, connecting anew")
            try:
                start()
            except BaseException:
                forget_master(socket)
                raise
            pid = find_master(socket)
        record = load_record(socket)
        if pid is not None and (record is None or record.pid != pid or not record.destination):
            # Just opened; or whoever opened it was killed before it could say so, or is the user's own ssh.
            write_record(
                socket,
                MasterRecord(endpoint.server_name, endpoint.address, endpoint.destination, pid, time.time()),
            )
            record = None
        if record is None or not record.is_learnt:
            learn()


@contextlib.contextmanager
def _login_lock(endpoint: Endpoint, socket: str, timeout_s: float | None) -> Iterator[None]:
    """Be the one who opens the master on ``socket``."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(f"{socket}.lock", timeout_s))
        except LockTimeout as error:
            message = f"another mtr is still logging in to {endpoint.label} after {timeout_s:g} s"
            hint = "answer what it asks on its terminal, or end it, and run again"
            raise ConnectionTimeout(message, detail=error.message, hint=hint) from error
        yield


def open_by_ssh(
    endpoint: Endpoint, socket: str, password: Secret | None, environ: Mapping[str, str], *, may_prompt: bool
) -> None:
    """Start ssh and wait until it has gone into the background.

    Raises:
        ConnectError: it did not; the detail holds ssh's words.
    """
    asks = may_prompt or password is not None
    argv = options.build_master_argv(
        endpoint.client, endpoint.config, endpoint.explicit, endpoint.destination, socket, may_prompt=asks
    )
    started_s = time.monotonic()
    status = run_login(endpoint, socket, argv, password, environ, may_prompt=may_prompt)
    _end_second(socket, environ)
    if status != 0 or find_master(socket) is None:
        words, took_s = read_log(f"{socket}.log"), time.monotonic() - started_s
        if not drop_noise(words):
            # Where it took long, it would take as long once more.
            is_slow = not may_prompt and took_s > DIAGNOSIS_TIMEOUT_S
            words = f"the login timed out after {took_s:.0f} s\n" if is_slow else ask_why(endpoint, environ)
        if not asks and "Permission denied" in words:
            words += list_locked_keys(endpoint, environ)
        raise build_connect_error(endpoint, words, status, asked=asks)


def _end_second(socket: str, environ: Mapping[str, str]) -> None:
    """End the ssh that has just logged in, if another became the master meanwhile: nobody could reach it any more.

    An ssh of the user's own, which shares the socket by `mtr ssh-config`, knows nothing of mtr's lock.
    """
    if "disabling multiplexing" not in read_log(f"{socket}.log"):
        return
    from mtr.process.piped import run_piped

    mark = f" -S {socket} -E {socket}.log "
    for line in (
        run_piped(["ps", "-A", "-ww", "-o", "pid=,args="], env=environ).stdout.decode(errors="replace").split("\n")
    ):
        pid, _, argv = line.strip().partition(" ")
        if mark in argv and pid.isdigit():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)


def ask_why(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return what an ssh says that connects once more, asking nobody: a master keeps some words to itself.

    Those of its jump hosts go nowhere, and those about algorithms are below its level of logging.
    """
    from mtr.process.piped import ProgramTimeout, run_piped

    argv = options.build_diagnosis_argv(endpoint.client, endpoint.config, endpoint.explicit, endpoint.destination)
    try:
        return run_piped(argv, env=environ, timeout_s=DIAGNOSIS_TIMEOUT_S).stderr.decode(errors="replace")
    except ProgramTimeout:
        return ""


def list_locked_keys(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return a line for each key that would have needed its passphrase: in batch ssh passes them over in silence."""
    from mtr.errors import MissingProgram
    from mtr.process.piped import run_piped

    lines = ""
    for path in endpoint.key_files:
        if os.path.isfile(path):
            try:
                opened = run_piped(["ssh-keygen", "-y", "-P", "", "-f", path], env=environ, timeout_s=10)
            except MissingProgram:
                break
            if b"passphrase" in opened.stderr:
                lines += f"{path} needs its passphrase, and nobody can be asked for it\n"
    return lines


def stop_master(socket: str) -> None:
    """Close the master on ``socket`` gently: it takes no more sessions and goes with its last one."""
    if not ask_to_stop(socket, CHECK_TIMEOUT_S):
        kill_master(socket)
    forget_master(socket)


def kill_master(socket: str) -> bool:
    """End the master recorded for ``socket`` at once, and its sessions with it; tell whether there was one.

    SIGKILL, because a master that is wedged must not hand on a session that it has queued
    (a client killed first may still have its command started). Its files are forgotten.
    """
    record = load_record(socket)
    killed = record is not None and _is_master(record.pid, socket)
    if record is not None and killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL)
    forget_master(socket)
    return killed


def _is_master(pid: int, socket: str) -> bool:
    """Tell whether ``pid`` is an ssh started on ``socket``: pids are reused, and a kill must not hit another.

    ssh shows itself as ``ssh: SOCKET [mux]`` once it serves, and with its argv before.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return socket.encode() in file.read()
    except FileNotFoundError:
        if os.path.exists("/proc/self/cmdline"):
            return False
    from mtr.process.piped import run_piped

    shown = run_piped(["ps", "-p", str(pid), "-o", "args="]).stdout
    return socket.encode() in shown


def read_passed_bytes(socket: str) -> int:
    """Return how many bytes the master on ``socket`` has read and written so far (proc(5)); 0 where nothing tells."""
    record = load_record(socket) if socket else None
    try:
        with open(f"/proc/{record.pid if record else 0}/io", encoding="ascii") as file:
            found = dict(line.split(": ") for line in file)
        return int(found["rchar"]) + int(found["wchar"])
    except (OSError, ValueError, KeyError):
        return 0


def forget_master(socket: str) -> None:
    """Remove the files of a master that has gone: socket, record, log, and what was learnt over it."""
    folder, _, name = socket.rpartition("/")
    for found in os.listdir(folder):
        if found == name or (found.startswith(f"{name}.") and not found.endswith(".lock")):
            remove_file(f"{folder}/{found}")


def list_masters(runtime_dir: str) -> list[tuple[str, MasterRecord]]:
    """Return every recorded master as (socket, record), the oldest first."""
    found = []
    for name in sorted(os.listdir(runtime_dir)):
        socket = f"{runtime_dir}/{name.removesuffix('.json')}"
        if name.endswith(".json") and (record := load_record(socket)):
            found.append((socket, record))
    return sorted(found, key=lambda pair: pair[1].opened_s)


def adopt_masters(runtime_dir: str) -> None:
    """Write a record for each master that has none: the user's own ssh has opened it, by `mtr ssh-config`.

    What is not known of it, the first run over it finds out.
    """
    for name in sorted(os.listdir(runtime_dir)):
        socket = f"{runtime_dir}/{name}"
        if not _is_socket_name(name) or load_record(socket) is not None:
            continue
        if (pid := find_master(socket)) is not None:
            write_record(socket, MasterRecord("ssh", "opened by ssh", "", pid, os.lstat(socket).st_mtime))


def _is_socket_name(name: str) -> bool:
    """Tell whether ``name`` is one of ``build_socket_path``."""
    key, _, slot = name.partition(".")
    return slot.isdigit() and len(key) == 16 and set(key) <= set("0123456789abcdef")


def collect_masters(runtime_dir: str) -> None:
    """Remove the files of masters that have ended by themselves (idle, reboot, lost line)."""
    for socket, record in list_masters(runtime_dir):
        try:
            os.kill(record.pid, 0)
        except ProcessLookupError:
            # An ssh of the user's, by the blocks of `mtr ssh-config`, may be the master there by now.
            if find_master(socket) is None:
                forget_master(socket)
        except PermissionError as error:
            raise MtrError(f"{socket} belongs to a process of somebody else") from error
