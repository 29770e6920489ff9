"""The file that ``mtr ssh-config`` writes for an ``Include`` in the user's ``~/.ssh/config``.

``~/.config/mtr/ssh_config``: a head, and a section for the user's own servers and for each project that was written:
``# mtr: ROOT HASH``, ROOT in JSON, HASH of all that the section was made of. A name stands in one section, the one that
was written last: ssh would mix two blocks. A run that has found its configuration changed brings its section up to date
(``refresh``), and never adds one.

The user's own file is edited on request alone: one line, at the top, the rest byte for byte, with a copy beside it.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from mtr.config.load import list_files, load_config
from mtr.config.openssh import (
    MAX_BYTES,
    drop_own_include,
    find_own_include,
    own_file,
    read_ssh_config_files,
    user_file,
)
from mtr.config.trust import is_trusted
from mtr.errors import ConfigError, MtrError
from mtr.ssh.sharing import Shared, render_absence, share_server
from mtr.state import ensure_runtime_dir, hold_lock, read_regular, remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Config, Server
    from mtr.config.project import Project

_HEAD = """\
# Written by `mtr ssh-config`, and kept up to date by mtr: what is changed here is lost.
# It counts where ~/.ssh/config includes it, above its first Host.
"""
_MARK = "# mtr: "
_YOURS = ""
"""Stands for the user's own configuration in the place of a project's root."""

REFRESH_LOCK_S = 0.5
"""Who brings the file up to date beside a run does not let the run wait."""


def build_sections(project: Project, environ: Mapping[str, str]) -> dict[str, list[Shared]]:
    """Return the servers of the user, and of the project, as ssh is to be told of them.

    Raises:
        ConfigError: a file is wrong.
    """
    own = load_config(_without_files(project), environ)
    sections = {_YOURS: [share_server(server, environ, is_own=True) for server in own.servers.values()]}
    if project.config_dir is not None:
        servers = load_config(project, environ).servers.values()
        sections[_name(project)] = [_share_foreign(server, own, environ) for server in servers if _differs(server, own)]
    return {root: shared for root, shared in sections.items() if shared}


def _without_files(project: Project) -> Project:
    """Return ``project`` as one whose only configuration is the user's own."""
    return replace(project, config_dir=None, main_config_dir=None)


def _name(project: Project) -> str:
    return str(project.config_dir.parent) if project.config_dir else _YOURS


_REACHING = (
    "hosts", "user", "port", "key_filename", "ssh_options", "client", "password", "password_env", "password_command",
)  # fmt: skip
"""What of a server decides where it is and how to log in."""


def _differs(server: Server, own: Config) -> bool:
    """Tell whether a server of the project is another than the user's own of that name."""
    known = own.servers.get(server.name)
    return known is None or any(getattr(server, name) != getattr(known, name) for name in _REACHING)


def _share_foreign(server: Server, own: Config, environ: Mapping[str, str]) -> Shared:
    if server.name in own.servers:
        return Shared(server.name, reason="your own configuration has another server of that name, which counts")
    return share_server(server, environ, is_own=False)


def render_file(sections: Mapping[str, str]) -> str:
    """Return the text of the file."""
    return _HEAD + "".join(f"\n{text}" for text in sections.values())


def _render_section(root: str, digest: str, shared: list[Shared]) -> str:
    absent = "".join(f"# {render_absence(found)}\n" for found in shared if not found.text)
    blocks = "".join(f"\n{found.text}" for found in shared if found.text)
    return f"{_render_mark(root, digest)}{absent}{blocks}"


def _render_mark(root: str, digest: str) -> str:
    return f"{_MARK}{json.dumps(root)} {digest}\n"


def parse_sections(text: str) -> dict[str, str]:
    """Return the sections of a file by their roots; lines before the first are its head."""
    sections: dict[str, str] = {}
    root = None
    for line in text.splitlines(keepends=True):
        if line.startswith(_MARK):
            with suppress(ValueError):
                root = str(json.JSONDecoder().raw_decode(line.removeprefix(_MARK))[0])
                sections[root] = ""
        if root is not None:
            sections[root] += line
    return {root: f"{section.rstrip()}\n" for root, section in sections.items()}


def _drop_names(section: str, names: set[str]) -> str:
    """Return ``section`` without the blocks of ``names``."""
    head, *blocks = section.split("\n\n")
    return "\n\n".join([head, *(block for block in blocks if _name_of(block) not in names)]).rstrip() + "\n"


def _name_of(block: str) -> str:
    return block.partition("\n")[0].removeprefix("Host ").strip()


def _digest(project: Project, environ: Mapping[str, str]) -> str:
    """Return what the sections of ``project`` were made of, as 16 hexadecimal digits."""
    digest = sha256(ensure_runtime_dir(environ).encode())
    files = [(str(file), read_regular(str(file), MAX_BYTES)) for file in list_files(project, environ)]
    files += [(file.path, file.data) for file in read_ssh_config_files(environ)]
    claim = load_config(project, environ).claim
    files.append(("trust", str(claim is None or is_trusted(claim, environ)).encode()))
    for name, data in files:
        digest.update(repr((name, data)).encode())
    return digest.hexdigest()[:16]


# -- the file


def plan_file(project: Project, environ: Mapping[str, str]) -> tuple[str, list[Shared]]:
    """Return the text that the file is to have for ``project``, sections of others kept, and what it says of whom."""
    sections = parse_sections(_read(environ))
    digests = {_name(found): _digest(found, environ) for found in (_without_files(project), project)}
    made = build_sections(project, environ)
    names = {found.name for shared in made.values() for found in shared if found.text}
    kept = {
        root: _drop_names(section, names)
        for root, section in sections.items()
        if root not in digests and os.path.isdir(f"{root}/.mtr")
    }
    new = {root: _render_section(root, digests[root], shared) for root, shared in made.items()}
    return render_file({**new, **kept}), [found for shared in made.values() for found in shared]


def _read(environ: Mapping[str, str]) -> str:
    return (read_regular(own_file(environ), MAX_BYTES) or b"").decode(errors="surrogateescape")


def write_file(project: Project, environ: Mapping[str, str]) -> list[Shared]:
    """Write the file for the user's own servers and those of ``project``; return what it says of whom.

    Raises:
        ConfigError: a file is wrong.
    """
    path = own_file(environ)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with hold_lock(f"{ensure_runtime_dir(environ)}/ssh_config.lock"):
        text, shared = plan_file(project, environ)
        if text != _read(environ):
            write_atomic(path, text.encode(errors="surrogateescape"))
    return shared


def refresh(project: Project, environ: Mapping[str, str]) -> None:
    """Bring the file up to date where it has a section that ``project`` has changed; whatever fails waits for the next.

    Sections of projects that were never written stay away: a clone does not get into the user's ssh by itself.
    """
    with suppress(MtrError, OSError):
        sections = parse_sections(_read(environ))
        if not sections:
            return
        if _name(project) not in sections:
            project = _without_files(project)
        mark = _render_mark(_name(project), _digest(project, environ))
        if sections.get(_name(project), "").startswith(mark):
            return
        with hold_lock(f"{ensure_runtime_dir(environ)}/ssh_config.lock", REFRESH_LOCK_S):
            text, _ = plan_file(project, environ)
            write_atomic(own_file(environ), text.encode(errors="surrogateescape"))


# -- the user's own file


def render_include(environ: Mapping[str, str]) -> str:
    """Return the line for ``~/.ssh/config``."""
    path = own_file(environ)
    return f"Include {path}" if path.isascii() and not any(c in path for c in " \t\"'\\#%") else f'Include "{path}"'


def is_included(environ: Mapping[str, str]) -> bool:
    """Tell whether the user's ssh reads the file, for every host."""
    return find_own_include(read_regular(user_file(environ), MAX_BYTES) or b"", environ) == "top"


def find_elsewhere(environ: Mapping[str, str]) -> str:
    """Return another file of ssh's that includes mtr's, "" where none does: mtr sees past ``~/.ssh/config`` alone."""
    files = (file for file in read_ssh_config_files(environ) if file.path != user_file(environ))
    return next((file.path for file in files if find_own_include(file.data, environ)), "")


def install(environ: Mapping[str, str]) -> str:
    """Put the line at the top of the user's file; return the path of the copy of what that was, "" where none was.

    Raises:
        ConfigError: the file cannot be read or is no file.
    """
    line = f"{render_include(environ)}\n\n".encode()
    return _edit(environ, lambda data: line + drop_own_include(data, environ))


def uninstall(environ: Mapping[str, str]) -> str:
    """Take the line out of the user's file, and remove mtr's; return the path of the copy, as :func:`install`."""
    copy = ""
    if find_own_include(read_regular(user_file(environ), MAX_BYTES) or b"", environ):
        line = f"{render_include(environ)}\n\n".encode()
        copy = _edit(environ, lambda data: drop_own_include(data.removeprefix(line), environ))
    remove_file(own_file(environ))
    return copy


def _edit(environ: Mapping[str, str], change: Callable[[bytes], bytes]) -> str:
    """Replace what the user's file holds, through links to it, with the mode that it has; keep a copy beside it."""
    path = os.path.realpath(user_file(environ))
    with hold_lock(f"{ensure_runtime_dir(environ)}/ssh_config.lock"):
        data = read_regular(path, MAX_BYTES + 1)
        if (data is None and os.path.lexists(path)) or len(data or b"") > MAX_BYTES:
            raise ConfigError(f"{path} cannot be read as a file of ssh's", hint=f"ls -l {shlex.quote(path)}")
        mode = stat.S_IMODE(os.stat(path).st_mode) if data is not None else 0o600
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        copy = f"{path}.before-mtr" if data is not None else ""
        if copy:
            write_atomic(copy, data or b"", lasts=True)
        write_atomic(path, change(data or b""), lasts=True)
        os.chmod(path, mode)
    return copy
