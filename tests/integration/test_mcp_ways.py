"""The two ways to `mtr mcp`, byte by byte: stdout is the protocol's alone, it ends when it should, HTTP is guarded."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import stat
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from mtr.mcp.http import judge
from tests.lab.agents import Agent, play
from tests.lab.jobs import Jobs
from tests.lab.processes import children_of, end_tree, is_alive, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.home import Home


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


class Wire:
    """A client that writes and reads lines, so that a test sees every byte."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.number = 0
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.answer(self.send("initialize", **hello))
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, **params: Any) -> int:
        """Send a request; return its number."""
        self.number += 1
        self.write({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        return self.number

    def call(self, tool: str, **arguments: Any) -> int:
        return self.send("tools/call", name=tool, arguments=arguments)

    def answer(self, number: int) -> dict[str, Any]:
        """Return the answer to a request that the protocol has taken."""
        return dict(self.result(number)["result"])

    def result(self, number: int) -> dict[str, Any]:
        """Return the message that answers a request; every line on the way is one."""
        assert self.process.stdout
        while True:
            found = json.loads(self.process.stdout.readline())
            assert found["jsonrpc"] == "2.0"
            if found.get("id") == number:
                return dict(found)


@contextmanager
def serve(home: Home, project: Path, *options: str) -> Iterator[Wire]:
    """Start `mtr mcp`, and end it."""
    process = home.popen_mtr([*options, "mcp"], project, stdin=subprocess.PIPE)
    try:
        yield Wire(process)
    finally:
        end_tree(process.pid)
        process.communicate()


def test_every_byte_on_stdout_is_of_the_protocol_also_at_the_end(home: Home, jobs: Jobs) -> None:
    """With -vv, a sync, a run whose rc files and command print, and an error; then the client closes stdin."""
    (home.server.home_of("bash") / ".bash_profile").write_text("echo loud\n")
    with serve(home, jobs.project, "-vv") as wire:
        found = wire.answer(wire.call("run_command", command="echo hi; cat a.txt", wait_s=40))["structuredContent"]
        assert found["stdout"].endswith("hi\none\n")
        wire.answer(wire.call("run_command", command="true", server="nowhere"))
        rest, said = wire.process.communicate()
        assert wire.process.returncode == 0, said
        assert rest == b""
        assert b"rsync" in said or b"tar" in said or b"session" in said


def test_children_read_nothing_of_the_protocol(home: Home, jobs: Jobs) -> None:
    """Whatever it starts has /dev/null as its stdin, and not its stdout either."""
    with serve(home, jobs.project) as wire:
        wire.answer(wire.call("sync_files"))
        own = os.readlink(f"/proc/{wire.process.pid}/fd/0"), os.readlink(f"/proc/{wire.process.pid}/fd/1")
        assert own[0] == "/dev/null"
        assert own[1] == os.readlink(f"/proc/{wire.process.pid}/fd/2")
        assert wire.process.stdin
        pipes = {os.readlink(f"/proc/self/fd/{wire.process.stdin.fileno()}")}
        for child in children_of(wire.process.pid):
            held = {os.readlink(path) for path in map(str, (Path(f"/proc/{child}/fd")).iterdir())}
            assert not held & pipes, child


def test_it_ends_at_once_when_the_client_closes_stdin(home: Home, jobs: Jobs) -> None:
    """Whatever calls still wait; the command goes on."""
    with serve(home, jobs.project) as wire:
        found = wire.answer(wire.call("run_command", command="sleep 600", timeout=900))["structuredContent"]
        for _ in range(5):
            wire.call("query_command_status", token=found["token"], wait_s=50)
        wait_until(lambda: jobs.stands(found["token"]) == "running", "the command to run")
        assert wire.process.stdin
        wire.process.stdin.close()
        wire.process.stdin = None
        began_s = time.monotonic()
        wire.process.wait(timeout=30)
        assert time.monotonic() - began_s < 5
        assert jobs.stands(found["token"]) == "running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(home: Home, project: Path, number: signal.Signals) -> None:
    """With the status that a shell reports, and no word of a fault."""
    with serve(home, project) as wire:
        wire.process.send_signal(number)
        _, said = wire.process.communicate(timeout=30)
        assert wire.process.returncode == 128 + number
        assert b"Traceback" not in said


def test_lines_that_are_no_protocol_are_answered_or_left(home: Home, project: Path) -> None:
    """It goes on after garbage, half a message and bytes that are no UTF-8."""
    with serve(home, project) as wire:
        assert wire.process.stdin
        wire.process.stdin.write(b'garbage\n{"jsonrpc": "2.0"\n\xff\xfe\n[]\n')
        wire.process.stdin.flush()
        assert wire.answer(wire.call("list_servers"))["structuredContent"]["default"] == "lab"


# -- HTTP


@contextmanager
def serve_http(home: Home, project: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """Start `mtr mcp --http`; give the process, its port and its token as it prints them."""
    process = home.popen_mtr(["mcp", "--http", "--port", "0", *options], project)
    try:
        assert process.stderr
        lines = [process.stderr.readline().decode() for _ in range(3)]
        port, token = re.search(r":(\d+)/mcp", lines[0]), re.search(r"Bearer (\S+)", lines[1])
        assert port, lines
        assert token, lines
        yield process, int(port[1]), token[1]
    finally:
        end_tree(process.pid)
        process.communicate()


def ask(
    port: int, headers: dict[str, str], method: str = "POST", *, path: str = "/mcp", body: str = ""
) -> tuple[int, str]:
    """Send the beginning of a session with these headers; return the status and what stands in the answer."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = body or json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    more = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, more | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_over_http_the_client_of_the_sdk_runs_commands(home: Home, jobs: Jobs) -> None:
    """With the token; two sessions at once."""

    async def act() -> None:
        async def one(number: int) -> None:
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http_client:
                way = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http_client)
                async with Client(way) as client:
                    found = await Agent(client).call("run_command", command=f"echo {number}", wait_s=40)
                    assert found["stdout"] == f"{number}\n"

        async with anyio.create_task_group() as group:
            for number in range(2):
                group.start_soon(one, number)

    with serve_http(home, jobs.project) as (_, port, token):
        play(act)


def test_over_http_nothing_is_answered_to_who_may_not_ask(home: Home, project: Path) -> None:
    """No token, a wrong one, a page of another origin, a rebound name: each refused, on every path and method."""
    with serve_http(home, project) as (_, port, token):
        right = {"Authorization": f"Bearer {token}"}
        assert ask(port, right)[0] == 200
        for headers in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": token},
            {"Authorization": f"Basic {token}"},
        ):
            status, words = ask(port, headers)
            assert (status, "token" in words) == (401, True)
        assert ask(port, right | {"Origin": "https://evil.example"})[0] == 403
        assert ask(port, right | {"Origin": "null"})[0] == 403
        assert ask(port, right | {"Origin": f"http://127.0.0.1:{port + 1}"})[0] == 403
        assert ask(port, right | {"Origin": f"http://127.0.0.1:{port}", "Host": f"127.0.0.1:{port}"})[0] == 200
        assert ask(port, right | {"Host": "evil.example"})[0] == 421
        assert ask(port, right | {"Host": "127.0.0.1.evil.example:80"})[0] == 421
        assert ask(port, {}, "GET")[0] == ask(port, {}, "DELETE")[0] == ask(port, {}, "OPTIONS")[0] == 401


def test_a_signal_ends_it_whoever_still_asks(home: Home, project: Path) -> None:
    """Over HTTP a request that is not whole yet, and may never be, holds up no end."""
    with serve_http(home, project) as (process, port, token):
        half = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        half.putrequest("POST", "/mcp")
        for name, value in (("Authorization", f"Bearer {token}"), ("Content-Length", "9")):
            half.putheader(name, value)
        half.endheaders(b"{")
        assert ask(port, {"Authorization": f"Bearer {token}"})[0] == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
        half.close()


def test_the_token_is_new_private_and_gone_with_the_server(home: Home, project: Path) -> None:
    """In the state directory, for its user alone."""
    with serve_http(home, project) as (process, port, token):
        path = Path(home.environ["XDG_STATE_HOME"]) / "mtr" / f"mcp-{port}.token"
        assert path.read_text() == f"{token}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        assert not path.exists()
        assert not is_alive(process.pid)
    with serve_http(home, project) as (_, _, other):
        assert other != token


def test_a_token_file_stays_the_same_and_must_be_private(home: Home, project: Path) -> None:
    """Made where it is missing, used again, refused where others can read it or it holds no secret."""
    path = home.home / "token"
    with serve_http(home, project, "--token-file", str(path)) as (_, port, token):
        assert ask(port, {"Authorization": f"Bearer {token}"})[0] == 200
    with serve_http(home, project, "--token-file", str(path)) as (_, _, again):
        assert again == token
    path.chmod(0o644)
    refused = home.run_mtr(["mcp", "--http", "--port", "0", "--token-file", str(path)], project)
    assert (refused.returncode, b"you alone can read" in refused.stderr) == (125, True)
    path.chmod(0o600)
    path.write_text("short\n")
    refused = home.run_mtr(["mcp", "--http", "--port", "0", "--token-file", str(path)], project)
    assert (refused.returncode, b"holds no token" in refused.stderr) == (125, True)


def test_it_listens_on_this_machine_alone(home: Home, project: Path) -> None:
    """Another host is refused with the way; a port that is taken, too."""
    refused = home.run_mtr(["mcp", "--http", "--host", "192.0.2.1"], project)
    assert (refused.returncode, b"ssh -L" in refused.stderr) == (2, True)
    with serve_http(home, project) as (_, port, _):
        refused = home.run_mtr(["mcp", "--http", "--port", str(port)], project)
        assert (refused.returncode, b"--port 0" in refused.stderr) == (125, True)


def test_what_is_refused_is_judged_by_the_headers_alone() -> None:
    """Names of this machine with any port, for a port that is forwarded; an origin only where it is the same."""
    right = {"authorization": "Bearer secret", "host": "localhost:9"}
    assert judge(right, "secret") is None
    assert judge(right | {"host": "[::1]:9"}, "secret") is None
    assert judge(right | {"host": "localhost", "origin": "http://localhost"}, "secret") is None
    for wrong in ({"host": ""}, {"host": "localhost:x"}, {"host": "localhost:9:9"}, {"host": "\0"}):
        assert (judge(right | wrong, "secret") or (0,))[0] == 421
    assert (judge(right | {"origin": "https://localhost:9"}, "secret") or (0,))[0] == 403
    assert (judge(right | {"authorization": "Bearer "}, "secret") or (0,))[0] == 401
