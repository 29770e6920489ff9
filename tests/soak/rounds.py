"""The rounds of a soak: a run of some kind, disturbed or not, and what must hold of its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.lab.faults import list_remains
from tests.lab.home import OWN_FAULT
from tests.lab.kills import kill_role
from tests.lab.processes import wait_until
from tests.lab.trees import read_tree

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from tests.lab.home import Home
    from tests.lab.relay import Relay

KILLED = ("mtr", "master", "sshd", "shell", "tool", "rsync here", "rsync there")
MOST_S = 0.25
"""Until when in a run something happens to it."""

LOST = 125


class Soak:
    """One person with one project, on a line that is not good."""

    def __init__(self, home: Home, relay: Relay, choice: random.Random) -> None:
        self.home = home
        self.relay = relay
        self.choice = choice
        self.project = home.make_project("soak")
        home.configure(self.project, port=relay.port, ssh_options={"ServerAliveInterval": 1, "ServerAliveCountMax": 3})
        self.remote = home.remote(self.project)
        self.ends: Counter[tuple[str, str]] = Counter()
        for number in range(200):
            (self.project / f"f{number}.txt").write_text(f"{number}\n")

    def settle(self) -> None:
        """Run once undisturbed, with one master open: equal trees, and nothing on its way."""
        self._remove_results()
        # A job outlives who follows it; the note of one that runs is a file here.
        wait_until(lambda: not self._list_running(), "the ends of all jobs", 60)
        self.home.run_mtr(["job", "prune", "--older", "0m"], self.project)
        done = self.home.run_mtr(["true"], self.project)
        assert done.returncode == 0, done.stderr
        assert self.home.run_mtr(["true"], self.project).returncode == 0
        assert read_tree(self.remote) == read_tree(self.project), "the trees differ"
        shutil.rmtree(self.remote / ".mtr" / "trash", ignore_errors=True)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not list_remains(self.home, self.project), "nothing to be left", 10)

    def _list_running(self) -> list[object]:
        found: list[object] = json.loads(
            self.home.run_mtr(["job", "list", "--running", "--json"], self.project).stdout
        )["data"]
        return found

    def run_round(self, number: int) -> None:
        """Do one run, disturbed one time in three."""
        runs = (self._run, self._run, self._run_edited, self._run_edited, self._sync, self._get)
        kind = self.choice.choice((*runs, self._follow, self._wait))
        words, expected = kind(number)
        disturb = self._choose_disturbance()
        process = self.home.popen_mtr(words, self.project)
        with disturb(process) as named:
            try:
                out, err = _read(process)
            except AssertionError as error:
                raise AssertionError(f"{named or 'undisturbed'}: {error}") from error
        self._check(number, process.returncode, out, err, expected, named)

    def _check(self, number: int, status: int, out: bytes, err: bytes, expected: tuple[int, bytes], named: str) -> None:
        shown = f"{named or 'undisturbed'}: status {status}, {expected[0]} expected; {err.decode(errors='replace')}"
        assert b"Traceback" not in err, shown
        assert OWN_FAULT not in err, shown
        own = status == expected[0] and (out == expected[1] or named == "tool")
        failed = bool(named) and status in (LOST, -signal.SIGKILL) and expected[1].startswith(out)
        # A tool, or the command itself, was hit: then the status is that of its death.
        hit = named in ("tool", "shell") and status in (128 + signal.SIGKILL, 1, 2)
        assert own or failed or hit, shown
        ended = "its own status" if own else "killed" if status == -signal.SIGKILL else f"status {status}"
        self.ends[named or "undisturbed", ended] += 1
        marks = self.remote.parent / "marks"
        runs = marks.read_text().split().count(str(number)) if marks.exists() else 0
        assert runs <= 1, f"the command of run {number} ran {runs} times"

    # -- kinds of runs: words, and the status and output to expect

    def _run(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        status = self.choice.choice((0, 0, 1, 3, 124, 255))
        lines = self.choice.choice((1, 10, 20_000))
        pause_s = self.choice.choice((0, 0, 0.2))
        script = f"echo {number} >>../marks; seq {lines}; sleep {pause_s}; exit {status}"
        return ["sh", "-c", script], (status, b"".join(b"%d\n" % n for n in range(1, lines + 1)))

    def _run_edited(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        self._edit(number)
        text = f"{number}\n".encode()
        return ["sh", "-c", f"echo {number} >>../marks; cat edited.txt"], (0, text)

    def _sync(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        self._edit(number)
        return ["sync"], (0, b"")

    def _get(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        self._remove_results()
        (self.remote / "result.bin").write_bytes(os.urandom(self.choice.choice((10, 300_000))))
        return ["get", "result.bin", str(self.home.dir / "got" / f"{number}.bin")], (0, b"")

    def _follow(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        job, _, printed = self._start_job(number)
        return ["job", "logs", "-f", job], (0, printed)

    def _wait(self, number: int) -> tuple[list[str], tuple[int, bytes]]:
        job, status, _ = self._start_job(number)
        return ["job", "wait", job], (status, b"")

    def _start_job(self, number: int) -> tuple[str, int, bytes]:
        status, lines = self.choice.choice((0, 0, 3)), self.choice.choice((1, 2_000_000))
        script = f"echo {number} >>../marks; seq {lines}; sleep 0.2; exit {status}"
        started = self.home.run_mtr(["-d", "sh", "-c", script], self.project)
        assert started.returncode == 0, started.stderr
        return started.stdout.decode().strip(), status, b"".join(b"%d\n" % n for n in range(1, lines + 1))

    def _remove_results(self) -> None:
        shutil.rmtree(self.home.dir / "got", ignore_errors=True)
        (self.remote / "result.bin").unlink(missing_ok=True)

    def _edit(self, number: int) -> None:
        (self.project / "edited.txt").write_text(f"{number}\n")
        for name in self.choice.sample(range(200), 5):
            path = self.project / f"f{name}.txt"
            path.unlink() if path.exists() and self.choice.random() < 0.3 else path.write_text(f"{number}\n")
        big = self.project / "big.bin"
        size = self.choice.choice((0, 0, 0, 0, 400_000, 17_000_000))
        big.write_bytes(self.choice.randbytes(size)) if size else big.unlink(missing_ok=True)

    # -- what happens to them

    def _choose_disturbance(self) -> Callable[[subprocess.Popen[bytes]], contextlib.AbstractContextManager[str]]:
        if self.choice.random() > 0.33:
            return lambda _process: contextlib.nullcontext("")
        return self.choice.choice((self._kill, self._kill, self._kill, self._cut, self._stall, self._stop))

    @contextlib.contextmanager
    def _kill(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        role, after_s = self.choice.choice(KILLED), self.choice.uniform(0, MOST_S)
        args = (role, self.home, process, self.choice)
        thread = threading.Thread(target=kill_role, args=args, kwargs={"after_s": after_s, "then_s": 0.0})
        thread.start()
        yield role
        thread.join()

    @contextlib.contextmanager
    def _cut(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        _wait(process, self.choice.uniform(0, MOST_S))
        self.relay.cut()
        yield "line cut"

    @contextlib.contextmanager
    def _stall(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        _wait(process, self.choice.uniform(0, MOST_S))
        self.relay.stall()
        thread = threading.Timer(self.choice.uniform(0.05, 2.0), self.relay.resume)
        thread.start()
        yield "line stalled for a while"
        thread.join()

    @contextlib.contextmanager
    def _stop(self, process: subprocess.Popen[bytes]) -> Iterator[str]:
        _wait(process, self.choice.uniform(0, MOST_S))
        masters = self.home.masters()
        _signal(masters, signal.SIGSTOP)
        # Longer or shorter than mtr waits for a session to open.
        thread = threading.Timer(self.choice.choice((0.3, 8.0)), _signal, (masters, signal.SIGCONT))
        thread.start()
        yield "master stopped for a while"
        thread.join()


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end_s:
        time.sleep(0.002)


def _read(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return what ``process`` says until its end; once it has been killed, a master may hold its pipes open."""
    found: list[bytes] = [b"", b""]

    def read(number: int, stream: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(stream.fileno(), 65_536):  # type: ignore[attr-defined]
                found[number] += chunk

    threads = [
        threading.Thread(target=read, args=pair, daemon=True) for pair in enumerate((process.stdout, process.stderr))
    ]
    for thread in threads:
        thread.start()
    try:
        process.wait(120)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"it did not end: {process.args}") from error
    for thread in threads:
        thread.join(None if process.returncode >= 0 else 1.0)
    return found[0], found[1]
