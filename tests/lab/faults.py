"""A fault as a row of a table: what was injected, what the user saw, how long it took, what was left behind.

A test injects something real, runs mtr, and says what must hold; what it saw becomes a row. Every row ends with one
more run, after which the trees are equal and nothing of the fault is left, here or on the server.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.lab.home import OWN_FAULT
from tests.lab.kills import list_left
from tests.lab.processes import children_of, is_alive, processes_mentioning, wait_until
from tests.lab.trees import read_tree

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.lab.home import Home

LEFT_THERE = ("in.*", "busy.*", "cur.*", "theirs.*", "plan.*", "partial", "first", "probe.*", "seed.*")
"""What a run leaves in .mtr there; a mark no.TOKEN that no gate has read goes with the next listing."""

COUNT = "echo x >>../count; wc -l <../count"
"""A command that tells how often it has run; the file stands beside the tree."""


@dataclass
class Fault:
    """One row in the making, and the means to make it."""

    home: Home
    project: Path
    injected: str = ""
    saw: str = ""
    took_s: float = 0.0
    left: list[str] = field(default_factory=list)
    _started_s: float = 0.0

    def warm(self) -> None:
        """Bring everything once; afterwards a run has nothing to bring and a master to go over."""
        for _ in range(2):
            done = self.home.run_mtr(["true"], self.project)
            assert done.returncode == 0, done.stderr
        assert done.stderr == b""

    def run(
        self, words: Sequence[str], *, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run mtr under the fault, and note what its user sees and what is left at its end."""
        self._started_s = time.monotonic()
        done = self.home.run_mtr(words, self.project, environ=environ, timeout_s=100)
        self.note(done.returncode, done.stderr)
        return done

    def start(self, words: Sequence[str], **more: object) -> subprocess.Popen[bytes]:
        """Start mtr; its time counts from :meth:`inject`."""
        return self.home.popen_mtr(words, self.project, **more)

    def start_counting(self, *, seconds: int = 4321) -> subprocess.Popen[bytes]:
        """Start a command that says ``started`` and sleeps; return once it has said so."""
        process = self.start(["sh", "-c", f"{COUNT}; echo started; sleep {seconds}; echo ended"])
        assert process.stdout
        assert [process.stdout.readline() for _ in range(2)][1] == b"started\n"
        return process

    def inject(self) -> None:
        """Say that the fault happens now."""
        self._started_s = time.monotonic()

    def finish_killed(self, process: subprocess.Popen[bytes]) -> None:
        """Note what is left once ``process`` has been killed; its stderr may be held by the master, and is not read."""
        process.wait(60)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        self.note(process.returncode, b"")

    def finish(self, process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
        """Wait for the end of ``process``, and note what its user saw."""
        out, err = process.communicate(timeout=100)
        self.note(process.returncode, err)
        return process.returncode, out, err

    def note(self, status: int, err: bytes) -> None:
        """Note what the user saw, and what is left now."""
        self.took_s = time.monotonic() - self._started_s
        words = err.decode(errors="replace")
        assert "Traceback" not in words, words
        assert OWN_FAULT not in err, words
        said = [line.removeprefix("mtr: ") for line in words.splitlines() if line.startswith("mtr: ")]
        self.saw = f"{status}: {said[-1] if said else 'nothing said'}"
        self.left = self.list_remains()

    def list_remains(self) -> list[str]:
        """Return what is left of the fault: see :func:`list_remains`."""
        return list_remains(self.home, self.project)

    def mend(self, *, ran: int | None = None) -> None:
        """Run once more: status 0, equal trees, nothing left; ``ran`` is how often the counting command had run."""
        done = self.home.run_mtr(["true"], self.project)
        assert done.returncode == 0, done.stderr
        assert read_tree(self.home.remote(self.project)) == read_tree(self.project)
        with contextlib.suppress(AssertionError):  # what is left is better said than waited for
            wait_until(lambda: not self.list_remains(), "nothing to be left")
        assert self.list_remains() == [], self.list_remains()
        if ran is not None:
            count = self.home.remote(self.project).parent / "count"
            assert len(count.read_text().splitlines() if count.exists() else []) == ran


def list_remains(home: Home, project: Path) -> list[str]:
    """Return what is there besides masters, sshd and what mtr keeps: processes and files of both sides."""
    own = {pid for master in home.masters() for pid in (master, *children_of(master))}
    here = processes_mentioning([str(home.dir)])
    found = [f"here: {words.split()[0]}" for pid, words in here.items() if pid not in own]
    found += [f"there: {b' '.join(argv[:2]).decode()}" for argv in list_left(home).values()]
    return sorted([*found, *(f"file: {name}" for name in _list_files(home, project))])


def _list_files(home: Home, project: Path) -> list[str]:
    keys = {path.name.removesuffix(".json") for path in home.runtime.glob("*.json")}
    runtime = [p.name for p in home.runtime.glob("*") if not any(p.name.startswith(key) for key in keys)]
    state = home.home / ".state" / "mtr"
    here = [p.name for pattern in ("**/*.tmp", "**/*.lock") for p in state.glob(pattern)]
    here += ["the run in the journal" for _ in state.glob("runs/*")]
    there = [p.name for pattern in LEFT_THERE for p in (home.remote(project) / ".mtr").glob(pattern)]
    marks = [p.name for p in home.server.home_of("bash").glob(".mtr-*") if p.name not in home.marks_before]
    kept = {"config", "no-repository.git"}
    return [name for name in (*runtime, *here, *there, *marks) if name not in kept]


def kill_and_wait(pids: Sequence[int]) -> None:
    """Kill ``pids`` with SIGKILL, as the kernel does when memory is short, and wait until they are gone."""
    import os
    import signal

    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "the end of what was killed")


def render_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows as a table in Markdown."""
    head = "| injected | what the user saw (status: words) | s | left behind until the next run |\n|---|---|---:|---|\n"
    lines = [
        f"| {row['injected']} | {str(row['saw']).replace('|', '/')} | {row['took_s']:.1f} | {_render_left(row)} |\n"
        for row in rows
    ]
    return head + "".join(lines)


def _render_left(row: Mapping[str, object]) -> str:
    left = row["left"]
    return ", ".join(map(str, left)) if isinstance(left, list) and left else "nothing"
