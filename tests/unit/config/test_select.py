"""Choosing the server, also one that no file names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.errors import ConfigError, ServerNotFound, UsageError

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace

DEFAULTS = "defaults: {user: all, port: 2222, env: {A: 1}}\nservers: {gpu-01: , Big.Box: {host: h}}\n"


@pytest.mark.parametrize(
    ("requested", "host", "user", "port"),
    [
        ("dev@10.0.0.7", "10.0.0.7", "dev", 2222),
        ("dev@box", "box", "dev", 2222),
        ("dev@box:22", "box", "dev", 22),
        ("dev@[::1]:22", "::1", "dev", 22),
        ("dev@[fe80::1%eth0]", "fe80::1%eth0", "dev", 2222),
        ("dev@fe80::1", "fe80::1", "dev", 2222),
        ("me@corp.example@box", "box", "me@corp.example", 2222),
        ("[::1]", "::1", "all", 2222),
        ("::1", "::1", "all", 2222),
        ("10.0.0.7", "10.0.0.7", "all", 2222),
        ("gpu.example.com", "gpu.example.com", "all", 2222),
        ("gpu.example.com:22", "gpu.example.com", "all", 22),
    ],
)
def test_destinations_that_no_file_names(place: Workplace, requested: str, host: str, user: str, port: int):
    """user@host[:port], addresses and names with a dot work unconfigured, and get the defaults."""
    server = place.select(requested, DEFAULTS)
    assert (server.name, server.hosts, server.user, server.port) == (requested, (host,), user, port)
    assert server.env == {"A": "1"}


@pytest.mark.parametrize(
    ("requested", "host", "user", "port"),
    [
        ("ssh://dev@box:22", "box", "dev", 22),
        ("ssh://box", "box", "all", 2222),
        ("ssh://box:22/", "box", "all", 22),
        ("ssh://me%40corp@[::1]:22", "::1", "me@corp", 22),
    ],
)
def test_destinations_as_uris(place: Workplace, requested: str, host: str, user: str, port: int):
    """Ssh knows ssh://user@host:port; the server's name is what stands behind the slashes."""
    server = place.select(requested, DEFAULTS)
    assert (server.hosts, server.user, server.port) == ((host,), user, port)
    assert server.name == requested.removeprefix("ssh://").removesuffix("/")


@pytest.mark.parametrize("requested", ["ssh://", "ssh://box/path", "ssh://a@b:x", "ssh://-box"])
def test_uris_that_are_no_destination(place: Workplace, requested: str):
    """A path, no host, no port: refused, as ssh does."""
    with pytest.raises((ServerNotFound, UsageError)):
        place.select(requested, DEFAULTS)


def test_works_without_any_configuration(place: Workplace):
    """A destination is enough."""
    server = place.select("dev@box")
    assert (server.user, server.hosts, server.port) == ("dev", ("box",), None)


def test_literal_host_of_ssh_config(place: Workplace):
    """A Host that ~/.ssh/config spells out is a server; a pattern, or an unknown name, is none."""
    place.write(place.ssh_config, "Host lab *.corp !no\n  User x\nInclude more/*\n")
    place.write(place.ssh_config.parent / "more/a", "Host=other\n")
    assert place.select("lab").hosts == ("lab",)
    assert place.select("other").hosts == ("other",)
    for name in ("no", "x", "User", "!no"):
        with pytest.raises((ServerNotFound, UsageError)):
            place.select(name)


def test_configured_names_win_over_everything(place: Workplace):
    """A configured server whose name reads as a destination is that server."""
    assert place.select("Big.Box", DEFAULTS).hosts == ("h",)


@pytest.mark.parametrize("requested", ["-oProxyCommand=id", "-x@h", "a@-b", "a@h:0", "a@h:65536", "$(id)@h.x", "a;b.c"])
def test_what_can_never_be_a_destination(place: Workplace, requested: str):
    """What ssh would take for an option, or a shell for code, is an error of the command line."""
    with pytest.raises(UsageError):
        place.select(requested, DEFAULTS)


@pytest.mark.parametrize("requested", ["nope", "a@", "@a", "a@b:", "a@b:x", "gpu 01", "a@[b]:22", ":22", "/"])
def test_unknown_names_are_not_found(place: Workplace, requested: str):
    """Anything else is no server, and the error lists those there are."""
    with pytest.raises((ServerNotFound, UsageError)) as caught:
        place.select(requested, DEFAULTS)
    if isinstance(caught.value, ServerNotFound):
        assert caught.value.detail == "configured: gpu-01, Big.Box"


def test_did_you_mean(place: Workplace):
    """A near miss names the server that was meant, in the message and as the next command."""
    with pytest.raises(ServerNotFound, match="did you mean gpu-01") as caught:
        place.select("GPU-1", DEFAULTS)
    assert caught.value.hint == "mtr -s gpu-01 CMD"


def test_default_that_is_not_there(place: Workplace):
    """A default without its server is an error at its place, but not when another server is asked for."""
    text = f"{DEFAULTS}default: gpu-10\n"
    with pytest.raises(ConfigError, match="there is no server gpu-10; did you mean gpu-01") as caught:
        place.select(None, text)
    assert caught.value.message.startswith(f"{place.project_file}:3:10: default: ")
    assert place.select("gpu-01", text).name == "gpu-01"


def test_nothing_to_choose_from(place: Workplace):
    """Without any server the error says how to start."""
    with pytest.raises(ServerNotFound, match="no server is configured") as caught:
        place.select()
    assert "mtr -s user@host CMD" in caught.value.hint
