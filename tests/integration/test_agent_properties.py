"""The seven properties of streamed output, for commands that are jobs on a server.

The others stand in test_executors.py, test_runcmd_service.py and test_streaming_buffer.py: pipes and a PTY here.
"""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtr.agent.agent import Agent
from mtr.agent.model import Order
from mtr.streams.command import TIMED_OUT
from tests.integration.test_executors import escapes
from tests.lab.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.agent.model import Look
    from tests.lab.home import Home

remote = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
chunks = st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=3000)), min_size=1, max_size=6)


@pytest.fixture
def agent(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """An agent whose commands go to the lab's server; none of them outlives the test."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    jobs, made = Jobs(home, project), Agent(str(project), home.environ)
    yield made
    made.close()
    jobs.close()


def write(parts: list[tuple[bool, bytes]]) -> str:
    """Return a program that writes ``parts`` one after the other: to stderr where the first of a pair says so."""
    octal = [("".join(f"\\{byte:03o}" for byte in data), to_stderr) for to_stderr, data in parts]
    return "; ".join(f"printf %b {shlex.quote(words)}{' >&2' if to_stderr else ''}" for words, to_stderr in octal)


def start(agent: Agent, command: str, *, timeout_s: float = 60, use_pty: bool = False) -> str:
    """Start a command that needs none of the project's files."""
    return agent.run(Order(command, timeout_s, use_pty=use_pty, sync=False))[0]


def read(agent: Agent, token: str, size: int) -> tuple[list[Look], bytes, bytes]:
    """Read in pieces of ``size`` bytes to the end; return all looks, and what they held together."""
    looks: list[Look] = []
    out, err, end_s = b"", b"", time.monotonic() + 60
    while time.monotonic() < end_s:
        look = agent.look(token, (len(out), len(err)), limit_bytes=size, wait_s=10)
        looks.append(look)
        out, err = out + look.stdout.data, err + look.stderr.data
        if look.status == "completed" and (len(out), len(err)) == (look.stdout.length, look.stderr.length):
            return looks, out, err
    raise AssertionError(f"{token} has not ended: {looks[-1]}")


@remote
@given(parts=chunks, size=st.integers(500, 5000))
def test_all_of_it_comes_in_its_order_whatever_it_is(agent: Agent, parts: list[tuple[bool, bytes]], size: int) -> None:
    """Completeness and order: what was written to each stream is what is read, in pieces of any size."""
    _, out, err = read(agent, start(agent, write(parts)), size)
    assert out == b"".join(data for to_stderr, data in parts if not to_stderr)
    assert err == b"".join(data for to_stderr, data in parts if to_stderr)


@remote
@given(pauses=st.lists(st.sampled_from((0, 0.05)), min_size=1, max_size=6), size=st.integers(1, 40))
def test_lengths_never_go_down_and_offsets_never_move(agent: Agent, pauses: list[float], size: int) -> None:
    """While it runs: each piece begins where it was asked to, and is what stands there at the end."""
    script = "; ".join(f"echo line {number}; sleep {pause_s}" for number, pause_s in enumerate(pauses))
    token = start(agent, script)
    looks, out, _ = read(agent, token, size)
    lengths = [look.stdout.length for look in looks]
    assert lengths == sorted(lengths)
    for look in looks:
        assert out[look.stdout.start : look.stdout.start + len(look.stdout.data)] == look.stdout.data
        assert len(look.stdout.data) <= size
        assert (look.stdout.first, look.stderr.first) == (0, 0)


@remote
@given(data=st.binary(min_size=1, max_size=2000), offset=st.integers(0, 2500), size=st.integers(1, 2500))
def test_an_offset_is_answered_with_what_stands_there(agent: Agent, data: bytes, offset: int, size: int) -> None:
    """Any number of times, after the end too; nothing lies beyond the end, and nothing is ever gone."""
    token = start(agent, write([(False, data)]))
    assert read(agent, token, 4000)[1] == data
    for _ in range(2):
        look = agent.look(token, (offset, 0), limit_bytes=size)
        assert look.stdout.data == data[offset : offset + size]
        assert look.stdout.length == len(data)


@remote
@given(data=st.binary(min_size=1, max_size=500))
def test_what_was_written_before_the_time_was_over_stays(agent: Agent, data: bytes) -> None:
    """And the command is said to have been ended."""
    token = start(agent, f"{write([(False, data)])}; sleep 600", timeout_s=0.5)
    looks, out, _ = read(agent, token, 1000)
    assert out == data
    assert (looks[-1].exit_code, looks[-1].timeout_occurred) == (TIMED_OUT, True)


@remote
@given(words=st.lists(escapes, min_size=1, max_size=20).map("".join))
def test_a_terminals_escape_sequences_stay_as_they_are(agent: Agent, words: str) -> None:
    """But for the end of a line, which the terminal itself turns into two characters."""
    token = start(agent, f"stty -opost; {write([(False, words.encode())])}", use_pty=True)
    assert read(agent, token, 1000)[1] == words.encode()
