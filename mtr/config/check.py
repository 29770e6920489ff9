"""Everything that is wrong or doubtful in the files of a project, found without connecting or stopping at one.

``read_leniently`` reads what can be read: a file that is no YAML is left out, and so is each server, or other part,
that is wrong. What is left is for showing alone; nothing ever connects with it.
"""

from __future__ import annotations

import os
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from mtr.config.breadth import list_doubts
from mtr.config.load import build_config, ensure_own, ensure_private, list_files, user_config_file
from mtr.config.model import render_key_path
from mtr.config.select import explain_wrong_default
from mtr.config.source import Problem, load_source, order_problems
from mtr.config.trust import is_trusted
from mtr.config.validate import find_problems
from mtr.errors import ConfigError, reveal_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mtr.config.model import Config, KeyPath, Position, Server
    from mtr.config.project import Project
    from mtr.config.source import Source


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, or doubtful (``is_doubt``): mtr works, but probably not as meant.

    ``line`` and ``column`` count from 1, and are 0 for what is about a whole file.
    """

    file: str
    line: int
    column: int
    key: str
    reason: str
    is_doubt: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        words = [place, *(["warning"] if self.is_doubt else []), *([self.key] if self.key else []), self.reason]
        return reveal_controls(": ".join(words))

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON takes them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read: ``config`` without the wrong parts, ``broken`` servers with their first problem."""

    config: Config
    findings: tuple[Finding, ...]
    broken: Mapping[str, Finding]


def read_leniently(project: Project, environ: Mapping[str, str]) -> Reading:
    """Read the files of ``project``, passing over what is wrong."""
    sources, findings, broken = [], list[Finding](), dict[str, Finding]()
    for file in list_files(project, environ):
        source, problems, found = _read(file, environ)
        findings += found
        if source is not None:
            sources.append(_drop_wrong(source, problems))
        for problem in problems:
            if problem.path[:1] == ("servers",) and len(problem.path) > 1:
                broken.setdefault(str(problem.path[1]), _describe(problem))
    # A server that one file has wrong must not show with the other files' half of it.
    sources = [_drop_servers(source, broken) for source in sources]
    return Reading(build_config(project, sources, environ), tuple(findings), broken)


def check_file(file: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong in one file, wherever it lies.

    Raises:
        ConfigError: it is not there.
    """
    if not os.path.lexists(file):
        raise ConfigError(f"{file} is not there", hint="mtr config path")
    return _read(file, environ)[2]


def _read(file: Path, environ: Mapping[str, str]) -> tuple[Source | None, list[Problem], list[Finding]]:
    """Return a file, what is wrong in it, and that with what is wrong with the file itself, for people."""
    try:
        source = load_source(file)
    except ConfigError as error:
        if error.problems:
            return None, [], [_describe(problem) for problem in error.problems if isinstance(problem, Problem)]
        return None, [], [Finding(str(file), 0, 0, "", error.message.removeprefix(f"{file}: "))]
    if source is None:
        return None, [], []
    own = user_config_file(environ)
    problems = order_problems(find_problems(source, is_own=source.file == own))
    findings = [_describe(problem) for problem in problems]
    for ensure in (ensure_private, lambda source: ensure_own(source, own)):
        try:
            ensure(source)
        except ConfigError as error:
            findings.append(Finding(str(file), 0, 0, "", error.message.removeprefix(f"{file}: ")))
    return source, problems, findings


def _describe(problem: Problem) -> Finding:
    return _find(problem.position, problem.path, problem.reason)


def _find(position: Position, path: KeyPath, reason: str, *, is_doubt: bool = False) -> Finding:
    key = render_key_path(path)
    return Finding(str(position.file), position.line, position.column, key, reason, is_doubt)


def _drop_wrong(source: Source, problems: Iterable[Problem]) -> Source:
    """Return ``source`` without the parts in which ``problems`` lie: a server, or what else stands at the top."""
    data: Any = copy(source.data) if isinstance(source.data, dict) else {}
    for problem in problems:
        if not problem.path:
            data = {}
        elif problem.path[0] != "servers" or len(problem.path) == 1:
            data.pop(problem.path[0], None)
    return replace(source, data=data)


def _drop_servers(source: Source, names: Iterable[str]) -> Source:
    servers = source.data.get("servers")
    if not isinstance(servers, dict):
        return source
    kept = {name: server for name, server in servers.items() if name not in names}
    return replace(source, data={**source.data, "servers": kept})


# -- what is allowed, and probably not meant


def find_doubts(reading: Reading, environ: Mapping[str, str]) -> list[Finding]:
    """Return what is wrong or doubtful in what the files come down to."""
    config = reading.config
    findings = [*_check_choice(config, {*config.servers, *reading.broken}, environ)]
    for name, server in config.servers.items():
        findings += [
            _find(_locate(config, name, key), ("servers", name, key), reason, is_doubt=is_doubt)
            for key, reason, is_doubt in _check_server(server, environ)
        ]
    findings += [_find(place, path, reason, is_doubt=True) for place, path, reason in list_doubts(config)]
    if config.claim is not None and not is_trusted(config.claim, environ):
        findings += [
            _find(value.position, value.path, f"{value.reason}: it counts once you say `mtr trust`", is_doubt=True)
            for value in config.claim.values
        ]
    return findings


def _check_choice(config: Config, names: set[str], environ: Mapping[str, str]) -> Iterator[Finding]:
    if config.default not in names and (reason := explain_wrong_default(config)):
        yield _find(config.sources[("default",)], ("default",), reason)
    named = environ.get("MTR_SERVER", "")
    if named and named not in names and "." not in named and "@" not in named:
        yield Finding("MTR_SERVER", 0, 0, "", f"no file names a server {named}", is_doubt=True)


def _check_server(server: Server, environ: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Yield the key, the reason, and whether it is a doubt alone."""
    if server.key_filename is not None:
        if not server.key_filename.exists():
            yield "key_filename", f"there is no {server.key_filename}", False
        elif os.name == "posix" and server.key_filename.stat().st_mode & 0o077:
            yield "key_filename", f"others can read it, and ssh will refuse it: chmod 600 {server.key_filename}", True
    if server.password_env and not environ.get(server.password_env):
        yield "password_env", f"{server.password_env} is not set here and now", True


def locate(config: Config, path: KeyPath) -> Position | None:
    """Return where a value stands, of a server or of ``defaults``; None for what is built in."""
    found = config.sources.get(path)
    return found or (config.sources.get(("defaults", *path[2:])) if path[:1] == ("servers",) else None)


def _locate(config: Config, name: str, key: str) -> Position:
    found = locate(config, ("servers", name, key))
    if found is None:
        raise LookupError(key)
    return found
