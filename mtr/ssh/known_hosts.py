"""Host keys in known_hosts files: found, compared, added, and shown as fingerprints.

Source: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; RFC 4255 and ``ssh-keygen -l`` for the fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mtr.state import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A line of a known_hosts file that is about a host; ``marker`` is ``@revoked``, ``@cert-authority`` or ""."""

    file: str
    line: int
    kind: str
    key: bytes
    marker: str = ""

    @property
    def fingerprint(self) -> str:
        """The key as people compare it: ``ED25519 SHA256:…``."""
        return render_fingerprint(self.kind, self.key)


def render_fingerprint(kind: str, key: bytes) -> str:
    """Return a key as ``ssh-keygen -l`` shows it."""
    names = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA", "ssh-dss": "DSA"}
    name = names.get(kind, "ECDSA" if kind.startswith("ecdsa") else kind)
    return f"{name} SHA256:{b64encode(hashlib.sha256(key).digest()).decode().rstrip('=')}"


def render_name(host: str, port: int | str) -> str:
    """Return how a known_hosts file names a host: with its port unless that is 22."""
    return host if str(port) == "22" else f"[{host}]:{port}"


def find_keys(files: Iterable[str], name: str) -> list[KnownKey]:
    """Return every line about ``name`` in ``files``, in order; what cannot be read says nothing."""
    found = []
    for file in files:
        lines = (read_regular(file, MAX_BYTES) or b"").decode(errors="replace").split("\n")
        found += [key for number, line in enumerate(lines, 1) if (key := _parse(file, number, line, name))]
    return found


def _parse(file: str, number: int, line: str, name: str) -> KnownKey | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or not _names(words[0], name):
        return None
    try:
        return KnownKey(file, number, words[1], b64decode(words[2], validate=True), marker)
    except ValueError:
        return None


def _names(field: str, name: str) -> bool:
    """Tell whether the first field of a line is about ``name``: hashed, or patterns with ``!`` for not."""
    if field.startswith("|1|"):
        _, _, salt, digest = [*field.split("|"), "", ""][:4]
        try:
            made = hmac.new(b64decode(salt), name.lower().encode(), hashlib.sha1).digest()
            return hmac.compare_digest(made, b64decode(digest))
        except ValueError:
            return False
    patterns = [pattern.lower() for pattern in field.split(",")]
    matches = {pattern for pattern in patterns if _matches(name.lower(), pattern.removeprefix("!"))}
    return bool(matches) and not any(pattern.startswith("!") for pattern in matches)


def _matches(name: str, pattern: str) -> bool:
    # Brackets around a host with a port are themselves, not a class of characters.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def add_key(file: str, name: str, kind: str, key: bytes, *, is_hashed: bool = False) -> None:
    """Add a line to ``file``, in one write behind a whole last line; the file and its directory are made."""
    os.makedirs(os.path.dirname(file), 0o700, exist_ok=True)
    if is_hashed:
        salt = os.urandom(20)
        digest = hmac.new(salt, name.lower().encode(), hashlib.sha1).digest()
        name = f"|1|{b64encode(salt).decode()}|{b64encode(digest).decode()}"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        is_cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, ("\n" if is_cut else "").encode() + f"{name} {kind} {b64encode(key).decode()}\n".encode())
    finally:
        os.close(descriptor)
