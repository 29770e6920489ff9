"""What the contestants meet on: one sshd, a line to it for each round trip, masters, a home, projects.

Everything lies in directories named ``mtr-lab-…`` and is gone when the ground closes, processes too, by their ids.
The bench's own masters are for bare ssh and the hand-typed pair; mtr opens its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.install import CHECKOUT, install_mtr
from tests.benchmarks.trees import Tree, remove
from tests.lab.home import Home
from tests.lab.processes import end_tree, processes_mentioning, wait_until
from tests.lab.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Sequence

USER = "bash"

MEMORY_BYTES = 6 * 10**9
"""Three copies of the largest tree and the large file, with room to spare."""


@dataclass(frozen=True)
class Line:
    """A way to the server: ``name`` is a Host of the bench's ssh_config and a server of every project."""

    round_trip_ms: int
    port: int

    @property
    def name(self) -> str:
        """The name that people would type."""
        return f"lab-{self.round_trip_ms}"


def choose_place() -> Path:
    """Return where the projects and their copies lie: in memory where there is enough, so that no disk is measured."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_BYTES:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return memory if available > MEMORY_BYTES else Path("/tmp")
    return Path("/tmp")


class Ground:
    """A context manager; made once for a whole benchmark. Projects and what is synced lie below ``place``."""

    def __init__(self, round_trips_ms: Sequence[int], place: Path) -> None:
        self._place = place
        self._round_trips_ms = round_trips_ms
        self._stack = contextlib.ExitStack()
        self._trees: dict[int, Tree] = {}
        self.lines: dict[int, Line] = {}

    def __enter__(self) -> Ground:
        try:
            self._build()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        """End and remove everything; a second Ctrl-C does not stop that."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        self._stack.close()
        for number, handler in before.items():
            signal.signal(number, handler)

    def _build(self) -> None:
        self.server = SshServer()
        self._stack.callback(self.server.close)
        self.server.start()
        self.home = Home(self.server)
        self.files = Path(tempfile.mkdtemp(prefix="mtr-lab-", dir=self._place)).resolve()
        for name in ("projects", "server"):
            (self.files / name).mkdir()
        self._stack.callback(self._leave)
        self.environ = {name: value for name, value in self.home.environ.items() if not name.startswith("PYTHON")}
        self.mtr = install_mtr(self.home.dir / "venv")
        for round_trip_ms in self._round_trips_ms:
            self.lines[round_trip_ms] = Line(round_trip_ms, self._open_line(round_trip_ms))
        # Before the lines are closed: mtr says goodbye over them.
        self._stack.callback(self._close_mtr)
        self.ssh_config = self.home.dir / "ssh_config"
        self._write_ssh_config()
        for line in self.lines.values():
            self._open_master(line)

    def _start(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start something that lasts until the ground closes."""
        process = subprocess.Popen(
            argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

        def end() -> None:
            end_tree(process.pid)
            process.communicate()

        self._stack.callback(end)
        return process

    def _open_line(self, round_trip_ms: int) -> int:
        """Return a port that leads to the server; without a delay, the server's own."""
        if not round_trip_ms:
            return self.server.port
        words = [sys.executable, "-m", "tests.benchmarks.delay", str(self.server.port), str(round_trip_ms / 2000)]
        process = self._start(words)
        assert process.stdout
        return int(process.stdout.readline())

    def _write_ssh_config(self) -> None:
        (self.home.dir / "c").mkdir(mode=0o700)
        hosts = [f"Host {line.name}\n  Port {line.port}\n" for line in self.lines.values()]
        self.ssh_config.write_text(
            "".join(hosts)
            + f"Host lab-*\n  HostName 127.0.0.1\n  ControlPath {self.home.dir}/c/%n\n"
            + f"Host *\n  User {USER}\n  BatchMode yes\n  StrictHostKeyChecking accept-new\n  IdentitiesOnly yes\n"
            + f"  IdentityFile {self.server.key}\n  IdentityAgent none\n"
            + f"  UserKnownHostsFile {self.home.dir}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
        )

    @property
    def ssh(self) -> list[str]:
        """ssh with the bench's configuration, by its full path."""
        return [shutil.which("ssh") or "ssh", "-F", str(self.ssh_config)]

    def _open_master(self, line: Line) -> None:
        self._start([*self.ssh, "-q", "-M", "-N", line.name])
        check = [*self.ssh, "-O", "check", line.name]
        wait_until(
            lambda: not subprocess.run(check, capture_output=True, check=False).returncode, f"a master on {line.name}"
        )

    def tree(self, files: int) -> Tree:
        """Return the project of this size, made the first time; every line is a server of it."""
        if files not in self._trees:
            root = self.files / "projects" / f"files-{files}"
            (root / ".mtr").mkdir(parents=True)
            self.configure(root, f"files-{files}")
            self._trees[files] = Tree(root, files, self.home.environ)
        return self._trees[files]

    def copy(self, tree: Tree) -> Path:
        """Return a copy of the project without what belongs to git and mtr, made the first time."""
        root = self.files / "projects" / f"copy-{tree.files}"
        if not root.exists():
            tree.copy_to(root)
        return root

    def configure(self, root: Path, name: str, **more: str) -> None:
        """Write the project's configuration, with ``more`` keys; its files go to directories called ``name`` there."""
        servers = {
            line.name: {
                "host": "127.0.0.1",
                "port": line.port,
                "user": USER,
                "remote_dir": str(self.remote(f"mtr-{name}-{line.round_trip_ms}")),
                **more,
            }
            for line in self.lines.values()
        }
        path = root / ".mtr" / "config.yaml"
        path.write_text(json.dumps({"servers": servers}, indent=1))
        path.chmod(0o600)

    def remote(self, name: str) -> Path:
        """Return the path of a directory on the server, for whoever syncs into it."""
        return self.files / "server" / name

    def clear_remote(self) -> None:
        """Remove what the contestants have put on the server: files of one case are no good to the next."""
        for path in (self.files / "server").iterdir():
            remove(path)

    def _close_mtr(self) -> None:
        subprocess.run(
            [str(self.mtr), "down", "--all"],
            cwd=self.home.dir,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )

    def _leave(self) -> None:
        """End what is left of the contestants, and remove the files that they can no longer write."""
        wait_until(self._end_strays, "the end of every contestant")
        remove(self.home.dir)
        remove(self.files)

    def _end_strays(self) -> bool:
        """Tell whether none of our processes was left; each knows one of our directories, which nobody else has."""
        found = processes_mentioning([str(self.home.dir), str(self.server.dir), str(self.files)])
        strays = [pid for pid in found if pid != self.server.pid]
        for pid in strays:
            end_tree(pid)
        return not strays
