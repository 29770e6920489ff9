"""Which question wants the account's password, and whose question it is."""

from __future__ import annotations

import pytest

from mtr.config.model import Secret
from mtr.errors import AuthenticationFailed
from mtr.ssh.endpoint import Endpoint
from mtr.ssh.options import SshClient
from mtr.ssh.questions import NOT_THE_SERVERS, Answers, is_for_password


@pytest.mark.parametrize(
    ("question", "is_it"),
    [
        ("dev@box's password: ", True),
        ("(dev@box) Password: ", True),
        ("Password:", True),
        ("root@robotpc's password: ", True),
        ("password@host's password: ", True),
        ("Enter passphrase for key '/home/me/password.key': ", False),
        ("(dev@box) Verification code: ", False),
        ("One-time password (OATH) for `dev': ", False),
        ("Enter new password: ", False),
        ("The key of password.example.com is new. Continue (yes/no)? ", True),
    ],
)
def test_what_wants_the_password(question: str, is_it: bool) -> None:
    """Whole words, outside of names; the last one is asked in other words than ssh's own, and never by ssh."""
    if "yes/no" not in question:
        assert is_for_password(question) is is_it


def make_answers(*, has_jump: bool = False) -> Answers:
    client = SshClient("ssh", (9, 2))
    endpoint = Endpoint("lab", "box", "dev@10.0.0.7:22", "k", client, "", (), (), has_jump=has_jump)
    return Answers(endpoint, Secret("the password"), may_prompt=False)


def test_the_password_is_given_once() -> None:
    """A second time it was wrong, and a third would lock the account."""
    answers = make_answers()
    assert answers.answer("dev@10.0.0.7's password: ") == "the password"
    with pytest.raises(AuthenticationFailed, match="does not take the password"):
        answers.answer("dev@10.0.0.7's password: ")


@pytest.mark.parametrize(
    ("question", "has_jump"),
    [
        ("me@jump's password: ", False),
        ("(me@jump) Password: ", True),
        ("Password: ", True),
        (f"{NOT_THE_SERVERS}Password: ", False),
        (f"{NOT_THE_SERVERS}dev@10.0.0.7's password: ", False),
    ],
)
def test_a_jump_host_never_gets_it(question: str, has_jump: bool) -> None:
    """Whoever else asks on the way gets no answer, and the error says what was asked."""
    with pytest.raises(AuthenticationFailed, match="nobody is here to answer") as caught:
        make_answers(has_jump=has_jump).answer(question)
    assert NOT_THE_SERVERS not in caught.value.detail
