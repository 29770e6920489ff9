"""The `policy` of files: what is wrong in it, what is doubtful, how it shows, and what it asks trust for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.config.breadth import explain_breadth
from mtr.config.merge import Sourced, Tree, merge_trees
from mtr.config.policy import build_pattern, parse_size
from mtr.config.trust import store_trust
from mtr.errors import ConfigError
from mtr.inspection import check_configuration, load_overview

if TYPE_CHECKING:
    from tests.unit.config.workplace import Workplace


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policy: {alow: []}", "1:10: policy.alow: unknown key; did you mean 'allow'?"),
        ("policy: {Deny: []}", "1:10: policy.Deny: unknown key; did you mean 'deny'?"),
        ("polcy: {}", "1:1: polcy: unknown key; did you mean 'policy'?"),
        ("max_timeout: 1", "1:1: max_timeout: unknown key here; it belongs under `policy`"),
        ("policy:", "1:8: policy: must be a mapping of keys to values, and this is nothing"),
        ("policy: {allow: }", "1:17: policy.allow: must be a list, and this is nothing"),
        ("policy: {allow: 'a *'}", "1:17: policy.allow: must be a list, and this is text"),
        ("policy: {allow: [1]}", "1:18: policy.allow[1]: must be text, and this is a number"),
        ("policy: {servers: }", "1:19: policy.servers: must be a list, and this is nothing"),
        ("policy: {allow: [a, '*']}", "1:21: policy.allow[2]: has * in its first word, which is the program"),
        ("policy: {deny: ['py* x']}", "1:17: policy.deny[1]: has * in its first word"),
        ("policy: {allow: ['']}", "1:18: policy.allow[1]: names no program"),
        ("policy: {allow: [' ']}", "1:18: policy.allow[1]: names no program"),
        ("policy: {allow: ['a; b']}", "1:18: policy.allow[1]: holds ; outside of quotes, which joins commands"),
        ("policy: {confirm: ['a $b']}", "1:20: policy.confirm[1]: holds $ outside of quotes"),
        ('policy: {allow: ["a \'"]}', "1:18: policy.allow[1]: has a ' that is not closed"),
        ("policy: {allow: ['A=1 x']}", "1:18: policy.allow[1]: begins with NAME="),
        ("policy: {read_only: 1}", "1:21: policy.read_only: must be true or false"),
        ("policy: {max_timeout: 0}", "1:23: policy.max_timeout: must be from 1 to 31536000"),
        ("policy: {max_output: 1XB}", "1:22: policy.max_output: must be a size: 200000, 512KiB, 1MB"),
        ("policy: {max_output: -1}", "1:22: policy.max_output: must be from 1 to"),
        ("policy: {audit_log: /x}", "1:21: policy.audit_log: may only stand in your own"),
        ("policy: {audit_log: x}", "1:21: policy.audit_log: must be an absolute path, or begin with ~/"),
    ],
)
def test_what_is_wrong_is_told(place: Workplace, text: str, expected: str) -> None:
    """With its place, and never taken for no policy."""
    with pytest.raises(ConfigError) as caught:
        place.load(text)
    lines = [caught.value.message, *caught.value.detail.splitlines()]
    assert any(line.removeprefix(f"{place.project_file}:").startswith(expected) for line in lines), lines


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), (5, 5), ("1MB", 10**6), ("1 MiB", 1 << 20), ("1.5k", 1500), ("2G", 2 * 10**9), ("3B", 3)],
)
def test_sizes(place: Workplace, text: str | int, size: int) -> None:
    """As people write them."""
    assert parse_size(text) == size
    assert place.load(f"policy: {{max_output: {text}}}").policies[0].max_output_bytes == size


# -- doubts


@pytest.mark.parametrize(
    "pattern",
    [
        "python *", "python3.11 *", "python -u *", "python -c *", "python -m *", "python *.py", "bash *", "bash",
        "bash -c *",
        "docker exec web *", "python", "perl -e *", "env *", "env A=1 *", "xargs *", "find *", "find . -name *",
        "sudo *", "nice *",
        "nice -n 5 *", "timeout 60 *", "watch *", "tmux *", "git *", "git -c *", "git diff *", "git config *", "awk *",
        "sed *", "vim *", "make *", "ssh host *", "ssh *", "docker run *", "docker *", "uv run *", "npm run *", "tar *",
        "/usr/bin/python3 *", "tee *", "node *", "pytest *", "curl *", "torchrun *",
    ],
)  # fmt: skip
def test_a_pattern_that_lets_more_run_is_told(pattern: str) -> None:
    """Interpreters, launchers, options that run a program."""
    assert explain_breadth(build_pattern(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        "python train.py *", "python3 -m pytest", "nvidia-smi", "nvidia-smi *", "git status", "git diff",
        "git diff -- *",
        "git status *", "ls *", "cat logs/*", "./run.sh *", "squeue *", "docker ps *", "timeout 60 python train.py",
        "bash run.sh", "sh -c '*.txt' *", "uv run train.py *", "make train", "tar -- *", "torchrun train.py *",
    ],
)  # fmt: skip
def test_a_pattern_that_says_what_it_means_is_not(pattern: str) -> None:
    """Few false alarms, or nobody reads them."""
    assert explain_breadth(build_pattern(pattern)) == ""


def test_check_tells_them_with_their_place(place: Workplace) -> None:
    """As warnings; and names of servers that nobody has."""
    place.load('policy:\n  servers: [gpu, gone, local]\n  allow: ["nvidia-smi", "python *"]\nservers: {gpu: {}}\n')
    found = [str(finding) for finding in check_configuration(str(place.root), None, place.environ)]
    assert len(found) == 2
    assert found[0].endswith("config.yaml:2:12: warning: policy.servers: no file names a server gone")
    assert ":3:25: warning: policy.allow[2]: lets anything run" in found[1]


# -- merged, to be shown


VALUES = {"smaller": st.integers(1, 9), "common": st.lists(st.sampled_from("abc"), unique=True), "true": st.booleans()}
ENDS = [st.builds(Sourced, values, restricts=st.just(kind)) for kind, values in VALUES.items()]


@given(st.one_of(*(st.lists(ends, min_size=3, max_size=3) for ends in ENDS)))
def test_restrictions_merge_in_any_grouping(ends: list[Sourced]) -> None:
    """Three files come to the same, whichever two are merged first."""
    a, b, c = ({"k": end} for end in ends)
    trees: list[Tree] = [merge_trees(merge_trees(a, b), c), merge_trees(a, merge_trees(b, c))]
    assert trees[0] == trees[1]


def test_what_counts_is_shown(place: Workplace) -> None:
    """The stricter value with its place; lists line by line, and that each file's list has to allow."""
    place.load(
        "policy: {servers: [a, local], allow: [x], max_timeout: 90, read_only: false}\n",
        user='policy: {servers: [local, b], allow: ["y *"], max_timeout: 60, read_only: true}\n',
    )
    shown = load_overview(str(place.root), None, place.environ)
    lines = [f"{line.text} # {line.origin}" for line in shown.shown.lines]
    own, cloned = "~/.config/mtr/config.yaml:1", ".mtr/config.yaml:1"
    assert {f"servers: [local] # {cloned}", f"max_timeout: 60 # {own}", f"read_only: true # {own}"} <= set(lines)
    assert {f"- x # {cloned}", f"- y * # {own}"} <= set(lines)
    assert any(
        "has to be on the list of each of ~/.config/mtr/config.yaml, .mtr/config.yaml" in r for r in shown.remarks
    )


# -- trust


DECIDING = "{pre_cmd: evil, env: {PATH: planted}, host: 10.0.0.1, ssh_options: {Port: 23}, remote_dir: /etc/x}"


@pytest.mark.parametrize("limits", ["allow: [nvidia-smi]", "servers: [gpu]", "read_only: true"])
def test_a_projects_file_cannot_say_what_an_allowed_command_comes_to(place: Workplace, limits: str) -> None:
    """Where the user's own policy limits it: until they trust these values, and again after an edit."""
    user = f"policy: {{{limits}}}\nservers: {{gpu: {{host: 10.0.0.9}}}}\n"
    server = place.load(f"servers: {{gpu: {DECIDING}}}\n", user=user).servers["gpu"]
    assert server.claim is not None
    keys = {".".join(map(str, value.path[2:])) for value in server.claim.values}
    assert keys == {"pre_cmd", "env.PATH", "host", "ssh_options.Port", "remote_dir"}
    assert "planted" not in "".join(map(str, server.claim.values))
    store_trust(server.claim, place.environ)
    edited = place.load(f"servers: {{gpu: {DECIDING.replace('evil', 'worse')}}}\n").servers["gpu"]
    assert edited.claim is not None
    assert edited.claim.digest != server.claim.digest


@pytest.mark.parametrize("user", ["policy: {deny: [rm], max_timeout: 5}\n", "defaults: {sync: tar}\n"])
def test_without_such_a_policy_nothing_more_asks(place: Workplace, user: str) -> None:
    """Nor does a policy of the project's own file."""
    config = place.load(f"policy: {{allow: [x]}}\nservers: {{gpu: {DECIDING}}}\n", user=user)
    assert config.servers["gpu"].claim is None
