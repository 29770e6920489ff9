"""The password of a server, at the moment when a connection needs it.

It is looked up then and never kept: not in a file, not in an environment, not in a cached plan.
"""

from __future__ import annotations

import os

from mtr.config.model import Secret
from mtr.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Server

COMMAND_TIMEOUT_S = 60.0
"""Long enough for the user to unlock a password store."""

OUTPUT_BYTES = 64 << 10
"""As much as counts of what it prints: the password is its first line."""


def load_password(server: Server, environ: Mapping[str, str]) -> Secret | None:
    """Return the password of ``server``, or None if it logs in otherwise.

    Raises:
        ConfigError: the variable is not set, the command failed, or what they gave is no password.
    """
    if server.password_env is not None:
        return _load_from_variable(server.name, server.password_env, environ)
    if server.password_command is not None:
        return _load_from_command(server.name, server.password_command, environ)
    return server.password


def _load_from_variable(name: str, variable: str, environ: Mapping[str, str]) -> Secret:
    value = environ.get(variable, "")
    hint = f"read -rs {variable} && export {variable}: so it stands in no history of the shell"
    if not value:
        raise ConfigError(f"{name}: password_env names {variable}, which is not set", hint=hint)
    if "\n" in value or "\r" in value:
        raise ConfigError(f"{name}: {variable} holds more than one line", hint=hint)
    return Secret(value)


def _load_from_command(name: str, command: str, environ: Mapping[str, str]) -> Secret:
    from mtr.process.captured import ProgramTimeout, run_captured

    hint = "run your password_command by hand, and see that it prints the password"
    argv = ["/bin/sh", "-c", command]
    try:
        found = run_captured(argv, env=environ, timeout_s=COMMAND_TIMEOUT_S, keep_bytes=OUTPUT_BYTES, is_secret=True)
    except ProgramTimeout as error:
        raise ConfigError(f"{name}: password_command did not end in {COMMAND_TIMEOUT_S:g} s", hint=hint) from error
    if found.status != 0:
        detail = found.stderr.decode(errors="replace")
        raise ConfigError(f"{name}: password_command ended with status {found.status}", detail=detail, hint=hint)
    first = os.fsdecode(found.stdout.partition(b"\n")[0]).removesuffix("\r")
    if not first:
        raise ConfigError(f"{name}: password_command printed no password", hint=hint)
    return Secret(first)
