"""A configuration as it is to be: its files, and the server that mtr would make of them.

The files are read by mtr's own loader before anything is on the disk, together with the user's own configuration, so
that what is tried is what every later run will use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.config.load import build_checked_config, load_config, user_config_file
from mtr.config.openssh import literal_hosts, read_ssh_config_files
from mtr.config.project import find_project
from mtr.config.remote_dir import resolve_remote_dir
from mtr.config.source import load_source, parse_source
from mtr.config.trust import store_trust
from mtr.errors import ConfigError, MtrError
from mtr.process.signals import signals_held
from mtr.setup.answers import PERSONAL, SHARED
from mtr.setup.files import extend_ignore, render_block, render_config, render_local
from mtr.setup.site import CONFIG, IGNORE, LOCAL, MODES, AlreadySetUp, Site, put_files
from mtr.ssh.connection import plan_connection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mtr.config.model import Server
    from mtr.config.trust import Claim
    from mtr.setup.answers import Answers


@dataclass(frozen=True, slots=True)
class Draft:
    """What ``answers`` come to at ``site``: ``files`` by name, and the server with its directory there.

    ``is_all_typed`` says that the user has just typed every value of the project's files; ``claim`` is what of them
    needs trust.
    """

    site: Site
    answers: Answers
    files: dict[str, bytes]
    server: Server
    remote_dir: str
    is_all_typed: bool
    claim: Claim | None

    def to_json(self) -> dict[str, object]:
        """Return what it comes to, without the files' content, as JSON takes it."""
        root = str(self.site.project.root)
        return {"project": root, "server": self.answers.name, "remote_dir": self.remote_dir}

    def render(self) -> str:
        """Return the files as a dry run shows them, without the password."""
        shown = {CONFIG: self.files[CONFIG], LOCAL: render_local(self.answers, masked=True) or b""}
        shown[IGNORE] = extend_ignore(self.site.ignore) or b""
        if LOCAL not in self.files:
            del shown[LOCAL]
        parts = [f"# {self.site.folder / name} ({MODES[name]:04o})\n{data.decode()}" for name, data in shown.items()]
        return "\n".join(part for part in parts if part.count("\n") > 1)

    def write(self, environ: Mapping[str, str]) -> list[Path]:
        """Put the files into their place, and trust what the user has typed; return the files.

        Raises:
            AlreadySetUp: somebody else was faster.
        """
        with signals_held():
            written = put_files(self.site, self.files, environ)
            if self.claim is not None and self.is_all_typed:
                store_trust(self.claim, environ)
        return written


def make_draft(site: Site, answers: Answers, environ: Mapping[str, str]) -> Draft:
    """Return what ``answers`` come to, as mtr itself reads it.

    Raises:
        ConfigError: they make no right configuration, or ``local.yaml`` is there and says something else.
    """
    is_block = answers.host in literal_hosts(read_ssh_config_files(environ))
    files = {CONFIG: render_config(answers, is_host_block=is_block)}
    local = render_local(answers)
    if local is not None and site.local not in (None, local):
        raise ConfigError(
            f"{site.folder / LOCAL} is there already, and stays as it is",
            detail=f"what belongs into it:\n{render_block(answers, PERSONAL)}".rstrip(),
            hint=f"${{EDITOR:-vi}} {site.folder / LOCAL}, then mtr init without what it says",
        )
    if local is not None and site.local is None:
        files[LOCAL] = local
    is_all_typed = site.local in (None, local)
    sources = [
        load_source(user_config_file(environ)),
        parse_source(site.folder / CONFIG, files[CONFIG]),
        parse_source(site.folder / LOCAL, local) if local else load_source(site.folder / LOCAL),
    ]
    config = build_checked_config(site.project, [source for source in sources if source is not None], environ)
    server = config.servers[answers.name]
    remote_dir = resolve_remote_dir(server, site.project, environ)
    return Draft(site, answers, files, server, remote_dir, is_all_typed, config.claim)


def resolve_user(answers: Answers, environ: Mapping[str, str]) -> str:
    """Return the user that ssh would log in as, by its configuration and the login here."""
    from mtr.config.model import Server

    server = Server(answers.name, (answers.host,), user=answers.user, port=answers.port)
    return plan_connection(server, environ).facts.address.rpartition("@")[0]


def explain_present(
    error: AlreadySetUp, directory: Path, answers: Answers | None, environ: Mapping[str, str]
) -> MtrError:
    """Return ``error`` with what is configured, and how to add a server: ``answers``, or an example."""
    from mtr.setup.answers import Answers as Example

    try:
        config = load_config(find_project(directory, environ), environ)
    except MtrError:
        return error  # its hint is the command that says what is wrong there
    default = config.default or next(iter(config.servers), None)
    names = [f"{name} (the default)" if name == default else name for name in config.servers]
    block = render_block(answers or Example(host="gpu-02.example.com", name="gpu-02"), SHARED).partition("\n")[2]
    lines = [
        *([error.detail] if error.detail else []),
        f"its servers: {', '.join(names) or 'none'}",
        "to use it: mtr hostname; an account or a key of your own for it goes into .mtr/local.yaml",
        "one more is these lines below `servers:`",
        *block.splitlines(),
    ]
    return AlreadySetUp(error.file, detail="\n".join(lines))


__all__ = ["Draft", "explain_present", "make_draft", "resolve_user"]
