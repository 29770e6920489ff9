"""``env_file``: variables of the command from a file of the project here, in the syntax of dotenv files.

The file need not be synced: it is read here, and its values travel as those of ``env`` do. Nothing in it is expanded:
a ``$`` is a dollar, so that a file from elsewhere cannot name a variable of this machine. A line that is no assignment
is an error, which names the line and never shows it.
"""

from __future__ import annotations

import io
import os
import shlex
from typing import TYPE_CHECKING

from mtr.errors import ConfigError
from mtr.state import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtr.config.model import Server
    from mtr.config.project import Project

MAX_BYTES = 1 << 20


def find_env_file(server: Server, project: Project) -> str | None:
    """Return the path of the file that ``server`` names, whether or not it is there.

    Raises:
        ConfigError: it is within the project by its name, and a link leads it out: nobody has allowed that.
    """
    if server.env_file is None:
        return None
    path = os.path.join(project.root, server.env_file)
    inside = os.path.realpath(project.root) + os.sep
    if is_within(server.env_file) and not os.path.realpath(path).startswith(inside):
        message = f"{server.name}: env_file {server.env_file} leads out of the project, to {os.path.realpath(path)}"
        raise ConfigError(message, hint="if that is meant, write this path as `env_file`")
    return path


def is_within(path: str) -> bool:
    """Tell whether ``path`` names something within the project."""
    parts = os.path.normpath(path).split(os.sep)
    return not os.path.isabs(path) and parts[0] not in ("..", "~") and not any(p.lower() == ".git" for p in parts)


def load_env_file(server: Server, project: Project) -> dict[str, str]:
    """Return the variables of the file that ``server`` names; {} where it names none.

    Raises:
        ConfigError: it is not there, or not of that kind, with the line.
    """
    path = find_env_file(server, project)
    if path is None:
        return {}
    data = read_regular(path, MAX_BYTES + 1)
    if data is None:
        hint = f"ls -l {shlex.quote(path)}; or leave `env_file` out"
        raise ConfigError(f"{server.name}: there is no env_file {path} that can be read", hint=hint)
    if len(data) > MAX_BYTES:
        raise _refuse(path, 1, f"larger than {MAX_BYTES:,} bytes")
    return dict(_parse(path, data))


def _parse(path: str, data: bytes) -> Iterator[tuple[str, str]]:
    from dotenv.parser import parse_stream

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse(path, data.count(b"\n", 0, error.start) + 1, "not UTF-8") from error
    for found in parse_stream(io.StringIO(text)):
        if found.error or (found.key is not None and found.value is None):
            raise _refuse(path, found.original.line, "not NAME=VALUE")
        if found.key is not None and not (found.key.isascii() and found.key.isidentifier()):
            raise _refuse(path, found.original.line, "not the name of a variable: letters, digits and _ only")
        if found.key is not None and found.value is not None:
            if "\0" in found.value:
                raise _refuse(path, found.original.line, "holds a NUL character")
            yield found.key, found.value


def _refuse(path: str, line: int, reason: str) -> ConfigError:
    return ConfigError(f"{path}:{line}: {reason}", hint=f"${{EDITOR:-vi}} +{line} {shlex.quote(path)}")
