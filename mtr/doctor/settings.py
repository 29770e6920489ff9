"""The configuration: whether it is valid and trusted, and which server it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.config.select import explain_choice, select_server
from mtr.config.trust import is_trusted
from mtr.doctor.check import Finding, Skipped, ok, warn
from mtr.voice import render_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.config.model import Config, Server
    from mtr.config.project import Project
    from mtr.doctor.check import Ward


class Settings:
    """What the configuration around ``directory`` comes down to; None and empty where it is wrong."""

    def __init__(self, directory: str | None, environ: Mapping[str, str]) -> None:
        self.project: Project | None = None
        self.config: Config | None = None
        self.servers: Sequence[Server] = ()
        self._directory = directory
        self._environ = environ

    def check(self, ward: Ward, requested: str | None, *, everything: bool) -> None:
        """Make the checks of the configuration, and choose the servers to look at."""
        ward.make("config", self._check_files)
        ward.make("trust", self._check_trust, needs="config")
        ward.make("server", lambda: self._choose(requested, everything=everything), needs="config")

    def _check_files(self) -> Finding:
        self.project = find_project(self._directory, self._environ)
        self.config = load_config(self.project, self._environ)
        if not self.config.files:
            return ok("none; any destination works: mtr -s user@host CMD")
        files = ", ".join(map(str, self.config.files))
        return ok(f"{files}: {render_count(len(self.config.servers), 'server')}")

    def _check_trust(self) -> Finding:
        claim = self.config.claim if self.config else None
        if claim is None:
            raise Skipped
        if is_trusted(claim, self._environ):
            return ok(f"what {claim.root} asks of this machine is trusted")
        values = "\n".join(map(str, claim.values))
        return warn(
            f"the configuration in {claim.root} asks for what needs your trust, and has not got it\n{values}",
            "mtr trust",
        )

    def _choose(self, requested: str | None, *, everything: bool) -> Finding:
        config = self.config
        if config is None:
            raise Skipped
        if everything:
            self.servers = [*config.servers.values()]
            names = ", ".join(config.servers)
            return ok(f"all: {names}") if names else warn("no server is configured", "mtr init")
        named = requested or self._environ.get("MTR_SERVER") or None
        if named is None and config.default is None and not config.servers:
            return warn(
                "no server is configured, so none was tried; any destination will do: mtr doctor user@host", "mtr init"
            )
        server = select_server(config, named, self._environ)
        self.servers = [server]
        return ok(f"{server.name}: {explain_choice(config, requested, self._environ)}")
