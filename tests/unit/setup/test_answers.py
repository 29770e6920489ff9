"""What a user types for a server, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.errors import UsageError
from mtr.setup.answers import Answers, apply_options, list_hosts, parse_server

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace

TYPED = {
    "gpu-01.lan": ("gpu-01", None, "gpu-01.lan", None),
    " dev@gpu-01.lan:2222 ": ("gpu-01", "dev", "gpu-01.lan", 2222),
    "ssh://dev@gpu.lan:22/": ("gpu", "dev", "gpu.lan", 22),
    "dev@10.0.0.7": ("10.0.0.7", "dev", "10.0.0.7", None),
    "dev@[fe80::1]:22": ("fe80::1", "dev", "fe80::1", 22),
    "gpubox:2222": ("gpubox", None, "gpubox", 2222),
    "gpubox": ("gpubox", None, "gpubox", None),
}
WRONG = ["-oProxyCommand=x", "a b", "a;b", "$(x)@h", "", "h:99999", "\x1b[D", "a@-x", "x\udcff", "ssh://h/path", "'"]


@pytest.mark.parametrize("text", TYPED)
def test_what_is_typed_for_a_server(place: Workplace, text: str):
    """A name, an address, a user and a port, in any of the usual ways; the name of the server is the short one."""
    found = parse_server(text, place.environ)
    assert (found.name, found.user, found.host, found.port) == TYPED[text]


@pytest.mark.parametrize("text", WRONG)
def test_what_can_be_no_server(place: Workplace, text: str):
    """It is refused, with the reason."""
    with pytest.raises(UsageError):
        parse_server(text, place.environ)


def test_hosts_of_sshs_configuration_are_offered(place: Workplace):
    """Those that run commands, and can be destinations; a name among them stays as it is, dots and all."""
    place.write(place.ssh_config, "Host a.b gpu *.lan github.com\nHost $x 'y;z'\n")
    assert list_hosts(place.environ)[:2] == ["a.b", "gpu"]
    assert not {"github.com", "*.lan", "$x", "y;z"} & set(list_hosts(place.environ))
    assert parse_server("a.b", place.environ).host == "a.b"


def options(**given: object) -> dict[str, object]:
    keys = (
        "user",
        "port",
        "name",
        "remote_dir",
        "python",
        "pre_cmd",
        "key_filename",
        "password_env",
        "password_command",
    )
    return {**dict.fromkeys(keys), **given}


BAD = [{"port": 0}, {"port": 70000}, {"user": "a;b"}, {"name": "x y"}, {"name": "x" * 300}, {"remote_dir": "~"}]
BAD += [{"remote_dir": "/a/../b"}, {"remote_dir": "{nope}"}, {"key_filename": "/nowhere"}, {"password_env": "1x"}]
BAD += [{"password_env": "X", "password_command": "x"}, {"user": "other"}, {"pre_cmd": "\0"}, {"user": ""}]


@pytest.mark.parametrize("given", BAD, ids=str)
def test_options_that_are_wrong(place: Workplace, given: dict[str, object]):
    """Each is refused before anything is asked or tried."""
    with pytest.raises(UsageError):
        apply_options(Answers(host="h", name="h", user="me"), options(**given), "/", place.environ)


def test_paths_that_the_shell_has_expanded_are_taken_back(place: Workplace):
    """``--remote-dir ~/x`` arrives as this machine's home directory, which is not the server's."""
    (place.home / "key").write_text("")
    given = options(remote_dir=f"{place.home}/x", key_filename="key")
    found = apply_options(Answers(host="h", name="h"), given, str(place.home), place.environ)
    assert (found.remote_dir, found.key_filename) == ("~/x", "~/key")


def test_the_destination_works_without_a_configuration():
    """It is what ``mtr -s`` takes, in the hints of errors."""
    assert Answers(host="h", name="n").destination == "h"
    assert Answers(host="fe80::1", name="n", user="u", port=3).destination == "u@[fe80::1]:3"
    assert "secret" not in repr(Answers(host="h", name="n", password_env="X"))
