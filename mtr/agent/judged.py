"""Where an agent may go: directories for its commands, and files, here and on servers, judged by the policy."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from mtr.agent.local_commands import resolve_directory
from mtr.config.remote_dir import resolve_remote_dir
from mtr.config.select import select_server
from mtr.policy import (
    LOCAL,
    REFUSED,
    PolicyRefused,
    build_policy,
    find_bases,
    list_secret_files,
    resolve_local,
    resolve_remote,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Config
    from mtr.config.project import Project
    from mtr.policy import Policy, Verdict


def ensure_inside(
    directory: str, name: str, config: Config, policy: Policy, project: Project, environ: Mapping[str, str]
) -> None:
    """See that a command on the server ``name`` may run in ``directory``, by its words alone where that is not here.

    Raises:
        PolicyRefused: it lies outside of the project.
    """
    if name == LOCAL:
        root = os.path.realpath(project.root)
        if os.path.commonpath([root, os.path.realpath(resolve_directory(root, directory))]) != root:
            raise PolicyRefused("the directory lies outside the project", hint=f"name one below {root}")
    else:
        server = select_server(config, name, environ)
        resolve_remote(directory, resolve_remote_dir(server, project, environ), policy)


def judge_path(
    name: str,
    path: str,
    config: Config,
    project: Project,
    environ: Mapping[str, str],
    *,
    local: str | None,
    changes: bool,
) -> tuple[Verdict, str]:
    """Return what is said of the file ``path`` of server ``name``, and where ``local`` is here; ``changes`` it."""
    policy, place = build_policy(config), ""
    verdict = policy.judge_change(name) if changes else policy.judge_server(name)
    server = select_server(config, name, environ) if name != LOCAL else None
    try:
        if server is not None:
            resolve_remote(path, resolve_remote_dir(server, project, environ), policy)
        if local is not None:
            secrets, bases = (
                list_secret_files(config, project, environ),
                find_bases(project, server, environ),
            )
            found = resolve_local(local, project, bases=bases, secret_files=secrets)
            place = f"{found.path}/" if local.endswith("/") else str(found.path)
    except PolicyRefused as error:
        verdict = replace(verdict, outcome=REFUSED, reason=error.message, hint=error.hint)
    return verdict, place
