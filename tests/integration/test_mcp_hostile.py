"""Calls of `mtr mcp` that mean harm, or nothing: each is answered, by words of mtr's, and the server goes on."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_mcp_ways import ask, serve, serve_http
from tests.lab.jobs import Jobs
from tests.lab.processes import wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


TEXTS = ("", "\0", "a\0b", "\x1b]0;t\x07", "\r\n", "../x", "-rf", "ä" * 300, "x" * 300_000, "\u202e")
NUMBERS = (-1, 2**62, 2**63, 10**400, 1.5, -0.0, True, None, "1", [], {}, 1e308)
FIELDS: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]] = {
    "run_command": (
        {"command": "true", "sync": False, "wait_s": 30},
        ("command", "server", "working_directory"),
        ("timeout", "wait_s", "max_buffer_size"),
    ),
    "query_command_status": (
        {"token": "{token}"}, ("token", "wait_for"), ("stdout_offset", "stderr_offset", "max_bytes"),
    ),
    "send_command_input": ({"token": "{token}"}, ("token", "text", "base64"), ("text", "end")),
    "terminate_command": ({}, ("token",), ("token",)),
    "list_commands": ({}, ("server",), ("server",)),
    "sync_files": ({}, ("server",), ("full",)),
    "get_file": ({"path": "a.txt"}, ("path", "server", "save_to"), ("offset", "max_bytes")),
    "put_file": ({"path": "made", "text": "x"}, ("path", "mode", "server", "text", "base64"), ("mode", "text")),
}  # fmt: skip


@pytest.mark.parametrize("tool", FIELDS)
def test_whatever_stands_in_an_argument_is_answered(home: Home, jobs: Jobs, tool: str) -> None:
    """No fault of mtr's own, no message that is no protocol; then the server works as before."""
    fixed, texts, numbers = FIELDS[tool]
    with serve(home, jobs.project) as wire:
        token = wire.answer(wire.call("run_command", command="true", wait_s=40))["structuredContent"]["token"]
        fixed = {name: token if value == "{token}" else value for name, value in fixed.items()}
        cases = [
            (name, value)
            for names, values in ((texts, TEXTS), (numbers, NUMBERS))
            for name in names
            for value in values
        ]
        for name, value in cases:
            said = json.dumps(wire.result(wire.call(tool, **{**fixed, name: value})))
            assert "bug of mtr" not in said, (name, value)
            assert "fault of mtr" not in said, (name, value)
            assert len(said) < 100_000, (name, value)
        assert (
            wire.answer(wire.call("run_command", command="echo fine", wait_s=40))["structuredContent"]["stdout"]
            == "fine\n"
        )


def test_a_server_that_hangs_holds_up_no_other_call(home: Home, jobs: Jobs) -> None:
    """Twenty calls wait for it: others are answered within seconds, and the process ends with its client."""
    relay = Relay(home.server.port)
    try:
        home.configure(jobs.project, port=relay.port)
        with serve(home, jobs.project) as wire:
            started = wire.answer(wire.call("run_command", command="sleep 600", timeout=900))["structuredContent"]
            wire.answer(wire.call("query_command_status", token=started["token"], wait_s=1))
            wait_until(lambda: jobs.stands(started["token"]) == "running", "the command to run")
            relay.stall()
            for number in range(20):
                tool = ("query_command_status", "terminate_command", "send_command_input")[number % 3]
                wire.call(tool, token=started["token"], **({"text": "x"} if number % 3 == 2 else {}))
            began_s = time.monotonic()
            assert wire.answer(wire.call("list_servers"))["structuredContent"]["default"] == "lab"
            here = wire.answer(wire.call("run_command", command="echo here", server="local", wait_s=20))
            assert here["structuredContent"]["stdout"] == "here\n"
            late = wire.answer(wire.call("run_command", command="true"))["structuredContent"]["token"]
            found = wire.answer(wire.call("query_command_status", token=late))["structuredContent"]
            assert found["status"] == "pending"
            assert time.monotonic() - began_s < 10
            assert wire.process.stdin
            wire.process.stdin.close()
            wire.process.stdin = None
            began_s = time.monotonic()
            wire.process.wait(timeout=30)
            assert time.monotonic() - began_s < 10
    finally:
        relay.close()


def test_a_start_that_was_cut_off_is_told_as_such(home: Home, jobs: Jobs) -> None:
    """kill -9 between the token and the job: not_found, and that it can be started again; nothing was started."""
    relay = Relay(home.server.port)
    try:
        home.configure(jobs.project, port=relay.port)
        with serve(home, jobs.project) as wire:
            wire.answer(wire.call("run_command", command="true", wait_s=40))
            relay.stall()
            token = wire.answer(wire.call("run_command", command="touch made"))["structuredContent"]["token"]
            wire.process.kill()
        relay.cut()  # What was on its way never arrives: it might have begun.
        relay.resume()
        with serve(home, jobs.project) as wire:
            found = wire.answer(wire.call("query_command_status", token=token))["structuredContent"]
            assert found["status"] == "not_found"
            assert "start it again" in found["hint"]
        assert not (home.remote(jobs.project) / "made").exists()
    finally:
        relay.close()


@pytest.mark.parametrize("what", ["down", "key", "user"])
def test_a_start_that_fails_says_why_and_what_to_do(home: Home, jobs: Jobs, what: str) -> None:
    """A server that is down, whose host key is another, or that lets nobody in: with the way out in the hint."""
    if what == "down":
        home.configure(jobs.project, port=1)
    elif what == "key":
        other = (
            (home.server.dir / "client.pub")
            if (home.server.dir / "client.pub").exists()
            else home.server.key.with_suffix(".pub")
        )
        home.known_hosts.write_text(f"[127.0.0.1]:{home.server.port} {' '.join(other.read_text().split()[:2])}\n")
    else:
        home.configure(jobs.project, user="nobody-there")
    with serve(home, jobs.project) as wire:
        found = wire.answer(wire.call("run_command", command="true", wait_s=40))["structuredContent"]
        assert (found["status"], found["exit_code"]) == ("completed", 125)
        assert found["error"]
        assert "mtr" in found["hint"] or "ssh" in found["hint"]


def test_over_http_large_and_many_requests_are_borne(home: Home, project: Path) -> None:
    """A token in the address is none; a body that is too large is refused; idle connections hold up nobody."""
    with serve_http(home, project) as (_, port, token):
        right = {"Authorization": f"Bearer {token}"}
        assert ask(port, {}, path=f"/mcp?token={token}&access_token={token}")[0] == 401
        assert ask(port, {"Authorization": "Bearer " + "x" * 60_000})[0] in {400, 401, 431}
        assert ask(port, {"Authorization": "Bearer \xe4\xff"})[0] == 401
        assert ask(port, right, body="[" * (5 << 20))[0] == 413
        assert ask(port, right, body="[" * 100_000)[0] == 400
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        try:
            for connection in idle:
                connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n")
            began_s = time.monotonic()
            assert ask(port, right)[0] == 200
            assert time.monotonic() - began_s < 10
        finally:
            for connection in idle:
                connection.close()
