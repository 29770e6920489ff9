"""The merged configuration as text and as data, with the place of every value and without any secret.

The text is YAML in shape. Passwords, and the values of environment variables, which may be tokens, show as ``***``.
Knows no key but those that hold secrets: what the schema gets shows as well.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mtr.config.load import drop_weaker_passwords, get_subtree
from mtr.config.merge import Sourced, Tree, build_tree, merge_all, merge_trees
from mtr.config.model import home_dir
from mtr.config.published import list_built_in
from mtr.config.remote_dir import resolve_remote_dir
from mtr.config.render import render_value
from mtr.config.schema import SCHEMA, SERVER_KEYS
from mtr.errors import MtrError, reveal_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mtr.config.model import KeyPath, Position, Server
    from mtr.config.project import Project
    from mtr.config.source import Source

MASK = "***"
BUILT_IN = "built in"
_WIDTH = 40
"""The column from which comments stand, where the values leave room."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of YAML: how deep it stands, its text, and where its value comes from; "" for a mapping's own line."""

    depth: int
    text: str
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown: the lines, and the same as data for programs."""

    lines: tuple[Line, ...]
    values: tuple[dict[str, Any], ...]


def show_all(sources: Sequence[Source], shorten: Shorten) -> Shown:
    """Return everything that the files say, merged."""
    tree = merge_all(map(build_tree, sources))
    return _show(_sort(tree, SCHEMA["properties"]), shorten)


def show_server(
    sources: Sequence[Source], server: Server, project: Project, environ: Mapping[str, str], shorten: Shorten
) -> Shown:
    """Return all that ``server`` comes down to, with what is built in."""
    tree = merge_all(map(build_tree, sources))
    own = get_subtree(get_subtree(tree, "servers"), server.name)
    merged = merge_trees(merge_trees(_build_built_in(), get_subtree(tree, "defaults")), own)
    merged = _drop_twins(drop_weaker_passwords(merged))
    for key, value in _derive(server, project, environ).items():
        merged.setdefault(key, Sourced(value))
    shown = _show(_sort(merged, SERVER_KEYS), shorten)
    return shown if server.name in get_subtree(tree, "servers") else _name_origin(shown)


def _sort(tree: Tree, known: Iterable[str]) -> Tree:
    """Return ``tree`` with its keys in the order of the schema."""
    ranks = {key: rank for rank, key in enumerate(known)}
    return {key: tree[key] for key in sorted(tree, key=lambda key: ranks.get(key, len(ranks)))}


def _name_origin(shown: Shown) -> Shown:
    """Say of a destination that no file names where its address comes from."""
    given = ("host:", "user:", "port:")
    lines = (
        replace(line, origin="as given") if line.origin == BUILT_IN and line.text.startswith(given) else line
        for line in shown.lines
    )
    return replace(shown, lines=tuple(lines))


def _build_built_in() -> Tree:
    return {
        key: tuple(map(Sourced, value)) if isinstance(value, tuple) else Sourced(value)
        for key, value in list_built_in().items()
    }


def _derive(server: Server, project: Project, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what mtr works out by itself where no file says it."""
    host = list(server.hosts) if len(server.hosts) > 1 else server.hosts[0] if server.hosts else None
    derived = {"host": host, "user": server.user, "port": server.port}
    try:
        derived["remote_dir"] = resolve_remote_dir(server, project, environ)
    except MtrError:
        pass  # No project, or a template that cannot be filled in: a run says why.
    return {key: value for key, value in derived.items() if value is not None}


def _drop_twins(tree: Tree) -> Tree:
    """Return ``tree`` with one spelling of each option of ssh, the strongest; the others do not count."""
    options = tree.get("ssh_options")
    if not isinstance(options, dict):
        return tree
    strongest = {name.lower(): name for name in reversed(options)}
    return {**tree, "ssh_options": {name: options[name] for name in options if strongest[name.lower()] == name}}


class Shorten:
    """Shows places as people type them: relative to the project, or to the home directory."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root = f"{root}{os.sep}"
        self._home = f"{home_dir(environ)}{os.sep}"

    def path(self, path: object) -> str:
        """Return ``path`` in short."""
        text = str(path)
        if text.startswith(self._root):
            return text.removeprefix(self._root)
        return f"~/{text.removeprefix(self._home)}" if text.startswith(self._home) else text

    def position(self, position: Position | None) -> str:
        """Return where a value stands: file and line."""
        return BUILT_IN if position is None else f"{self.path(position.file)}:{position.line}"


def _show(tree: Tree, shorten: Shorten) -> Shown:
    lines = tuple(_list_lines(tree, shorten, ()))
    return Shown(lines, tuple(_list_values(tree, ())))


def _list_lines(tree: Tree, shorten: Shorten, path: KeyPath) -> Iterator[Line]:
    depth = len(path)
    for key, value in tree.items():
        shown = render_value(key)
        if isinstance(value, Sourced):
            text = f"{shown}: {render_value(mask((*path, key), value))}"
            yield Line(depth, text, shorten.position(value.position))
        elif not value:
            yield Line(depth, f"{shown}: {'{}' if isinstance(value, dict) else '[]'}")
        elif isinstance(value, dict):
            yield Line(depth, f"{shown}:")
            yield from _list_lines(value, shorten, (*path, key))
        else:
            yield Line(depth, f"{shown}:")
            for end in value:
                yield Line(depth + 1, f"- {render_value(end.value)}", shorten.position(end.position))


def _list_values(tree: Tree, path: KeyPath) -> Iterator[dict[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _list_values(value, (*path, key))
            continue
        for index, end in enumerate(value) if isinstance(value, tuple) else [(None, value)]:
            at = (*path, key) if index is None else (*path, key, index)
            place = end.position
            source = {"file": str(place.file), "line": place.line, "column": place.column} if place else None
            yield {"path": list(at), "value": mask(at, end), "source": source}


def mask(path: KeyPath, end: Sourced) -> Any:
    """Return a value without what may be secret in it."""
    if any(str(part).lower() in _SECRET_KEYS for part in path[-1:]):
        return MASK
    if path[-1:] == ("notify",) and end.value not in ("bell", "desktop"):
        return MASK  # the address of a web hook is a secret
    if len(path) > 1 and path[-2] == "env":
        return MASK
    if len(path) > 1 and path[-2] == "ssh_options":
        # As ssh takes it: yes and no, and numbers as they are spelt.
        value = ("yes" if end.value else "no") if isinstance(end.value, bool) else end.value
        return re.sub(r"=.*", f"={MASK}", str(value), flags=re.DOTALL) if str(path[-1]).lower() == "setenv" else value
    return end.value


_SECRET_KEYS = frozenset(("password", "password_command"))
"""A command may have the secret in it; the name of a variable has not."""


def render_lines(lines: Sequence[Line]) -> str:
    """Return the text, with where each value comes from in a comment behind it."""
    texts = [f"{'  ' * line.depth}{reveal_controls(line.text)}" for line in lines]
    fitting = [len(text) for text, line in zip(texts, lines, strict=True) if line.origin and len(text) <= _WIDTH]
    width = max(fitting, default=0)
    rows = zip(texts, lines, strict=True)
    return "".join(
        f"{text:<{width}}  # {reveal_controls(line.origin)}\n" if line.origin else f"{text}\n" for text, line in rows
    )
