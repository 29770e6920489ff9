"""The keys that a login would use, and the agent that may hold them."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

from mtr.doctor.check import Finding, fail, ok, warn
from mtr.errors import MissingProgram, MtrError
from mtr.process.piped import ProgramTimeout, run_piped
from mtr.voice import render_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

AGENT_TIMEOUT_S = 5.0
"""An agent answers at once; a forwarded one whose line has died never does."""

MANY_KEYS = 6
"""sshd's default of MaxAuthTries: with as many keys in the agent, the right one may come too late."""


def check_agent(environ: Mapping[str, str]) -> Finding:
    """Return whether the agent answers, and how many keys it holds."""
    socket = environ.get("SSH_AUTH_SOCK", "")
    if not socket:
        return ok("none (SSH_AUTH_SOCK is not set); keys without a passphrase need none")
    try:
        found = run_piped(["ssh-add", "-l"], env=environ, timeout_s=AGENT_TIMEOUT_S)
    except MissingProgram:
        return ok(f"{socket}; ssh-add is not installed to ask it")
    except ProgramTimeout:
        return fail(f"{socket} does not answer within {AGENT_TIMEOUT_S:g} s, and each login waits for it", _NEW_AGENT)
    if found.status not in (0, 1):
        return warn(f"nobody answers on SSH_AUTH_SOCK={socket}", _NEW_AGENT)
    count = len(found.stdout.splitlines()) if found.status == 0 else 0
    words = f"{render_count(count, 'key')}, {socket}"
    if count >= MANY_KEYS:
        return warn(
            f"{words}: servers cut a login off after about {MANY_KEYS}; name each server's own with `key_filename`",
            "${EDITOR:-vi} ~/.config/mtr/config.yaml",
        )
    return ok(words)


_NEW_AGENT = 'unset SSH_AUTH_SOCK; eval "$(ssh-agent)"; ssh-add'


def check_key_files(paths: Iterable[str], environ: Mapping[str, str]) -> Finding:
    """Return whether the keys that are there can be used: private, and open without asking anybody."""
    there = [path for path in paths if os.path.isfile(path)]
    if not there:
        return ok("none here; the agent or a password has to do")
    findings = [_check_key(path, environ) for path in there]
    # A key that is open does, whatever else is locked; one that others can read is told in any case.
    order = ("fail", "ok", "warn")
    return min(findings, key=lambda finding: order.index(finding.state))


def _check_key(path: str, environ: Mapping[str, str]) -> Finding:
    where = shlex.quote(path)
    found = os.stat(path)
    mode = stat.S_IMODE(found.st_mode)
    # authfile.c, sshkey_perm_ok(): of the user's own files alone.
    if found.st_uid == os.getuid() and mode & 0o077:
        return fail(f"{path} can be read by others (mode {mode:04o}), so ssh does not use it", f"chmod 600 {where}")
    if not os.access(path, os.R_OK):
        return fail(f"{path} cannot be read", f"ls -l {where}")
    try:
        opened = run_piped(["ssh-keygen", "-y", "-P", "", "-f", path], env=environ, timeout_s=AGENT_TIMEOUT_S)
    except MtrError:
        return ok(path)
    if opened.status == 0:
        return ok(f"{path}, private, and without a passphrase")
    return _explain_locked(path, opened.stderr.decode(errors="replace").strip(), environ)


def _explain_locked(path: str, words: str, environ: Mapping[str, str]) -> Finding:
    """Return what it means that a key does not open by itself."""
    where = shlex.quote(path)
    if "passphrase" not in words:
        return warn(f"{path} is no private key that ssh can read\n{words}", f"ssh-keygen -y -f {where}")
    if _is_in_agent(path, environ):
        return ok(f"{path}, which the agent holds")
    start = "" if environ.get("SSH_AUTH_SOCK") else 'eval "$(ssh-agent)"; '
    return warn(
        f"{path} needs its passphrase, and no agent holds it: in batch no login works", f"{start}ssh-add {where}"
    )


def _is_in_agent(path: str, environ: Mapping[str, str]) -> bool:
    """Tell whether the agent holds the key in ``path``, by its fingerprint: the public half is not locked."""
    try:
        shown = run_piped(["ssh-keygen", "-l", "-f", path], env=environ, timeout_s=AGENT_TIMEOUT_S).stdout.split()
        held = run_piped(["ssh-add", "-l"], env=environ, timeout_s=AGENT_TIMEOUT_S).stdout.split()
    except MtrError:
        return False
    return len(shown) > 1 and shown[1] in held
