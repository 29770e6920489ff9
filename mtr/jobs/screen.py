"""What a job has made of the terminal: which modes are on, how to take them up, and how to leave them. Pure.

A terminal that joins late has not seen the modes being set, and one that leaves must not keep them. What a job printed
earlier is shown without its questions: the terminal would answer them now, and the job would take that for keys.

Source: xterm's ctlseqs, and the terminal protocols of kitty.
"""

from __future__ import annotations

import re

_CURSOR_KEYS, _WRAPS, _BLINKS, _CURSOR = 1, 7, 12, 25
_SCREENS = (47, 1047, 1049)
_MICE = (9, *range(1000, 1007), 1015, 1016)
_PASTE = 2004
_KNOWN = frozenset((_CURSOR_KEYS, _WRAPS, _BLINKS, _CURSOR, *_SCREENS, *_MICE, _PASTE))
_ON_AT_FIRST = frozenset((_WRAPS, _CURSOR))

_MODES = re.compile(rb"\x1b\[\?([0-9;]{1,99})([hl])")
_OTHERS = tuple(
    (re.compile(is_set), re.compile(is_set + b"|" + is_unset), undo)
    for is_set, is_unset, undo in (
        (rb"\x1b\[>[0-9]*u", rb"\x1b\[<[0-9]*u", b"\x1b[<u"),  # keys told apart (kitty)
        (rb"\x1b\[>4;[1-9]m", rb"\x1b\[>4(?:;0?)?m", b"\x1b[>4m"),  # keys told apart (xterm)
        (rb"\x1b\[[1-9] q", rb"\x1b\[0? q", b"\x1b[0 q"),  # the cursor's shape
        (rb"\x1b=", rb"\x1b>", b"\x1b>"),  # the keypad's keys
    )
)
"""What is set, what else that is said of it, and what takes it back."""

_MARGINS = (re.compile(rb"\x1b\[[0-9]+;[0-9]+r"), b"\x1b7\x1b[r\x1b8")
"""Lines that do not scroll. Setting them moves the cursor, so that is left to the program."""

_LONGEST = 48
"""Bytes of a sequence that may be cut between two pieces."""

_QUESTIONS = re.compile(
    rb"\x1b\[[0-9;?>=!]*(?:[cntx]|\$p)|\x1b\[\?u|\x1b\[>[0-9]*[uq]|\x1bZ|\x05|\x07"
    rb"|\x1b[\]PX^_](?:[^\x1b\x07]|\x1b(?!\\)){0,65536}?(?:\x07|\x1b\\)|" + _MODES.pattern,
)
"""What a terminal answers, rings at or keeps; titles and the clipboard among it."""


class Screen:
    """The modes of the terminal that the job's output goes to."""

    def __init__(self) -> None:
        self._modes: dict[int, bool] = {}
        self._others: dict[bytes, bytes] = {}
        """What takes each of ``_OTHERS`` back, and how it was last set."""
        self._has_margins = False
        self._rest = b""

    @property
    def is_full(self) -> bool:
        """Whether a program has the whole screen to itself."""
        return any(self._modes.get(mode) for mode in _SCREENS)

    def recall(self, text: str) -> None:
        """Take over the modes that the server has found: ``1049h,25l,``."""
        for word in text.split(","):
            if word[:-1].isdecimal() and len(word) < 9 and int(word[:-1]) in _KNOWN:
                self._modes[int(word[:-1])] = word[-1] == "h"

    def watch(self, piece: bytes) -> None:
        """Take note of what ``piece`` of the output sets."""
        text = self._rest + piece
        if b"\x1b" not in text:
            self._rest = b""
            return
        for numbers, state in _MODES.findall(text):
            for number in numbers.split(b";"):
                if number and int(number) in _KNOWN:
                    self._modes[int(number)] = state == b"h"
        for is_set, pattern, undo in _OTHERS:
            if found := pattern.findall(text):
                self._others.pop(undo, None)
                if is_set.fullmatch(found[-1]):
                    self._others[undo] = found[-1]
        self._has_margins = self._has_margins or _MARGINS[0].search(text) is not None
        self._rest = text[-_LONGEST:] if b"\x1b" in text[-_LONGEST:] else b""

    def enter(self) -> bytes:
        """Return what makes a terminal that has just joined one in which the job has set its modes."""
        changed = sorted(mode for mode, is_on in self._modes.items() if is_on != (mode in _ON_AT_FIRST))
        screens = [mode for mode in changed if mode in _SCREENS]
        text = b"".join(_set(mode, self._modes[mode]) for mode in (*screens, *(m for m in changed if m not in screens)))
        return text + b"".join(self._others.values()) + (b"\x1b[2J\x1b[H" if screens else b"")

    def leave(self) -> bytes:
        """Return what takes them back."""
        changed = sorted(mode for mode, is_on in self._modes.items() if is_on != (mode in _ON_AT_FIRST))
        # The screen last: some of the others belong to it.
        changed.sort(key=lambda mode: mode in _SCREENS)
        others = [undo for _, _, undo in _OTHERS if undo in self._others]
        others += [_MARGINS[1]] if self._has_margins else []
        modes = (_set(mode, mode in _ON_AT_FIRST) for mode in changed)
        return b"".join((*others, *modes)) + b"\x1b[0m"


def _set(mode: int, is_on: bool) -> bytes:
    return b"\x1b[?%d%c" % (mode, b"h" if is_on else b"l")


def render_history(data: bytes, *, is_whole: bool) -> bytes:
    """Return ``data``, which a job printed earlier, for a terminal that must not answer it.

    Where it does not begin at the beginning, it begins with its first full line.
    """
    if not is_whole:
        data = data[re.search(rb"[\r\n]|\Z", data).end() :] or data  # type: ignore[union-attr]
    return _QUESTIONS.sub(b"", data)
