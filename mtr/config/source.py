"""One YAML file as plain data, with the position of every key and value.

Reads a safe subset: mappings with text as keys, lists, text, numbers, booleans, null, anchors and merge keys
(``<<``). Dates and base-60 numbers stay text, since YAML 1.2 reads them so and no setting wants them. A key that
stands twice is an error, and so is what could make reading it endless: cycles, and files that grow past
``MAX_NODES`` once their anchors are followed.

Numbers keep their spelling (``texts``): an environment variable ``1.10`` never becomes ``1.1``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mtr.config.model import KeyPath, Position, render_key_path
from mtr.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FRACTION = re.compile(r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?\Z")
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""YAML 1.1, 5.1: everything but ``c-printable``, and byte order marks inside a file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file: where, at which setting, and why."""

    position: Position
    path: KeyPath
    reason: str

    def __str__(self) -> str:
        key = f"{render_key_path(self.path)}: " if self.path else ""
        return f"{self.position}: {key}{self.reason}"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is YAML: its data, where everything stands in it, and what is wrong with it so far.

    ``owner`` is the user id of whose file it is; ``digest`` stands for every byte of it.
    """

    file: Path
    mode: int
    data: Any
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)
    texts: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    owner: int | None = None
    digest: str = ""


def order_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return ``problems`` of one file in its order; what an anchor repeats is one, however often it is followed."""
    unique = {(p.position, p.reason): p for p in reversed(list(problems))}.values()
    return sorted(unique, key=lambda p: (p.position.line, p.position.column))


def build_config_error(problems: Iterable[Problem]) -> ConfigError:
    """Return one error that lists ``problems`` in the order of the file; the hint opens it at the first."""
    ordered = order_problems(problems)
    first = ordered[0].position
    error = ConfigError(
        str(ordered[0]),
        detail="\n".join(map(str, ordered[1:])),
        hint=f"${{EDITOR:-vi}} +{first.line} {shlex.quote(str(first.file))}",
    )
    error.problems = tuple(ordered)
    return error


def load_source(file: Path) -> Source | None:
    """Read ``file``; None if it is not there.

    Raises:
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        # Without O_NONBLOCK a FIFO of that name would hang every command.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _unreadable(file, "not a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _unreadable(file, f"larger than {MAX_BYTES:,} bytes")
    source = parse_source(file, data, stat.S_IMODE(found.st_mode))
    return replace(source, owner=found.st_uid, digest=sha256(data).hexdigest())


def _unreadable(file: Path, reason: str) -> ConfigError:
    return ConfigError(f"{file}: {reason}", hint=f"ls -l {shlex.quote(str(file))}")


def parse_source(file: Path, data: bytes, mode: int = 0o600) -> Source:
    """Return ``data`` as a source; keys that stand twice and the like are among its ``problems``.

    Raises:
        ConfigError: it is not YAML, or grows without bounds.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = _decode(file, data)
    try:
        _ensure_bounded(file, yaml.parse(text, Loader=loader))
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(filter(None, (error.problem, error.context))) or "not YAML"
        raise _refusal(file, mark.line if mark else 0, mark.column if mark else 0, reason) from error
    except yaml.YAMLError as error:
        raise _refusal(file, 0, 0, f"not YAML: {error}") from error
    return _Reader(file, mode).read(node)


def _decode(file: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _locate(data[: error.start].decode("utf-8-sig", errors="replace"))
        raise _refusal(file, line, column, "not UTF-8") from error
    if odd := _UNPRINTABLE.search(text):
        line, column = _locate(text[: odd.start()])
        raise _refusal(file, line, column, f"a character that YAML does not allow, U+{ord(odd[0]):04X}")
    return text


def _locate(before: str) -> tuple[int, int]:
    """Return (line, column), counted from 0, of what comes after the text ``before``."""
    return before.count("\n"), len(before) - before.rfind("\n") - 1


def _refusal(file: Path, line: int, column: int, reason: str) -> ConfigError:
    return build_config_error([Problem(Position(file, line + 1, column + 1), (), reason)])


def _ensure_bounded(file: Path, events: Iterator[Any]) -> None:
    """Refuse deep nesting before it is composed: the composer recurses, in C without any limit."""
    import yaml

    depth = 0
    for count, event in enumerate(events):
        if count > 4 * MAX_NODES:
            raise _refusal(file, event.start_mark.line, event.start_mark.column, f"more than {MAX_NODES:,} values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _refusal(file, event.start_mark.line, event.start_mark.column, "nested too deep")


class _Reader:
    """Turns YAML's nodes into plain data, and notes positions and problems on the way."""

    def __init__(self, file: Path, mode: int) -> None:
        self._source = Source(file, mode, None)
        self._visited = 0
        self._open: list[Any] = []

    def read(self, node: Any) -> Source:
        """Return the source whose top is ``node``; None is an empty file."""
        return replace(self._source, data=None if node is None else self._value(node, ()))

    def _at(self, node: Any) -> Position:
        return Position(self._source.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _complain(self, node: Any, path: KeyPath, reason: str) -> None:
        self._source.problems.append(Problem(self._at(node), path, reason))

    @contextlib.contextmanager
    def _entered(self, node: Any, path: KeyPath) -> Iterator[None]:
        """Count ``node``, and refuse it inside itself: an anchor may be followed any number of times."""
        self._visited += 1
        if self._visited > MAX_NODES:
            raise build_config_error([Problem(self._at(node), path, f"more than {MAX_NODES:,} values")])
        if len(self._open) > MAX_DEPTH:
            # Anchors nest what is not nested in the file.
            raise build_config_error([Problem(self._at(node), path, "nested too deep")])
        if any(node is outer for outer in self._open):
            raise build_config_error([Problem(self._at(node), path, "an anchor that contains itself")])
        self._open.append(node)
        yield
        self._open.pop()

    def _value(self, node: Any, path: KeyPath) -> object:
        self._source.values[path] = self._at(node)
        with self._entered(node, path):
            if node.id == "scalar":
                self._source.texts[path] = node.value
                return self._scalar(node, path)
            if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
                self._complain(node, path, f"the tag {node.tag.replace(_TAG, '!!')} has no meaning here")
            if node.id == "sequence":
                return [self._value(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._mapping(node, path)

    def _scalar(self, node: Any, path: KeyPath) -> object:
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge"):
            self._complain(node, path, f"the tag {node.tag.replace(_TAG, '!!')} has no meaning here")
        if not node.value.isascii() and not is_encodable(node.value):
            self._complain(node, path, "half of a character pair (a lone surrogate)")
        return parse_scalar(kind, node.value)

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, (key_node, value_node) in self._entries(node, path).items():
            self._source.keys[(*path, key)] = self._at(key_node)
            found[key] = self._value(value_node, (*path, key))
        return found

    def _entries(self, node: Any, path: KeyPath) -> dict[str, tuple[Any, Any]]:
        """Return a mapping's entries with merge keys followed: its own win, then earlier mappings."""
        found: dict[str, tuple[Any, Any]] = {}
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                merged += self._list_merged(value_node, path)
            elif (key := self._key(key_node, path)) is None:
                continue
            elif key in found:
                first = self._at(found[key][0]).line
                self._complain(key_node, (*path, key), f"stands twice; the first is in line {first}")
            else:
                found[key] = (key_node, value_node)
        for other in merged:
            with self._entered(other, path):
                for key, entry in self._entries(other, path).items():
                    found.setdefault(key, entry)
        return found

    def _list_merged(self, node: Any, path: KeyPath) -> list[Any]:
        """Return the mappings that a merge key names, one or a list of them, strongest first."""
        nodes = node.value if node.id == "sequence" else [node]
        if all(child.id == "mapping" for child in nodes):
            return list(nodes)
        self._complain(node, (*path, "<<"), "must name a mapping, or a list of mappings")
        return []

    def _key(self, node: Any, path: KeyPath) -> str | None:
        """Return the key of an entry, or None after a complaint."""
        with self._entered(node, path):
            if node.id != "scalar":
                self._complain(node, path, "a key must be text, not a list or a mapping")
                return None
            value = self._scalar(node, path)
        if isinstance(value, str):
            return value
        self._complain(node, path, f'the key {node.value} reads as {render_kind(value)}; write "{node.value}"')
        return None


def parse_scalar(kind: str, text: str) -> object:
    """Return the value of a scalar of YAML's type ``kind``; what is no plain number or word stays text."""
    if kind == "null":
        return None
    if kind == "bool":
        return _BOOLEANS.get(text.lower(), text)
    if kind == "int" and _DECIMAL.match(text):
        return int(text)
    if kind == "float" and _FRACTION.match(text):
        return float(text)
    return text


def render_kind(value: object) -> str:
    """Return what YAML took ``value`` for, in words."""
    kinds = {bool: "true or false", type(None): "nothing", str: "text", dict: "a mapping", list: "a list"}
    return kinds.get(type(value), "a number")


def is_encodable(text: str) -> bool:
    """Tell whether ``text`` can be written as UTF-8: half of a character pair cannot."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
