"""``mtr -d``: a run whose command starts another one, and what is said and done then. Builtin modules only."""

from __future__ import annotations

import os

from mtr.errors import ConfigError, MtrError
from mtr.jobs.noted import drop_note
from mtr.jobs.start import begin_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.route import Route
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
    if line.facts.system:
        hint = "mtr CMD, and stay; or a scheduled task there"
        raise ConfigError(f"{line.server_name} runs Windows, and jobs need a POSIX shell there", hint=hint)
    command = build_command(route, invocation.words, invocation.env)
    job_id, origin = begin_job(command, invocation, line, environ, route.project)
    try:
        status = execute(route, line, command, environ, voice, sync=invocation.sync, tty=False)
    except MtrError:
        drop_note(job_id, environ)
        raise
    greeting, is_told = split_answer(origin.read_answer(), job_id)
    _pass_on(greeting)
    if status != 0 or not is_told:
        from mtr.jobs.model import JobError

        drop_note(job_id, environ)
        raise JobError(f"no job was started on {line.label}", hint="see what the server says above; mtr doctor")
    voice.note(job=job_id)
    try:
        _write(1, f"{job_id}\n".encode())
    except OSError as error:
        from mtr.jobs.model import JobError

        message = f"job {job_id} runs on {line.server_name}, but its id could not be printed: {error.strerror}"
        raise JobError(message, hint=f"mtr job stop {job_id}") from error
    voice.show_done(f"on {line.server_name}; follow: mtr job logs -f {job_id}; stop: mtr job stop {job_id}")
    if notify := invocation.notify or route.notify:
        from mtr.notify import start_watcher

        server = invocation.server or environ.get("MTR_SERVER") or line.server_name
        start_watcher(job_id, server, notify, invocation.directory, environ)
    return 0


def split_answer(answer: bytes, job_id: str) -> tuple[bytes, bool]:
    """Return what stands in front of the id in what ``start.sh`` has answered, and whether that is there.

    A login shell may greet, without the end of a line too, or never come to run what it is given.
    """
    told = f"{job_id}\n".encode()
    return answer.removesuffix(told), answer.endswith(told)


def _pass_on(greeting: bytes) -> None:
    """Show what is the server's own: on stderr, since the id alone is the output."""
    try:
        _write(2, greeting if greeting[-1:] in (b"", b"\n") else greeting + b"\n")
    except OSError:
        pass


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
