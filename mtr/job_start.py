"""``mtr -d``: a run whose command starts another one, and what is said and done then. Builtin modules only."""

from __future__ import annotations

import os

from mtr.errors import MtrError
from mtr.jobs.start import begin_job, name_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.jobs.origin import OriginFeed
    from mtr.route import Route
    from mtr.ssh.line import Line
    from mtr.voice import Voice


def run_detached(
    invocation: Invocation, environ: Mapping[str, str], voice: Voice, *, route: Route | None = None
) -> int:
    """Sync, start the command as a job, say on a terminal how it is followed, and see that its end is told.

    Raises:
        UsageError, MissingProgram: the end cannot be told like that; nothing has been touched.
        ConfigError: the server runs Windows.
        JobError: there is no job; the server's words stand on stderr already.
    """
    from mtr.run import build_command, execute, open_line, wants_tty

    if invocation.notify is not None:
        from mtr.notify import ensure_possible

        ensure_possible(invocation.notify)
    route, line = open_line(invocation, environ, voice, may_prompt=wants_tty(invocation), route=route)
    if invocation.alias:
        voice.detail(f"alias {invocation.alias}")
    voice.note(server=line.server_name, remote_dir=route.remote_dir)
    command = build_command(route, invocation.words, invocation.env)
    origin = begin_job(command, invocation, line, environ, route.project)
    job_id = origin.job_id
    try:
        status = execute(route, line, command, environ, voice, sync=invocation.sync, tty=False)
        _ensure_started(origin, status, line)
    except MtrError:
        from mtr.jobs.noted import drop_note

        drop_note(job_id, environ)
        raise
    _print_id(job_id, line)
    voice.note(job=job_id)
    go_on = f"join: mtr job attach {job_id}" if invocation.pty else f"follow: mtr job logs -f {job_id}"
    voice.show_done(f"on {line.server_name}; {go_on}; stop: mtr job stop {job_id}")
    if notify := invocation.notify or route.notify:
        from mtr.notify import start_watcher

        start_watcher(job_id, name_server(invocation, line, environ), notify, invocation.directory, environ)
    return 0


def _ensure_started(origin: OriginFeed, status: int, line: Line) -> None:
    if not origin.has_begun:
        from mtr.jobs.model import JobError

        hint = "see what the server says above; mtr doctor"
        raise JobError(f"no job was started on {line.label}", detail=f"it ended with {status}", hint=hint)


def _print_id(job_id: str, line: Line) -> None:
    try:
        os.write(1, f"{job_id}\n".encode())
    except OSError as error:
        from mtr.jobs.model import JobError

        message = f"job {job_id} runs on {line.server_name}, but its id could not be printed: {error.strerror}"
        raise JobError(message, hint=f"mtr job stop {job_id}") from error
