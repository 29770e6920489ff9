"""What the configuration comes down to, which files count, and what is wrong in them: nothing here connects."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mtr.config.check import Finding, check_file, find_doubts, locate, read_leniently
from mtr.config.load import build_config, list_files, load_sources, user_config_file
from mtr.config.openssh import own_file
from mtr.config.project import find_project
from mtr.config.select import explain_choice, select_server
from mtr.config.show import Shorten, Shown, show_all, show_server
from mtr.config.trust import is_trusted
from mtr.errors import MtrError, ServerNotFound
from mtr.state import ensure_runtime_dir, ensure_state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mtr.config.model import Config, Server
    from mtr.config.project import Project


@dataclass(frozen=True, slots=True)
class Overview:
    """The merged configuration: ``remarks`` say which server is used and why; ``server`` is "" for all of it."""

    server: str
    remarks: tuple[str, ...]
    shown: Shown

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return {"server": self.server or None, "remarks": self.remarks, "values": self.shown.values}


def load_overview(directory: str | None, name: str | None, environ: Mapping[str, str]) -> Overview:
    """Return what counts for the server ``name``, or all of the configuration where none is named.

    Raises:
        ConfigError: a file is wrong.
        ServerNotFound: there is no such server.
    """
    project = find_project(directory, environ)
    sources = load_sources(project, environ)
    config = build_config(project, sources, environ)
    shorten = Shorten(project.root, environ)
    if name is None:
        remarks = (*_describe_choice(config, environ), *_describe_policies(config, shorten))
        return Overview("", remarks, show_all(sources, shorten))
    server = select_server(config, name, environ)
    remarks = (f"what counts for {server.name}", *_describe_trust(server, environ))
    return Overview(server.name, remarks, show_server(sources, server, project, environ, shorten))


def _describe_choice(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        server = select_server(config, None, environ)
    except ServerNotFound as error:
        yield f"{error.message}; any destination works: mtr -s user@host CMD"
        return
    yield f"runs go to {server.name}: {explain_choice(config, None, environ)}"
    yield f"all that counts for it: mtr config show {server.name}"


def _describe_policies(config: Config, shorten: Shorten) -> Iterator[str]:
    """Say what lists of several files come to: the others add up, or the stricter value counts, and that is shown."""
    listing = [shorten.path(rules.file) for rules in config.policies if rules.allow is not None]
    if len(listing) > 1:
        yield f"policy.allow: a command has to be on the list of each of {', '.join(listing)}"


def _describe_trust(server: Server, environ: Mapping[str, str]) -> Iterator[str]:
    if server.claim is not None and not is_trusted(server.claim, environ):
        yield "it counts once you say `mtr trust`: its project's files ask for what only you may allow"


@dataclass(frozen=True, slots=True)
class Place:
    """A file or a directory of mtr's: what it is for, and whether it is there."""

    path: str
    purpose: str
    exists: bool

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return asdict(self)


def list_places(directory: str | None, environ: Mapping[str, str]) -> list[Place]:
    """Return the files that count, from weak to strong, and the directories that mtr uses."""
    project = find_project(directory, environ)
    found = [(str(file), _describe_file(file, project, environ)) for file in list_files(project, environ)]
    if project.config_dir is None:
        found.append((f"{project.root}/.mtr/config.yaml", "the project's: mtr init writes it"))
    refused = f", which is {project.is_refused} and never synced" if project.is_refused else ""
    found += [
        (str(project.root), f"the project's root{refused}"),
        (ensure_state_dir(environ), "what mtr keeps: what was synced, routes, trust"),
        (ensure_runtime_dir(environ), "open connections"),
        (own_file(environ), "what ssh may include: mtr ssh-config writes it"),
    ]
    return [Place(path, purpose, os.path.exists(path)) for path, purpose in found]


def _describe_file(file: Path, project: Project, environ: Mapping[str, str]) -> str:
    if file == user_config_file(environ):
        return "yours, for every project"
    where = "" if file.parent == project.root / ".mtr" else " (of the main worktree)"
    return ("the project's, yours alone" if file.name == "local.yaml" else "the project's") + where


def check_configuration(directory: str | None, file: str | None, environ: Mapping[str, str]) -> list[Finding]:
    """Return everything wrong or doubtful: in the files of the project, or in one ``file`` alone.

    Raises:
        ConfigError: ``file`` is not there.
    """
    if file is not None:
        return check_file(Path(file).absolute(), environ)
    reading = read_leniently(find_project(directory, environ), environ)
    findings = [*reading.findings, *find_doubts(reading, environ)]
    for server in reading.config.servers.values():
        findings += _check_ssh_options(server, reading.config, environ)
    return sorted(dict.fromkeys(findings), key=lambda found: (found.file, found.line, found.column))


def _check_ssh_options(server: Server, config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Ask ssh about each option by itself: it stops at the first that it does not take."""
    from mtr.ssh.endpoint import explain_option, load_client

    if not server.ssh_options:
        return
    try:
        client = load_client(environ)
    except MtrError:
        return  # Without ssh, paramiko says when it connects what it cannot honour.
    for name, value in server.ssh_options.items():
        place = locate(config, ("servers", server.name, "ssh_options", name))
        if (reason := explain_option(client, name, value, environ)) and place is not None:
            yield Finding(
                str(place.file), place.line, place.column, f"servers.{server.name}.ssh_options.{name}", reason
            )
