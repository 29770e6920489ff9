"""The official inspector's command line takes `mtr mcp` for what it is, over both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.test_mcp_ways import serve_http
from tests.lab.home import MTR
from tests.lab.inspector import inspect
from tests.lab.jobs import Jobs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def test_the_inspector_finds_everything_over_stdio(home: Home, project: Path) -> None:
    """Tools whose schemas suit every client, resources, templates, prompts; a command of which it sees the output."""
    jobs, target = Jobs(home, project), [*MTR, "mcp"]

    def ask(method: str, *options: str) -> dict[str, object]:
        return inspect(target, method, *options, environ=home.environ, cwd=project)

    tools = ask("tools/list", "--strict")["tools"]
    assert len(tools) == 9  # type: ignore[arg-type]
    assert len(ask("resources/list")["resources"]) == 2  # type: ignore[arg-type]
    assert len(ask("resources/templates/list")["resourceTemplates"]) == 2  # type: ignore[arg-type]
    assert len(ask("prompts/list")["prompts"]) == 3  # type: ignore[arg-type]
    call = ("--tool-name", "run_command", "--tool-arg", "command=cat a.txt", "--tool-arg", "wait_s=40")
    found = ask("tools/call", *call)
    assert found["structuredContent"]["stdout"] == "one\n"  # type: ignore[index]
    jobs.close()


def test_the_inspector_comes_in_over_http_with_the_token(home: Home, project: Path) -> None:
    """And finds the same."""
    with serve_http(home, project) as (_, port, token):
        found = inspect(
            [f"http://127.0.0.1:{port}/mcp"], "tools/list", "--strict", "--transport", "http",
            "--header", f"Authorization: Bearer {token}", environ={"PATH": home.environ["PATH"]}, cwd=project,
        )  # fmt: skip
        assert len(found["tools"]) == 9
