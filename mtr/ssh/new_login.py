"""A login apart from every master: what the next one would be like, when the connection that stands has gone."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.errors import ConnectionTimeout
from mtr.process.piped import ProgramTimeout, run_piped
from mtr.ssh import options
from mtr.ssh.diagnosis import build_connect_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.ssh.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Login:
    """How long a login with one command took, and what opened it (RFC 4252's name; "" where ssh does not say)."""

    took_s: float
    method: str


def log_in_anew(endpoint: Endpoint, environ: Mapping[str, str], binder: Sequence[str], timeout_s: float) -> Login:
    """Log in to ``endpoint``, asking nobody, run ``true`` and log out; ``binder`` is as in ``Facts``.

    Raises:
        ConnectError: it did not work; the detail holds ssh's words.
    """
    argv = options.build_diagnosis_argv(
        endpoint.client, endpoint.config, endpoint.explicit, endpoint.destination, log_level="VERBOSE"
    )
    started_s = time.monotonic()
    try:
        found = run_piped([*binder, *argv], env=environ, timeout_s=timeout_s)
    except ProgramTimeout as error:
        raise ConnectionTimeout(f"a new login to {endpoint.label} did not end within {timeout_s:g} s") from error
    words = found.stderr.decode(errors="replace")
    # sshconnect2.c, ssh_userauth2(); older ones say it at a level that nobody can read.
    method = re.search(r'^Authenticated to .* using "([a-z-]{1,40})"', words, re.MULTILINE)
    if found.status == 255 and not method:
        raise build_connect_error(endpoint, words, found.status)
    return Login(time.monotonic() - started_s, method[1] if method else "")
