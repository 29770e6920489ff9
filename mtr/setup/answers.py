"""What a user says of a server: the answers, how they read, and what they are when nobody says. Writes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mtr.config.model import Secret, Server, home_dir
from mtr.config.openssh import literal_hosts, read_ssh_config_files
from mtr.config.remote_dir import reduce_name
from mtr.config.select import parse_destination
from mtr.config.validate import find_flaw
from mtr.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED = ("host", "port", "remote_dir", "python", "pre_cmd")
"""Keys that are the same for everybody who works on the project: they go into the file that is committed."""

PERSONAL = ("user", "key_filename", "password_env", "password_command", "password")
"""Keys that are one user's: whose account, and how that user proves it."""

MAX_NAME = 255
_CODE_HOSTS = frozenset(("github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "ssh.dev.azure.com"))
"""Names that stand in many an ssh_config and run no commands."""

HINT = "mtr init --host user@host:port"


@dataclass(frozen=True, slots=True)
class Answers:
    """One server as the user describes it; None is for whatever mtr or ssh takes then."""

    host: str
    name: str
    user: str | None = None
    port: int | None = None
    remote_dir: str | None = None
    python: str | None = None
    pre_cmd: str | None = None
    key_filename: str | None = None
    password: Secret | None = field(default=None, repr=False)
    password_env: str | None = None
    password_command: str | None = None

    def list_keys(self, keys: tuple[str, ...]) -> dict[str, Any]:
        """Return those of ``keys`` that were answered."""
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    @property
    def destination(self) -> str:
        """What ``mtr -s`` takes for this server where no file names it."""
        if self.user is None and self.port is None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return "".join([f"{self.user}@" if self.user else "", host, f":{self.port}" if self.port else ""])

    @property
    def login(self) -> dict[str, Any]:
        """How the user proves who they are, as far as it was said."""
        return self.list_keys(PERSONAL[1:])

    def with_login(self, **login: Any) -> Answers:
        """Return the same with another way to log in, and none of the ways before."""
        return replace(self, **{**dict.fromkeys(PERSONAL[1:]), **login})


def list_hosts(environ: Mapping[str, str]) -> list[str]:
    """Return the servers that ssh's configuration names, in its order; without what only holds code."""
    names = literal_hosts(read_ssh_config_files(environ))
    return [name for name in names if name.lower() not in _CODE_HOSTS and not find_flaw("host", name)]


def parse_server(text: str, environ: Mapping[str, str]) -> Answers:
    """Return the server that ``text`` names: a Host of ssh's configuration, ``[user@]host[:port]``, or that as a URI.

    Raises:
        UsageError: it names none.
    """
    text = text.strip()
    if text in literal_hosts(read_ssh_config_files(environ)):
        ensure_sound("host", text)
        return Answers(host=text, name=choose_name(text))
    nobody = Server(name="", hosts=())
    # A word without a dot is a host as well, by /etc/hosts or the domains that the resolver tries; so it is as a URI.
    if not set(text) & set("/:@"):
        ensure_sound("host", text)
    found = parse_destination(text, nobody) or parse_destination(f"ssh://{text}", nobody)
    if found is None:
        raise UsageError(f"{text!r} is no server", hint=HINT)
    host = found.hosts[0]
    ensure_sound("host", host)
    if found.user is not None:
        ensure_sound("user", found.user)
    return Answers(host=host, name=choose_name(host), user=found.user, port=found.port)


def choose_name(host: str) -> str:
    """Return what to call a server: the first part of its host's name, or all of an address."""
    is_address = ":" in host or host.replace(".", "").isdigit()
    return host if is_address else host.partition(".")[0] or host


def ensure_sound(key: str, value: Any) -> None:
    """Refuse a value that no configuration may hold under ``key``; ``name`` is the server's name.

    Raises:
        UsageError: with the reason; the value is in it unless it is a secret.
    """
    flaw = find_flaw(key, value)
    if key == "name" and not flaw and len(value) > MAX_NAME:
        flaw = f"is longer than {MAX_NAME} characters"
    if flaw:
        shown = "" if key.startswith("password") else f" {value!r}"
        raise UsageError(f"{key}{shown} {flaw}", hint=HINT)


def resolve_key_filename(text: str, directory: str, environ: Mapping[str, str]) -> str:
    """Return the path of a key as it is written down: from the home directory where it lies there, else absolute.

    Raises:
        UsageError: no file is there.
    """
    home = home_dir(environ)
    path = home + text[1:] if text.startswith("~/") else text
    path = os.path.normpath(os.path.join(directory, path))
    if not os.path.isfile(path):
        raise UsageError(f"there is no key file {path}", hint="ls ~/.ssh")
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") else path


def resolve_remote_dir(text: str, environ: Mapping[str, str]) -> str:
    """Return the directory there: what a shell here has made of ``~/`` on the command line becomes ``~/`` again."""
    home = home_dir(environ)
    return f"~{text[len(home) :]}" if home != "/" and text.startswith(f"{home}/") else text


def suggest_remote_dir(project_name: str) -> str:
    """Return a directory there that a person might like better than mtr's own."""
    return f"~/projects/{reduce_name(project_name)}"


def apply_options(answers: Answers, options: Mapping[str, Any], directory: str, environ: Mapping[str, str]) -> Answers:
    """Return ``answers`` with what the command line's ``options`` say, each checked.

    Raises:
        UsageError: one can never be right, or says otherwise than the server as it was typed.
    """
    given = {key: options[key] for key in _OPTIONS if options[key] is not None}
    if "remote_dir" in given:
        given["remote_dir"] = resolve_remote_dir(given["remote_dir"], environ)
    for key, value in given.items():
        ensure_sound(key, value)
        if key in ("user", "port") and getattr(answers, key) not in (None, value):
            raise UsageError(f"--{key} {value}, or {answers.destination}? They differ", hint=HINT)
    if "key_filename" in given:
        given["key_filename"] = resolve_key_filename(given["key_filename"], directory, environ)
    if "password_env" in given and "password_command" in given:
        raise UsageError("--password-env and --password-command exclude each other", hint="mtr init --help")
    return replace(answers, **given)


_OPTIONS = (
    "user", "port", "name", "remote_dir", "python", "pre_cmd", "key_filename", "password_env", "password_command",
)  # fmt: skip
