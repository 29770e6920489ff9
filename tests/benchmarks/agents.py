"""The figures of ``mtr mcp`` beside their goals: ``python -m tests.benchmarks.agents``, alone on a quiet machine.

The SDK's own client drives it over stdio. Starts are measured in turn with ``ssh … true`` over the same master.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from tests.benchmarks.jobs import say
from tests.integration.test_mcp_ways import Wire
from tests.lab.agents import open_agent
from tests.lab.home import MTR, Home
from tests.lab.jobs import Jobs
from tests.lab.processes import children_of, end_tree, find_peak_kib
from tests.lab.relay import Relay
from tests.lab.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.agents import Agent

HELLO = """\
from mcp.server.mcpserver import MCPServer

server = MCPServer("hello")

@server.tool()
def hello(name: str) -> str:
    return f"hello {name}"

server.run()
"""
"""The smallest server that the SDK's manual knows."""

TICKS_S = 100

ROUND_TRIP_S = 0.1
ROUNDS = 25
MANY = 50
OUTPUT_BYTES = 10_000_000
CAP_BYTES = 10 << 20


def measure_start(argv: Sequence[str], home: Home, project: Path) -> float:
    """Return what a server has taken of the processor when it has answered the handshake, in seconds."""
    process = subprocess.Popen(
        argv, cwd=project, env=home.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        Wire(process)
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(words[11]) + int(words[12])) / TICKS_S
    finally:
        end_tree(process.pid)
        process.communicate()


def measure_handshake(home: Home, project: Path) -> None:
    """From start to the answer to ``initialize``, in time of the processor."""
    pairs = [
        (measure_start([sys.executable, "-c", HELLO], home, project), measure_start([*MTR, "mcp"], home, project))
        for _ in range(7)
    ]
    hello, own = (statistics.median(times) for times in zip(*pairs, strict=True))
    say(f"start: {own * 1e3:.0f} ms, {own / hello:.2f} of the SDK's hello server (goal: 1.2)")


async def measure_run(jobs: Jobs, where: str) -> None:
    """From the call of ``run_command`` to its token."""
    (socket,) = (str(path) for path in jobs.home.runtime.glob("*") if path.is_socket())
    ssh = ["ssh", "-F", "none", "-S", socket, "-o", "ProxyCommand=false", "x", "true"]
    own_ms, ssh_ms, whole_ms = [], [], []
    async with open_agent(jobs.home, jobs.project) as agent:
        await agent.ends(await agent.run("true"))
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            subprocess.run(ssh, check=True)
            ssh_ms.append((time.perf_counter() - began_s) * 1e3)
            began_s = time.perf_counter()
            token = await agent.run("true")
            own_ms.append((time.perf_counter() - began_s) * 1e3)
            await agent.ends(token)
            whole_ms.append((time.perf_counter() - began_s) * 1e3)
    own, ssh_true, whole = map(statistics.median, (own_ms, ssh_ms, whole_ms))
    say(f"run_command, {where}: {own:.1f} ms, {own / ssh_true:.2f} of ssh true (goal: 1.3); to its end {whole:.0f} ms")


async def read_all(agent: Agent, token: str) -> tuple[str, int]:
    """Read a command to its end in pieces; return the SHA-256 of what came, and in how many answers."""
    seen, offset, answers = hashlib.sha256(), 0, 0
    while True:
        found: dict[str, Any] = await agent.call(
            "query_command_status", token=token, stdout_offset=offset, wait_s=20, max_bytes=1_000_000
        )
        text, exact = found["stdout"], found.get("stdout_base64")
        seen.update(base64.b64decode(exact) if exact else text.encode())
        offset, answers = found["next_stdout_offset"], answers + 1
        if found["status"] == "completed" and offset >= found["stdout_length"]:
            return seen.hexdigest(), answers


async def measure_many(jobs: Jobs) -> None:
    """Fifty commands of 10 MB each, read to their ends at once."""
    data = jobs.home.remote(jobs.project) / "data"
    line = "epoch %07d loss 0.123456 é\n"
    data.write_bytes("".join(line % number for number in range(OUTPUT_BYTES // 30)).encode())
    expected, found = hashlib.sha256(data.read_bytes()).hexdigest(), []
    async with open_agent(jobs.home, jobs.project) as agent:
        (server,) = [pid for pid in children_of(os.getpid()) if b"mcp" in _read_argv(pid)]
        began_s = time.perf_counter()

        async def one() -> None:
            token = await agent.run("cat data", sync=False, timeout=300)
            found.append(await read_all(agent, token))

        async with anyio.create_task_group() as tasks:
            for _ in range(MANY):
                tasks.start_soon(one)
        took_s, peak_mib = time.perf_counter() - began_s, find_peak_kib(server) / 1024
    same = sum(digest == expected for digest, _ in found)
    answers, limit_mib = sum(count for _, count in found), (MANY * CAP_BYTES >> 20) + 150
    say(f"{MANY} commands of 10 MB: {same} of {MANY} byte for byte, {answers} answers in {took_s:.0f} s")
    say(f"  memory of the server: {peak_mib:.0f} MiB at most (goal: {limit_mib})")


def _read_argv(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")
    return []


def main() -> None:
    """Measure all of it and print the figures."""
    with SshServer() as server:
        home, relay = Home(server), Relay(server.port, delay_s=ROUND_TRIP_S / 2)
        del home.environ["PYTHONDONTWRITEBYTECODE"]  # Users have mtr compiled.
        jobs = Jobs(home, home.make_project())
        try:
            jobs.mtr("true")
            measure_handshake(home, jobs.project)
            anyio.run(measure_run, jobs, "loopback")
            anyio.run(measure_many, jobs)
            home.configure(jobs.project, port=relay.port)
            jobs.mtr("down", "--all")
            jobs.mtr("true")
            anyio.run(measure_run, jobs, "100 ms")
        finally:
            jobs.close()
            home.close()
            relay.close()


if __name__ == "__main__":
    main()
