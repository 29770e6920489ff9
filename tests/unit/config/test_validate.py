"""What a wrong file is told: every problem, in order, with its place and a way out; never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.errors import ConfigError

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace


def complain(place: Workplace, text: str) -> list[str]:
    """Load ``text`` as the project's file and return the complaints without its path."""
    place.write(place.project_file, text, 0o600)
    before = (place.project_file.read_bytes(), place.project_file.stat().st_mtime_ns)
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert (place.project_file.read_bytes(), place.project_file.stat().st_mtime_ns) == before
    assert sorted(p.name for p in place.project_file.parent.iterdir()) == ["config.yaml"]
    lines = [caught.value.message, *caught.value.detail.splitlines()]
    assert all(line.startswith(f"{place.project_file}:") for line in lines)
    return [line.removeprefix(f"{place.project_file}:") for line in lines]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("servers: {gpu: {prot: 22}}", "1:17: servers.gpu.prot: unknown key; did you mean 'port'?"),
        ("servers: {gpu: {Host: a}}", "1:17: servers.gpu.Host: unknown key; did you mean 'host'?"),
        ("server: {}", "1:1: server: unknown key; did you mean 'servers'?"),
        ("exclude: [a]", "1:1: exclude: unknown key here; it belongs under `defaults`, or under one of `servers`"),
        ("defaults: {password_env: A}", "1:12: defaults.password_env: unknown key here; it belongs under one of"),
        ("zzz: 1", "1:1: zzz: unknown key; known here: default, defaults, servers"),
        ("servers: {gpu: {python: torch}}", "1:25: servers.gpu.python: must be conda:NAME"),
        ("- a", "1:1: must be a mapping of keys to values, and this is a list"),
        ("just text", "1:1: must be a mapping of keys to values, and this is text"),
        ("servers: [a]", "1:10: servers: must be a mapping of keys to values, and this is a list"),
        ("servers: {gpu: a}", "1:16: servers.gpu: must be a mapping of keys to values, and this is text"),
        ("default: 1", "1:10: default: must be text, and this is a number; put it in quotes"),
        ("default:", "1:9: default: must be text, and this is nothing"),
        ("servers: {gpu: {sync: rsinc}}", "1:23: servers.gpu.sync: must be one of auto, tar, rsync, sftp; did"),
        ("servers: {gpu: {delete: all}}", "1:25: servers.gpu.delete: must be one of tracked, mirror, never"),
        ("servers: {gpu: {port: 0}}", "1:23: servers.gpu.port: must be from 1 to 65535"),
        ("servers: {gpu: {port: 65536}}", "1:23: servers.gpu.port: must be from 1 to 65535"),
        ("servers: {gpu: {port: '22'}}", "1:23: servers.gpu.port: must be a whole number, and this is text"),
        ("servers: {gpu: {port: true}}", "1:23: servers.gpu.port: must be a whole number, and this is true or false"),
        ("servers: {gpu: {host: []}}", "1:23: servers.gpu.host: must not be empty"),
        ("servers: {gpu: {host: [a, -b]}}", "1:27: servers.gpu.host[2]: must be one word without quotes and shell"),
        ("servers: {gpu: {host: 1.2.3.4:22}}", "1:23: servers.gpu.host: takes no port; write it under `port`"),
        ("servers: {gpu: {respect_gitignore: 1}}", "1:36: servers.gpu.respect_gitignore: must be true or false, and"),
        ("servers: {gpu: {env: {F: yes}}}", "1:26: servers.gpu.env.F: must be text or a number, and this is true or"),
        ("servers: {gpu: {env: {F: }}}", "1:26: servers.gpu.env.F: must be text or a number, and this is nothing"),
        ("servers: {gpu: {env: {a-b: x}}}", "1:23: servers.gpu.env.a-b: is not the name of a variable"),
        ('servers: {gpu: {env: {"a\\n": x}}}', "1:23: servers.gpu.env.'a\\n': is not the name"),
        ("servers: {gpu: {env: {ON: 1}}}", '1:23: servers.gpu.env: the key ON reads as true or false; write "ON"'),
        ("servers: {gpu: {exclude: [1]}}", "1:27: servers.gpu.exclude[1]: must be text, and this is a number"),
        ("servers: {gpu: {exclude: a}}", "1:26: servers.gpu.exclude: must be a list, and this is text"),
        ("servers: {gpu: {ssh_options: {A-b: x}}}", "1:31: servers.gpu.ssh_options.A-b: is not the name of an option"),
        ("servers: {gpu: {ssh_options: {A: [x]}}}", "1:34: servers.gpu.ssh_options.A: must be text or a whole number"),
        ("servers: {gpu: {ssh_options: {Port: 1, port: 2}}}", "1:40: servers.gpu.ssh_options.port: is the same option"),
        ("servers: {gpu: {remote_dir: 'a{x}'}}", "1:29: servers.gpu.remote_dir: has an unknown placeholder {x}"),
        ("defaults: {remote_dir: /}", "1:24: defaults.remote_dir: must name a directory of the project's own"),
        ("servers: {-x: }", "1:11: servers.-x: must be one word"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_words(place: Workplace, text: str, expected: str):
    """Each kind of mistake names its place, its key and what to write instead; the file stays as it is."""
    complaints = complain(place, text)
    assert len(complaints) == 1
    assert complaints[0].startswith(expected)


@pytest.mark.parametrize("key", ["user", "host", "key_filename", "remote_dir", "shell", "password_command"])
@pytest.mark.parametrize("value", ['"a\\nb"', '"a\\0b"', '"a\\n"', '""'])
def test_text_of_one_line_is_one_line(place: Workplace, key: str, value: str):
    """A newline, also at the very end, a NUL and an empty text are refused where one line is meant."""
    assert complain(place, f"servers: {{gpu: {{{key}: {value}}}}}")[0].startswith(
        f"1:{len(key) + 19}: servers.gpu.{key}"
    )


@pytest.mark.parametrize("value", ["-oProxyCommand=x", "a b", "$(id)", "`id`", "a;b", "'a", "a|b"])
@pytest.mark.parametrize("key", ["host", "user"])
def test_nothing_becomes_an_option_or_shell_code(place: Workplace, key: str, value: str):
    """Host and user never begin with - and hold nothing that ssh or a shell would run."""
    quoted = value.replace("'", "''")
    if (key, value) in (("user", "a b"), ("user", "$(id)")):
        value = "a -b"  # ssh itself takes these in a user name; not a blank before a dash
        quoted = value
    assert "servers.gpu" in complain(place, f"servers: {{gpu: {{{key}: '{quoted}'}}}}")[0]


def test_pre_cmd_and_env_may_have_lines_but_no_nul(place: Workplace):
    """Shell code and variables may span lines; a NUL cannot travel in either."""
    place.load('servers: {gpu: {pre_cmd: "a\\nb", env: {A: "x\\ny"}}}')
    assert len(complain(place, 'servers: {gpu: {pre_cmd: "a\\0", env: {A: "\\0"}}}')) == 2


def test_all_problems_come_in_the_order_of_the_file(place: Workplace):
    """One error lists everything that is wrong, in order; the hint opens the first."""
    text = "defaults:\n  sinc: auto\nservers:\n  a:\n    port: x\n  a: {}\n  b: {user: 1, host: ''}\nfoo: 1\n"
    lines = [complaint.split(":")[0] for complaint in complain(place, text)]
    assert lines in (["2", "5", "6", "7", "7", "8"], ["2", "6", "7", "7", "8"])
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert caught.value.hint == f"${{EDITOR:-vi}} +2 {place.project_file}"


def test_an_anchors_mistake_is_told_once_at_its_own_place(place: Workplace):
    """What is written once and used three times is wrong once, under the name where it stands."""
    text = "servers:\n  a: &a {prot: 1}\n  b: {<<: *a}\n  c: *a\n"
    assert complain(place, text) == ["2:10: servers.a.prot: unknown key; did you mean 'port'?"]


def test_only_one_way_to_a_password(place: Workplace):
    """Two ways to one password in one file are a mistake, told at the later one."""
    text = "servers: {gpu: {password_env: A, password: hunter2}}"
    expected = "1:34: servers.gpu.password: only one of password, password_env, password_command may be set"
    assert complain(place, text) == [expected]


@pytest.mark.parametrize("text", ["password: 12345", "password: [hunter2]", "port: hunter2", 'password: "hun\\nter2"'])
def test_no_value_stands_in_a_complaint(place: Workplace, text: str):
    """A password, wherever it was put, is not repeated on the terminal."""
    told = "\n".join(complain(place, f"servers: {{gpu: {{{text}}}}}"))
    assert not any(secret in told for secret in ("12345", "hunter2", "hun"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "servers:\n", "defaults:\nservers:\n"])
def test_empty_is_fine(place: Workplace, text: str):
    """A file with nothing in it, or nothing behind its keys, is an empty configuration."""
    place.write(place.project_file, text)
    config = place.load()
    assert (config.default, dict(config.servers)) == (None, {})
    assert config.files == (place.project_file,)
