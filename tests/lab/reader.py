"""Somebody who reads a page and does what it says, block by block, against the lab's real sshd.

Their network leads every name and address to the lab's server (``Host *`` at the end of their ssh configuration), where
the user ``dev`` has a home, and the programs of ``tests/lab/programs`` stand for those of a GPU server. Their own home
is real to ssh, too: nss_wrapper says where it is. Everything else is what the page tells them to do.

What a block may ask for (``<!-- test: KEY=VALUE -->``):

    setup=NAME       from here on a new person on a new server:
                       project   a repository ``demo`` with a server: what a page begins with
                       password  the same, and no key
                       ci        the same, and a key and a known host in two variables
                       bare      no project, no configuration
                       example   the page's own directory, with the servers of ``project`` in the reader's own
                                 configuration if it has none; ``password-example``, ``ci-example``
    file=PATH        the reader writes the block to this file, of the current directory
    status=N         the last command ends with N, not 0
    terminal         it is typed in a terminal; ``shows=TEXT`` is waited for, then ``types=TEXT`` is typed
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect

from mtr.config.source import parse_source
from mtr.config.validate import ensure_valid
from tests.lab.documents import CHECKOUT, RUN
from tests.lab.home import OWN_FAULT, Home
from tests.lab.sshd import SshServer

if TYPE_CHECKING:
    from tests.lab.documents import Block

PROGRAMS = Path(__file__).with_name("programs")
PASSWORD = "correct horse"
USER = "dev"

PROJECT = """\
servers:
  gpu-01:
    host: 192.168.1.10
    user: dev
    remote_dir: ~/projects/demo
  gpu-02:
    user: dev
"""

_NETWORK = f"Host gpu-box\n  User {USER}\n\nHost *\n  HostName 127.0.0.1\n  Port {{port}}\n  User {USER}\n"

_BLOCK_TIMEOUT_S = 90

_SH = """\
shopt -s expand_aliases
trap '{{ declare -px; declare -f; alias -p; }} >"{state}"; pwd >"{state}.cwd"' EXIT
{set}
{text}"""
"""The variables, functions and aliases of a block are still there in the next one, as in the reader's shell."""


def start_server() -> SshServer:
    """Start the server of a page."""
    path = f"{PROGRAMS}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    server = SshServer(lines=(f"SetEnv PATH={path}",), more_users={USER: PASSWORD}).start()
    home = server.home_of(USER)
    shutil.copy(PROGRAMS / "bashrc", home / ".bashrc")
    shutil.copytree(PROGRAMS / "miniconda3", home / "miniconda3")
    for prefix in (home / "miniconda3", home / "miniconda3" / "envs" / "torch"):
        (prefix / "conda-meta").mkdir(parents=True)
        (prefix / "bin").mkdir(exist_ok=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
    return server


class Reader(Home):
    """A person with a shell that remembers what it was told."""

    def __init__(self, server: SshServer, setup: str, page: Path) -> None:
        super().__init__(server)
        self._state = self.dir / "shell"
        self._state.write_text("")
        self.cwd = self.home
        self._settle_in()
        if setup.endswith("example"):
            self._copy_project(page.parent, page.parent.name)
            if not (self.cwd / ".mtr").exists():
                self._write(f"{self.environ['XDG_CONFIG_HOME']}/mtr/config.yaml", PROJECT)
        elif setup != "bare":
            self._make_project()
        if setup.startswith("password"):
            self.write_ssh_config("Host *\n  PubkeyAuthentication no\n")
        elif setup.startswith("ci"):
            self._leave_keys_to_the_page()

    def use_server(self, server: SshServer) -> None:
        """Know the host key, and nothing else."""
        self.server = server
        self.write_ssh_config()
        key = (server.dir / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{server.port} {key}")

    def write_ssh_config(self, first: str = "", *, key: Path | None = None) -> None:
        """Write ~/.ssh/config; every name that ``first`` leads elsewhere leads to the lab, too."""
        kept = "".join(line for line in first.splitlines(keepends=True) if not re.match(r"\s*HostName\s", line))
        super().write_ssh_config(f"{kept}\n{_NETWORK.format(port=self.server.port)}", key=key)

    def _settle_in(self) -> None:
        """Put mtr on the PATH, and let the machine know where this person's home is."""
        folder = self.dir / "bin"
        folder.mkdir()
        for name in ("mtr", "mtremote"):
            # As an installer writes it.
            (folder / name).write_text(f"#!{sys.executable}\nimport sys\nfrom mtr.warm import main\nsys.exit(main())\n")
            (folder / name).chmod(0o755)
        (folder / "python").symlink_to(sys.executable)
        me = f"you:x:{os.getuid()}:{os.getgid()}::{self.home}:/bin/bash"
        others = [":".join(map(str, row)) for row in pwd.getpwall() if row.pw_uid != os.getuid()]
        (self.dir / "passwd").write_text("\n".join([me, *others]) + "\n")
        self.environ |= {
            "USER": "you",
            "PATH": f"{folder}:{Path(sys.executable).parent}:{self.environ['PATH']}",
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(self.dir / "passwd"),
            "NSS_WRAPPER_GROUP": "/etc/group",
        }

    def _make_project(self) -> None:
        self._copy_project(CHECKOUT / "examples" / "train", "demo")
        (self.cwd / "notes.md").write_text("# Notes\n")
        (self.cwd / ".mtr").mkdir()
        (self.cwd / ".mtr" / "config.yaml").write_text(PROJECT)

    def _copy_project(self, source: Path, name: str) -> None:
        self.cwd = self.home / name
        shutil.copytree(source, self.cwd, ignore=shutil.ignore_patterns("__pycache__", "runs"))
        self.git(self.cwd, "init", "-q")
        self.git(self.cwd, "add", ".")
        self.git(self.cwd, "commit", "-qm", "First")

    def _leave_keys_to_the_page(self) -> None:
        """Have the secrets of a CI job in the environment, and no key and no known host."""
        self.environ |= {"DEPLOY_KEY": self.server.key.read_text(), "DEPLOY_KNOWN_HOSTS": self.known_hosts.read_text()}
        self.known_hosts.unlink()
        (self.home / ".ssh" / "config").write_text(_NETWORK.format(port=self.server.port))

    def do(self, block: Block) -> None:
        """Do what ``block`` asks; AssertionError says what came instead."""
        if block.language == "yaml":
            check_configuration(block)
        elif block.language == "json":
            json.loads(block.text)
        if "file" in block.how:
            self._write(block.how["file"], block.text)
        elif block.language == "console":
            self._replay(block)
        elif block.language in RUN:
            self._run(block)

    def _write(self, name: str, text: str) -> None:
        if name == "~/.ssh/config":
            self.write_ssh_config(text)
            return
        path = Path(name.replace("~", str(self.home), 1)) if name.startswith("~") else self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600 if "password:" in text else 0o644)

    def _run(self, block: Block) -> None:
        argv = self._build_argv(block.language, block.text)
        if "terminal" in block.how:
            status, output = self._run_in_terminal(argv, block.how)
        else:
            status, output = self._run_in_batch(argv)
        assert status == int(block.how.get("status", 0)), f"{block}: exit status {status}\n{block.text}\n{output}"

    def _build_argv(self, language: str, text: str) -> list[str]:
        if language == "python":
            return [sys.executable, "-c", text]
        if language in ("zsh", "fish"):
            return [language, "--no-rcs" if language == "zsh" else "--no-config", "-c", text]
        return self._build_bash(text, "set -eo pipefail")

    def _build_bash(self, text: str, beginning: str) -> list[str]:
        script = _SH.format(state=self._state, set=beginning, text=text)
        return ["bash", "-c", f". {self._state} >/dev/null 2>&1\n{script}"]

    def _run_in_batch(self, argv: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            argv,
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_BLOCK_TIMEOUT_S,
            check=False,
        )
        assert OWN_FAULT not in done.stdout, done.stdout.decode(errors="replace")
        self._follow()
        return done.returncode, done.stdout.decode(errors="replace")

    def _run_in_terminal(self, argv: list[str], how: dict[str, str]) -> tuple[int, str]:
        child = pexpect.spawn(
            argv[0], argv[1:], cwd=str(self.cwd), env=self.environ, timeout=_BLOCK_TIMEOUT_S, encoding="utf-8"
        )
        seen = ""
        if "types" in how:
            child.expect_exact(how.get("shows", ""))
            seen = f"{child.before}{child.after}"
            child.send(how["types"].encode().decode("unicode_escape"))
        child.expect(pexpect.EOF)
        child.close()
        self._follow()
        return int(child.exitstatus if child.exitstatus is not None else 128 + child.signalstatus), seen + child.before

    def _follow(self) -> None:
        """Go on where the last block has gone."""
        there = self._state.with_suffix(".cwd")
        if there.exists():
            self.cwd = Path(there.read_text().rstrip("\n"))

    def _replay(self, block: Block) -> None:
        """Type each command of a console block, and compare what comes with what the page shows."""
        status = 0
        for command, shown in split_console(block.text):
            status, output = self._run_in_batch(self._build_bash(command, f"(exit {status})"))
            assert looks_like(output, shown), f"{block}: $ {command}\n--- shown\n{shown}\n--- came\n{output}"


def check_configuration(block: Block) -> None:
    """Check a yaml block as mtr checks a configuration; one that is not run is YAML, and no more."""
    source = parse_source(block.page, block.text.encode())
    if not block.reason:
        ensure_valid(source)


def split_console(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output shown below it; ``> `` continues a command."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", "")
        else:
            assert found, f"no command before {line!r}"
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def looks_like(output: str, shown: str) -> bool:
    """Tell whether ``output`` is what the page shows: ``...`` stands for anything in a line, alone for any lines."""
    pattern = ""
    for line in shown.splitlines():
        pattern += r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.split("..."))) + r" *\n"
    return re.fullmatch(pattern, output if output.endswith("\n") or not output else f"{output}\n") is not None
