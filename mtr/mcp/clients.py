"""How the clients are told of `mtr mcp`: where each keeps its configuration, and what stands there.

What else is in such a file stays as it is. It is replaced at once, and only where it is understood whole: a file with
comments, or with a key that stands twice, is left alone, and its user is shown what to put into it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import re
import stat
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtr.errors import MtrError, UsageError
from mtr.state import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "mtr"
"""What the server is called in every client."""

_APPLICATIONS = "~/Library/Application Support" if sys.platform == "darwin" else "~/.config"
_INDENT = re.compile(r'\A\s*\{\s*\n([ \t]+)"')


@dataclass(frozen=True, slots=True)
class Client:
    """One kind of client.

    ``user`` and ``project`` are its files, "" where it has none; the latter counts from the project's root. ``key`` is
    the mapping of servers in it. ``place`` is how the server learns of the project: ``cwd``, it is started there;
    ``workspace``, the client fills in a variable; ``fixed``, the path is written down. ``more`` are further fields.
    """

    title: str
    user: str
    project: str
    key: str = "mcpServers"
    place: str = "cwd"
    more: tuple[tuple[str, str], ...] = ()


CLIENTS = {
    "claude-code": Client("Claude Code", "~/.claude.json", ".mcp.json", more=(("type", "stdio"),)),
    "claude-desktop": Client(
        "Claude Desktop", f"{_APPLICATIONS}/Claude/claude_desktop_config.json", "", place="fixed"
    ),
    "codex": Client("Codex", "~/.codex/config.toml", ".codex/config.toml", key="mcp_servers"),
    "cursor": Client("Cursor", "~/.cursor/mcp.json", ".cursor/mcp.json", place="workspace"),
    "gemini": Client("Gemini CLI", "~/.gemini/settings.json", ".gemini/settings.json"),
    "vscode": Client(
        "VS Code", f"{_APPLICATIONS}/Code/User/mcp.json", ".vscode/mcp.json",
        key="servers", place="workspace", more=(("type", "stdio"),),
    ),
    "windsurf": Client("Windsurf", "~/.codeium/windsurf/mcp_config.json", "", place="fixed"),
    "zed": Client("Zed", "~/.config/zed/settings.json", ".zed/settings.json", key="context_servers", place="fixed"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to stand in which file; ``before`` is what is in it now, None where it is missing.

    ``after`` is what will be in it, None where ``problem`` says why that is for its user to do.
    """

    client: Client
    path: str
    entry: dict[str, Any]
    before: bytes | None
    after: bytes | None
    problem: str = ""

    @property
    def is_there(self) -> bool:
        """Whether there is nothing to do."""
        return self.after is not None and self.before == self.after

    @property
    def snippet(self) -> str:
        """What to put into the file by hand."""
        if self.path.endswith(".toml"):
            return _render_toml(self.client.key, self.entry)
        return json.dumps({self.client.key: {NAME: self.entry}}, indent=2, ensure_ascii=False) + "\n"


def find_client(word: str) -> Client:
    """Return the client of that name.

    Raises:
        UsageError: there is none.
    """
    if word not in CLIENTS:
        hint = f"{', '.join(CLIENTS)}; for others: their manual, and the command mtr with the argument mcp"
        raise UsageError(f"no client {word!r} is known", hint=hint)
    return CLIENTS[word]


def find_root(directory: str | None, environ: Mapping[str, str]) -> str:
    """Return the project's root, for files and for ``-C``."""
    from mtr.config.project import find_project

    return str(find_project(directory, environ).root)


def build_entry(
    client: Client, program: Sequence[str], *, scope: str, root: str, directory: str | None, server: str | None
) -> dict[str, Any]:
    """Return how ``client`` is to start the server for the project ``root``.

    ``program`` is how mtr is started on this machine; where ``directory`` was given, it is for that project alone.
    """
    # What is committed with a project is for other machines, too.
    command = [NAME] if scope == "project" else [*program]
    place = {"workspace": "${workspaceFolder}", "fixed": root}.get(client.place)
    if directory is not None and scope == "user":
        place = root
    options = [*(["-s", server] if server else []), *(["-C", place] if place else [])]
    return dict(client.more) | {"command": command[0], "args": [*command[1:], *options, "mcp"]}


def find_program(environ: Mapping[str, str]) -> list[str]:
    """Return how mtr is started on this machine: by its path, since a desktop's programs have a PATH of their own."""
    import shutil

    started = os.path.abspath(sys.argv[0])
    if os.path.basename(started) in (NAME, "mtremote") and os.access(started, os.X_OK):
        return [started]
    found = shutil.which(NAME, path=environ.get("PATH"))
    return [os.path.abspath(found)] if found else [sys.executable, "-m", "mtr"]


def plan_installation(
    client: Client, scope: str, root: str, entry: dict[str, Any], environ: Mapping[str, str]
) -> Installation:
    """Return what is to be written; touches nothing.

    Raises:
        UsageError: the client has no file of that scope.
    """
    named = client.project if scope == "project" else client.user
    if not named:
        raise UsageError(f"{client.title} has no configuration of a project", hint="--scope user")
    home = environ.get("HOME") or os.path.expanduser("~")
    # Behind a symbolic link (of a directory of dotfiles) is the file.
    path = os.path.realpath(named.replace("~", home, 1) if named.startswith("~") else os.path.join(root, named))
    before = _read(path)
    try:
        after = _merge_bytes(path, client.key, entry, before or b"")
        if before not in (None, after) and not os.stat(path).st_mode & stat.S_IWUSR:
            raise ValueError("it is read-only")
    except (ValueError, RecursionError) as error:
        return Installation(client, path, entry, before, None, _explain(error))
    return Installation(client, path, entry, before, after)


def install(planned: Installation) -> None:
    """Write what is planned.

    Raises:
        MtrError: the file has changed meanwhile.
        OSError: it cannot be written.
    """
    assert planned.after is not None, "a plan with a problem is for its user"  # noqa: S101
    os.makedirs(os.path.dirname(planned.path), exist_ok=True)
    if _read(planned.path) != planned.before:
        raise MtrError(f"{planned.path} has just been changed by another program", hint="run it again")
    mode = 0o600 if planned.before is None else os.stat(planned.path).st_mode & 0o777
    write_atomic(planned.path, planned.after, mode, lasts=True)


def _explain(error: Exception) -> str:
    """Return why the file stays as it is; Unicode's errors have words of their own, and long ones."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not in UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "a text in it is no Unicode"
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def _merge_bytes(path: str, key: str, entry: dict[str, Any], before: bytes) -> bytes:
    """Return the file ``before`` with ``entry``, with the mark at its beginning and the ends of lines that it has."""
    mark = codecs.BOM_UTF8 if before.startswith(codecs.BOM_UTF8) else b""
    text = before.removeprefix(mark).decode("utf-8")
    after = _merge(path, key, entry, text)
    if "\r\n" in text:
        after = after.replace("\r\n", "\n").replace("\n", "\r\n")
    return mark + after.encode()


def _read(path: str) -> bytes | None:
    if os.path.exists(path) and not os.path.isfile(path):
        raise MtrError(f"{path} is no file", hint=f"ls -ld {path}")
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _merge(path: str, key: str, entry: dict[str, Any], text: str) -> str:
    return (_merge_toml if path.endswith(".toml") else _merge_json)(key, entry, text)


def _merge_json(key: str, entry: dict[str, Any], text: str) -> str:
    """Return ``text`` with ``entry``, whose fields replace those that are there.

    Raises:
        ValueError: ``text`` is more than JSON, and would lose by it.
    """
    try:
        data = json.loads(text, object_pairs_hook=_take_once, **_EXACT) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not plain JSON (comments?): line {error.lineno}, column {error.colno}") from error
    if not isinstance(data, dict):
        raise ValueError("it is no mapping")
    servers = data.setdefault(key, {})
    if not isinstance(servers, dict) or not isinstance(servers.get(NAME, {}), dict):
        raise ValueError(f"its {key} is no mapping")
    wanted = servers.get(NAME, {}) | entry
    if servers.get(NAME) == wanted:
        return text
    servers[NAME] = wanted
    found = _INDENT.match(text)
    return json.dumps(data, indent=found[1] if found else 2, ensure_ascii=False) + "\n"


def _take_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _take_number(word: str) -> float:
    if not math.isfinite(number := float(word)):
        raise ValueError(f"{word} in it is no number of JSON")
    return number


_EXACT: dict[str, Any] = {"parse_float": _take_number, "parse_constant": _take_number}
"""How JSON is read: NaN, and what is too large, would come back as something that no client reads."""


def _merge_toml(key: str, entry: dict[str, Any], text: str) -> str:
    """Return ``text`` with a table of ``entry`` behind it.

    Raises:
        ValueError: there is another one already, or it cannot stand there.
    """
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not TOML: {error}") from error
    servers = before.get(key, {})
    if isinstance(servers, dict) and isinstance(servers.get(NAME), dict):
        if servers[NAME] | entry == servers[NAME]:
            return text
        raise ValueError(f"it has another [{key}.{NAME}] already")
    after = f"{text.rstrip()}\n\n{_render_toml(key, entry)}".lstrip("\n")
    wanted = before | {key: (servers if isinstance(servers, dict) else {}) | {NAME: entry}}
    with contextlib.suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(after) == wanted:
            return after
    raise ValueError(f"its {key} is no table that another can stand behind")


def _render_toml(key: str, entry: dict[str, Any]) -> str:
    """Return a table of texts and lists of texts, whose quotes are JSON's: TOML takes them as they are."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entry.items()]
    return "\n".join([f"[{key}.{NAME}]", *lines]) + "\n"
