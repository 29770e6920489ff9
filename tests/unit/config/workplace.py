"""A home and a project in a temporary directory, with configuration files in them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.select import select_server

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.config.model import Config, Server


class Workplace:
    def __init__(self, base: Path) -> None:
        self.home = base / "home"
        self.root = base / "work" / "project"
        self.home.mkdir()
        self.root.mkdir(parents=True)
        self.environ = {"HOME": str(self.home), "PATH": "/usr/bin:/bin"}
        self.user_file = self.home / ".config/mtr/config.yaml"
        self.project_file = self.root / ".mtr/config.yaml"
        self.local_file = self.root / ".mtr/local.yaml"
        self.ssh_config = self.home / ".ssh/config"

    def write(self, file: Path, text: str, mode: int = 0o644) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        file.chmod(mode)
        return file

    def load(self, project: str = "", *, user: str = "", local: str = "", directory: Path | None = None) -> Config:
        for file, text in ((self.user_file, user), (self.project_file, project), (self.local_file, local)):
            if text:
                self.write(file, text, 0o600)
        return load_config(find_project(directory or self.root, self.environ), self.environ)

    def select(self, requested: str | None = None, project: str = "") -> Server:
        return select_server(self.load(project), requested, self.environ)
