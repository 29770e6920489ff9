"""ssh_config without ssh: what is read as ssh reads it, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mtr.config.model import Server
from mtr.errors import ConfigError
from mtr.ssh.fallback.resolve import Place, load_place, parse_time, resolve_place


def resolve(tmp_path: Path, text: str, destination: str = "box", **fields: object) -> Place:
    """Return where ``destination`` leads by an ssh_config of ``text``."""
    (tmp_path / ".ssh").mkdir(exist_ok=True)
    (tmp_path / ".ssh" / "config").write_text(text)
    environ = {"HOME": str(tmp_path), "USER": "me", "SSH_AUTH_SOCK": "/agent"}
    server = Server(name="lab", hosts=(destination,), **fields)  # type: ignore[arg-type]
    return resolve_place(server, destination, environ)


BLOCKS = """\
Host box other
  HostName 10.0.0.7   # in the lab
  Port 2222
  User "dev"
  UserKnownHostsFile "{home}/a b" {home}/c
  StrictHostKeyChecking yes # always
  IdentitiesOnly Yes
  IdentityFile {home}/k1
Match originalhost box user dev
  IdentityFile {home}/k2
Host *
  Port 1
  ServerAliveInterval 1m
  PasswordAuthentication no
"""


def test_it_agrees_with_ssh(tmp_path: Path) -> None:
    """Host, Match, comments, quotes, the first value wins, files add up: as ``ssh -G`` says."""
    text = BLOCKS.format(home=tmp_path)
    place = resolve(tmp_path, text)
    shown = subprocess.run(
        ["ssh", "-F", tmp_path / ".ssh" / "config", "-G", "box"], capture_output=True, text=True, check=True
    ).stdout
    said = dict(line.partition(" ")[::2] for line in shown.splitlines())
    assert (place.host, str(place.port), place.user) == (said["hostname"], said["port"], said["user"])
    assert place.known_hosts == (f"{tmp_path}/a b", f"{tmp_path}/c")
    assert said["stricthostkeychecking"] == "true"
    assert (place.strict, place.only_these_keys) == ("yes", True)
    assert place.key_files == (f"{tmp_path}/k1", f"{tmp_path}/k2")
    assert place.keepalive_s == int(said["serveraliveinterval"]) == 60
    assert "password" not in place.methods


def test_what_the_configuration_of_mtr_says_comes_first(tmp_path: Path) -> None:
    """User, port, key and options of the server."""
    place = resolve(
        tmp_path,
        BLOCKS.format(home=tmp_path),
        user="zoe",
        port=7,
        key_filename=Path("/k"),
        ssh_options={"Compression": "yes"},
    )
    assert (place.user, place.port, place.key_files[0]) == ("zoe", 7, "/k")


@pytest.mark.parametrize(
    "text",
    [
        "Match exec true\n  User x",
        "Match tagged work\n  User x",
        "Match localnetwork 10.0.0.0/8\n  User x",
        "Match host box !exec false\n  User x",
        "Host *\n  ProxyCommand nc %h %p",
        "Host *\n  CertificateFile ~/c",
        "Host *\n  StrictHostKeyChecking perhaps",
        "Host *\n  UserKnownHostsFile ~/.ssh/%k",
        "Host *\n  UserKnownHostsFile ${HOME}/kh",
        "Host *\n  ConnectTimeout soon",
        "Host box\n  Include more",
    ],
)
def test_what_only_ssh_can_tell_is_refused(tmp_path: Path, text: str) -> None:
    """Guessing would lead to another host, as another user, or past the host key."""
    with pytest.raises(ConfigError):
        resolve(tmp_path, text)


@pytest.mark.parametrize(
    ("word", "strict"), [("true", "yes"), ("ask", "ask"), ("no", "accept-new"), ("off", "accept-new")]
)
def test_how_strict_it_is(tmp_path: Path, word: str, strict: str) -> None:
    """In every spelling of ssh's; what would accept a changed key accepts a new one alone."""
    assert resolve(tmp_path, f"StrictHostKeyChecking {word}").strict == strict


def test_an_include_in_front_of_the_blocks(tmp_path: Path) -> None:
    """Also behind ``Match final all``, as the system's own file has it on some systems."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "more").write_text("Host box\n  User dev\n")
    assert resolve(tmp_path, "Include more\nHost box\n  User late\n").user == "dev"
    assert resolve(tmp_path, "Host x\n  Port 9\nMatch final all\n  Include more\n").user in ("dev", "me")


def test_jumps_in_order(tmp_path: Path) -> None:
    """Each with the jumps of its own block in front; a circle is noticed."""
    text = "Host box\n  ProxyJump a@near:2200\nHost near\n  ProxyJump door\nHost door\n  HostName 1.2.3.4\n"
    place = resolve(tmp_path, text)
    assert [(jump.host, jump.port) for jump in place.jumps] == [("1.2.3.4", 22), ("near", 2200)]
    assert place.jumps[1].user == "a"
    with pytest.raises(ConfigError, match="circle"):
        resolve(tmp_path, "Host box\n  ProxyJump near\nHost near\n  ProxyJump box\n")


def test_a_place_survives_json(tmp_path: Path) -> None:
    """It travels to the master in a file."""
    import json
    from dataclasses import asdict

    place = resolve(tmp_path, "Host box\n  ProxyJump near\n")
    assert load_place(json.loads(json.dumps(asdict(place)))) == place


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1m30s", 90), ("2H", 7200), ("none", 0), ("1w", 604_800)])
def test_times_as_ssh_writes_them(text: str, seconds: int) -> None:
    """sshd_config(5), TIME FORMATS."""
    assert parse_time(text) == seconds
