r"""What is typed while attached to a job, and which of it is for mtr. Pure.

``Ctrl-\ d`` leaves the job, as does ``~.`` at the beginning of a line, where ssh's users look for it. Everything else
is the job's, the prefix before another key too; twice, either is itself, once.
"""

from __future__ import annotations

import re

PREFIX = b"\x1c"
PREFIX_NAME = "Ctrl-\\"

# As terminals send Ctrl-\ when a program has asked for keys to be told apart: kitty's way, and xterm's.
_KEYS = re.compile(rb"\x1b\[92;5u|\x1b\[27;5;92~|.", re.DOTALL)
_PREFIXES = (PREFIX, b"\x1b[92;5u", b"\x1b[27;5;92~")

TYPED_BYTES = 32
"""What comes in larger pieces was pasted: it goes through as it is."""


class Keys:
    """Takes what is typed, piece by piece, and tells what of it to send."""

    def __init__(self) -> None:
        self.is_leaving = False
        self._held = b""
        self._begins_line = True

    def take(self, piece: bytes) -> bytes:
        """Return what of ``piece`` is for the job; ``is_leaving`` says that the rest is not."""
        if len(piece) > TYPED_BYTES:
            held, self._held = self._held, b""
            self._begins_line = piece[-1:] in (b"\r", b"\n")
            return held + piece
        sent = b""
        for key in _KEYS.findall(piece):
            sent += self._take_key(key)
            if self.is_leaving:
                break
        return sent

    def _take_key(self, key: bytes) -> bytes:
        held, self._held = self._held, b""
        if (held in _PREFIXES and key in (b"d", b"D")) or (held == b"~" and key == b"."):
            self.is_leaving = True
            return b""
        if held:
            self._begins_line = key in (b"\r", b"\n")
            is_twice = held in _PREFIXES and key in _PREFIXES
            return held if is_twice or held == b"~" == key else held + key
        if key in _PREFIXES or (key == b"~" and self._begins_line):
            self._held = key
            return b""
        self._begins_line = key in (b"\r", b"\n")
        return key
