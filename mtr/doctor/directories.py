"""The places of this machine where mtr keeps what it needs: tried by using them, and left as they were."""

from __future__ import annotations

import os
import shlex
import socket
import tempfile
from typing import TYPE_CHECKING

from mtr.doctor.check import Finding, Skipped, fail, ok, warn
from mtr.state import (
    MAX_SOCKET_PATH_BYTES,
    SOCKET_NAME_BYTES,
    drop_file,
    ensure_runtime_dir,
    ensure_state_dir,
)
from mtr.voice import render_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_BYTES = 1_000_000
LOW_BYTES = 100_000_000
LEAST_INODES = 100
"""A run writes some records and logs; a manifest of 100,000 files takes some 10 MB."""


def check_runtime_dir(environ: Mapping[str, str]) -> Finding:
    """Return whether sockets of masters can stand in the runtime directory: one is made there, and goes."""
    if not hasattr(socket, "AF_UNIX"):
        raise Skipped  # Where no connection can be shared there is none.
    path = ensure_runtime_dir(environ)
    name = f"{path}/doctor.{os.urandom(4).hex()}"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(name)
    except OSError as error:
        return fail(f"no socket can be made in {path}: {error.strerror or error}", f"ls -ld {path}; df -h {path}")
    finally:
        drop_file(name)
    return explain_runtime_dir(environ, path)


def explain_runtime_dir(environ: Mapping[str, str], path: str) -> Finding:
    """Return why it is ``path`` and not below XDG_RUNTIME_DIR, where that is set."""
    base = environ.get("XDG_RUNTIME_DIR", "")
    if not base or path == f"{base}/mtr":
        return ok(path)
    length = len(f"{base}/mtr/") + SOCKET_NAME_BYTES
    if length > MAX_SOCKET_PATH_BYTES:
        why = f"is too long for a socket ({length} bytes of at most {MAX_SOCKET_PATH_BYTES})"
    elif not os.path.isdir(base):
        why = "is no directory"
    elif os.stat(base).st_uid != os.getuid():
        why = "belongs to somebody else"
    else:
        why = "holds characters that ssh would expand"
    return warn(f"{path}, since XDG_RUNTIME_DIR={base} {why}", f"export XDG_RUNTIME_DIR=/run/user/{os.getuid()}")


def check_state_dir(environ: Mapping[str, str]) -> Finding:
    """Return whether the state directory takes files: one is written there, and goes."""
    path = ensure_state_dir(environ)
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(8192))
            file.flush()
    except OSError as error:
        where = shlex.quote(path)
        return fail(f"{path} takes no file: {error.strerror or error}", f"ls -ld {where}; df -h {where}; df -i {where}")
    return ok(path)


def check_disk(environ: Mapping[str, str]) -> Finding:
    """Return how much space those directories have left."""
    if not hasattr(os, "statvfs") or not hasattr(socket, "AF_UNIX"):
        raise Skipped
    places = dict.fromkeys((ensure_state_dir(environ), ensure_runtime_dir(environ)))
    return min(
        (_check_space(place) for place in places), key=lambda finding: ("fail", "warn", "ok").index(finding.state)
    )


def _check_space(place: str) -> Finding:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    has_inodes = not found.f_files or found.f_favail >= LEAST_INODES
    words = f"{render_bytes(free)} free" + ("" if has_inodes else f", {found.f_favail} inodes") + f" in {place}"
    remedy = f"df -h {shlex.quote(place)}; df -i {shlex.quote(place)}"
    if free < LEAST_BYTES or not has_inodes:
        return fail(words, remedy)
    return warn(words, remedy) if free < LOW_BYTES else ok(words)


def check_umask() -> Finding:
    """Return whether files are made so that their owner can use them, and not everybody."""
    mask = os.umask(0o077)
    os.umask(mask)
    if mask & 0o700:
        return fail(f"{mask:03o}: you could not use the files that you make", "umask 022")
    if not mask & 0o002:
        return warn(f"{mask:03o}: everybody may write the files that you make", "umask 022")
    return ok(f"{mask:03o}")
