"""What is said and done when a job has been started: loaded then, after the server's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.jobs.noted import drop_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.command_line import Invocation
    from mtr.ssh.line import Line
    from mtr.voice import Voice


def finish_start(
    job_id: str,
    status: int,
    notify: str,
    invocation: Invocation,
    line: Line,
    environ: Mapping[str, str],
    voice: Voice,
) -> int:
    """Say on a terminal how the job is followed, and see that its end is told; return the status for mtr.

    Raises:
        JobError: ``status`` says that there is no job; the server's words stand on stderr already.
    """
    if status != 0:
        from mtr.jobs.model import JobError

        drop_note(job_id, environ)
        raise JobError(f"no job was started on {line.label}", hint="see what the server says above; mtr doctor")
    voice.note(job=job_id)
    voice.show_done(f"on {line.server_name}; follow: mtr job logs -f {job_id}; stop: mtr job stop {job_id}")
    if notify:
        from mtr.notify import start_watcher

        server = invocation.server or environ.get("MTR_SERVER") or line.server_name
        start_watcher(job_id, server, notify, invocation.directory, environ)
    return 0
