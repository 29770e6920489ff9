"""What the streams of commands take: ``python -m tests.benchmarks.streams``, alone on a quiet machine."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from mtr.streams.buffer import StreamingBuffer
from mtr.streams.executors import Executor, PtyExecutor, SubprocessExecutor
from mtr.streams.service import RunCmdService

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 5
FLOOD_BYTES = 1_000_000_000
MANY = 50


def say(text: str) -> None:
    """Print one figure at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def measure_s(act: Callable[[], object]) -> float:
    """Return the shortest of some rounds: others on the machine only make them longer."""
    found = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        act()
        found.append(time.perf_counter() - began_s)
    return min(found)


def measure_writes(size: int, total_bytes: int, kept_bytes: int, goal: str) -> None:
    """Writes of one size, most of which drop older bytes."""
    data = bytes(size)

    def write() -> None:
        buffer = StreamingBuffer(kept_bytes)
        for _ in range(total_bytes // size):
            buffer.write(data)

    took_s = measure_s(write)
    each_us = took_s / (total_bytes // size) * 1e6
    say(f"writes of {size:,} bytes: {total_bytes / took_s / 1e6:,.1f} MB/s, {each_us:.2f} µs each{goal}")


def measure_reads() -> None:
    """Following a full buffer in pieces."""
    buffer = StreamingBuffer()
    buffer.write(bytes(12 << 20))

    def read() -> None:
        offset = 0
        while piece := buffer.read(offset, 1 << 16).data:
            offset = buffer.read(offset, 0).start + len(piece)

    say(f"reads of 64 KiB: {(10 << 20) / measure_s(read) / 1e6:,.0f} MB/s")
    say(f"get_all of 10 MiB: {measure_s(buffer.get_all) * 1e3:.1f} ms")


def measure_program(kind: str, executor: Callable[[], Executor], size: int) -> None:
    """What a program can print through it, beside a pipe that Python reads."""
    command = ["head", "-c", str(size), "/dev/zero"]
    took_s = measure_s(lambda: executor().execute(command))
    words = ""
    if kind == "pipes":

        def drain() -> None:
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                while process.stdout and process.stdout.read1(1 << 16):
                    pass

        words = f", {measure_s(drain) / took_s:.2f} of a bare pipe"
    say(f"a program on {kind}: {size / took_s / 1e6:,.0f} MB/s{words}")


def measure_many() -> None:
    """How long many commands at once take, and what this process then holds."""

    def run() -> None:
        with RunCmdService() as service:
            tokens = [service.start(f"echo {number}") for number in range(MANY)]
            while any(service.look(token, 1 << 40, wait_s=1).status != "completed" for token in tokens):
                pass

    say(f"{MANY} commands at once, started and ended: {measure_s(run) * 1e3:.0f} ms")
    took_s = measure_s(lambda: SubprocessExecutor(StreamingBuffer()).execute("true"))
    say(f"`true` from start to status: {took_s * 1e3:.1f} ms")
    say(f"peak memory of all this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    """Measure all of it and print the figures."""
    measure_writes(1 << 16, 4 << 30, 10 << 20, " (goal: 500 MB/s)")
    measure_writes(100, 20_000_000, 10 << 20, "")
    measure_writes(1, 500_000, 1 << 18, "")
    measure_reads()
    measure_program("pipes", lambda: SubprocessExecutor(StreamingBuffer()), FLOOD_BYTES)
    measure_program("a terminal", lambda: PtyExecutor(StreamingBuffer()), FLOOD_BYTES // 10)
    measure_many()


if __name__ == "__main__":
    main()
