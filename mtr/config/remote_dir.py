"""Where a project lies on a server: the template of ``remote_dir``, and the default that never collides.

The result is an absolute path or starts with ``~/``, has no ``.`` or ``..``, and is never a home directory or
``/`` itself. The default is ``~/mtr/NAME-HASH``, with a hash of this machine and the root's path, so that two
checkouts, or two people with one account, never write into each other's.
"""

from __future__ import annotations

import hashlib
import os
import re

from mtr.errors import ConfigError
from mtr.state import read_machine_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Server
    from mtr.config.project import Project

PLACEHOLDERS = ("project", "branch", "user")
HASH_DIGITS = 10
_TEMPLATE_PART = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HINT = "set `remote_dir` to an absolute path, or to one that begins with ~/"


def resolve_remote_dir(server: Server, project: Project, environ: Mapping[str, str]) -> str:
    """Return the directory on ``server`` for ``project``, absolute or with ``~/`` in front.

    Raises:
        ConfigError: the template is wrong, or uses ``{branch}`` where there is none.
    """
    if server.remote_dir is None:
        return f"~/mtr/{reduce_name(project.name)}-{_hash_checkout(project)}"
    if flaw := find_template_flaw(server.remote_dir):
        raise _refusal(server, flaw)
    values = {
        "project": lambda: reduce_name(project.name),
        "branch": lambda: _load_branch(server, project),
        "user": lambda: reduce_name(_local_user(environ)),
    }
    filled = _TEMPLATE_PART.sub(lambda part: values[part[1]]() if part[1] else part[0][0], server.remote_dir)
    if flaw := find_path_flaw(filled):
        raise _refusal(server, flaw)
    return normalize(filled)


def _refusal(server: Server, flaw: str) -> ConfigError:
    return ConfigError(f"{server.name}: remote_dir {flaw}", hint=_HINT)


def find_template_flaw(template: str) -> str | None:
    """Return what is wrong with ``template`` whatever the project is, or None."""
    for part in _TEMPLATE_PART.finditer(template):
        if part[0] in "{}":
            return f"has a single {part[0]}; double it, or fill in one of {_render_placeholders()}"
        if part[1] and part[1] not in PLACEHOLDERS:
            return f"has an unknown placeholder {part[0]}; there are {_render_placeholders()}"
    return find_path_flaw(_TEMPLATE_PART.sub("x", template))


def _render_placeholders() -> str:
    return ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


def find_path_flaw(path: str) -> str | None:
    """Return why ``path`` cannot be a project's directory, or None."""
    parts = _split(path)
    if _CONTROL.search(path):
        return "must not hold control characters"
    if ".." in parts:
        return "must not go upwards with `..`"
    if not parts or parts == ["~"]:
        return "must name a directory of the project's own, not a home directory or /"
    if path.startswith("~") and parts[0] != "~":
        return "may begin with ~/, not with another user's home"
    return None


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def normalize(path: str) -> str:
    """Return ``path`` without empty and ``.`` parts; a relative one is below the home directory."""
    parts = _split(path)
    if path.startswith("/"):
        return "/" + "/".join(parts)
    return "/".join(parts if parts[0] == "~" else ["~", *parts])


def reduce_name(name: str) -> str:
    """Return ``name`` in letters, digits, ``.``, ``_`` and ``-``, as every shell and tool takes it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "project"


def _load_branch(server: Server, project: Project) -> str:
    branch = project.load_branch()
    if branch is None:
        raise _refusal(server, f"uses {{branch}}, and {project.root} is not in a git repository")
    return branch.replace("/", "-")


def _local_user(environ: Mapping[str, str]) -> str:
    """Return the user's name on this machine; accounts on servers are often shared, this name is not."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return environ.get("USER") or environ.get("USERNAME") or "user"


def _hash_checkout(project: Project) -> str:
    place = f"{load_machine_id()}\n".encode() + os.fsencode(project.root)
    return hashlib.sha256(place).hexdigest()[:HASH_DIGITS]


def load_machine_id() -> str:
    """Return what tells this machine from others and stays: its id, else a network address, else its name."""
    if found := read_machine_id():
        return found
    import socket
    import uuid

    address = uuid.getnode()
    # Where no address is found getnode makes one up at each start, with the multicast bit set (RFC 4122, 4.5).
    return socket.gethostname() if address >> 40 & 1 else f"{address:012x}"
