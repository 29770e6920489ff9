"""A person with a home of their own, who types ``mtr``.

ssh finds the home directory by the uid and not by $HOME; the configuration in $HOME, which mtr includes, points
known_hosts and keys into the lab, so that nothing of the real user is read or written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect

from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.trust import store_trust
from tests.lab.processes import end_tree, is_alive, wait_until
from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.sshd import SshServer

MTR = [sys.executable, "-m", "mtr"]

OWN_FAULT = b"a fault of mtr itself"
"""How mtr begins to tell what nobody has thought of."""


class Home:
    """A home directory, a runtime directory, and mtr started in them."""

    def __init__(self, server: SshServer) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="mtr-lab-", dir="/tmp")).resolve()
        for name in ("h", "r", "p"):
            (self.dir / name).mkdir(mode=0o700)
        self.home = self.dir / "h"
        self.runtime = self.dir / "r" / "mtr"
        self.environ = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": "/bin/bash",
            "XDG_RUNTIME_DIR": str(self.dir / "r"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_STATE_HOME": str(self.home / ".state"),
            "GIT_CONFIG_GLOBAL": str(self.home / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MTR_DISABLE_UPDATE_CHECK": "1",
        }
        (self.home / ".gitconfig").write_text(
            "[user]\n name = A\n email = a@example.org\n[init]\n defaultBranch = main\n"
        )
        self.use_server(server)

    def use_server(self, server: SshServer) -> None:
        """Let ``server`` be the one of this person, who knows its host key; projects configured before keep theirs."""
        self.server = server
        self.marks_before = {path.name for path in server.home_of("bash").glob(".mtr-*")}
        """What runs of other homes have left there."""
        self.write_ssh_config()
        self.known_hosts.write_text(f"[127.0.0.1]:{server.port} {(server.dir / 'host.pub').read_text()}")

    def write_ssh_config(self, first: str = "", *, key: Path | None = None) -> None:
        """Write ~/.ssh/config: ``first``, then what keeps ssh inside the lab; ``key`` is the user's (the lab's)."""
        (self.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (self.home / ".ssh" / "config").write_text(
            f"{first}\nHost *\n  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
            f"  IdentityFile {key or self.server.key}\n  IdentityAgent none\n"
        )

    @property
    def known_hosts(self) -> Path:
        """The file that takes host keys here."""
        return self.home / ".ssh" / "known_hosts"

    def make_project(self, name: str = "proj", user: str = "bash", **more: object) -> Path:
        """Make a git repository with two files and a configuration for ``user`` on the lab's server."""
        root = self.dir / "p" / name
        root.mkdir()
        self.git(root, "init", "-q")
        (root / "a.txt").write_text("one\n")
        (root / "src").mkdir()
        (root / "src" / "b.py").write_text("print('two')\n")
        self.configure(root, user, **more)
        return root

    def configure(self, root: Path, user: str = "bash", *, is_trusted: bool = True, **more: object) -> None:
        """Write the project's configuration with one server ``lab``, and ``more`` keys for it; the user trusts it."""
        keys: dict[str, object] = {"host": "127.0.0.1", "port": self.server.port, "user": user}
        keys |= {"remote_dir": f"~/{self.dir.name}/{root.name}"}
        if user == PASSWORD_USER:
            keys["password"] = PASSWORD
        keys |= more
        (root / ".mtr").mkdir(exist_ok=True)
        path = root / ".mtr" / "config.yaml"
        # JSON is YAML, and quotes everything.
        path.write_text(json.dumps({"servers": {"lab": keys}}, indent=1))
        path.chmod(0o600)
        if is_trusted and {"password_command", "password_env", "ssh_options"} & {*more}:
            self.trust(root)

    def trust(self, root: Path) -> None:
        """Trust what the configuration of ``root`` asks of this machine, as `mtr trust` does."""
        claim = load_config(find_project(root, self.environ), self.environ).claim
        if claim is not None:
            store_trust(claim, self.environ)

    def git(self, root: Path, *words: str) -> None:
        """Run git in ``root``."""
        subprocess.run(["git", *words], cwd=root, env=self.environ, check=True, capture_output=True)

    def remote(self, root: Path, user: str = "bash") -> Path:
        """Return where ``root`` lies on the server."""
        return self.server.home_of(user) / self.dir.name / root.name

    def run_mtr(
        self,
        args: Sequence[str | bytes],
        cwd: Path,
        *,
        stdin: bytes | None = b"",
        environ: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run mtr as a program would: its three streams are pipes. A fault of mtr's own fails every test."""
        done = subprocess.run(
            [*MTR, *args],
            cwd=cwd,
            env={**self.environ, **(environ or {})},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
        assert OWN_FAULT not in done.stderr, done.stderr.decode(errors="replace")
        return done

    def popen_mtr(self, args: Sequence[str], cwd: Path, **more: object) -> subprocess.Popen[bytes]:
        """Start mtr as a program would."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen([*MTR, *args], cwd=cwd, env=self.environ, **pipes)  # type: ignore[call-overload,no-any-return]

    def spawn_mtr(self, args: Sequence[str], cwd: Path, *, dimensions: tuple[int, int] = (24, 80)) -> pexpect.spawn:
        """Type mtr in a terminal."""
        return pexpect.spawn(
            MTR[0], [*MTR[1:], *args], cwd=str(cwd), env=self.environ, dimensions=dimensions, timeout=30
        )

    def masters(self) -> list[int]:
        """Return the pids of the masters that this home has open."""
        found = []
        for path in self.runtime.glob("*.json"):
            # A test may have put anything in its place.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
                if path.is_file():
                    found.append(int(json.loads(path.read_text())["pid"]))
        return [pid for pid in found if is_alive(pid)]

    def close(self) -> None:
        """End the masters and remove everything."""
        for pid in self.masters():
            end_tree(pid)
        wait_until(lambda: not self.masters(), "masters to end")
        shutil.rmtree(self.dir, ignore_errors=True)
