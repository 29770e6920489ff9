"""mtr's verbs as plain values, for completion: options, what they take, verbs below, arguments.

``{VERB: {"help", "options": {FLAG: {"help", "takes"}}, "verbs": {NAME: …}, "arguments": [KIND, …], "repeats"}}``. It is
kept, as ``verbs`` in the state directory, while the files of this package are as they were: a TAB need not load click.
"""

from __future__ import annotations

import os

from mtr import __version__
from mtr.route import load_kept, save_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import click

FORMAT = "verbs 2"

_KINDS = {("get", "remotes"): "remote", ("why", "paths"): "files", ("config", "file"): "files"}
"""What an argument of a verb is, by verb and name; one called ``name`` is a server, those of ``job`` are jobs."""


def load_tree(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the tree of the verbs that this version has."""
    folder = os.path.dirname(os.path.abspath(__file__))
    identity = (folder, __version__)
    kept = load_kept("verbs", FORMAT, identity, environ)
    if isinstance(kept, dict):
        return kept
    import time

    started_ns = time.time_ns()
    tree = build_tree()
    files = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names if name.endswith(".py")]
    files.append(os.path.join(os.path.dirname(folder), "command_line.py"))
    save_kept(
        "verbs", FORMAT, identity, tree, environ, files=[folder, *files], places=(), variables=(), started_ns=started_ns
    )
    return tree


def build_tree() -> dict[str, Any]:
    """Return the same from click."""
    from mtr.cli.app import VERBS, load_verb

    tree = {}
    for verb, (_, text) in VERBS.items():
        try:
            tree[verb] = _describe(load_verb(verb), verb, text)
        except ImportError:
            continue  # a verb whose library is an extra that is not installed
    return tree


def _describe(command: click.Command, verb: str, text: str) -> dict[str, Any]:
    import click

    node: dict[str, Any] = {"help": text, "options": {}, "verbs": {}, "arguments": [], "repeats": False}
    for parameter in command.params:
        kind = _find_kind(parameter, verb)
        if isinstance(parameter, click.Option):
            takes = "" if parameter.is_flag or parameter.count else kind or "text"
            option = {"help": (parameter.help or "").split("; ")[0], "takes": takes}
            if not parameter.hidden:
                node["options"].update(dict.fromkeys([*parameter.opts, *parameter.secondary_opts], option))
        else:
            node["arguments"].append(kind)
            node["repeats"] = parameter.nargs == -1
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                node["verbs"][name] = _describe(below, verb, below.get_short_help_str(80))
    return node


def _find_kind(parameter: click.Parameter, verb: str) -> str:
    import click

    if isinstance(parameter.type, click.Choice):
        return " ".join(["choice", *map(str, parameter.type.choices)])
    if isinstance(parameter.type, click.Path):
        return "files" if parameter.type.file_okay else "dirs"
    if isinstance(parameter, click.Argument):
        if verb == "job":
            return "job"
        return "server" if parameter.name == "name" else _KINDS.get((verb, parameter.name or ""), "")
    return parameter.name or ""
