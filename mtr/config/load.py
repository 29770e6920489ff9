"""Reading the configuration of a project: which files count, and what a server comes down to.

From weak to strong: ``~/.config/mtr/config.yaml``, the project's ``.mtr/config.yaml``, its ``.mtr/local.yaml``. A
server is what is built in, then the merged ``defaults``, then its own keys. Nothing is written here, and a file
with a password that others can read is refused as ssh refuses a key.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtr.config.checked import ensure_checked
from mtr.config.env_file import is_within
from mtr.config.merge import Sourced, Tree, build_tree, list_positions, merge_all, merge_trees
from mtr.config.model import BUILT_IN_EXCLUDE, Config, Secret, Server, home_dir
from mtr.config.policy import build_rules
from mtr.config.schema import PASSWORD_KEYS
from mtr.config.source import Source, load_source
from mtr.config.trust import explain_doubt, find_claim, leads_out
from mtr.config.validate import list_sections
from mtr.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mtr.config.project import Project
    from mtr.config.trust import Claim

BUILT_IN: Tree = {"exclude": tuple(map(Sourced, BUILT_IN_EXCLUDE))}
_PLAIN_KEYS = (
    "user", "remote_dir", "shell", "pre_cmd", "python", "client", "sync", "respect_gitignore", "delete", "notify",
)  # fmt: skip


def load_config(project: Project, environ: Mapping[str, str]) -> Config:
    """Read, check and merge the configuration of ``project``; without any file it is empty.

    Raises:
        ConfigError: a file cannot be read, is wrong, or shows a password to others.
    """
    return build_config(project, load_sources(project, environ), environ)


def load_sources(project: Project, environ: Mapping[str, str]) -> list[Source]:
    """Read and check the files of ``project``, from weak to strong.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    sources = [source for file in list_files(project, environ) if (source := load_source(file)) is not None]
    _ensure_sound(sources, environ)
    return sources


def build_checked_config(project: Project, sources: Sequence[Source], environ: Mapping[str, str]) -> Config:
    """Check and merge ``sources``, from weak to strong, as the configuration of ``project``.

    Raises:
        ConfigError: one is wrong, or shows a password to others.
    """
    _ensure_sound(sources, environ)
    return build_config(project, sources, environ)


def _ensure_sound(sources: Iterable[Source], environ: Mapping[str, str]) -> None:
    own = user_config_file(environ)
    for source in sources:
        ensure_private(source)
        ensure_checked(source, environ, is_own=source.file == own)
        ensure_own(source, own)


def build_config(project: Project, sources: Sequence[Source], environ: Mapping[str, str]) -> Config:
    """Return what valid ``sources``, from weak to strong, come down to."""
    tree = merge_all(map(build_tree, sources))
    default = tree.get("default")
    defaults, servers = (get_subtree(tree, key) for key in ("defaults", "servers"))
    own = user_config_file(environ)
    claim = find_claim(
        project.config_dir.parent if project.config_dir else None,
        next((source for source in sources if source.file == own), None),
        (source for source in sources if source.file != own),
    )
    builder = _Builder(merge_trees(BUILT_IN, defaults), own, environ, claim)
    return Config(
        default=default.value if isinstance(default, Sourced) else None,
        servers={name: builder.build(name, get_subtree(servers, name)) for name in servers},
        template=builder.build("", {}),
        files=tuple(source.file for source in sources),
        sources=dict(list_positions(tree)),
        claim=claim,
        aliases={name: end.value for name, end in _ends(get_subtree(tree, "aliases"))},
        policies=tuple(rules for source in sources if (rules := build_rules(source)) is not None),
    )


def user_config_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's own configuration, whether or not it is there."""
    base = environ.get("XDG_CONFIG_HOME", "")
    # The XDG Base Directory Specification: a relative path is invalid and ignored.
    folder = Path(base) if os.path.isabs(base) else Path(home_dir(environ), ".config")
    return folder / "mtr" / "config.yaml"


def list_files(project: Project, environ: Mapping[str, str]) -> list[Path]:
    """Return the paths that may hold configuration, from weak to strong, whether or not they are there."""
    files = [user_config_file(environ)]
    if project.config_dir is not None:
        files += [project.config_dir / "config.yaml", _local_file(project, project.config_dir)]
    return files


def _local_file(project: Project, config_dir: Path) -> Path:
    """Return the personal file; it is not in git, so a worktree without one takes the main worktree's."""
    local = config_dir / "local.yaml"
    if project.main_config_dir is None or os.path.lexists(local):
        return local
    return project.main_config_dir / "local.yaml"


def ensure_private(source: Source) -> None:
    """Refuse a file that shows a password to others.

    Raises:
        ConfigError: with the mode, and how to change it.
    """
    holds_password = any("password" in section for _, section in list_sections(source.data))
    if holds_password and source.mode & 0o077 and os.name == "posix":
        raise ConfigError(
            f"{source.file}: holds a password and can be read by others (mode {source.mode:04o})",
            hint=f"chmod 600 {shlex.quote(str(source.file))}",
        )


def ensure_own(source: Source, user_file: Path) -> None:
    """Refuse a user's own configuration that somebody else may have written: everything in it is trusted.

    Raises:
        ConfigError: with the reason.
    """
    if source.file == user_file and (doubt := explain_doubt(source)):
        raise ConfigError(f"{source.file} is trusted with everything, and {doubt}", hint=f"ls -l {source.file}")


def get_subtree(tree: Tree, key: str) -> Tree:
    """Return the mapping under ``key``, empty where there is none."""
    found = tree.get(key, {})
    return found if isinstance(found, dict) else {}


class _Builder:
    """Builds servers from their own keys and what holds for all of them."""

    def __init__(self, defaults: Tree, user_file: Path, environ: Mapping[str, str], claim: Claim | None) -> None:
        self._defaults = defaults
        self._user_file = user_file
        self._home = home_dir(environ)
        self._claim = claim

    def build(self, name: str, own: Tree) -> Server:
        """Return the server ``name`` with its ``own`` keys over the defaults."""
        tree = merge_trees(self._defaults, own)
        fields: dict[str, Any] = {key: _plain(tree[key]) for key in _PLAIN_KEYS if key in tree}
        if "port" in tree:
            fields["port"] = int(_plain(tree["port"]))
        if "key_filename" in tree:
            fields["key_filename"] = self._build_key_filename(tree["key_filename"])
        for key in ("download_dir", "env_file"):
            if key in tree:
                fields[key] = self._expand(_plain(tree[key]))
        if "include" in tree:
            fields["include"] = tuple(_plain(tree["include"]))
        return Server(
            name=name,
            hosts=_build_hosts(name, tree),
            exclude=(*_exclude_env_file(tree), *(end.value for end in _additive(tree["exclude"]))),
            env={key: end.text for key, end in _ends(get_subtree(tree, "env"))},
            ssh_options=_build_ssh_options(get_subtree(tree, "ssh_options")),
            **_build_password(own),
            **self._build_claims(tree),
            **fields,
        )

    def _build_claims(self, tree: Tree) -> dict[str, Any]:
        """Return what must be trusted because of a value that counts for this server; an overridden one does not."""
        if self._claim is None:
            return {}
        asking = {value.position for value in self._claim.values if value.path[-1:] != ("download_dir",)}
        is_asked = any(not value.path for value in self._claim.values)
        is_asked = is_asked or any(position in asking for _, position in list_positions(drop_weaker_passwords(tree)))
        goes_out = "download_dir" in tree and leads_out(_plain(tree["download_dir"])) and self._is_foreign(tree)
        return {"claim": self._claim if is_asked else None, "download_claim": self._claim if goes_out else None}

    def _is_foreign(self, tree: Tree) -> bool:
        end = tree["download_dir"]
        return isinstance(end, Sourced) and end.position is not None and end.position.file != self._user_file

    def _expand(self, path: str) -> str:
        """Return ``path`` with ``~/`` of this machine expanded by the environment that mtr was given."""
        return self._home + path[1:] if path == "~" or path.startswith("~/") else path

    def _build_key_filename(self, end: object) -> Path:
        """Return the key's path; a relative one starts at the root of the project that wrote it, or at home."""
        if not isinstance(end, Sourced) or end.position is None:
            raise TypeError("key_filename comes from a file")
        file = end.position.file
        base = Path(self._home) if file == self._user_file else file.parent.parent
        return base / self._expand(end.value)


def _exclude_env_file(tree: Tree) -> tuple[str, ...]:
    """Return the pattern that leaves ``env_file`` here: what is in it travels as variables, and may be secret."""
    path = _plain(tree.get("env_file"))
    if not isinstance(path, str) or not is_within(path):
        return ()
    return ("/" + re.sub(r"([\\*?\[\] ])", r"\\\1", os.path.normpath(path)),)


def _plain(end: object) -> Any:
    return end.value if isinstance(end, Sourced) else end


def _additive(value: object) -> tuple[Sourced, ...]:
    return value if isinstance(value, tuple) else ()


def _ends(tree: Tree) -> list[tuple[str, Sourced]]:
    return [(key, end) for key, end in tree.items() if isinstance(end, Sourced)]


def _build_hosts(name: str, tree: Tree) -> tuple[str, ...]:
    """Return the destinations to try in order; the name of a server is its destination unless it has others."""
    host = _plain(tree.get("host", name))
    if isinstance(host, list):
        return tuple(host)
    return (host,) if host else ()


def _build_ssh_options(tree: Tree) -> dict[str, str]:
    """Return the options as ssh takes them; of two spellings of one name the first, the strongest, counts."""
    options: dict[str, tuple[str, str]] = {}
    for name, end in _ends(tree):
        value = ("yes" if end.value else "no") if isinstance(end.value, bool) else end.text
        options.setdefault(name.lower(), (name, value))
    return dict(options.values())


def drop_weaker_passwords(tree: Tree) -> Tree:
    """Return ``tree`` with one way to the password, the strongest."""
    weaker = [key for key in tree if key in PASSWORD_KEYS][1:]
    return {key: value for key, value in tree.items() if key not in weaker}


def _build_password(tree: Tree) -> dict[str, Any]:
    """Return the way to the password: a stronger file's way replaces a weaker one's, whatever the ways are."""
    for key, end in _ends(tree):
        if key in PASSWORD_KEYS:
            return {key: Secret(end.value) if key == "password" else end.value}
    return {}
