"""``mtr config``: what counts and where it is written, what is wrong, and a schema that editors can use."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import yaml
from jsonschema import Draft202012Validator

from mtr.config.schema import SCHEMA, SERVER_KEYS
from tests.lab.sshd import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

USER = """\
defaults:
  exclude: [data/]
  env: {TOKEN: hidden-1}
servers:
  gpu-01:
    host: 10.0.0.7
    user: dev
    port: 22
"""
PROJECT = """\
default: gpu-01
servers:
  gpu-01:
    remote_dir: "/data/a b"
    port: 2222
    pre_cmd: |
      source env.sh
      export X='hidden not'
  two:
    host: [lan, vpn]
    ssh_options: {SetEnv: "A=hidden-2 B=hidden-3", Compression: yes}
"""
LOCAL = f"""\
servers:
  two:
    password: "{PASSWORD}"
"""


@pytest.fixture
def place(home: Home, project: Path) -> Path:
    """A project with all three files."""
    own = home.home / ".config" / "mtr" / "config.yaml"
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(USER)
    (project / ".mtr" / "config.yaml").write_text(PROJECT)
    (project / ".mtr" / "local.yaml").write_text(LOCAL)
    (project / ".mtr" / "local.yaml").chmod(0o600)
    return project


def show(home: Home, cwd: Path, *words: str) -> str:
    """Return what ``mtr config`` prints, which goes well."""
    done = home.run_mtr(["config", *words], cwd)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode()


def test_every_value_shows_with_its_place(home: Home, place: Path) -> None:
    """Merged, as YAML, with file and line behind each value; the first lines say where runs go, and why."""
    text = show(home, place)
    assert "runs go to gpu-01: `default` names it" in text
    lines = {line.partition(" # ")[0].strip(): line.partition(" # ")[2] for line in text.splitlines()}
    assert lines["port: 2222"] == ".mtr/config.yaml:5"
    assert lines["user: dev"] == "~/.config/mtr/config.yaml:7"
    assert lines["password: '***'"] == ".mtr/local.yaml:3"
    data = yaml.safe_load(text)
    assert data["servers"]["gpu-01"]["pre_cmd"] == "source env.sh\nexport X='hidden not'\n"
    assert list(data["servers"]) == ["two", "gpu-01"], "in the order of choice: the strongest file first"
    assert show(home, place, "show") == text


def test_a_server_shows_with_what_is_built_in(home: Home, place: Path) -> None:
    """All that counts for it: its own keys, the defaults, what mtr does where nobody says anything."""
    text = show(home, place, "show", "gpu-01")
    data = yaml.safe_load(text)
    assert (data["port"], data["sync"], data["delete"]) == (2222, "auto", "tracked")
    assert (data["exclude"][0], data["exclude"][-1]) == (".git/", "data/")
    assert "sync: auto" in text
    assert [line.rpartition("# ")[2] for line in text.splitlines() if line.startswith("sync:")] == ["built in"]
    assert show(home, place, "-s", "gpu-01") == text
    given = home.run_mtr(["-s", "gpu-01", "config", "show"], place).stdout.decode()
    assert given == text
    far = yaml.safe_load(show(home, place, "show", "me@far.example:29"))
    assert (far["host"], far["user"], far["port"]) == ("far.example", "me", 29)


def test_no_secret_shows(home: Home, place: Path) -> None:
    """Passwords, the commands that print them, variables and SetEnv: their names alone, as text and as JSON."""
    (place / ".mtr" / "local.yaml").write_text("servers: {two: {password_command: 'echo hidden-4'}}\n")
    for words in ([], ["show", "two"], ["--json"], ["show", "two", "--json"], ["check"], ["check", "--json"]):
        done = home.run_mtr(["config", *words], place)
        shown = (done.stdout + done.stderr).decode()
        assert not [word for word in ("hidden-1", "hidden-2", "hidden-3", "hidden-4", PASSWORD) if word in shown], words


def test_json_has_the_values_with_their_sources(home: Home, place: Path) -> None:
    """For programs: the way to each value, the value, and file, line and column."""
    found = json.loads(show(home, place, "show", "gpu-01", "--json"))
    assert (found["kind"], found["data"]["server"]) == ("config", "gpu-01")
    values = {tuple(value["path"]): value for value in found["data"]["values"]}
    assert values[("port",)] == {
        "path": ["port"],
        "value": 2222,
        "source": {"file": str(place / ".mtr" / "config.yaml"), "line": 5, "column": 11},
    }
    assert values[("sync",)]["source"] is None


def test_the_server_of_a_variable_is_said(home: Home, place: Path) -> None:
    """MTR_SERVER decides before ``default``, and it is said that it does."""
    done = home.run_mtr(["config"], place, environ={"MTR_SERVER": "two"})
    assert b"runs go to two: MTR_SERVER names it" in done.stdout


def test_without_any_file(home: Home) -> None:
    """Nothing is configured: that is said, with what works nevertheless."""
    empty = home.dir / "p" / "empty"
    empty.mkdir()
    assert "no server is configured" in show(home, empty)
    assert "mtr init writes it" in show(home, empty, "path")
    done = home.run_mtr(["config", "check"], empty)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"mtr: nothing is wrong\n")


def test_path_lists_what_counts(home: Home, place: Path) -> None:
    """Weak to strong, with what is not there."""
    (place / ".mtr" / "local.yaml").unlink()
    rows = json.loads(show(home, place, "path", "--json"))["data"]
    assert [(row["path"], row["exists"]) for row in rows[:4]] == [
        (str(home.home / ".config/mtr/config.yaml"), True),
        (str(place / ".mtr/config.yaml"), True),
        (str(place / ".mtr/local.yaml"), False),
        (str(place), True),
    ]
    assert "(not there)" in show(home, place, "path")


WRONG = """\
default: gpx
servers:
  gpu: {prot: 22, sync: rsinc}
  key: {key_filename: /nowhere/key}
  odd: {ssh_options: {Compresion: yes, Port: many}}
  env: {password_env: NOT_SET_HERE}
  own: {ssh_options: {ProxyCommand: "nc %h %p"}}
"""


def test_check_finds_everything_at_once_and_connects_to_nothing(home: Home, project: Path) -> None:
    """All files, all mistakes, in order, as FILE:LINE:COLUMN: KEY: REASON; what is only doubtful says so."""
    path = project / ".mtr" / "config.yaml"
    path.write_text(WRONG)
    (project / ".mtr" / "local.yaml").write_text("servers: [\n")
    done = home.run_mtr(["config", "check"], project)
    assert done.returncode == 1
    lines = [line.removeprefix(f"{path}:") for line in done.stdout.decode().splitlines()]
    for wanted in (
        "1:10: default: there is no server gpx",
        "3:9: servers.gpu.prot: unknown key; did you mean 'port'?",
        "3:25: servers.gpu.sync: must be one of auto, tar, rsync, sftp; did you mean 'rsync'?",
        "4:23: servers.key.key_filename: there is no /nowhere/key",
        "5:35: servers.odd.ssh_options.Compresion: ssh: Bad configuration option: compresion",
        "5:46: servers.odd.ssh_options.Port: ssh: Bad port 'many'.",
        "6:23: warning: servers.env.password_env: NOT_SET_HERE is not set here and now",
        "7:37: warning: servers.own.ssh_options.ProxyCommand: runs a program here: it counts once you say `mtr trust`",
    ):
        assert wanted in lines, (wanted, lines)
    assert "local.yaml:2:1" in lines[-1]
    assert b"problems, " in done.stderr
    found = json.loads(home.run_mtr(["config", "check", "--json"], project).stdout)["data"]
    assert [row["line"] for row in found if row["is_doubt"]] == [5, 6, 6, 7]


def test_check_of_one_file(home: Home, project: Path) -> None:
    """Wherever it lies; one that is not there is an error, not a good one."""
    path = home.dir / "some.yaml"
    path.write_text("servers: {a: {hots: x}}\n")
    done = home.run_mtr(["config", "check", str(path)], project)
    assert (done.returncode, b"did you mean 'host'?" in done.stdout) == (1, True)
    path.write_text("servers: {a: {host: x}}\n")
    assert home.run_mtr(["config", "check", str(path)], project).returncode == 0
    path.write_text("servers: {a: {password: x}}\n")
    path.chmod(0o644)
    assert b"can be read by others" in home.run_mtr(["config", "check", str(path)], project).stdout
    assert home.run_mtr(["config", "check", "nowhere.yaml"], project).returncode == 125


def test_aliases_of_the_users_own_file_may_do_anything(home: Home, project: Path) -> None:
    """As they may in a run; the same words in a project's file are wrong."""
    own = home.home / ".config/mtr/config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("aliases: {logged: --log-file /tmp/x true, got: get out}\n")
    for words in ([], [str(own)]):
        done = home.run_mtr(["config", "check", *words], project)
        assert (done.returncode, done.stdout) == (0, b""), done.stdout
    (project / ".mtr" / "local.yaml").write_bytes(own.read_bytes())
    done = home.run_mtr(["config", "check"], project)
    assert (done.returncode, done.stdout.count(b"local.yaml:1:")) == (1, 2), done.stdout


def test_warnings_alone_are_no_failure(home: Home, project: Path) -> None:
    """A check in CI stops at mistakes."""
    key = home.dir / "key"
    key.write_text("")
    key.chmod(0o644)
    home.configure(project, key_filename=str(key))
    done = home.run_mtr(["config", "check"], project)
    assert (done.returncode, b"warning: servers.lab.key_filename" in done.stdout) == (0, True)


def test_what_means_nothing_is_refused(home: Home, place: Path) -> None:
    """``-s`` chooses what is shown, and nothing else; a word that is none ends with a hint."""
    assert home.run_mtr(["-s", "two", "config", "check"], place).returncode == 2
    assert home.run_mtr(["config", "shwo"], place).returncode == 2
    assert b"Usage: mtr config" in home.run_mtr(["config", "-h"], place).stdout


def test_the_schema_is_one_that_editors_can_use(home: Home) -> None:
    """Valid itself; every key has a description; what is built in is its default, and valid; the example is."""
    schema = json.loads(show(home, home.dir, "schema"))
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:")
    for properties in (schema["properties"], schema["properties"]["servers"]["additionalProperties"]["properties"]):
        assert all(value["description"] for value in properties.values())
    keys = schema["properties"]["servers"]["additionalProperties"]["properties"]
    assert set(keys) == set(SERVER_KEYS)
    for value in keys.values():
        if "default" in value:
            Draft202012Validator(value).validate(value["default"])
    assert (keys["sync"]["default"], keys["exclude"]["default"][0]) == ("auto", ".git/")
    example = os.path.join(os.path.dirname(__file__), "../../examples/config.yaml")
    with open(example, encoding="utf-8") as file:
        data = yaml.safe_load(file)
    assert not [*Draft202012Validator(schema).iter_errors(data)]
    assert "default" not in SCHEMA["properties"]["defaults"]["properties"]["sync"]


def test_an_alias_of_the_users_own_file_may_do_anything_for_check_too(home: Home, place: Path) -> None:
    """What a run takes, ``mtr config check`` takes; the same alias in a project's file is wrong."""
    own = home.home / ".config" / "mtr" / "config.yaml"
    own.write_text(f"{USER}aliases:\n  u: up gpu-01\n  there: -C / ls\n")
    checked = home.run_mtr(["config", "check"], place)
    assert (checked.returncode, b"aliases" in checked.stdout) == (0, False), checked
    alone = home.run_mtr(["config", "check", str(own)], place)
    assert (alone.returncode, alone.stdout) == (0, b"")
    (place / ".mtr" / "config.yaml").write_text(f"{PROJECT}aliases:\n  u: up gpu-01\n")
    refused = home.run_mtr(["config", "check"], place)
    assert (refused.returncode, b"aliases.u: stands for `mtr up`" in refused.stdout) == (1, True)
