"""Telling that a job has ended, to whoever has gone on to other things.

HOW is ``bell`` (the terminal that asked rings), ``desktop`` (a note by notify-send or osascript), or a command for
/bin/sh, which finds in its environment MTR_JOB, the id; MTR_STATE; MTR_STATUS, empty where there is none; and
MTR_SERVER, so that `mtr job logs $MTR_JOB` finds it. What the server says of the job is in none of them but for the
state and the status.

Who waits is a process of this machine (``python -m mtr.notify``), of a session of its own. It lives as long as the
job, asks the server seldom, and waits for a line that breaks; a server that has not answered for a week is given up.
It logs in by itself, but a login that was refused is not tried again: it goes on once somebody has logged in. HOW
travels in its environment and not in its argv, since it may hold a secret. What it has to complain of is in
``notify.log`` in the state directory.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from mtr.errors import AuthenticationFailed, HostKeyChanged, MissingProgram, MtrError, UsageError
from mtr.state import drop_file, ensure_state_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.jobs.model import Job
    from mtr.ssh.base import BaseConnection

BELL, DESKTOP = "bell", "desktop"

HOW, TERMINAL = "MTR_NOTIFY", "MTR_NOTIFY_TTY"
"""Variables between mtr and the process that waits."""

GIVE_UP_S = 7 * 86_400.0
DESKTOP_TIMEOUT_S = 15.0
_SHORTEST_S, _LONGEST_S = 0.5, 15.0
_MAX_LOG_BYTES = 1 << 20


class NotifyFailed(MtrError):
    """The end of a job could not be told."""

    code = "notify"


def ensure_possible(how: str) -> None:
    """See that the end of a job can be told like that, before there is one.

    Raises:
        UsageError: there is no terminal that could ring, or this system is none for it.
        MissingProgram: nothing here shows notes on a desktop.
    """
    if os.name != "posix":
        raise UsageError("--notify needs a POSIX system here", hint="mtr job wait ID")
    if how == BELL and not find_terminal():
        raise UsageError("--notify bell rings the terminal that asks, and there is none", hint="--notify desktop")
    if how == DESKTOP and _run_notifier([]) != 0:
        hint = "install libnotify's notify-send, or: --notify bell"
        raise MissingProgram("neither notify-send nor osascript is installed on this machine", hint=hint)


def find_terminal() -> str:
    """Return the path of the terminal that mtr was typed in, "" for none."""
    for descriptor in (2, 0, 1):
        if os.isatty(descriptor):
            return os.ttyname(descriptor)
    return ""


# -- telling


def tell(how: str, job_id: str, ended: Job | None, server: str, terminal: str, environ: Mapping[str, str]) -> None:
    """Tell by ``how`` that the job has ended, or that nothing is known of it any more (None).

    Raises:
        NotifyFailed: that did not work.
    """
    if how == BELL:
        _ring(terminal)
    elif how == DESKTOP:
        if (status := _run_notifier(render_note(job_id, ended, server))) != 0:
            raise NotifyFailed(f"the desktop could not be told of job {job_id}: status {status}")
    elif (status := _run_command(how, build_variables(job_id, ended, server), environ)) != 0:
        raise NotifyFailed(f"what --notify runs for job {job_id} ended with {status}")


def build_variables(job_id: str, ended: Job | None, server: str) -> dict[str, str]:
    """Return what a command finds in its environment."""
    status = "" if ended is None or ended.status is None else str(ended.status)
    return {
        "MTR_JOB": job_id,
        "MTR_STATE": "unknown" if ended is None else ended.state,
        "MTR_STATUS": status,
        "MTR_SERVER": server,
    }


def render_note(job_id: str, ended: Job | None, server: str) -> list[str]:
    """Return title and text of a note: nothing in it that a desktop might read as markup."""
    from mtr.voice import render_duration

    if ended is None:
        return [f"mtr: job {job_id}", f"nothing is known of it any more on {server}"]
    name = "".join(character for character in ended.name if character.isalnum() or character in "._+- ")
    status = f" with {ended.status}" if ended.status else ""
    took = "" if ended.runs_s is None else f" after {render_duration(ended.runs_s)}"
    return [f"mtr: {name or 'job'} {ended.state}{status}", f"{job_id} on {server}{took}"]


def _ring(terminal: str) -> None:
    """Ring, if it is still a terminal of this user."""
    try:
        found = os.stat(terminal)
        if not stat.S_ISCHR(found.st_mode) or found.st_uid != os.getuid():
            return
        descriptor = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # it has been closed, and nobody sits there any more
    try:
        os.write(descriptor, b"\a")
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _run_notifier(words: Sequence[str]) -> int:
    from mtr.process.piped import run_piped
    from mtr.scripts import find_shipped

    argv = ["/bin/sh", f"{find_shipped('shell')}/local/notify.sh", *words]
    return run_piped(argv, timeout_s=DESKTOP_TIMEOUT_S).status


def _run_command(command: str, variables: Mapping[str, str], environ: Mapping[str, str]) -> int:
    from mtr.process.spawn import start_detached, wait_for

    log = f"{ensure_state_dir(environ)}/notify.log"
    return wait_for(start_detached(["/bin/sh", "-c", command], {**environ, **variables}, log=log))


# -- waiting


def start_watcher(job_id: str, server: str, how: str, directory: str | None, environ: Mapping[str, str]) -> None:
    """Start the process that waits for the job, and tells of its end; it outlives this one."""
    from mtr.process.spawn import start_detached

    terminal = find_terminal()
    if how == BELL and not terminal:
        return  # from the configuration, and nobody is there to hear it
    log = f"{ensure_state_dir(environ)}/notify.log"
    try:
        if os.stat(log).st_size > _MAX_LOG_BYTES:
            drop_file(log)
    except OSError:
        pass
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([package, *filter(None, [environ.get("PYTHONPATH")])])
    # -P: nothing is loaded from where we stand.
    argv = [sys.executable, "-P", "-m", "mtr.notify", job_id, server, os.path.realpath(directory or os.curdir)]
    more = {"PYTHONPATH": path, HOW: how, TERMINAL: terminal}
    start_detached(argv, {**environ, **more}, log=log, own_session=True)


def await_end(job_id: str, server: str, directory: str, environ: Mapping[str, str]) -> Job | None:
    """Return the job as it has ended; None if it was removed, or its server has not answered for a week."""
    from mtr.jobs.ask import load_jobs

    connection: BaseConnection | None = None
    began_s = heard_s = time.monotonic()
    is_refused = False
    while time.monotonic() - heard_s < GIVE_UP_S:
        try:
            connection = connection or _connect(server, directory, environ, only_open=is_refused)
            if connection is not None:
                found = load_jobs(connection, [job_id])
                if not found or not found[0].is_alive:
                    return found[0] if found else None
                heard_s, is_refused = time.monotonic(), False
        except MtrError as error:
            connection = None
            is_refused = is_refused or isinstance(error, (AuthenticationFailed, HostKeyChanged))
        time.sleep(min(_LONGEST_S, max(_SHORTEST_S, (time.monotonic() - began_s) / 20)))
    return None


def _connect(server: str, directory: str, environ: Mapping[str, str], *, only_open: bool) -> BaseConnection | None:
    """Connect without asking anybody; ``only_open``: where a connection stands, else None."""
    from mtr.ssh.inventory import list_keys, load_masters
    from mtr.voice import Voice
    from mtr.workflow import load_target, open_connection

    target = load_target(directory, server, environ, needs_project=False)
    if only_open and not set(list_keys(target.server, environ)) & set(load_masters(environ)):
        return None
    return open_connection(target.server, environ, Voice(quiet=True), may_prompt=False)


def watch(job_id: str, server: str, directory: str) -> None:
    """Wait for the job and tell of its end; this process is for nothing else."""
    os.chdir("/")
    how, terminal = os.environ.pop(HOW), os.environ.pop(TERMINAL, "")
    environ = dict(os.environ)
    tell(how, job_id, await_end(job_id, server, directory, environ), server, terminal, environ)


if __name__ == "__main__":
    try:
        watch(*sys.argv[1:4])
    except (MtrError, OSError) as error:
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {error}\n")
