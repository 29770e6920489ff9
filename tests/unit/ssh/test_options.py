"""Argument vectors for ssh: what must hold for each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from mtr.config.model import Secret, Server
from mtr.ssh import options

CLIENT = options.SshClient("/usr/bin/ssh", (9, 2))
OLD = options.SshClient("/usr/bin/ssh", (8, 4))


def values(argv: list[str]) -> dict[str, str]:
    """Return the ``-o`` options of ``argv``; the first of a name counts, as for ssh."""
    found: dict[str, str] = {}
    for flag, option in pairwise(argv):
        if flag == "-o":
            name, _, value = option.partition("=")
            found.setdefault(name, value)
    return found


def build_master(client: options.SshClient, server: Server, *, may_prompt: bool = False) -> list[str]:
    explicit = options.build_explicit(server)
    return options.build_master_argv(client, "/c", explicit, server.hosts[0], "/s", may_prompt=may_prompt)


def test_what_mtr_needs_wins_over_what_the_user_wrote() -> None:
    """Forced options stand in front of a server's ssh_options."""
    server = Server(name="a", hosts=("h",), ssh_options={"RemoteCommand": "evil", "Compression": "yes"})
    found = values(build_master(CLIENT, server))
    assert (found["RemoteCommand"], found["Compression"]) == ("none", "yes")


def test_the_destination_is_never_an_option() -> None:
    """It stands behind --, as the user wrote it."""
    argv = build_master(CLIENT, Server(name="a", hosts=("box",)))
    assert argv[-2:] == ["--", "box"]
    assert options.build_query_argv(CLIENT, "/c", [], "box")[-2:] == ["--", "box"]


def test_a_key_of_its_own_is_the_only_one() -> None:
    """IdentitiesOnly; a path with blanks and percent signs stays one path."""
    found = values(build_master(CLIENT, Server(name="a", hosts=("h",), key_filename=Path("/k/a b%c"))))
    assert found["IdentityFile"] == '"/k/a b%%c"'
    assert found["IdentitiesOnly"] == "yes"


def test_a_password_gets_one_attempt_and_no_key() -> None:
    """A second attempt could lock the account."""
    found = values(build_master(CLIENT, Server(name="a", hosts=("h",), password=Secret("x")), may_prompt=True))
    assert found["NumberOfPasswordPrompts"] == "1"
    assert found["PubkeyAuthentication"] == "no"
    assert found["BatchMode"] == "no"


def test_batch_never_asks() -> None:
    """BatchMode unless somebody can answer."""
    assert values(build_master(CLIENT, Server(name="a", hosts=("h",))))["BatchMode"] == "yes"


def test_an_old_ssh_gets_no_option_that_it_lacks() -> None:
    """SessionType and its kin came with 8.7; an unknown option would be fatal."""
    assert "SessionType" not in values(build_master(OLD, Server(name="a", hosts=("h",))))


def test_ignore_unknown_is_never_set() -> None:
    """The first value wins, and the user's own would fail then."""
    everything = [*build_master(CLIENT, Server(name="a", hosts=("h",))), options.build_config("/u", "/s")]
    assert not any("IgnoreUnknown" in word for word in everything)


def test_a_session_takes_over_what_sessions_decide() -> None:
    """From ``ssh -G``: escape character, forwarding, SendEnv, SetEnv."""
    query = options.parse_query("user dev\nescapechar ^B\nsendenv LANG\nsendenv LC_*\nsetenv A=b c\nport 22\n")
    assert values(list(options.build_session_options(query))) == {
        "escapechar": "^B", "sendenv": "LANG", "setenv": '"A=b c"'
    }  # fmt: skip
