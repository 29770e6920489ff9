"""docs/reference and the examples leave nothing out: each code, kind, variable and key of mtr stands there, once."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from docs.build import list_errors
from mtr import errors
from mtr.cli.app import VERBS
from mtr.command_line import OPTIONS
from mtr.config.schema import POLICY_KEYS, SCHEMA, SERVER_KEYS, SHARED_KEYS
from mtr.config.source import Source, load_source
from mtr.config.validate import ensure_valid
from tests.lab.documents import CHECKOUT, Page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFERENCE = CHECKOUT / "docs" / "reference"
SOURCES = sorted((CHECKOUT / "mtr").rglob("*.py"))
EXAMPLE = CHECKOUT / "examples" / "config.yaml"

BETWEEN_PROCESSES = {"MTR_ASKPASS", "MTR_ASKPASS_PID", "MTR_DOCTOR", "MTR_NOTIFY", "MTR_NOTIFY_TTY"}
"""Variables that mtr sets for programs of its own; nobody else does."""


def list_rows(page: str) -> list[str]:
    """Return what stands in backticks first in each row of the tables of a page."""
    return re.findall(r"^\| `([^`]+)`", (REFERENCE / page).read_text(encoding="utf-8"), re.MULTILINE)


def walk_code() -> Iterator[tuple[Path, ast.AST]]:
    """Return every node of mtr's code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_every_error_code_has_one_row() -> None:
    """And there is no row for another."""
    assert Counter(list_rows("exit-status.md")) == Counter(error.code for error in list_errors())


def test_every_class_of_error_of_the_tree_is_found() -> None:
    """What is read from the code is what its classes are."""
    tree = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.MtrError)]
    assert {(e.code, e.exit_status) for e in tree} <= {(error.code, error.exit_status) for error in list_errors()}


def test_every_exit_status_of_the_tree_has_a_row() -> None:
    """What an error ends mtr with is in the table of statuses."""
    text = (REFERENCE / "exit-status.md").read_text(encoding="utf-8")
    assert [error for error in list_errors() if f"| {error.exit_status} |" not in text] == []


def test_every_kind_of_json_has_one_row() -> None:
    """What the verbs print with --json."""
    calls = [node for _, node in walk_code() if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    kinds = {ast.literal_eval(call.args[0]) for call in calls if call.func.id == "print_data" and call.args}  # type: ignore[attr-defined]
    assert Counter(list_rows("json.md")) == Counter(kinds)


def test_every_variable_has_one_row() -> None:
    """Each MTR_ variable that the code names, less those that mtr's own processes pass to each other."""
    texts = [node.value for _, node in walk_code() if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    named = {text for text in texts if re.fullmatch(r"MTR_[A-Z_]*[A-Z]", text)} - BETWEEN_PROCESSES
    rows = Counter(row for row in list_rows("environment.md") if row.startswith("MTR_"))
    assert rows == Counter(named)


def test_the_example_shows_every_key() -> None:
    """At a place where it may stand; commented out where it excludes another."""
    data = load_example(EXAMPLE).data
    shown = {*data, *data["defaults"], *(key for server in data["servers"].values() for key in server or ())}
    assert {*SCHEMA["properties"], *SHARED_KEYS, *SERVER_KEYS} - shown - {*list_alternatives()} == set()
    # It stands in a comment, since it is for the user's own file alone.
    assert {*POLICY_KEYS} - {*data["policy"]} == {"audit_log"}
    assert "\n  # audit_log: " in EXAMPLE.read_text(encoding="utf-8")


def test_every_key_of_the_policy_has_one_row() -> None:
    """In the page on the configuration."""
    rows = Counter(row for row in list_rows("configuration.md") if row.isidentifier())
    assert rows == Counter(list(POLICY_KEYS))


def list_alternatives() -> list[str]:
    """Return the keys of a server that the example has commented out."""
    found = re.findall(r"^ +# (\w+): ", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    return [key for key in found if key in SERVER_KEYS]


def load_example(path: Path) -> Source:
    """Return a configuration that is valid by mtr's own schema."""
    source = load_source(path)
    assert source
    ensure_valid(source)
    return source


@pytest.mark.parametrize(
    "path",
    [EXAMPLE, *CHECKOUT.glob("examples/*/.mtr/config.yaml")],
    ids=lambda path: str(path.relative_to(CHECKOUT)),
)
def test_every_configuration_of_an_example_is_valid(path: Path) -> None:
    """By mtr's own schema."""
    load_example(path)


def test_what_is_commented_out_of_the_example_is_valid_too(tmp_path: Path) -> None:
    """Each alternative by itself, as a key of a server."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert list_alternatives()
    for key in list_alternatives():
        (line,) = re.findall(rf"^ +# ({key}: .*)$", text, re.MULTILINE)
        path = tmp_path / f"{key}.yaml"
        path.write_text(f"servers:\n  one:\n    {line}\n")
        assert load_example(path).data["servers"]["one"][key]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents as `make docs` writes them."""
    out = tmp_path_factory.mktemp("build") / "docs"
    subprocess.run([sys.executable, "-m", "docs.build", out], cwd=CHECKOUT, check=True, capture_output=True)
    return out


def test_make_docs_writes_every_verb_option_key_and_error(built: Path) -> None:
    """Each in the words that the code has for it."""
    commands, keys, errors_page = (
        (built / "reference" / f"{name}.md").read_text(encoding="utf-8") for name in ("commands", "keys", "errors")
    )
    assert [word for word in VERBS if f"## mtr {word}\n" not in commands] == []
    assert [option.flags for option in OPTIONS if option.help and option.help not in commands] == []
    assert [line for line in commands.splitlines() if "\\b" in line] == [], "click's mark, in a raw docstring, is text"
    wanted = {**SCHEMA["properties"], **SERVER_KEYS, **POLICY_KEYS}
    assert [key for key, told in wanted.items() if f"| `{key}` |" not in keys or told["description"] not in keys] == []
    assert [e for e in list_errors() if f"| `{e.code}` | {e.exit_status} | {e.meaning} |" not in errors_page] == []


def test_the_links_of_the_built_documents_lead_somewhere(built: Path) -> None:
    """Within them; what lies beside docs/ in the repository stays there."""
    pages = [Page(path) for path in built.rglob("*.md")]
    assert len(pages) > 20
    for page in pages:
        for link in page.links:
            target = (page.path.parent / link.partition("#")[0]).resolve()
            outside = not target.is_relative_to(built)
            assert link.startswith("https://") or outside or target.exists(), f"{page.path}: {link}"
