"""What a line gives to an ``ssh``, and what it sends along."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from mtr.ssh.facts import Facts
from mtr.ssh.line import Line

if TYPE_CHECKING:
    from mtr.ssh.outcome import Ended


def make_facts(**fields: object) -> Facts:
    """Return the facts of a server, with ``fields`` of one's own."""
    plain: dict[str, object] = {
        "server_name": "a", "address": "me@a:22", "destination": "a", "socket": "/s", "ssh": "ssh",
        "tells_outcome": True, "session_options": (), "send_env": ("LANG", "LC_*"), "forward_agent": False,
        "speaks_mux": True, "carrier": "LC_MTR", "stat": "c", "archive": "tar64", "rsync": True, "system": "",
        "binder": (),
    }  # fmt: skip
    return Facts(**{**plain, **fields})


def make_line(environ: dict[str, str] | None = None, **fields: object) -> Line:
    def recover(line: Line, ended: Ended, failures: int) -> None:
        raise AssertionError(f"{line.label}: {ended.words} ({failures})")

    return Line(make_facts(**fields), environ or {}, recover=recover)


def options_of(argv: list[str]) -> dict[str, str]:
    return dict(value.split("=", 1) for flag, value in pairwise(argv) if flag == "-o")


def test_a_session_has_no_way_to_a_login_of_its_own() -> None:
    """No configuration, and a ProxyCommand that fails."""
    argv = make_line().build_attach_argv()
    assert argv[1:5] == ["-F", "none", "-S", "/s"]
    assert options_of(argv)["ProxyCommand"] == "false"


def test_an_old_ssh_gets_no_option_that_it_lacks() -> None:
    """LogVerbose came with 8.5; an unknown option would be fatal."""
    assert "LogVerbose" in options_of(make_line().build_logged_argv("/l"))
    assert "LogVerbose" not in options_of(make_line(tells_outcome=False).build_logged_argv("/l"))


@pytest.mark.parametrize(
    ("patterns", "sent"),
    [
        (("LANG", "LC_*"), {"LANG", "LC_ALL"}),
        (("*",), {"LANG", "LC_ALL", "PATH"}),
        (("?ANG",), {"LANG"}),
        (("P*H",), {"PATH"}),
        ((), set()),
    ],
)
def test_what_ssh_would_send_is_sent(patterns: tuple[str, ...], sent: set[str]) -> None:
    """SendEnv's patterns decide; the carriers of payloads are never the user's own."""
    environ = {"LANG": "C", "LC_ALL": "C", "PATH": "/", "LC_MTR0": "x", "XMODIFIERS": "@im=x"}
    line = make_line(environ, send_env=patterns)
    assert set(line.facts.pick_sent(environ)) == sent
    assert line.build_environ({"XMODIFIERS": "mine"})["XMODIFIERS"] == "mine"
