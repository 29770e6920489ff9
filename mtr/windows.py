"""A run on a server that runs Windows: files over SFTP, compared by size and time, then the command in its shell.

There is no gate there, so there is no token, no trash and no record either: what is not as it is here is replaced, and
nothing is deleted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import ConfigError
from mtr.ssh.gate import GateCall, new_run_id
from mtr.ssh.windows import build_windows_command
from mtr.sync.ignore import Rules
from mtr.sync.sftp import SftpSyncer, render_place

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.route import Route
    from mtr.ssh.line import Line
    from mtr.voice import Voice


def run_on_windows(route: Route, line: Line, invocation: Invocation, voice: Voice, *, tty: bool) -> int:
    """Sync the project, run the command in its directory there, and return the status.

    Raises:
        SyncError: not every file arrived; the command did not start.
        UsageError: the command cannot be passed to that system.
        ConfigError: what is to run before it is for a POSIX shell.
    """
    if route.pre_cmd or route.python:
        hint = "leave `pre_cmd` and `python` out for it, and set `env`"
        raise ConfigError(f"{line.server_name} runs Windows, and has no shell for pre_cmd and python", hint=hint)
    words = invocation.words
    place = render_place(route.remote_dir).decode(errors="surrogateescape")
    directory = f"{place}/{route.subdir}".rstrip("/")
    line_there = build_windows_command(
        words,
        is_text=len(words) == 1,
        shell=line.facts.system,
        directory=directory,
        env={**route.env, **invocation.env},
    )
    if invocation.sync and route.project is not None:
        rules = Rules(*route.project.rules)  # type: ignore[arg-type]
        syncer = SftpSyncer(line, rules, on_progress=voice.show_progress)  # type: ignore[arg-type]
        voice.show_receipt(syncer.sync(Path(route.project.root), route.remote_dir), line.server_name)
    voice.enter("run")
    call = GateCall(new_run_id(), line_there, {}, b"")
    call.timeout_s = invocation.timeout_s
    return line.run_foreground(call, tty=tty)
