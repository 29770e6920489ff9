"""Merging configurations from weak to strong. Pure.

A tree is nested mappings; at its ends stand values with the place where they were written. Mappings merge key by key. A
tuple of values is a list that adds up, weak ones first; any other value of the stronger tree replaces the weaker one's,
unless it says itself that it can only restrict (``policy``). Keys stand strongest first, so the first of several names
for one thing (two spellings of an ssh option, two ways to a password) is the one that counts. Merging is associative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from mtr.config.policy import PATTERN_LISTS, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtr.config.model import KeyPath, Position
    from mtr.config.source import Source

Tree = dict[str, "Tree | Sourced | tuple[Sourced, ...]"]

ADDITIVE = frozenset(("exclude",))
_OPTIONAL = frozenset(("exclude", "include", "env", "ssh_options"))


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it was written; what is built in has no place. ``text`` is a scalar's spelling.

    ``restricts`` says which of two counts: the ``smaller``, the one that is ``true``, what is ``common`` to both lists;
    "" is the stronger file's.
    """

    value: Any
    position: Position | None = None
    text: str = ""
    restricts: str = ""


def build_tree(source: Source) -> Tree:
    """Return a valid file as a tree; a key with nothing behind it counts as left out."""
    data = source.data or {}
    tree: Tree = {}
    if "default" in data:
        tree["default"] = _end(source, ("default",), data["default"])
    if data.get("defaults"):
        tree["defaults"] = _build_section(source, ("defaults",), data["defaults"])
    if data.get("servers"):
        tree["servers"] = {
            name: _build_section(source, ("servers", name), server or {}) for name, server in data["servers"].items()
        }
    if data.get("aliases"):
        tree["aliases"] = {name: _end(source, ("aliases", name), text) for name, text in data["aliases"].items()}
    if "policy" in data:
        tree["policy"] = {key: _build_limit(source, key, value) for key, value in data["policy"].items()}
    return tree


def _build_limit(source: Source, key: str, value: Any) -> Sourced | tuple[Sourced, ...]:
    at = ("policy", key)
    if key in PATTERN_LISTS:
        return tuple(_end(source, (*at, index), item) for index, item in enumerate(value))
    kind = "smaller" if key.startswith("max_") else {"read_only": "true", "servers": "common"}.get(key, "")
    return replace(_end(source, at, value), restricts=kind)


def _build_section(source: Source, path: KeyPath, section: dict[str, Any]) -> Tree:
    tree: Tree = {}
    for key, value in section.items():
        at = (*path, key)
        if value is None and key in _OPTIONAL:
            continue
        if isinstance(value, dict):
            tree[key] = {name: _end(source, (*at, name), item) for name, item in value.items()}
        elif key in ADDITIVE:
            tree[key] = tuple(_end(source, (*at, index), item) for index, item in enumerate(value))
        else:
            tree[key] = _end(source, at, value)
    return tree


def _end(source: Source, path: KeyPath, value: Any) -> Sourced:
    return Sourced(value, source.values[path], source.texts.get(path, ""))


def merge_trees(weak: Tree, strong: Tree) -> Tree:
    """Return ``weak`` and ``strong`` as one tree."""
    merged: Tree = {key: _merge_values(weak[key], value) if key in weak else value for key, value in strong.items()}
    return merged | {key: value for key, value in weak.items() if key not in strong}


def _merge_values(
    weak: Tree | Sourced | tuple[Sourced, ...], strong: Tree | Sourced | tuple[Sourced, ...]
) -> Tree | Sourced | tuple[Sourced, ...]:
    if isinstance(weak, dict) and isinstance(strong, dict):
        return merge_trees(weak, strong)
    if isinstance(weak, tuple) and isinstance(strong, tuple):
        return weak + strong
    if isinstance(weak, Sourced) and isinstance(strong, Sourced) and strong.restricts:
        return _restrict(weak, strong)
    return strong


def _restrict(weak: Sourced, strong: Sourced) -> Sourced:
    """Return what of two values counts where each can only restrict."""
    if strong.restricts == "common":
        return replace(strong, value=[name for name in strong.value if name in weak.value])
    if strong.restricts == "true":
        return weak if weak.value else strong
    return min(strong, weak, key=lambda end: parse_size(end.value))


def merge_all(trees: Iterable[Tree]) -> Tree:
    """Return ``trees``, which stand from weak to strong, as one."""
    return reduce(merge_trees, trees, {})


def list_positions(tree: Tree, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Position]]:
    """Return the way to every value of ``tree`` that was written in a file, and the place."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from list_positions(value, (*path, key))
            continue
        ends = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        for index, end in ends:
            if end.position is not None:
                yield ((*path, key) if index is None else (*path, key, index)), end.position
