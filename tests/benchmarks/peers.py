"""The two packages that do the same job, each in an environment of its own, used as their documentation says.

Neither shares a connection between runs by itself, and no ssh_config does it for them here. They find ``ssh`` on
PATH; a script there adds the bench's configuration, since ssh reads no other home directory than the real user's.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from tests.benchmarks.contestants import Contestant
from tests.benchmarks.install import InstallError, install

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.ground import Ground, Line
    from tests.benchmarks.trees import Tree


def _build(ground: Ground, package: str, program: str, words: Sequence[str], root: Path) -> Contestant:
    """Return a package as a contestant; it is installed the first time."""
    target = ground.home.dir / f"venv-{package}"
    missing = target / "missing"
    if not target.exists():
        try:
            install(target, [package])
        except InstallError as error:
            missing.write_text(f"cannot be installed: {error}")
    argv = (str(target / "bin" / program), *words)
    why = missing.read_text() if missing.exists() else ""
    return Contestant(package, argv, root, _environ(ground), missing=why)


def _environ(ground: Ground) -> dict[str, str]:
    """Return the environment with our ssh in front."""
    programs = ground.home.dir / "peer-bin"
    programs.mkdir(exist_ok=True)
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shlex.join(ground.ssh)} "$@"\n')
    (programs / "ssh").chmod(0o700)
    return {**ground.environ, "PATH": f"{programs}:{ground.environ['PATH']}"}


def _project(ground: Ground, tree: Tree, line: Line, package: str) -> Path:
    root = ground.files / "projects" / f"{package}-{line.round_trip_ms}"
    if not root.exists():
        tree.copy_to(root)
    return root


def build_mtr_cli(ground: Ground, tree: Tree, line: Line) -> Contestant:
    """``mtr-cli``: rsync, then ssh, a login for each; its look for updates is turned off."""
    root = _project(ground, tree, line, "mtr-cli")
    (root / ".mtr").mkdir(exist_ok=True)
    server = {
        "host": "127.0.0.1",
        "port": line.port,
        "user": "bash",
        "key_filename": str(ground.server.key),
        "remote_dir": str(ground.remote(f"mtr-cli-{line.round_trip_ms}")),
    }
    defaults = {"sync": "rsync", "exclude": [".git/"]}
    (root / ".mtr" / "config.yaml").write_text(json.dumps({"defaults": defaults, "servers": {"lab": server}}))
    return _build(ground, "mtr-cli", "mtr", ("--no-check-update", "--no-tty", "true"), root)


def build_remote_exec(ground: Ground, tree: Tree, line: Line) -> Contestant:
    """``remote-exec``: rsync there, ssh, rsync back, a login for each."""
    root = _project(ground, tree, line, "remote-exec")
    directory = ground.remote(f"remote-exec-{line.round_trip_ms}")
    (root / ".remote.toml").write_text(
        f'[[hosts]]\nhost = "127.0.0.1"\nport = {line.port}\ndirectory = "{directory}"\n'
        '[push]\nexclude = [".git"]\n[pull]\nexclude = [".git"]\n'
    )
    return _build(ground, "remote-exec", "remote", ("true",), root)


def build_peers(ground: Ground, tree: Tree, line: Line) -> list[Contestant]:
    """Return both."""
    return [build_mtr_cli(ground, tree, line), build_remote_exec(ground, tree, line)]
