"""ssh's own words, recorded from OpenSSH 9.2, and words that are nothing known."""

from __future__ import annotations

import pytest

from mtr import errors
from mtr.ssh.diagnosis import build_connect_error, build_prepare_error
from mtr.ssh.endpoint import Endpoint, build_key, parse_version
from mtr.ssh.options import SshClient
from mtr.ssh.outcome import Outcome, parse_outcome
from mtr.ssh.sessions import parse_probe

CLIENT = SshClient("/usr/bin/ssh", (9, 2))
ENDPOINT = Endpoint("gpu-01", "box", "dev@10.0.0.7:2222", "0" * 16, CLIENT, "/c", (), ())

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
The fingerprint for the ED25519 key sent by the remote host is
SHA256:abc.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("log", "kind", "hint"),
    [
        ("ssh: connect to host 10.0.0.7 port 2222: Connection refused\r\n", errors.ConnectionRefused, "sshd runs"),
        ("ssh: connect to host 10.0.0.7 port 2222: Connection timed out\r\n", errors.ConnectionTimeout, "mtr up"),
        ("Connection timed out during banner exchange\r\n", errors.ConnectionTimeout, "VPN"),
        ("ssh: Could not resolve hostname box: Name or service not known\r\n", errors.UnknownHost, "`host`"),
        ("dev@10.0.0.7: Permission denied (publickey).\r\n", errors.AuthenticationFailed, "mtr up -s gpu-01"),
        (
            "Received disconnect from 10.0.0.7 port 2222:2: Too many authentication failures\r\n",
            errors.AuthenticationFailed,
            "key_filename",
        ),
        (CHANGED, errors.HostKeyChanged, "ssh-keygen -R '[10.0.0.7]:2222'"),
        ("something new\n", errors.ConnectError, "ssh -v box true"),
        ("", errors.ConnectError, "ssh -v box true"),
    ],
)
def test_each_cause_has_its_error(log: str, kind: type[errors.ConnectError], hint: str) -> None:
    """What, where, ssh's own words, and the next command."""
    error = build_connect_error(ENDPOINT, log, 255)
    assert type(error) is kind
    assert "gpu-01 (dev@10.0.0.7:2222)" in error.message
    assert hint in error.hint
    for line in log.splitlines():
        assert line in error.detail or line.startswith("@@@")


@pytest.mark.parametrize(
    ("log", "outcome"),
    [
        ("mux_client_request_session: master session id: 2\nReceived exit status from master 255\n", Outcome.STATUS),
        (
            "mux_client_request_session: master session id: 2\nControl master terminated unexpectedly\n",
            Outcome.NO_STATUS,
        ),
        ("mux_client_request_session: session request failed: Session open refused by peer\n", Outcome.REFUSED),
        ("Connection closed by UNKNOWN port 65535\n", Outcome.NEVER_OPENED),
        ("", Outcome.NEVER_OPENED),
    ],
)
def test_a_log_tells_how_a_session_ended(log: str, outcome: str) -> None:
    """The rule that holds for 255."""
    assert parse_outcome(log) is outcome


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (1, "mkdir: cannot create directory: Permission denied", errors.RemoteNotWritable),
        (2, "sh: cannot create .mtr/.probe.1: Read-only file system", errors.RemoteNotWritable),
        (2, "sh: echo: No space left on device", errors.RemoteDiskFull),
        (1, "mkdir: cannot create directory: Disk quota exceeded", errors.RemoteDiskFull),
        (5, "", errors.SyncError),
        (127, "what", errors.SyncError),
    ],
)
def test_each_refusal_of_the_directory_has_its_error(status: int, words: str, kind: type[errors.SyncError]) -> None:
    """Of prepare.sh."""
    error = build_prepare_error(status, "gpu-01", "~/x", words)
    assert type(error) is kind
    assert error.detail == words


def test_versions() -> None:
    """Debian's, Apple's, Windows' words; something that is not OpenSSH is version 0."""
    assert parse_version("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19") == (9, 2)
    assert parse_version("OpenSSH_for_Windows_8.1p1, LibreSSL 3.0.2") == (8, 1)
    assert parse_version("dropbear") == (0, 0)


def test_a_probe_is_found_among_noise() -> None:
    """Rc files print what they like."""
    assert parse_probe("Welcome!\nmtr-probe start 1\nmtr-probe payload LC_MTR\nbye") == {
        "start": "1",
        "payload": "LC_MTR",
    }


def test_the_key_of_a_master_is_the_set_of_its_options() -> None:
    """Same options, same key; any other byte, any other boundary, another key."""
    base = build_key(CLIENT, "a", ["b"], [b"c"], ["d"])
    assert base == build_key(CLIENT, "a", ["b"], [b"c"], ["d"])
    others = [
        build_key(CLIENT, "x", ["b"], [b"c"], ["d"]),
        build_key(CLIENT, "a", ["b", ""], [b"c"], ["d"]),
        build_key(CLIENT, "ab", [], [b"c"], ["d"]),
        build_key(CLIENT, "a", ["b"], [b"x"], ["d"]),
        build_key(CLIENT, "a", ["b"], [b"c"], []),
        build_key(SshClient("/usr/bin/ssh", (9, 3)), "a", ["b"], [b"c"], ["d"]),
    ]
    assert len({base, *others}) == 7
