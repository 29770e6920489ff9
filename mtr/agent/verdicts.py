"""Verdicts of an agent beside those of the policy's own rules. Pure."""

from __future__ import annotations

from mtr.policy import CONFIRM, REFUSED, Verdict

NOT_OWN = Verdict(
    REFUSED,
    reason="no agent has started that command through mtr, and with a policy you reach only those that agents have",
    rule="any policy: commands of persons are theirs",
    hint="list_commands() tells which you reach; the person sees the others with mtr job list",
)

_ASK_AGAIN = Verdict(
    REFUSED, reason="what the policy has the person asked is another question by now", hint="call again"
)

MAX_ID = 64
_HEXADECIMAL = frozenset("0123456789abcdef")


def settle_again(judged: Verdict, answered: Verdict | None) -> Verdict:
    """Return what counts of ``judged``, the verdict as it is now, and of what the person has ``answered`` before.

    The policy may have been edited while they were asked: a yes counts for the question that they saw alone.
    """
    if answered is not None and answered.outcome == REFUSED:
        return answered
    if judged.outcome != CONFIRM:
        return judged
    return answered if answered is not None and answered.question == judged.question else _ASK_AGAIN


def is_job_id(token: str) -> bool:
    """Tell whether a job of a server may have that id: nothing else is looked for on this machine's disk."""
    return 0 < len(token) <= MAX_ID and not set(token) - _HEXADECIMAL
