"""What could stand where the cursor stands.

An answer is a kind and the words that begin with what was typed, each with a description or none. ``files`` and
``dirs`` leave it to the shell, which knows its own quoting; ``paths`` are the server's, so that a slash at the end
means that more may follow; ``names`` are whole words.
"""

from __future__ import annotations

import os

from mtr.command_line import LOG_LEVELS, OPTIONS, Invocation
from mtr.completion.start import is_plain
from mtr.errors import MtrError
from mtr.names import Names, load_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from mtr.completion.line import Cursor

    Tree = Mapping[str, Any]

Word = tuple[str, str]

_FILES = frozenset(("result", "log_file", "to"))
_HOST_CHARACTERS = frozenset(":%[],=/")


class Answer:
    """What could stand at the cursor: see the module."""

    __slots__ = ("kind", "words")

    def __init__(self, kind: str, words: Iterable[Word] = ()) -> None:
        self.kind = kind
        self.words = list(words)


def complete(cursor: Cursor, environ: Mapping[str, str], load_tree: Callable[[], Tree]) -> Answer:
    """Return what could stand at ``cursor``; ``load_tree`` gives mtr's verbs: see ``mtr.cli.tree``."""
    if cursor.option is not None:
        return _complete_argument(cursor, cursor.option.name, cursor.current[cursor.attached :], environ)
    if cursor.verb:
        return _complete_verb(cursor, environ, load_tree().get(cursor.verb, {}))
    if cursor.words:
        # The words of a command there are the project's files, which are the same here.
        return Answer("files")
    if cursor.current.startswith("-") and not cursor.forced:
        flags = [(flag, option.help) for option in OPTIONS for flag in option.flags]
        return Answer("names", _begin(cursor.current, flags))
    return _complete_first(cursor, environ, load_tree)


def _complete_first(cursor: Cursor, environ: Mapping[str, str], load_tree: Callable[[], Tree]) -> Answer:
    """Complete the first word: aliases, verbs, the server's programs; files where none of them fits."""
    current = cursor.current
    if "/" in current:
        return Answer("files")
    words: list[Word] = []
    if not cursor.forced:
        words += [(name, f"= {text}") for name, text in _load_names(cursor, environ).aliases.items()]
        words += [(name, node["help"]) for name, node in load_tree().items()]
    found = _begin(current, words)
    if current:
        from mtr.completion.server import list_programs

        known = {name for name, _ in found}
        programs = list_programs(_build_invocation(cursor), environ)
        found += [(name, "") for name in programs if name.startswith(current) and name not in known]
    return Answer("names", found) if found else Answer("files")


def _complete_argument(cursor: Cursor, name: str, typed: str, environ: Mapping[str, str]) -> Answer:
    """Complete the argument of the option ``name``; the option itself stays in front where it is attached."""
    front = cursor.current[: len(cursor.current) - len(typed)]
    if name == "directory":
        return Answer("dirs")
    if name in _FILES:
        return Answer("files")
    words: list[Word] = []
    if name == "server":
        words = _list_servers(_load_names(cursor, environ))
    elif name == "log_level":
        words = [(level, "") for level in LOG_LEVELS]
    elif name in ("get", "pull"):
        return Answer("paths", [(front + path, "") for path in _list_paths(cursor, environ, typed)])
    elif name == "after":
        words = _list_jobs(cursor, environ)
    elif name == "notify":
        words = [("bell", "ring this terminal"), ("desktop", "show a note")]
    elif name == "env":
        words = [(f"{variable}=", "") for variable in environ if variable.isidentifier()]
    return Answer("names", [(front + word, text) for word, text in _begin(typed, words)])


def _complete_verb(cursor: Cursor, environ: Mapping[str, str], node: Tree) -> Answer:
    """Complete behind a verb: verbs of its own, its options and their arguments, its arguments."""
    given, current, waiting, ended = 0, cursor.current, "", False
    for word in cursor.words[1:]:
        if waiting:
            if waiting in ("server", "directory"):
                setattr(cursor, waiting, word)
            waiting = ""
        elif not ended and word.startswith("-") and word != "-":
            ended = word == "--"
            waiting = "" if "=" in word else node.get("options", {}).get(word, {}).get("takes", "")
        elif word in node.get("verbs", {}):
            node = node["verbs"][word]
        else:
            given += 1
    if waiting:
        return _complete_kind(cursor, waiting, current, environ)
    options = node.get("options", {})
    if current.startswith("-") and not ended:
        flag, equals, typed = current.partition("=")
        if equals and (kind := options.get(flag, {}).get("takes", "")):
            return _complete_kind(cursor, kind, typed, environ)
        return Answer("names", _begin(current, [(flag, option["help"]) for flag, option in options.items()]))
    if node.get("verbs"):
        return Answer("names", _begin(current, [(name, below["help"]) for name, below in node["verbs"].items()]))
    kinds = node.get("arguments", [])
    kind = kinds[min(given, len(kinds) - 1)] if kinds and (given < len(kinds) or node.get("repeats")) else ""
    return _complete_kind(cursor, kind, current, environ)


def _complete_kind(cursor: Cursor, kind: str, typed: str, environ: Mapping[str, str]) -> Answer:
    """Complete an argument of a verb by what it is: a kind of its own, the field of an option, or ``choice a b``."""
    if kind in ("files", "dirs"):
        return Answer(kind)
    if kind == "job":
        return Answer("names", _begin(typed, _list_jobs(cursor, environ)))
    if kind == "remote":
        return Answer("paths", [(path, "") for path in _list_paths(cursor, environ, typed)])
    if kind.startswith("choice "):
        front = cursor.current[: len(cursor.current) - len(typed)]
        return Answer("names", [(front + word, "") for word in kind.split()[1:] if word.startswith(typed)])
    return _complete_argument(cursor, kind, typed, environ)


def _list_servers(names: Names) -> list[Word]:
    servers = [(name, "server") for name in names.servers]
    return servers + [(name, "Host of ssh's configuration") for name in names.hosts if name not in names.servers]


def _list_jobs(cursor: Cursor, environ: Mapping[str, str]) -> list[Word]:
    """Return names and ids of jobs: what was noted here, and what the server says whose connection is open."""
    from mtr.completion.server import list_jobs
    from mtr.jobs.noted import list_noted

    words: dict[str, str] = {}
    for job_id, state, name in list_jobs(_build_invocation(cursor), environ):
        words |= {name: f"{job_id} {state}"} if name else {}
        words[job_id] = f"{name} {state}".strip()
    for job_id, server, name in list_noted(environ):
        words.setdefault(job_id, f"{name} on {server}".strip())
        if name:
            words.setdefault(name, f"{job_id} on {server}")
    return [*words.items()]


def _list_paths(cursor: Cursor, environ: Mapping[str, str], typed: str) -> list[str]:
    from mtr.completion.server import list_paths

    return list_paths(_build_invocation(cursor), environ, typed)


def _build_invocation(cursor: Cursor) -> Invocation:
    invocation = Invocation()
    invocation.server, invocation.directory = cursor.server, cursor.directory and os.path.expanduser(cursor.directory)
    return invocation


def _load_names(cursor: Cursor, environ: Mapping[str, str]) -> Names:
    """Return what the configuration names; nothing where it is wrong: a run will say so."""
    try:
        return load_names(_build_invocation(cursor).directory, environ)
    except MtrError:
        return Names([], [], {})


def _begin(typed: str, words: Iterable[Word]) -> list[Word]:
    """Return those of ``words`` that begin with ``typed``, without what a shell might read anything into."""
    return [
        (word, text)
        for word, text in words
        if word.startswith(typed) and is_plain("".join(set(word) - _HOST_CHARACTERS))
    ]
