"""The ``policy`` of one configuration file: what an agent may do, as a value. Pure.

A pattern is split into words as a command is (``mtr.shell_words``) and compared with an argv word by word. The first
word is the program, exactly as it is written. An unquoted ``*`` is the only character with a meaning of its own:

    python train.py *      alone at the end: any further words, none as well, options as well
    cat logs/*.txt         elsewhere: part of one word; no ``/``, no ``.`` or ``..``, no ``-`` at the word's beginning
    git diff -- *          what follows ``--`` is no option for a program that knows ``--``

The policies of several files are never merged into one: each of them judges (``mtr.policy``), so that a file which
came with a clone can only take away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtr.shell_words import WILD, NotPlainWords, parse_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mtr.config.model import KeyPath, Position
    from mtr.config.source import Source

SIZE_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,3})? ?([kKMG]i?)?B?(?![\s\S])"
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": 1024, "MI": 1024**2, "GI": 1024**3}

PATTERN_LISTS = ("allow", "deny", "confirm")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which commands a rule means: ``words`` of the program and its arguments, and whether any may follow."""

    text: str
    words: tuple[str, ...]
    takes_rest: bool
    position: Position | None = None

    def matches(self, argv: Sequence[str]) -> bool:
        """Tell whether ``argv`` is such a command."""
        count = len(self.words)
        if len(argv) < count or (len(argv) > count and not self.takes_rest):
            return False
        return all(map(_matches_word, self.words, argv))


def _matches_word(pattern: str, word: str) -> bool:
    if WILD not in pattern:
        return pattern == word
    parts, given = pattern.split("/"), word.split("/")
    if len(parts) != len(given) or (pattern.startswith(WILD) and word.startswith("-")):
        return False
    return all(map(_matches_part, parts, given))


def _matches_part(pattern: str, part: str) -> bool:
    """Compare what stands between two ``/``; takes a time that grows with the lengths alone."""
    if WILD not in pattern:
        return pattern == part
    first, *middle, last = pattern.split(WILD)
    if part in ("", ".", "..") or len(part) < len(first) + len(last):
        return False
    if not (part.startswith(first) and part.endswith(last)):
        return False
    at, end = len(first), len(part) - len(last)
    for piece in middle:
        found = part.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def build_pattern(text: str, position: Position | None = None) -> Pattern:
    """Return the pattern that ``text`` is.

    Raises:
        NotPlainWords: it is none, with the reason.
    """
    words = parse_pattern(text)
    takes_rest = len(words) > 1 and words[-1] == WILD
    kept = words[:-1] if takes_rest else words
    if not kept or not kept[0]:
        raise NotPlainWords("names no program")
    if WILD in kept[0]:
        raise NotPlainWords("has * in its first word, which is the program and stands there exactly")
    return Pattern(text, kept, takes_rest, position)


def parse_size(size: str | int) -> int:
    """Return the bytes of a size that ``SIZE_PATTERN`` takes: ``1MB`` is a million, ``1MiB`` is 1,048,576."""
    found = re.match(r"([0-9.]+) ?([A-Z]*?)B?\Z", str(size).upper())
    if found is None:
        raise ValueError(size)
    return int(float(found[1]) * _UNITS[found[2]])


@dataclass(frozen=True, slots=True)
class Rules:
    """What one file says under ``policy``; None where it says nothing of a thing.

    ``foreign`` tells that the file is not the user's own. ``audit_log`` is as written, in the user's own file alone.
    """

    file: Path
    servers: tuple[str, ...] | None = None
    allow: tuple[Pattern, ...] | None = None
    deny: tuple[Pattern, ...] = ()
    confirm: tuple[Pattern, ...] = ()
    read_only: bool = False
    max_timeout_s: int | None = None
    max_output_bytes: int | None = None
    max_running: int | None = None
    audit_log: str | None = None


def build_rules(source: Source) -> Rules | None:
    """Return what a valid file says, or None where it has no ``policy``."""
    policy = source.data.get("policy") if isinstance(source.data, dict) else None
    if policy is None:
        return None
    lists = {
        key: tuple(build_pattern(text, source.values["policy", key, i]) for i, text in enumerate(policy[key]))
        for key in PATTERN_LISTS
        if key in policy
    }
    return Rules(
        source.file,
        servers=tuple(policy["servers"]) if "servers" in policy else None,
        allow=lists.get("allow"),
        deny=lists.get("deny", ()),
        confirm=lists.get("confirm", ()),
        read_only=policy.get("read_only", False),
        max_timeout_s=policy.get("max_timeout"),
        max_output_bytes=parse_size(policy["max_output"]) if "max_output" in policy else None,
        max_running=policy.get("max_running"),
        audit_log=policy.get("audit_log"),
    )


def find_flaws(data: object, *, is_own: bool) -> Iterator[tuple[KeyPath, str]]:
    """Yield what no schema says of the ``policy`` in a file that need not be valid: the way there, and the reason."""
    policy: Any = data.get("policy") if isinstance(data, dict) else None
    if not isinstance(policy, dict):
        return
    for key in PATTERN_LISTS:
        texts = policy.get(key)
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            try:
                if isinstance(text, str):
                    build_pattern(text)
            except NotPlainWords as flaw:
                yield ("policy", key, index), f"{flaw}"
    if "audit_log" in policy and not is_own:
        yield ("policy", "audit_log"), "may only stand in your own ~/.config/mtr/config.yaml: it names a file to write"


def limits_commands(data: object) -> bool:
    """Tell whether a file's ``policy`` says which commands may run, or where."""
    policy: Any = data.get("policy") if isinstance(data, dict) else None
    if not isinstance(policy, dict):
        return False
    return "allow" in policy or "servers" in policy or policy.get("read_only") is True
