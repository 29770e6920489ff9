"""A server of mtr's as blocks of ssh_config(5), so that scp, git and editors go where mtr goes, over its connection.

What ssh says of the server with mtr's options (``ssh -G``) is compared with what it would say of the bare name; the
difference is the block. Each block is tried before it is given out: ssh must take it, and then say of the name what it
says of the server. One that fails this is left out, with the reason: a wrong block would lead people elsewhere.

The socket is mtr's own, so whoever comes first opens the connection and the other joins: ssh asks mtr's master for a
session, or becomes the master there, which mtr takes for its own. Its name is the key of the endpoint: a block that is
out of date shares nothing, and never leads over a connection that goes elsewhere.

A project's file is not to say where names lead that mean something already: see ``explain_name``.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.config.openssh import literal_hosts, read_ssh_config_files
from mtr.config.trust import is_trusted
from mtr.errors import MtrError, reveal_controls
from mtr.ssh import options
from mtr.ssh.connection import explain_fallback, list_candidates
from mtr.ssh.endpoint import ask_ssh, ensure_plain_config
from mtr.ssh.known_hosts import find_keys
from mtr.state import ensure_runtime_dir, remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.config.model import Server
    from mtr.ssh.endpoint import Endpoint
    from mtr.ssh.sessions import Sessions

    Settings = Mapping[str, Sequence[str]]

_NAME = re.compile(r"\w[\w.-]*\Z")
"""What may stand on a ``Host`` line: neither a pattern nor a word that needs quotes."""

_NAMES = {
    name.lower(): name
    for name in """HostName User Port IdentityFile IdentitiesOnly CertificateFile IdentityAgent ProxyJump ProxyCommand
    HostKeyAlias UserKnownHostsFile GlobalKnownHostsFile StrictHostKeyChecking ConnectTimeout ServerAliveInterval
    ServerAliveCountMax SendEnv SetEnv ForwardAgent PubkeyAuthentication PasswordAuthentication Compression
    PreferredAuthentications NumberOfPasswordPrompts AddressFamily KbdInteractiveAuthentication""".split()  # noqa: SIM905
}
"""As ssh_config(5) writes them; others are written as ssh says them, which is as good."""

_ALWAYS = ("hostname", "user", "port")
"""Also where ssh would say the same: people, and editors, read them."""

_NOT_SHARED = frozenset(
    # What mtr decides for its masters alone, and what would be set up twice.
    """host batchmode clearallforwardings controlmaster controlpath controlpersist forkafterauthentication sessiontype
    stdinnull remotecommand requesttty permitlocalcommand localcommand localforward remoteforward
    dynamicforward ignoreunknown""".split()  # noqa: SIM905  a page of words
)
_WHOLE_LINE = frozenset(("proxycommand", "knownhostscommand"))
"""Options whose value is the rest of the line, quotes included (readconf.c)."""

_SINGLE = frozenset(("hostname", "user", "hostkeyalias", "identityagent", "xauthlocation", "pkcs11provider"))
"""Options with one word, which may hold blanks."""

_REPEATED = frozenset(("identityfile", "certificatefile"))


@dataclass(frozen=True, slots=True)
class Shared:
    """A server as ssh is told of it: ``text`` are its blocks; "" where it is left out, and ``reason`` says why."""

    name: str
    text: str = ""
    address: str = ""
    reason: str = ""


def share_server(server: Server, environ: Mapping[str, str], *, is_own: bool) -> Shared:
    """Return ``server`` as ssh is to be told of it; ``is_own`` says that the user's own configuration has it."""
    try:
        reason = _explain_absence(server, environ)
        if reason:
            return Shared(server.name, reason=reason)
        candidates = list_candidates(server, environ)
        chosen = next((found for found in candidates if os.path.exists(found.socket)), candidates[0])
        if not is_own and (reason := explain_name(server.name, chosen.endpoint, environ)):
            return Shared(server.name, reason=reason)
        plain = _ask(server.name, chosen.endpoint, ensure_plain_config(environ), environ)
        text = _build_text(server, chosen, candidates, plain)
        reason = _find_flaw(server, text, chosen.endpoint, environ)
    except MtrError as error:
        return Shared(server.name, reason=error.message)
    return Shared(server.name, reason=reason) if reason else Shared(server.name, text, chosen.endpoint.address)


def _explain_absence(server: Server, environ: Mapping[str, str]) -> str:
    """Return why ssh cannot be told of ``server``; "" where it can."""
    if not _NAME.match(server.name):
        return "ssh would take its name for a pattern"
    if why := explain_fallback(server, environ):
        return why
    if not server.hosts:
        return "it has no host"
    if server.claim is not None and not is_trusted(server.claim, environ):
        return "its configuration needs `mtr trust` first"
    return ""


def explain_name(name: str, endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return why a project's file must not say where ``name`` leads; "" where it may.

    A cloned project could send every ``git push`` to a machine of its choice, by a server called ``github.com``.
    """
    if name == endpoint.destination:
        return ""  # It leads where it led before.
    if "." in name or name == "localhost":
        return "a project's server takes no name with a dot: it could be the name of another machine"
    if name in literal_hosts(read_ssh_config_files(environ)):
        return "~/.ssh/config has a Host of that name, and a project's file does not change where it leads"
    if find_keys(endpoint.known_hosts, name):
        return "a machine of that name is among your known hosts, and a project's file does not change where it leads"
    return ""


def _ask(name: str, endpoint: Endpoint, config: str, environ: Mapping[str, str]) -> Settings:
    """Return what ssh says of ``name`` with ``config``."""
    argv = options.build_query_argv(endpoint.client, config, (), name)
    return options.parse_query(ask_ssh(name, argv, environ))


def _build_text(server: Server, chosen: Sessions, candidates: Sequence[Sessions], plain: Settings) -> str:
    """Return the blocks: where the server is, and the socket."""
    wanted = _pick(server, chosen.endpoint.settings)
    names = [*_ALWAYS, *(name for name in sorted(wanted) if name not in _ALWAYS and wanted[name] != plain.get(name))]
    lines = [line for name in names for line in _render_option(name, wanted.get(name, ()))]
    lines += [f"{_NAMES[name]} none" for name in ("proxyjump", "proxycommand") if name in plain and name not in wanted]
    folder = os.path.dirname(chosen.socket)
    text = "".join(f"  {line}\n" for line in [*_list_remarks(server, candidates), *lines])
    # ssh ends where it cannot bind its socket; a runtime directory goes with each reboot.
    check = f"test -O {folder} || mkdir -m 700 {folder}"
    master = ("ControlMaster auto", f"ControlPath {chosen.socket}", f"ControlPersist {options.IDLE_S}")
    return f'Host {server.name}\n{text}Match originalhost {server.name} exec "{check}"\n' + "".join(
        f"  {line}\n" for line in master
    )


def _list_remarks(server: Server, candidates: Sequence[Sessions]) -> list[str]:
    """Return comments on what ssh cannot be told."""
    remarks = []
    if options.has_password(server):
        remarks.append(f"# mtr keeps the password to itself: after `mtr up {server.name}` nobody is asked")
    if len(candidates) > 1:
        remarks.append(f"# one of {len(candidates)} addresses, the one that mtr used last: ssh tries no others")
    return remarks


def _pick(server: Server, settings: Settings) -> dict[str, list[str]]:
    """Return what of ``settings`` is shared."""
    left_out = set(_NOT_SHARED)
    if not any(name.lower() == "stricthostkeychecking" for name in server.ssh_options):
        # That mtr stores new keys by itself, and says so, is no reason for ssh to do it in silence.
        left_out.add("stricthostkeychecking")
    return {name: list(values) for name, values in settings.items() if name and name not in left_out}


def _render_option(name: str, values: Sequence[str]) -> list[str]:
    """Return the lines that set an option as ``ssh -G`` has said it."""
    shown = _NAMES.get(name, name)
    if name in _WHOLE_LINE:
        return [f"{shown} {value}" for value in values]
    if name in _REPEATED:
        return [f"{shown} {_quote(value)}" for value in values]
    if name in _SINGLE:
        return [f"{shown} {_quote(value)}" for value in values[:1]]
    if name == "setenv":
        return [f"{shown} {' '.join(map(_quote, values))}"]
    # ssh shows lists as words.
    words = [word for value in values for word in value.split(" ") if word]
    return [f"{shown} {' '.join(map(_quote, words))}"] if words else []


def _quote(word: str) -> str:
    """Return ``word`` as one argument of a line of ssh_config(5)."""
    plain = re.match(r"[\w@%+=:,./~^*!?{}$-]+\Z", word)
    return word if plain else options.quote_value(word)


def _find_flaw(server: Server, text: str, endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return why ``text`` would not lead where ``endpoint`` does; "" where it would."""
    if any(not c.isprintable() and c != "\n" for c in text):
        return "its settings hold control characters"
    path = f"{ensure_runtime_dir(environ)}/tried.{os.urandom(4).hex()}.{os.getpid()}.tmp"
    try:
        write_atomic(path, text.encode(errors="surrogateescape"))
        found = _ask(server.name, endpoint, ensure_plain_config(environ, path), environ)
    finally:
        remove_file(path)
    wanted = _pick(server, endpoint.settings)
    for name in wanted.keys() | found.keys():
        mine, theirs = wanted.get(name, []), list(found.get(name, ()))
        # Further keys, and further names of variables to send, are what the user has for every host.
        adds_up = name in _REPEATED or name == "sendenv"
        is_same = theirs[: len(mine)] == mine if adds_up else mine == theirs
        if not is_same and name not in _NOT_SHARED and name in {*wanted, *_LEADING}:
            return f"~/.ssh/config sets {_NAMES.get(name, name)} for this name, and mtr does not: {shlex.join(theirs)}"
    return ""


_LEADING = frozenset(("hostname", "user", "port", "proxyjump", "proxycommand", "hostkeyalias", "knownhostscommand"))
"""Options that decide where ssh arrives; where mtr's endpoint has none, the name must have none."""


def render_absence(shared: Shared) -> str:
    """Return the line that says why a server is left out."""
    return reveal_controls(f"{shared.name} is left out: {shared.reason}")
