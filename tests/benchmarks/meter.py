"""Starts programs one at a time and measures each: wall time, peak memory, bytes on stdout.

Runs as a process of its own (``python -I -S meter.py``), because a child's ``ru_maxrss`` begins at what its parent
held when it was started (Linux: the mark outlives execve), so a large parent would report itself. It holds about
10 MB; smaller figures than that cannot be seen.

Reads one JSON request per line from stdin and answers each with one JSON line on stdout.
"""

import json
import os
import signal
import sys
import time

BUFFER = bytearray(1 << 18)


class DeadlineError(Exception):
    """The program did not end in time."""


def _out_of_time(*_: object) -> None:
    raise DeadlineError


def _spawn(request: dict, stdout: int) -> int:
    """Start the program in its directory; stdin is empty, stdout the pipe, stderr a file."""
    os.chdir(request["cwd"])
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    argv = request["argv"]
    defaults = (signal.SIGINT, signal.SIGPIPE)
    return os.posix_spawn(argv[0], argv, request["environ"], file_actions=actions, setsigdef=defaults)


def _drain(stdout: int) -> int:
    """Read everything, as /dev/null would, and return how many bytes it was."""
    total = 0
    while count := os.readv(stdout, [BUFFER]):
        total += count
    return total


def measure(request: dict) -> dict:
    """Run one program to its end."""
    ours, theirs = os.pipe()
    began_s = time.perf_counter()
    try:
        pid = _spawn(request, theirs)
    except OSError as error:
        os.close(ours)
        return {"error": str(error)}
    finally:
        os.close(theirs)
    signal.setitimer(signal.ITIMER_REAL, request["deadline_s"])
    try:
        count = _drain(ours)
        _, status, usage = os.wait4(pid, 0)
    except DeadlineError:
        os.kill(pid, signal.SIGKILL)
        os.wait4(pid, 0)
        return {"late": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(ours)
    took_s = time.perf_counter() - began_s
    code = os.waitstatus_to_exitcode(status)
    return {"seconds": took_s, "peak_kib": usage.ru_maxrss, "bytes": count, "status": code}


def main() -> None:
    """Answer requests until stdin ends."""
    signal.signal(signal.SIGALRM, _out_of_time)
    # Ctrl-C is the benchmark's to handle: it closes this stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(measure(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
