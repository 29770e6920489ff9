"""Aliases of the configuration, from the file to the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

SHOW = "printf '<%s>'"


def add_aliases(path: Path, aliases: dict[str, str]) -> None:
    """Write ``aliases`` into the configuration at ``path``, beside what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**data, "aliases": {**data.get("aliases", {}), **aliases}}))
    path.chmod(0o600)


def test_an_alias_runs_what_it_stands_for(home: Home, project: Path) -> None:
    """Cold and warm, with every byte of further words; text is for the shell there; an edit counts at once."""
    path = project / ".mtr/config.yaml"
    add_aliases(path, {"show": f"{SHOW} a", "text": "!cat a.txt | tr a-z A-Z; echo", "a.txt": "true"})
    odd = ["b c", "", "$HOME", "'\"\\", "*"]
    for _ in range(2):
        done = home.run_mtr(["show", *odd], project)
        assert (done.stdout, done.stderr) == ("".join(f"<{word}>" for word in ["a", *odd]).encode(), b"")
        assert home.run_mtr(["text", "d  e"], project).stdout == b"ONE\nd  e\n"
    add_aliases(path, {"show": f"{SHOW} new"})
    assert home.run_mtr(["show"], project).stdout == b"<new>"
    add_aliases(path, {"show": f"{SHOW} newer"})
    assert home.run_mtr(["show"], project).stdout == b"<newer>"


def test_an_alias_leads_to_another_server(home: Home, project: Path) -> None:
    """Its -s counts, cold and warm, and a typed one is stronger; the default server need not be there."""
    path = project / ".mtr/config.yaml"
    servers = json.loads(path.read_text())["servers"]
    servers = {"away": {"host": "127.0.0.1", "port": 1}, **servers, "other": {**servers["lab"], "user": "dash"}}
    path.write_text(json.dumps({"servers": servers, "aliases": {"where": "-s lab --no-sync sh -c 'echo ~'"}}))
    for _ in range(2):
        assert home.run_mtr(["where"], project).stdout == f"{home.server.home_of('bash')}\n".encode()
        assert home.run_mtr(["-s", "other", "where"], project).stdout == f"{home.server.home_of('dash')}\n".encode()


def test_a_program_of_that_name_can_still_be_run(home: Home, project: Path) -> None:
    """Behind -- and run nothing expands, and an alias that begins with its own name means the program."""
    add_aliases(project / ".mtr/config.yaml", {"echo": "echo alias"})
    assert home.run_mtr(["echo", "x"], project).stdout == b"alias x\n"
    assert home.run_mtr(["--", "echo", "x"], project).stdout == b"x\n"
    assert home.run_mtr(["run", "echo", "x"], project).stdout == b"x\n"


def test_a_dry_run_shows_what_an_alias_stands_for(home: Home, project: Path) -> None:
    """The alias, and the whole command; with -v a run says it too."""
    add_aliases(project / ".mtr/config.yaml", {"train": "printf %s"})
    said = home.run_mtr(["--dry-run", "train", "x y"], project).stdout.decode()
    assert "# alias train: printf %s\n" in said
    assert ": printf %s 'x y'\n" in said
    assert b"alias train: printf %s" in home.run_mtr(["-v", "train", "x"], project).stderr


def test_the_users_own_alias_may_stand_for_a_verb(home: Home, project: Path) -> None:
    """And is weaker than the project's of the same name; the two files' aliases add up."""
    add_aliases(home.home / ".config/mtr/config.yaml", {"dry": "sync --dry-run", "both": f"{SHOW} own"})
    add_aliases(project / ".mtr/config.yaml", {"both": f"{SHOW} project"})
    for _ in range(2):
        assert b"+ a.txt" in home.run_mtr(["dry"], project).stdout
    assert home.run_mtr(["both"], project).stdout == b"<project>"


@pytest.mark.parametrize(
    "text", ["get /etc/passwd {here}", "--log-file {here} true", "--pull '*' --to {here} true", "own {here}"]
)
def test_an_alias_of_a_project_writes_nothing_here(home: Home, project: Path, text: str) -> None:
    """It is refused with its place, or, where it names the user's own alias, runs a program of that name there."""
    add_aliases(home.home / ".config/mtr/config.yaml", {"own": "get /etc/passwd"})
    assert home.run_mtr(["true"], project).returncode == 0
    target = home.home / "written"
    add_aliases(project / ".mtr/config.yaml", {"train": text.format(here=target)})
    for _ in range(2):
        done = home.run_mtr(["train"], project)
        assert done.returncode == (127 if text.startswith("own") else 125)
        assert text.startswith("own") or b".mtr/config.yaml:1:" in done.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    "aliases", [{"sync": "x"}, {"-x": "y"}, {"a b": "y"}, {"$(x)": "y"}, {"a": ["b"]}, {"a": ""}, {"a": "x | y"}]
)
def test_a_wrong_alias_is_told_with_its_place(home: Home, project: Path, aliases: dict[str, str]) -> None:
    """Before anything is touched."""
    add_aliases(project / ".mtr/config.yaml", aliases)
    done = home.run_mtr(["true"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b".mtr/config.yaml:1:" in done.stderr
    assert not home.remote(project).exists()


def test_what_an_alias_asks_for_comes_besides_what_was_typed(home: Home, project: Path) -> None:
    """A log of the alias and a result that was typed, and the other way round."""
    log, result = home.dir / "log", home.dir / "result"
    path = home.home / ".config/mtr/config.yaml"
    add_aliases(path, {"logged": f"--log-file {log} true", "told": f"--result {result} true", "loud": "-vv true"})
    assert home.run_mtr(["true"], project).returncode == 0
    for first, word in (("--result", "logged"), ("--log-file", "told")):
        given = {"--result": result, "--log-file": log}[first]
        for words in ([first, str(given), word], ["-v", "logged"], ["-v", "told"]):
            log.unlink(missing_ok=True)
            result.unlink(missing_ok=True)
            assert home.run_mtr(words, project).returncode == 0
            assert result.exists() is ((first in words and given == result) or "told" in words), words
            assert log.exists() is ((first in words and given == log) or "logged" in words), words
            assert not log.exists() or log.read_text().count("mtr ended with 0") == 1
            assert not result.exists() or json.loads(result.read_text())["exit"] == 0
    assert b"session on lab" in home.run_mtr(["--result", str(result), "loud"], project).stderr
