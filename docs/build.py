"""Write the documents of this version into a directory: docs/ as it is, and the reference that the code itself is.

    python -m docs.build [DIRECTORY]        (build/docs; `make docs` does it)

What is generated: ``reference/commands.md`` from the table of options and from each verb's help, ``reference/keys.md``
from the JSON Schema of the configuration, ``reference/errors.md`` from the classes of errors. The directory is
replaced.
"""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mtr import __version__
from mtr.cli.app import VERBS, load_verb, render_help, render_options
from mtr.config.schema import POLICY_KEYS, SCHEMA, SERVER_KEYS, SHARED_KEYS
from mtr.errors import EXIT_FAILURE, EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DOCS = Path(__file__).resolve().parent
BUILT_INDEX = (
    "- [commands](commands.md), [keys of the configuration](keys.md), [errors](errors.md): made from the code of"
)


def main(arguments: list[str]) -> None:
    """Write everything into the directory that is named."""
    out = Path(arguments[0]) if arguments else DOCS.parent / "build" / "docs"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(DOCS, out, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, lines in {"commands": render_commands(), "keys": render_keys(), "errors": render_errors()}.items():
        (out / "reference" / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (out / "reference" / "README.md").open("a", encoding="utf-8") as index:
        index.write(f"\n{BUILT_INDEX} mtr {__version__}.\n")
    sys.stdout.write(f"{out}\n")


def render_commands() -> Iterator[str]:
    """Return the page of the commands: the help, the options of a run, and each verb's own help."""
    yield f"# Commands of mtr {__version__}\n"
    yield f"```text\n{render_help()}```\n"
    yield "## Options of a run\n"
    yield from render_table(("option", "does"), ((f"`{flags}`", text) for flags, text in render_options()))
    for word in VERBS:
        yield from _render_verb(load_verb(word), f"mtr {word}", None)


def _render_verb(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name if parent is None else name.rpartition(" ")[2], parent=parent)
    yield f"\n## {name}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield from _render_verb(inner, f"{name} {word}", context)


def render_keys() -> Iterator[str]:
    """Return the page of the keys: at the top of a file, for all servers or one, for one server."""
    yield f"# Keys of the configuration of mtr {__version__}\n"
    yield "## At the top of a file\n"
    yield from _render_keys(SCHEMA["properties"])
    yield "\n## Under `defaults`, or under one of `servers`\n"
    yield from _render_keys(SHARED_KEYS)
    yield "\n## Under one of `servers`\n"
    yield from _render_keys({key: value for key, value in SERVER_KEYS.items() if key not in SHARED_KEYS})
    yield "\n## Under `policy`\n"
    yield from _render_keys(POLICY_KEYS)


def _render_keys(keys: dict[str, Any]) -> Iterator[str]:
    return render_table(
        ("key", "takes", "means"), ((f"`{k}`", _render_kind(v), v["description"]) for k, v in keys.items())
    )


def _render_kind(key: dict[str, Any]) -> str:
    if "enum" in key:
        return ", ".join(f"`{value}`" for value in key["enum"])
    words = {
        "string": "text",
        "object": "a mapping",
        "array": "a list",
        "boolean": "true or false",
        "integer": "a whole number",
    }
    kinds = [key["type"]] if isinstance(key["type"], str) else key["type"]
    text = " or ".join(words.get(kind, f"a {kind}") for kind in kinds if kind != "null")
    return f"{text}, {key['minimum']} to {key['maximum']}" if "minimum" in key and "maximum" in key else text


def render_errors() -> Iterator[str]:
    """Return the page of the errors: code, exit status, meaning."""
    yield f"# Errors of mtr {__version__}\n"
    rows = ((f"`{error.code}`", str(error.exit_status), error.meaning) for error in list_errors())
    yield from render_table(("code", "exit status", "means"), rows)


class Error(NamedTuple):
    """One class of error, as it is written in the code."""

    code: str
    exit_status: int
    meaning: str


def list_errors() -> list[Error]:
    """Return every class of error of the code that has a code of its own, the tree of ``mtr.errors`` first."""
    tree = DOCS.parent / "mtr" / "errors.py"
    others = sorted(path for path in tree.parent.rglob("*.py") if path != tree)
    return [error for path in (tree, *others) for error in _find_errors(path)]


def _find_errors(path: Path) -> Iterator[Error]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef):
            continue
        found = {
            target.id: line.value
            for line in node.body
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        }
        if isinstance(code := found.get("code"), ast.Constant):
            status = found.get("exit_status")
            own = status.value if isinstance(status, ast.Constant) and isinstance(status.value, int) else EXIT_FAILURE
            is_usage = isinstance(status, ast.Name) and status.id == "EXIT_USAGE"
            meaning = " ".join((ast.get_docstring(node) or "").split())
            yield Error(str(code.value), EXIT_USAGE if is_usage else own, meaning)


def render_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Return the lines of a table."""
    for row in (head, ("---",) * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|').replace(chr(10), ' ') for cell in row)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
