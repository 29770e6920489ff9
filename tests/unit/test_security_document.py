"""docs/security.md names a test for each promise; each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
DOCUMENT = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_document_names_exists() -> None:
    """A promise without its test is none."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT.read_text(encoding="utf-8"))
    assert len(named) > 30
    missing = [(file, name) for file, name in named if name not in list_tests(TESTS / file)]
    assert missing == []


def test_every_promise_names_one() -> None:
    """Each row of a table of promises ends with a test."""
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = re.findall(r"\| promise \| test \|\n\| --- \| --- \|\n((?:\|.*\|\n)+)", text)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(tables) == 7
    assert [row for row in rows if not re.search(r"::test_\w+` \|$", row)] == []


def list_tests(file: Path) -> set[str]:
    """Return the names of the tests in ``file``."""
    body = ast.parse(file.read_text(encoding="utf-8")).body if file.exists() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
