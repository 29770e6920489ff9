"""Where a destination leads, by the user's ssh_config as far as paramiko reads it.

What decides where, as whom or how safely a login goes and cannot be honoured here is refused by name. What only ssh
itself does for its sessions (forwardings, multiplexing) is left out: mtr does not need it.
"""

from __future__ import annotations

import getpass
import re
import shlex
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mtr.config.model import home_dir
from mtr.config.openssh import read_flat
from mtr.errors import ConfigError
from mtr.ssh.known_hosts import render_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Server

_HONOURED = frozenset(
    # One word each, as ssh_config(5) spells them.
    """hostname port user identityfile identitiesonly identityagent proxyjump userknownhostsfile globalknownhostsfile
    hostkeyalias stricthostkeychecking hashknownhosts connecttimeout serveraliveinterval preferredauthentications
    passwordauthentication pubkeyauthentication kbdinteractiveauthentication challengeresponseauthentication
    sendenv setenv""".split()  # noqa: SIM905  a page of words
)
_HARMLESS = frozenset(
    """addkeystoagent batchmode numberofpasswordprompts checkhostip clearallforwardings compression
    compressionlevel connectionattempts controlmaster controlpath controlpersist dynamicforward
    enableescapecommandline escapechar exitonforwardfailure fingerprinthash forkafterauthentication
    forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports gssapiauthentication
    gssapidelegatecredentials gssapikeyexchange gssapitrustdns hostbasedauthentication ignoreunknown ipqos
    localcommand localforward loglevel logverbose nohostauthenticationforlocalhost obscurekeystroketiming
    permitlocalcommand permitremoteopen remotecommand remoteforward requesttty rekeylimit serveralivecountmax
    sessiontype stdinnull streamlocalbindmask streamlocalbindunlink syslogfacility tag tcpkeepalive
    updatehostkeys usekeychain useroaming verifyhostkeydns visualhostkey warnweakcrypto xauthlocation
    canonicalizefallbacklocal canonicalizemaxdots canonicaldomains canonicalizepermittedcnames proxyusefdpass""".split()  # noqa: SIM905
)
"""Options that decide nothing here, or whose absence is the stricter choice (a login that is not tried)."""

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
MAX_JUMPS = 8
MAX_TIME_S = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Place:
    """Where a login goes and how: what ``ssh -G`` would say. ``jumps`` are passed in order on the way.

    ``strict`` is ``yes``, ``ask`` or ``accept-new``; ``methods`` are those of RFC 4252 in the order of trying;
    ``agent`` is the agent's socket, "" for none; a new host key goes into the first of ``known_hosts``.
    """

    host: str
    port: int
    user: str
    key_files: tuple[str, ...] = ()
    only_these_keys: bool = False
    agent: str = ""
    known_hosts: tuple[str, ...] = ()
    global_known_hosts: tuple[str, ...] = ()
    known_name: str = ""
    strict: str = "accept-new"
    hashes_names: bool = False
    methods: tuple[str, ...] = ("publickey", "keyboard-interactive", "password")
    timeout_s: float = 10.0
    keepalive_s: int = 15
    send_env: tuple[str, ...] = ()
    set_env: tuple[str, ...] = ()
    jumps: tuple[Place, ...] = ()

    @property
    def address(self) -> str:
        """``user@host:port`` for people."""
        return f"{self.user}@{self.host}:{self.port}"


def load_place(fields: Mapping[str, Any]) -> Place:
    """Return the place that ``dataclasses.asdict`` and JSON have made ``fields`` of."""
    plain: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Place(**{**plain, "jumps": tuple(load_place(jump) for jump in fields["jumps"])})


def resolve_place(server: Server, destination: str, environ: Mapping[str, str]) -> Place:
    """Return where ``destination`` leads with the options of ``server``.

    Raises:
        ConfigError: the configuration asks for what only ssh itself can do.
    """
    explicit = {name.lower(): str(value) for name, value in server.ssh_options.items()}
    if server.user:
        explicit["user"] = server.user
    if server.port:
        explicit["port"] = str(server.port)
    if server.key_filename:
        explicit |= {"identityfile": str(server.key_filename), "identitiesonly": "yes"}
    if server.password or server.password_env or server.password_command:
        explicit.setdefault("preferredauthentications", "password,keyboard-interactive")
    text = read_flat(environ)
    try:
        return _resolve(destination, explicit, text, environ, 0)
    except (ValueError, OverflowError, KeyError) as error:
        # A port that is no number, a quote without its end, a user without a name.
        hint = "correct ~/.ssh/config, or install the OpenSSH client, which names the line"
        raise ConfigError(
            f"what is set for {server.name} in ~/.ssh/config has no meaning: {error}", hint=hint
        ) from error


def _resolve(destination: str, explicit: Mapping[str, str], text: str, environ: Mapping[str, str], depth: int) -> Place:
    user, _, host = destination.rpartition("@")
    found = {**_look_up(text, host, user or explicit.get("user", "")), **explicit}
    _refuse_what_needs_ssh(found, host)
    if user:
        found["user"] = user
    name, port = _pick(found, "hostname", host), int(_pick(found, "port", "22"))
    login = _pick(found, "user", "") or getpass.getuser()
    expand = partial(_expand, home=home_dir(environ), tokens={"h": name, "p": str(port), "r": login})
    keys = _as_list(found["identityfile"]) if "identityfile" in found else [f"~/.ssh/{key}" for key in _DEFAULT_KEYS]
    return Place(
        host=name,
        port=port,
        user=login,
        key_files=tuple(expand(path) for path in keys if path.lower() != "none"),
        only_these_keys=_is_on(found, "identitiesonly", default=False),
        agent=_find_agent(found, environ, expand),
        known_hosts=_list_files(found, "userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2", expand),
        global_known_hosts=_list_files(
            found, "globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2", expand
        ),
        known_name=_pick(found, "hostkeyalias", "") or render_name(name, port),
        strict=_parse_strict(_pick(found, "stricthostkeychecking", "accept-new")),
        hashes_names=_is_on(found, "hashknownhosts", default=False),
        methods=_list_methods(found),
        timeout_s=parse_time(_pick(found, "connecttimeout", "10")) or 10.0,
        keepalive_s=int(parse_time(_pick(found, "serveraliveinterval", "15"))),
        send_env=tuple(_pick(found, "sendenv", "").split()),
        set_env=tuple(shlex.split(_pick(found, "setenv", ""))),
        jumps=_resolve_jumps(_pick(found, "proxyjump", "none"), text, environ, depth),
    )


def _look_up(text: str, host: str, user: str) -> dict[str, object]:
    """Return the options that ssh_config has for ``host``; ``Match user`` sees ``user``.

    Raises:
        ConfigError: paramiko cannot read the text.
    """
    from paramiko import SSHConfig
    from paramiko.ssh_exception import CouldNotCanonicalize, SSHException

    try:
        config = SSHConfig.from_text(f"Host *\n{f'User {user}' if user else ''}\n{text}")
        return dict(config.lookup(host))
    except (SSHException, CouldNotCanonicalize, ImportError, ValueError, KeyError) as error:
        hint = "install the OpenSSH client, or write the server into .mtr/config.yaml without that file"
        raise ConfigError(f"~/.ssh/config cannot be read without ssh: {error}", hint=hint) from error


def _refuse_what_needs_ssh(found: Mapping[str, object], host: str) -> None:
    asked = [name for name, value in found.items() if value is not None and name not in _HONOURED | _HARMLESS]
    asked = [name for name in asked if str(found[name]).lower() not in ("no", "none")]
    if asked:
        hint = "install the OpenSSH client, or leave it out for this host"
        names = ", ".join(sorted(asked))
        message = f"ssh is not in use here, and nothing else honours what is set for {host}: {names}"
        raise ConfigError(message, hint=hint)


def _pick(found: Mapping[str, object], name: str, default: str) -> str:
    value = found.get(name)
    return default if value is None else str(value)


def _as_list(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def _is_on(found: Mapping[str, object], name: str, *, default: bool) -> bool:
    """Return a flag; ssh takes yes and true, no and false, in any case (readconf.c)."""
    return {"yes": True, "true": True, "no": False, "false": False}.get(_pick(found, name, "").lower(), default)


def parse_time(text: str) -> float:
    """Return seconds from a time of ssh_config: ``90``, ``1m30s``, ``2h``; ``none`` is 0.

    Source: sshd_config(5), TIME FORMATS.

    Raises:
        ConfigError: it is none.
    """
    if text.lower() == "none":
        return 0.0
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"([0-9]+)([smhdw]?)", text.lower())
    if "".join(map("".join, parts)) != text.lower():
        raise ConfigError(f"{text}: is not a time as ssh_config writes it", hint="e.g. 30, or 1m")
    return float(min(sum(int(number) * units[unit] for number, unit in parts), MAX_TIME_S))


def _expand(path: str, *, home: str, tokens: Mapping[str, str]) -> str:
    """Return ``path`` with ``~`` and the tokens that are known here.

    Raises:
        ConfigError: it has others: the file would be another one than ssh's.
    """
    path = home + path[1:] if path.startswith("~/") else path
    for token, value in {"d": home, **tokens}.items():
        path = path.replace(f"%{token}", value)
    if "%" in path or "${" in path:
        raise ConfigError(f"ssh is not in use here, and nothing else fills in {path}", hint="write it without % and $")
    return path


def _list_files(found: Mapping[str, object], name: str, default: str, expand: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(expand(word) for word in shlex.split(_pick(found, name, default)) if word.lower() != "none")


def _find_agent(found: Mapping[str, object], environ: Mapping[str, str], expand: Callable[[str], str]) -> str:
    wanted = _pick(found, "identityagent", "SSH_AUTH_SOCK")
    if wanted.lower() == "none":
        return ""
    if wanted in ("SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"):
        return environ.get("SSH_AUTH_SOCK", "")
    return expand(wanted)


def _parse_strict(word: str) -> str:
    """Return how strict to be; what would accept anything is made to accept what is new, and no more.

    Raises:
        ConfigError: ssh does not know the word.
    """
    known = {"yes": "yes", "true": "yes", "ask": "ask", "accept-new": "accept-new"}
    known |= {"no": "accept-new", "false": "accept-new", "off": "accept-new"}
    if word.lower() not in known:
        raise ConfigError(f"StrictHostKeyChecking {word}: is none of yes, ask, accept-new, no, off")
    return known[word.lower()]


def _list_methods(found: Mapping[str, object]) -> tuple[str, ...]:
    wanted = _pick(found, "preferredauthentications", "publickey,keyboard-interactive,password").split(",")
    asks = _is_on(found, "kbdinteractiveauthentication", default=True)
    allowed = {
        "publickey": _is_on(found, "pubkeyauthentication", default=True),
        "password": _is_on(found, "passwordauthentication", default=True),
        "keyboard-interactive": asks and _is_on(found, "challengeresponseauthentication", default=True),
    }
    return tuple(method for method in wanted if allowed.get(method, False))


def _resolve_jumps(value: str, text: str, environ: Mapping[str, str], depth: int) -> tuple[Place, ...]:
    """Return the hosts of a ProxyJump, each with the jumps that its own block asks for in front."""
    if value.lower() == "none":
        return ()
    if depth >= MAX_JUMPS:
        raise ConfigError(f"ProxyJump {value}: the jumps lead in a circle")
    places: list[Place] = []
    for part in value.split(","):
        user, _, rest = part.strip().removeprefix("ssh://").rpartition("@")
        host, port = _split_port(rest)
        explicit = {**({"port": port} if port else {}), **({"proxyjump": "none"} if places else {})}
        place = _resolve(f"{user}@{host}" if user else host, explicit, text, environ, depth + 1)
        places += [*place.jumps, place]
    return tuple(places)


def _split_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return (host, port) if port.isdigit() else (text, "")
