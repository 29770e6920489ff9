"""What a server knows that could be typed: its programs, its paths and its jobs.

It is asked only over a connection that is open already, in a session of its own, and only for a moment: what has not
answered by then is not waited for. Nothing is opened, ended, tried again or said. What it answers is a server's word:
names with anything but plain characters are left out of programs, names with control characters out of paths.
"""

from __future__ import annotations

import os
import time

from mtr.process.piped import is_ready, open_input
from mtr.quoting import build_remote_command
from mtr.route import find_directory, load_kept, load_route, save_kept
from mtr.scripts import load_script
from mtr.ssh.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.command_line import Invocation
    from mtr.route import Route

DEADLINE_S = 0.7
"""A line of 200 ms round trip answers within it."""

KEPT_FOR_S = 12 * 3600.0
AFTER_SILENCE_S = 60.0
MAX_ANSWER_BYTES = 512 << 10
MAX_PATHS = 500
FORMAT = "programs 1"

_DIGITS = frozenset("0123456789abcdef")
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+@:,-")


def list_programs(invocation: Invocation, environ: Mapping[str, str]) -> list[str]:
    """Return the programs on the server's PATH, as far as they are known, or can be asked for now."""
    identity = find_directory(invocation.directory), invocation.server or environ.get("MTR_SERVER") or ""
    until_s, names = load_kept("programs", FORMAT, identity, environ) or (0.0, [])
    if 0 <= until_s - time.time() <= KEPT_FOR_S:
        return names
    route = find_open(invocation, environ)
    if route is None:
        return names
    answer = _ask(route, environ, "remote/programs.sh", ())
    if answer is not None:
        names = sorted({name for name in answer if not set(name) - _PLAIN and name[:1] not in ("", "-")})
    # Nobody waits at every TAB for a server that is too far away to answer.
    until_s = time.time() + (AFTER_SILENCE_S if answer is None else KEPT_FOR_S)
    save_kept("programs", FORMAT, identity, (until_s, names), environ, files=(), places=(), variables=(), started_ns=0)
    return names


def list_paths(invocation: Invocation, environ: Mapping[str, str], typed: str) -> list[str]:
    """Return the paths on the server that begin with ``typed``, as ``mtr get`` takes them."""
    route = find_open(invocation, environ)
    answer = None if route is None else _ask(route, environ, "remote/paths.sh", (route.remote_dir, typed))
    return [name for name in answer or () if name.isprintable() and name.startswith(typed)][:MAX_PATHS]


def list_jobs(invocation: Invocation, environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return id, state and name of the jobs on the server, "" for no name."""
    route = find_open(invocation, environ)
    answer = None if route is None else _ask(route, environ, "remote/job/names.sh", ())
    found = []
    for line in answer or ():
        job_id, at, about = (*line.split(" ", 2), "", "")[:3]
        if at and not set(job_id) - _DIGITS:
            found.append((job_id, at.partition(".")[0].strip("-"), _find_name(about)))
    return found


def _find_name(about: str) -> str:
    """Return the name in the JSON that a job is started with; it stands first, and one with escapes is no plain one."""
    front, _, rest = about.partition('{"name": "')
    return "" if front else rest.partition('"')[0]


def find_open(invocation: Invocation, environ: Mapping[str, str]) -> Route | None:
    """Return a kept route whose connection stands and can be asked for a session without starting a program."""
    for sync in (invocation.sync, not invocation.sync):
        invocation.sync = sync
        route = load_route(invocation, environ)
        # It holds only while the master's socket is the one that it was made with.
        if route is not None and route.facts.speaks_mux and not route.facts.system:
            return route
    return None


def _ask(route: Route, environ: Mapping[str, str], script: str, arguments: Sequence[str]) -> list[str] | None:
    """Return the lines that ``script`` prints on the server; None where not all of it comes in time.

    An empty line is its end.
    """
    end_s = time.monotonic() + DEADLINE_S
    source = open_input(b"")
    out, out_end = os.pipe()
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    command = build_remote_command("mtr-script", load_script(script), arguments)
    session = Wire(route.facts, environ, recover=_never).open_session(command, (source, out_end, null))
    for descriptor in (source, out_end, null):
        os.close(descriptor)
    data = b""
    try:
        while len(data) < MAX_ANSWER_BYTES and is_ready(out, timeout_s=max(0.0, end_s - time.monotonic())):
            chunk = os.read(out, 65_536)
            if not chunk:
                break
            data += chunk
    finally:
        os.close(out)
        session.close()
    *lines, last, end = data.decode(errors="surrogateescape").split("\n") if b"\n" in data else ["", "cut"]
    return lines if last == end == "" else None


def _never(*_: object) -> None:
    raise AssertionError("a session for completion is asked for once")
