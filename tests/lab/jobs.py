"""A person who starts jobs, and looks at them on the server's own disk; all of them are ended with the test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.processes import children_of, is_alive, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from tests.lab.home import Home


class Jobs:
    """The jobs of ``home``, started from ``project`` as ``user`` of the lab's server."""

    def __init__(self, home: Home, project: Path, user: str = "bash") -> None:
        self.home = home
        self.project = project
        self.folder = home.server.home_of(user) / ".mtr" / "jobs"

    def list_directories(self) -> list[Path]:
        """Return what is on the server's disk, half made things too."""
        return [*self.folder.iterdir()] if self.folder.is_dir() else []

    def mtr(
        self, *args: str, environ: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Type ``mtr ARGS``."""
        return self.home.run_mtr(args, self.project, environ=environ, timeout_s=timeout_s)

    def start(self, *words: str, options: Sequence[str] = ()) -> str:
        """Start a job; return its id, which is all that stands on stdout."""
        done = self.mtr("job", "start", *options, *words)
        assert done.returncode == 0, done.stderr
        found = done.stdout.decode()
        assert len(found) == 9, (done.stdout, done.stderr)
        assert found.endswith("\n")
        return found.strip()

    def list(self, *options: str) -> dict[str, dict[str, Any]]:
        """Return ``job list --json`` by id."""
        done = self.mtr("job", *options, "list", "--json")
        return {row["id"]: row for row in json.loads(done.stdout)["data"]}

    def at(self, job: str) -> Path:
        """Return the directory of ``job``."""
        return self.folder / job

    def stands(self, job: str) -> str:
        """Return the name of the file that says how ``job`` stands, "" where there is none."""
        names = [path.name for path in self.at(job).iterdir()] if self.at(job).is_dir() else []
        return next((name for name in names if name in {"queued", "running"} or name.startswith("ended.")), "")

    def ends(self, job: str, deadline_s: float = 30) -> str:
        """Wait for the end of ``job`` as it is written on the server; return STATUS.WHY."""
        wait_until(lambda: self.stands(job).startswith("ended."), f"the end of {job}", deadline_s)
        _, status, _, why = self.stands(job).split(".")
        return f"{status}.{why}"

    def prints(self, job: str, words: bytes, stream: str = "out") -> None:
        """Wait until ``job`` has printed ``words``."""
        wait_until(lambda: words in (self.at(job) / stream).read_bytes(), f"{words!r} of {job}")

    def keeper(self, job: str) -> int:
        """Return the pid of the keeper of ``job``, once its command has been started."""
        wait_until(lambda: self.stands(job) not in {"", "queued"}, f"the start of {job}")
        return int((self.at(job) / self.stands(job)).read_text().split()[0])

    def processes(self, job: str) -> list[int]:
        """Return what is alive of ``job``: whatever has its mark, and what that has started."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"MTR_JOB={job}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found |= {int(path.name), *children_of(int(path.name))}
        return sorted(pid for pid in found if is_alive(pid))

    def close(self) -> None:
        """End whatever is alive of the jobs and remove them."""
        for path in self.list_directories():
            for pid in self.processes(path.name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda job=path.name: not self.processes(job), f"the end of {path.name}")  # type: ignore[misc]
        shutil.rmtree(self.folder, ignore_errors=True)
