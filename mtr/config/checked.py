"""Which files have been found valid already: the schema's library takes longer to load than all else that is read.

``valid`` in the state directory holds a line for each: the SHA-256 of what was checked and of what it was checked by.
It is forgotten with the next version of mtr, and a file that was changed by one byte is another one.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from mtr import __version__
from mtr.config.validate import ensure_valid
from mtr.errors import MtrError
from mtr.state import ensure_state_dir, read_regular, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.source import Source

MAX_KEPT = 100
_LINE_BYTES = 65
_RULES = (
    "aliases", "command_line", "config/policy", "config/remote_dir", "config/schema", "config/source",
    "config/validate", "shell_words",
)  # fmt: skip


def ensure_checked(source: Source, environ: Mapping[str, str], *, is_own: bool) -> None:
    """Check ``source`` unless that was done before: see :func:`mtr.config.validate.ensure_valid`.

    Raises:
        ConfigError: as that.
    """
    line = _build_line(source, is_own=is_own) if source.digest else b""
    known = _load(environ)
    if not line or line not in known:
        ensure_valid(source, is_own=is_own)
        if line:
            _save([*known, line][-MAX_KEPT:], environ)


def _build_line(source: Source, *, is_own: bool) -> bytes:
    # In a checkout the rules change without the version.
    package = os.path.dirname(os.path.dirname(__file__))
    rules = [_read_time(f"{package}/{name}.py") for name in _RULES]
    return sha256(repr((__version__, rules, source.digest, is_own)).encode()).hexdigest().encode()


def _read_time(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _load(environ: Mapping[str, str]) -> list[bytes]:
    try:
        data = read_regular(f"{ensure_state_dir(environ)}/valid", MAX_KEPT * _LINE_BYTES)
    except (OSError, MtrError):
        return []
    return (data or b"").split(b"\n")[:-1]


def _save(lines: list[bytes], environ: Mapping[str, str]) -> None:
    try:
        write_atomic(f"{ensure_state_dir(environ)}/valid", b"".join(line + b"\n" for line in lines))
    except (OSError, MtrError):
        pass  # A cache: the next run checks again.
