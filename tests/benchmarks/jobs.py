"""The figures of jobs beside their goals: ``python -m tests.benchmarks.jobs``, alone on a quiet machine.

Starts are measured in turn with unchanged runs, what is followed with what ssh itself reads over the same master.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.lab.home import MTR, Home
from tests.lab.jobs import Jobs
from tests.lab.relay import Relay
from tests.lab.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUND_TRIP_S = 0.1
OUTPUT_BYTES = 1_000_000_000
ROUNDS = 15
STARTS = 60


def say(text: str) -> None:
    """Print one figure at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def measure_ms(*acts: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Return the median of each of ``acts``, done in turn."""
    found: list[list[float]] = [[] for _ in acts]
    for _ in range(rounds):
        for act, times in zip(acts, found, strict=True):
            began_s = time.perf_counter()
            act()
            times.append((time.perf_counter() - began_s) * 1e3)
    return [statistics.median(times) for times in found]


def measure_start(jobs: Jobs, where: str) -> None:
    """``job start`` beside an unchanged ``mtr true``: on a commit, and on a tree that git finds changed."""
    for state in ("committed", "with changes"):
        if state == "committed":
            jobs.home.git(jobs.project, "add", ".")
            jobs.home.git(jobs.project, "commit", "-qm", "all of it")
        else:
            (jobs.project / "a.txt").write_text(f"changed, {where}\n")
            (jobs.project / f"new {where}").write_text("new\n")
        jobs.mtr("true")
        run_ms, start_ms = measure_ms(lambda: jobs.mtr("true"), lambda: jobs.mtr("-d", "true"), rounds=STARTS)
        say(f"start, {where}, {state}: {start_ms:.0f} ms, {start_ms / run_ms:.2f} of mtr true (goal: 1.3)")


def measure_latency(jobs: Jobs) -> None:
    """From what a job prints to its arrival here."""
    script = "import time\nfor i in range(40): print(time.time()); time.sleep(.23)"
    job = jobs.start(sys.executable, "-u", "-c", script)
    with jobs.home.popen_mtr(["job", "logs", "-f", job], jobs.project) as follower:
        late_ms = [(time.time() - float(line)) * 1e3 for line in follower.stdout or ()][8:]
    say(f"follow latency: median {statistics.median(late_ms):.0f} ms, most {max(late_ms):.0f} (goal: 150)")


def measure_flood(jobs: Jobs) -> None:
    """What a job has printed, read by mtr and by ssh."""
    job = jobs.start("head", "-c", str(OUTPUT_BYTES), "/dev/urandom")
    jobs.ends(job, 120)
    (socket,) = (str(path) for path in jobs.home.runtime.glob("*") if path.is_socket())
    ssh = ["ssh", "-F", "none", "-S", socket, "-o", "ProxyCommand=false", "x", "cat", str(jobs.at(job) / "out")]
    ours_ms, ssh_ms = measure_ms(
        lambda: drain(jobs, [*MTR, "job", "logs", "-f", job]), lambda: drain(jobs, ssh), rounds=5
    )
    say(f"logs of 1 GB: {OUTPUT_BYTES / ours_ms / 1e3:.0f} MB/s, {ssh_ms / ours_ms:.2f} of ssh cat (goal: 0.9)")


def drain(jobs: Jobs, argv: list[str]) -> None:
    """Read all that ``argv`` prints."""
    with subprocess.Popen(argv, cwd=jobs.project, env=jobs.home.environ, stdout=subprocess.PIPE) as process:
        count = 0
        while process.stdout and (piece := process.stdout.read1(1 << 20)):
            count += len(piece)
    assert count == OUTPUT_BYTES


def measure_list(jobs: Jobs, example: Path, servers: list[SshServer], relays: list[Relay]) -> None:
    """A hundred jobs on three servers."""
    keys = {}
    for number, (server, relay) in enumerate(zip(servers, relays, strict=True)):
        folder = server.home_of("bash") / ".mtr" / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        for copy in range(34):
            shutil.copytree(example, folder / f"{number}{copy:07x}")
        keys[f"s{number}"] = {"host": "127.0.0.1", "port": relay.port, "user": "bash", "remote_dir": "~/x"}
    (jobs.project / ".mtr" / "config.yaml").write_text(json.dumps({"default": "s0", "servers": keys}))
    jobs.mtr("job", "list")
    (list_ms,) = measure_ms(lambda: jobs.mtr("job", "list"))
    say(f"list of {len(jobs.list())} jobs on three servers: {list_ms:.0f} ms (goal: 600)")


def main() -> None:
    """Measure all of it and print the figures."""
    with SshServer() as first, SshServer(key_from=first) as second, SshServer(key_from=first) as third:
        servers, home = [first, second, third], Home(first)
        relays = [Relay(server.port, delay_s=ROUND_TRIP_S / 2) for server in servers]
        del home.environ["PYTHONDONTWRITEBYTECODE"]  # Users have mtr compiled.
        jobs = Jobs(home, home.make_project())
        try:
            measure_start(jobs, "loopback")
            measure_flood(jobs)
            home.configure(jobs.project, port=relays[0].port)
            measure_start(jobs, "100 ms")
            measure_latency(jobs)
            example = jobs.start("true")
            jobs.ends(example)
            jobs.mtr("job", "show", example)  # What was told of its code has come by then.
            measure_list(jobs, jobs.at(example), servers, relays)
        finally:
            jobs.close()
            home.close()
            for relay in relays:
                relay.close()


if __name__ == "__main__":
    main()
