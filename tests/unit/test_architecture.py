"""The layers of CONTRIBUTING.md, enforced on the imports of every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mtr"

LAYERS = {
    "errors": 1, "quoting": 2, "command_line": 2, "shell_words": 2,
    "aliases": 3, "scripts": 3, "state": 3, "process": 3, "config": 3, "streams": 3,
    "ssh": 4,
    "sync": 5, "jobs": 5, "policy": 5,
    "route": 7, "run": 7, "windows": 7, "status": 7, "voice": 7, "workflow": 7, "demo": 7, "setup": 7,
    "doctor": 7, "progress": 7, "log": 7, "result_file": 7, "watched": 7, "update": 7, "names": 7,
    "completion": 7, "inspection": 7, "pull": 7, "fleet": 7, "job_search": 7, "job_start": 7, "job_pull": 7,
    "dry_run": 7, "notify": 7, "ending": 7, "remote": 7, "audit": 7, "agent": 7,
    "mcp": 8, "cli": 8,
    "warm": 9, "__main__": 10, "__init__": 9,
}  # fmt: skip

WITHIN = {
    "mtr.scripts": {"mtr.errors"},
    "mtr.state": {"mtr.errors"},
    "mtr.aliases": {"mtr.command_line", "mtr.errors", "mtr.quoting"},
}
"""Layer 3 has an order of its own: these know only values."""

HOMES = {
    "click": {"mtr.cli"},
    "yaml": {"mtr.config"},
    "jsonschema": {"mtr.config"},
    "sh": {"mtr.process.captured"},
    "subprocess": {"mtr.process.plain", "mtr.process.started"},
    "asyncssh": {"mtr.demo"},
    "dotenv": {"mtr.config.env_file"},
    "watchfiles": {"mtr.sync.watch"},
    "cryptography": {"mtr.demo"},
    "paramiko": {"mtr.ssh.fallback"},
    "pexpect": {"mtr.process.prompted"},
    "mcp": {"mtr.mcp"},
    "mcp_types": {"mtr.mcp"},
    "anyio": {"mtr.mcp"},
    "pydantic": {"mtr.mcp"},
    "starlette": {"mtr.mcp"},
    "uvicorn": {"mtr.mcp"},
    "ptyprocess": {"mtr.process.started"},
    "winpty": {"mtr.process.windows"},
}
"""Each third-party library has one home; nothing starts programs but mtr/process."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from mtr.ssh import master` imports a module, `from mtr.ssh import connect` a name of one.
            children = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {c for c in children if (PACKAGE.parent / Path(*c.split("."))).with_suffix(".py").exists()}
            found |= modules or {node.module}
    return found


def layer_of(module: str) -> int:
    return LAYERS[module.split(".")[1]] if "." in module else LAYERS["__init__"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """A module imports only from lower layers, or from its own package."""
    module = name_of(path)
    for imported in imports_of(path):
        if not imported.startswith("mtr.") or imported.split(".")[:2] == module.split(".")[:2]:
            continue
        mine, theirs = layer_of(module), layer_of(imported)
        # The command line starts the other front ends.
        same = mine in (3, 7) or (mine == 8 and module.startswith("mtr.cli."))
        assert theirs < mine or (theirs == mine and same), f"{module} imports {imported}"
        if module in WITHIN:
            assert imported in WITHIN[module], f"{module} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_library_has_one_home(path: Path) -> None:
    """A third-party library, and the starting of programs, stays in its home."""
    module = name_of(path)
    for imported in imports_of(path):
        homes = HOMES.get(imported.split(".")[0])
        if homes is not None:
            assert any(module == home or module.startswith(f"{home}.") for home in homes), f"{module}: {imported}"


def test_every_module_says_what_it_owns() -> None:
    """Every module has a docstring."""
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_modules_stay_of_one_idea() -> None:
    """No module grows much past 400 lines, and no drawer of helpers exists."""
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 420, path
        assert path.stem not in {"utils", "util", "common", "helpers", "misc", "manager"}, path
