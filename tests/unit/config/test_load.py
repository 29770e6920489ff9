"""Loading: which file wins, what a server comes down to, and which files are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtr.config.model import BUILT_IN_EXCLUDE, Secret
from mtr.errors import ConfigError
from mtr.scripts import find_shipped

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace


def test_precedence_local_over_project_over_user(place: Workplace):
    """Of the three files the strongest that has a key decides, key by key."""
    config = place.load(
        "servers: {gpu: {user: p, port: 2, shell: p}}",
        user="servers: {gpu: {user: u, port: 1, shell: u, pre_cmd: u}}",
        local="servers: {gpu: {user: l}}",
    )
    server = config.servers["gpu"]
    assert (server.user, server.port, server.shell, server.pre_cmd) == ("l", 2, "p", "u")
    assert config.files == (place.user_file, place.project_file, place.local_file)


def test_own_keys_over_defaults_over_built_in(place: Workplace):
    """A server's own keys win over the merged defaults of any file, and those over what is built in."""
    config = place.load("servers: {a: {user: me, sync: rsync}, b: }", local="defaults: {user: all, sync: sftp}")
    assert (config.servers["a"].user, config.servers["a"].sync) == ("me", "rsync")
    assert (config.servers["b"].user, config.servers["b"].sync) == ("all", "sftp")
    assert config.servers["b"].delete == "tracked"
    assert (config.template.user, config.template.hosts) == ("all", ())


def test_exclude_adds_up_and_include_is_replaced(place: Workplace):
    """exclude: built in, then defaults, then the server's, each from weak to strong; include is the strongest's."""
    config = place.load(
        "defaults: {exclude: [b], include: [x]}\nservers: {gpu: {exclude: [d]}}",
        user="defaults: {exclude: [a], include: [y]}\nservers: {gpu: {exclude: [c]}}",
    )
    assert config.servers["gpu"].exclude == (*BUILT_IN_EXCLUDE, "a", "b", "c", "d")
    assert config.servers["gpu"].include == ("x",)


def test_env_and_ssh_options_merge_key_by_key(place: Workplace):
    """Variables and ssh options of defaults and server come together; option names ignore case."""
    config = place.load(
        "servers: {gpu: {env: {B: 2}, ssh_options: {proxyjump: own, Compression: yes}}}",
        user="defaults: {env: {A: 1.10, B: x}, ssh_options: {ProxyJump: all, ServerAliveInterval: 015}}",
    )
    server = config.servers["gpu"]
    assert server.env == {"A": "1.10", "B": "2"}
    assert server.ssh_options == {"proxyjump": "own", "Compression": "yes", "ServerAliveInterval": "015"}


def test_order_of_servers_is_the_strongest_files(place: Workplace):
    """The first server is the first of the strongest file that has any; those only in weaker files follow."""
    config = place.load("servers: {b: , a: }", user="servers: {z: , a: , y: }", local="default: a")
    assert list(config.servers) == ["b", "a", "z", "y"]


def test_server_without_host_is_its_own_destination(place: Workplace):
    """A name alone stands for a Host of ~/.ssh/config; a list of hosts keeps its order."""
    config = place.load("servers: {gpu-01: , b: {user: x}, c: {host: [h1, h2]}, d: {host: h}}")
    assert [server.hosts for server in config.servers.values()] == [("gpu-01",), ("b",), ("h1", "h2"), ("h",)]


def test_paths_start_where_they_were_written(place: Workplace):
    """~ is the home directory; a relative key is the project's, or at home in the user's own file."""
    config = place.load(
        "servers: {a: {key_filename: k, download_dir: ~/d}, b: {key_filename: ~/k}, c: {key_filename: /k}}",
        user="servers: {d: {key_filename: .ssh/k}}",
    )
    keys = [server.key_filename for server in config.servers.values()]
    assert keys == [place.root / "k", place.home / "k", Path("/k"), place.home / ".ssh/k"]
    assert config.servers["a"].download_dir == f"{place.home}/d"


def test_xdg_config_home_moves_the_users_file(place: Workplace, tmp_path: Path):
    """XDG_CONFIG_HOME is where the user's file lies, unless it is relative."""
    place.write(tmp_path / "xdg/mtr/config.yaml", "default: x")
    place.environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert place.load().default == "x"
    place.environ["XDG_CONFIG_HOME"] = "xdg"
    assert place.load(user="default: y").default == "y"


def test_works_without_any_file(place: Workplace):
    """No file at all is an empty configuration."""
    config = place.load()
    assert (config.files, dict(config.servers), config.default) == ((), {}, None)


def test_sources_tell_where_each_value_was_written(place: Workplace):
    """Each value knows its file, line and column; what is built in has no place."""
    config = place.load("servers:\n  gpu: {port: 2}\n", user="defaults:\n  exclude: [a]\nservers: {gpu: {port: 1}}\n")
    assert str(config.sources[("servers", "gpu", "port")]) == f"{place.project_file}:2:15"
    assert str(config.sources[("defaults", "exclude", 0)]) == f"{place.user_file}:2:13"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_password_that_others_can_read_is_refused(place: Workplace, mode: int):
    """A file with a password and a mode that lets others read it is refused, with the command that mends it."""
    place.write(place.local_file, "servers: {gpu: {password: hunter2, prot: 1}}", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}") as caught:
        place.load()
    assert caught.value.hint == f"chmod 600 {place.local_file}"
    assert "hunter2" not in str(caught.value) + caught.value.detail


@pytest.mark.parametrize("way", ["password_env: A", "password_command: a"])
def test_ways_to_a_password_may_be_read_by_all(place: Workplace, way: str):
    """The name of a variable and a command are no secrets."""
    place.write(place.project_file, f"servers: {{gpu: {{{way}}}}}", 0o644)
    assert place.load().servers["gpu"].password is None


def test_password_of_the_strongest_file_wins_whatever_its_kind(place: Workplace):
    """A personal password replaces the project's password_command, and the other way round."""
    by_command, by_value = "servers: {gpu: {password_command: a}}", "servers: {gpu: {password: b}}"
    server = place.load(by_command, local=by_value).servers["gpu"]
    assert (server.password, server.password_command) == (Secret("b"), None)
    server = place.load(by_value, local=by_command).servers["gpu"]
    assert (server.password, server.password_command) == (None, "a")


def test_secrets_do_not_show():
    """However a server is printed, its password is not."""
    secret = Secret("hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>9}", f"{secret}", repr([secret])]
    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2"


def test_server_with_password_prints_without_it(place: Workplace):
    """Neither the configuration nor its fields as a mapping show a password."""
    config = place.load("servers: {gpu: {password: hunter2}}")
    assert "hunter2" not in repr(config)
    assert "hunter2" not in repr(dataclasses.asdict(config.servers["gpu"]))


def test_unreadable_files_are_errors(place: Workplace):
    """A configuration that is there and cannot be read is no empty configuration."""
    place.project_file.mkdir(parents=True)
    with pytest.raises(ConfigError, match="not a regular file"):
        place.load()


def test_the_shipped_example_is_valid(place: Workplace):
    """examples/config.yaml loads, also for those who copy it as it is."""
    text = Path(find_shipped("examples"), "config.yaml").read_text(encoding="utf-8")
    place.write(place.project_file, text, 0o644)
    config = place.load()
    assert list(config.servers) == ["gpu-01", "gpu-02", "gpu-03", "fallback-node"]
    assert config.servers["gpu-01"].env == {"CUDA_VISIBLE_DEVICES": "0", "DEBUG": "true"}
    assert config.servers["gpu-01"].ssh_options == {"ProxyJump": "bastion", "ForwardAgent": "no"}
    assert set(config.template.exclude) == set(BUILT_IN_EXCLUDE)
