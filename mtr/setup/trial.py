"""Trying what was answered before it is written: the login as ``mtr up`` does it, and the directory there."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mtr.errors import SyncError
from mtr.ssh.diagnosis import build_prepare_error
from mtr.ssh.gate import new_run_id
from mtr.workflow import open_connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.setup.draft import Draft
    from mtr.voice import Voice

UNTRIED = "untried"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial has found.

    ``directory`` is ``new`` (it can be made), ``empty``, ``known`` (mtr has brought files there), ``used`` (there are
    files that mtr has not brought), or ``untried`` (on Windows). ``command_s`` is how long a command takes there.
    """

    address: str
    directory: str
    command_s: float


def try_draft(draft: Draft, environ: Mapping[str, str], voice: Voice, *, may_prompt: bool) -> Trial:
    """Log in to the server of ``draft``, and see whether its directory there can be made and written.

    The connection stays open, as after ``mtr up``; of the directory nothing stays that was not there.

    Raises:
        ConnectError: the login failed.
        SyncError: the directory cannot be made or written.
    """
    # By its destination, so that the commands that an error names work before anything is written. What was typed
    # just now needs no trust.
    server = replace(draft.server, name=draft.answers.destination)
    if draft.is_all_typed:
        server = replace(server, claim=None)
    connection = open_connection(server, environ, voice, may_prompt=may_prompt)
    connection.ensure_alive()
    if connection.facts.system:
        return Trial(connection.facts.address, UNTRIED, 0.0)
    started_s = time.monotonic()
    found = connection.run_script("remote/try_dir.sh", [draft.remote_dir, new_run_id()])
    command_s = time.monotonic() - started_s
    if found.status != 0:
        raise build_prepare_error(
            found.status, connection.label, draft.remote_dir, found.stderr.decode(errors="replace")
        )
    return Trial(connection.facts.address, _parse_state(found.stdout, draft.remote_dir), command_s)


def _parse_state(output: bytes, remote_dir: str) -> str:
    states = [line.split()[1:] for line in output.decode(errors="replace").splitlines() if line.startswith("mtr-dir ")]
    if not states or states[-1] not in (["new"], ["empty"], ["known"], ["used"]):
        raise SyncError(f"no answer about {remote_dir} that could be understood", hint="mtr doctor")
    return states[-1][0]
