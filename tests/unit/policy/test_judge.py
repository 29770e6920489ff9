"""What an agent may run: each file's policy by itself, and none widens what another one allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.config.policy import Rules, build_pattern
from mtr.policy import ALLOWED, CONFIRM, REFUSED, Policy, PolicyRefused
from mtr.shell_words import NotPlainWords
from tests.unit.config.workplace import Workplace

OWN, CLONED = Path("/own/config.yaml"), Path("/project/.mtr/config.yaml")


def rules(file: Path = OWN, **keys: object) -> Rules:
    for key in ("allow", "deny", "confirm"):
        if key in keys:
            keys[key] = tuple(map(build_pattern, keys[key]))  # type: ignore[call-overload]
    return Rules(file, **keys)  # type: ignore[arg-type]


def policy(*parts: Rules, **keys: object) -> Policy:
    return Policy(parts or (rules(**keys),), ("gpu-01", "gpu-02"))


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("python train.py *", "python train.py"),
        ("python train.py *", "python train.py --lr 0.1 -c 'import os'"),
        ("python train.py *", "'python' \"train.py\""),
        ("nvidia-smi", " nvidia-smi\t"),
        ("git diff -- *", "git diff -- a b"),
        ("cat logs/*.txt", "cat logs/a.txt"),
        ("cat logs/*.txt", "cat logs/.txt"),
        ("cat logs/*", "cat 'logs/a b'"),
        ("cat */config/*", "cat a/config/b"),
        ("run a*b*c", "run a--b--c"),
        ("cp * there", "cp x there"),
        ("echo '*'", "echo '*'"),
        ("./run.sh", "./run.sh"),
        ("echo 'a b'", "echo a\\ b"),
        ("x '' *", "x ''"),
    ],
)
def test_a_pattern_means_these(pattern: str, command: str) -> None:
    """Word by word, however the words are quoted."""
    verdict = policy(allow=[pattern]).judge("gpu-01", command)
    assert (verdict.outcome, verdict.text) == (ALLOWED, None)
    assert verdict.argv


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("python train.py *", "python train.py.evil"),
        ("python train.py *", "python ./train.py"),
        ("python train.py *", "python -c x"),
        ("python train.py *", "python -c x train.py"),
        ("python train.py *", "/usr/bin/python train.py"),
        ("python train.py *", "./python train.py"),
        ("python train.py *", "Python train.py"),
        ("python train.py *", "python TRAIN.py"),
        ("python train.py *", "ｐython train.py"),
        ("python train.py *", "env python train.py"),
        ("python train.py *", "python"),
        ("python train.py *", "'python train.py'"),
        ("python train.py *", "python 'train.py x'"),
        ("nvidia-smi", "nvidia-smi -q"),
        ("nvidia-smi", "nvidia-smi ''"),
        ("git diff -- *", "git diff --output=x -- a"),
        ("git diff -- *", "git -c core.pager=x diff -- a"),
        ("cat logs/*.txt", "cat logs/../x.txt"),
        ("cat logs/*.txt", "cat logs/a/b.txt"),
        ("cat logs/*", "cat logs/.."),
        ("cat logs/*", "cat logs/."),
        ("cat logs/*", "cat logs/"),
        ("cat logs/*", "cat logs/a logs/b"),
        ("cat */config/*", "cat ../config/b"),
        ("cat *.txt", "cat /etc/x.txt"),
        ("cat *.txt x", "cat -v.txt x"),
        ("cp * there", "cp -t there"),
        ("cp * there", "cp there"),
        ("run a*b*c", "run abxcb"),
        ("echo '*'", "echo a"),
        ("sudo *", "sudoedit x"),
    ],
)
def test_a_pattern_means_nothing_else(pattern: str, command: str) -> None:
    """Other programs, paths to them, options in front, other words, what a star must not reach."""
    verdict = policy(allow=[pattern]).judge("gpu-01", command)
    assert (verdict.outcome, verdict.argv, verdict.text) == (REFUSED, None, None)
    assert str(OWN) in verdict.rule
    assert verdict.hint


@pytest.mark.parametrize(
    "text", ["", " ", "*", "* x", "py* x", "'' x", "a; b", "a $b", "A=1 x", "a ~", "a '", "a\nb", "if x"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """A pattern names its program; it is no text for a shell either."""
    with pytest.raises(NotPlainWords):
        build_pattern(text)


@given(st.text("ab*/.-", max_size=12), st.text("ab/.-", max_size=14))
def test_a_star_never_leads_out_of_its_part(pattern: str, word: str) -> None:
    """What matches has as many parts, and ``..`` only where the pattern has it."""
    assert build_pattern(f"x '{pattern}' y").matches(["x", word, "y"]) == (pattern == word)
    if build_pattern(f"x ''{pattern} y").matches(["x", word, "y"]):
        parts, given_parts = pattern.split("/"), word.split("/")
        assert len(parts) == len(given_parts)
        dots = [i for i, part in enumerate(given_parts) if part in (".", "..")]
        assert all(parts[i] == given_parts[i] for i in dots)
        assert not word.startswith("-") or pattern.startswith("-")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    """No backtracking."""
    pattern = build_pattern("x " + "a*" * 2_000 + "b y")
    assert not pattern.matches(["x", "a" * 100_000 + "c", "y"])


# -- commands


EVASIONS = [
    "nvidia-smi; rm -rf ~", "nvidia-smi && x", "nvidia-smi | x", "nvidia-smi & x", "nvidia-smi\nx", "nvidia-smi\rx",
    "nvidia-smi $(x)", "nvidia-smi `x`", "nvidia-smi > x", "$(nvidia-smi)", "X=1 nvidia-smi", "PATH=. nvidia-smi",
    "nvidia-smi\xa0-q", "nvidia-smi\0", "nvidia-smi \\\n-q", "nvidia-smi #", "! nvidia-smi", "{ nvidia-smi; }",
    "(nvidia-smi)", "env nvidia-smi", "sh -c nvidia-smi", "exec nvidia-smi", "command nvidia-smi", "time nvidia-smi",
    "/usr/bin/nvidia-smi", "./nvidia-smi", "~/nvidia-smi", "nvidia-smi\u200b", "nvidia‐smi", "-nvidia-smi",
    "-- nvidia-smi",
    "nvidia-smi --", "nvidia-smi -q", "nvidia-smi 'x", "", " ", "''", "nvidia-*", "{nvidia-smi,-q}",
    "nvidia-smi " + "x" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("command", EVASIONS)
def test_what_is_not_listed_does_not_run(command: str) -> None:
    """Whatever it is dressed as; the refusal says which rule, repeats no argument, and steers no terminal."""
    verdict = policy(allow=["nvidia-smi"]).judge("gpu-01", command)
    assert (verdict.outcome, verdict.argv, verdict.text) == (REFUSED, None, None)
    assert verdict.reason.isprintable()
    assert len(verdict.reason) < 300
    with pytest.raises(PolicyRefused) as caught:
        verdict.ensure()
    assert str(OWN) in caught.value.detail


@pytest.mark.parametrize(
    "argv", [[], [""], ["nvidia-smi", ""], ["nvidia-smi;x"], ["nvidia-smi\0"], ["nvidia-smi "], ["sh"]]
)
def test_an_argv_is_judged_as_it_is(argv: list[str]) -> None:
    """Nothing in it is split once more."""
    assert policy(allow=["nvidia-smi"]).judge("gpu-01", argv).outcome == REFUSED


def test_an_argv_is_returned_as_it_is() -> None:
    """Characters that a shell knows are literal in it."""
    argv = ["python", "train.py", "a; b", "$(c)", "*", "d\ne"]
    assert policy(allow=["python train.py *"]).judge("local", argv).argv == tuple(argv)


def test_nothing_is_allowed_by_an_empty_list() -> None:
    """It is a list, and has nothing on it."""
    assert policy(allow=[]).judge("gpu-01", "true").outcome == REFUSED


def test_without_a_list_a_text_is_a_text() -> None:
    """For the server's shell; an argv stays an argv."""
    for found in (Policy(), policy(max_running=1)):
        assert found.judge("gpu-01", "a && b | c").text == "a && b | c"
        assert found.judge("gpu-01", ["a", "b c"]).argv == ("a", "b c")
        assert found.judge("gpu-01", "a\0b").outcome == REFUSED
        assert found.judge("gpu-01", " ").outcome == REFUSED


def test_a_secret_argument_stands_in_no_refusal() -> None:
    """Neither for the agent nor in what the audit log takes."""
    for found in (policy(allow=["x"]), policy(deny=["curl *"]), policy(confirm=["curl *"])):
        verdict = found.judge("gpu-01", "curl --token planted")
        assert verdict.outcome == REFUSED
        assert "planted" not in repr(verdict)


# -- deny and confirm


@pytest.mark.parametrize(
    "command",
    ["rm x", "/bin/rm -rf x", "a; rm x", "A=1 rm x", "echo $(rm x)", "if a; then rm x; fi", ["rm", "x"], ["/bin/rm"]],
)
def test_what_is_denied_is_refused_wherever_it_is_seen(command: str | list[str]) -> None:
    """In any command that can be found in a text, wherever the program lies."""
    verdict = policy(deny=["rm *"]).judge("gpu-01", command)
    assert (verdict.outcome, "policy.deny: rm *" in verdict.rule) == (REFUSED, True)


@pytest.mark.parametrize("command", ["git rm x", "echo rm x", "'rm x'", "sh -c 'rm x'", "r$x"])
def test_deny_is_advice(command: str) -> None:
    """It does not look into words, and a shell has many ways to one end."""
    assert policy(deny=["rm *"]).judge("gpu-01", command).outcome == ALLOWED


def test_deny_is_stronger_than_allow() -> None:
    """Of the same file and of others."""
    assert policy(allow=["git *"], deny=["git push *"]).judge("local", "git push x").outcome == REFUSED
    both = policy(rules(allow=["git *"]), rules(CLONED, deny=["git *"]))
    assert both.judge("local", "git status").outcome == REFUSED


def test_the_person_is_asked_and_their_answer_counts() -> None:
    """For what they have seen; a no says whose it was; without a way to ask it is refused."""
    found = policy(allow=["git *"], confirm=["git push *"])
    asked = found.judge("gpu-01", "git push 'o\x1frigin'".replace("\x1f", ""), can_ask=True)
    assert (asked.outcome, asked.argv) == (CONFIRM, ("git", "push", "origin"))
    assert asked.question == "Run this on gpu-01?\ngit push origin"
    with pytest.raises(PolicyRefused):
        asked.ensure()
    yes = asked.settle(is_confirmed=True)
    assert (yes.outcome, yes.argv, yes.ensure()) == (ALLOWED, asked.argv, yes)
    no = asked.settle(is_confirmed=False)
    assert (no.outcome, no.argv, no.settle(is_confirmed=True).outcome) == (REFUSED, None, REFUSED)
    assert found.judge("gpu-01", "git push").outcome == REFUSED
    assert found.judge("gpu-01", "git pull").outcome == ALLOWED
    assert found.judge("gpu-01", "rm", can_ask=True).outcome == REFUSED


def test_a_question_shows_what_would_run() -> None:
    """Also what is invisible, and lines that pass for others."""
    asked = policy(confirm=["x *"]).judge("gpu-01", ["x", "a\nb", "\u202ec"], can_ask=True)
    assert asked.question.count("\n") == 1
    assert asked.question.replace("\n", "").isprintable()
    text = policy(confirm=["x *"]).judge("gpu-01", "x a\ny", can_ask=True)
    assert text.question == "Run this on gpu-01?\nx a\\ny"


# -- several files


PATTERNS = st.lists(st.sampled_from(["a", "a *", "a b", "b *", "a x*", "c"]), max_size=3)
ANY_RULES = st.builds(
    rules,
    st.sampled_from([OWN, CLONED]),
    servers=st.none() | st.lists(st.sampled_from(["gpu-01", "local", "other"])).map(tuple),
    allow=PATTERNS,
    deny=PATTERNS,
    confirm=PATTERNS,
    read_only=st.booleans(),
    max_timeout_s=st.none() | st.integers(1, 9),
    max_running=st.none() | st.integers(1, 9),
) | st.builds(rules, st.just(CLONED), deny=PATTERNS)
COMMANDS = st.sampled_from(["a", "a b", "a xy", "b", "c", "c d", "a; b", ["a", "b"]])
RANKS = (ALLOWED, CONFIRM, REFUSED)


@given(
    st.lists(ANY_RULES, max_size=3),
    ANY_RULES,
    st.sampled_from(["gpu-01", "local", "other", "h@x"]),
    COMMANDS,
    st.booleans(),
)
def test_one_more_file_only_restricts(
    parts: list[Rules], more: Rules, server: str, command: str | list[str], can_ask: bool
) -> None:
    """Whatever it says, nothing is allowed that was not before, no cap grows, and an argv never becomes a text."""
    one, both = Policy(tuple(parts), ("gpu-01",)), Policy((*parts, more), ("gpu-01",))
    before, after = (p.judge(server, command, can_ask=can_ask) for p in (one, both))
    assert RANKS.index(after.outcome) >= RANKS.index(before.outcome)
    if one.has_allow:
        assert after.text is None
    if parts:
        assert set(both.servers) <= set(one.servers)
    assert (both.max_timeout_s or 99) <= (one.max_timeout_s or 99)
    assert RANKS.index(both.judge_start(3).outcome) >= RANKS.index(one.judge_start(3).outcome)
    assert RANKS.index(both.judge_change(server).outcome) >= RANKS.index(one.judge_change(server).outcome)


def test_both_lists_have_to_allow() -> None:
    """The refusal names the file whose list lacks it."""
    both = policy(rules(allow=["a *", "b"]), rules(CLONED, allow=["a x", "c"]))
    assert both.judge("local", "a x").outcome == ALLOWED
    for command, file in (("a y", CLONED), ("b", CLONED), ("c", OWN)):
        assert str(file) in both.judge("local", command).rule


# -- servers, read-only, caps


def test_servers_are_those_of_every_list() -> None:
    """By default those that are configured, and this machine; no destination besides."""
    assert policy(max_running=1).servers == ("gpu-01", "gpu-02", "local")
    found = policy(rules(servers=("gpu-01", "local")), rules(CLONED, servers=("gpu-02", "local")))
    assert found.servers == ("local",)
    refused = found.judge("gpu-01", "true")
    assert (refused.outcome, refused.hint) == (REFUSED, "use one of: local")
    assert str(CLONED) in refused.rule
    assert policy(max_running=1).judge("me@elsewhere", "true").outcome == REFUSED
    assert Policy().judge("me@elsewhere", "true").outcome == ALLOWED
    assert policy(servers=()).judge("local", "true").outcome == REFUSED
    assert policy(servers=("me@elsewhere",)).servers == ("me@elsewhere",)
    assert policy(rules(max_running=1), rules(CLONED, servers=("me@elsewhere",))).servers == ()


def test_read_only_puts_nothing_and_runs_what_is_listed() -> None:
    """Without a list, nothing runs."""
    found = policy(rules(allow=["a"]), rules(CLONED, read_only=True))
    assert (found.judge("local", "a").outcome, found.judge("local", "b").outcome) == (ALLOWED, REFUSED)
    assert found.judge_change("gpu-01").outcome == REFUSED
    assert "read_only" in found.judge_change("gpu-01").rule
    assert policy(read_only=True).judge("local", "a").outcome == REFUSED
    assert policy(read_only=True).judge("local", ["a"]).outcome == REFUSED
    assert policy(allow=["a"]).judge_change("gpu-01").outcome == ALLOWED


def test_variables_would_change_what_runs() -> None:
    """With a list, those of the configuration count alone, unless the list has them as words."""
    assert policy(allow=["a"]).judge_env(["LD_PRELOAD"]).outcome == REFUSED
    assert policy(read_only=True).judge_env(["PATH"]).outcome == REFUSED
    assert policy(allow=["a"]).judge_env([]).outcome == ALLOWED
    assert policy(deny=["a"]).judge_env(["X"]).outcome == ALLOWED
    with_words = policy(allow=["env CUDA_VISIBLE_DEVICES=* python train.py *"])
    assert with_words.judge("gpu-01", "env CUDA_VISIBLE_DEVICES=1 python train.py").outcome == ALLOWED
    assert with_words.judge("gpu-01", "env CUDA_VISIBLE_DEVICES=1 A=2 python train.py").outcome == REFUSED


def test_caps_are_the_smallest_and_never_clamp() -> None:
    """What is left out gets the cap; more is refused, with the cap and the rule named."""
    found = policy(rules(max_timeout_s=60, max_output_bytes=10), rules(CLONED, max_timeout_s=30, max_running=2))
    assert [found.resolve_timeout(t) for t in (None, 0.5, 30)] == [30, 0.5, 30]
    assert (found.resolve_output(None), found.resolve_output(5), Policy().resolve_output(None)) == (10, 5, None)
    assert Policy().resolve_timeout(10**9) == 10**9
    for asked in (31, 1e300, float("inf"), float("nan"), 0, -1):
        with pytest.raises(PolicyRefused):
            found.resolve_timeout(asked)
    with pytest.raises(PolicyRefused) as caught:
        found.resolve_timeout(31)
    assert (str(CLONED) in caught.value.detail, "30" in caught.value.hint) == (True, True)
    assert [found.judge_start(n).outcome for n in (0, 1, 2, 3)] == [ALLOWED, ALLOWED, REFUSED, REFUSED]


# -- from files


def test_files_are_kept_apart(tmp_path: Path) -> None:
    """The user's, the project's and the personal one each judge."""
    from mtr.policy import build_policy

    place = Workplace(tmp_path)
    config = place.load(
        'policy: {allow: ["a *", "rm *"], max_output: 1MB, servers: [gpu-01, local, evil]}\nservers: {evil: {}}\n',
        user='policy: {allow: ["a *"], deny: ["a bad"], max_output: 512KiB, servers: [gpu-01]}\nservers: {gpu-01: }\n',
        local="policy: {read_only: true}\n",
    )
    found = build_policy(config)
    assert [part.file for part in found.rules] == [place.user_file, place.project_file, place.local_file]
    assert (found.servers, found.max_output_bytes, found.is_read_only) == (("gpu-01",), 512 * 1024, True)
    outcomes = [found.judge("gpu-01", command).outcome for command in ("a x", "a bad", "rm x")]
    assert outcomes == [ALLOWED, REFUSED, REFUSED]
    assert f"{place.user_file}:1:" in found.judge("gpu-01", "a bad").rule
    assert found.judge("evil", "a x").outcome == REFUSED


@given(st.text() | st.text("ab*;$'\"\\ \n\0\ud800"), st.booleans())
def test_any_text_gets_a_verdict(text: str, lists: bool) -> None:
    """No command makes the judge fail, and only what is not refused comes with something to run."""
    found = policy(**({"allow": ["a *", "b"]} if lists else {"deny": ["a *"]}))
    for command in (text, [text], ["a", text]):
        verdict = found.judge("gpu-01", command)
        to_run = [what for what in (verdict.argv, verdict.text) if what is not None]
        assert len(to_run) == (verdict.outcome == ALLOWED)
        assert not lists or verdict.text is None
        assert verdict.reason.isprintable()
