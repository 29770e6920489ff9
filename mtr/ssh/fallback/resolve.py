"""Where a destination leads, by the user's ssh_config as far as paramiko reads it.

What decides where, as whom or how safely a login goes and cannot be honoured here is refused by name. What only ssh
itself does for its sessions (forwardings, multiplexing) is left out: mtr does not need it.
"""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtr.config.model import home_dir
from mtr.config.openssh import read_flat
from mtr.errors import ConfigError
from mtr.ssh.known_hosts import render_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Server

_HONOURED = frozenset(
    # One word each, as ssh_config(5) spells them.
    """hostname port user identityfile identitiesonly identityagent proxyjump userknownhostsfile globalknownhostsfile
    hostkeyalias stricthostkeychecking hashknownhosts connecttimeout serveraliveinterval preferredauthentications
    passwordauthentication pubkeyauthentication kbdinteractiveauthentication challengeresponseauthentication
    numberofpasswordprompts batchmode sendenv setenv""".split()  # noqa: SIM905  a page of words
)
_HARMLESS = frozenset(
    """addkeystoagent checkhostip clearallforwardings compression compressionlevel connectionattempts controlmaster
    controlpath controlpersist dynamicforward enableescapecommandline escapechar exitonforwardfailure
    fingerprinthash forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted
    gatewayports gssapiauthentication gssapidelegatecredentials gssapikeyexchange gssapitrustdns
    hostbasedauthentication ignoreunknown ipqos localcommand localforward loglevel logverbose
    nohostauthenticationforlocalhost obscurekeystroketiming permitlocalcommand permitremoteopen remotecommand
    remoteforward requesttty rekeylimit serveralivecountmax sessiontype stdinnull streamlocalbindmask
    streamlocalbindunlink syslogfacility tag tcpkeepalive updatehostkeys usekeychain useroaming verifyhostkeydns
    visualhostkey warnweakcrypto xauthlocation canonicalizefallbacklocal canonicalizemaxdots canonicaldomains
    canonicalizepermittedcnames proxyusefdpass""".split()  # noqa: SIM905
)
"""Options that decide nothing here, or whose absence is the stricter choice (a login that is not tried)."""

_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
MAX_JUMPS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where a login goes and how: what ``ssh -G`` would say. ``jumps`` are passed in order on the way.

    ``strict`` is ``yes``, ``ask`` or ``accept-new``; ``methods`` are those of RFC 4252 in the order of trying;
    ``agent`` is the agent's socket, "" for none.
    """

    host: str
    port: int
    user: str
    key_files: tuple[str, ...] = ()
    only_these_keys: bool = False
    agent: str = ""
    known_hosts: tuple[str, ...] = ()
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
    return _resolve(destination, explicit, text, environ, 0)


def _resolve(destination: str, explicit: Mapping[str, str], text: str, environ: Mapping[str, str], depth: int) -> Place:
    user, _, host = destination.rpartition("@")
    found = {**_look_up(text, host, user or explicit.get("user", "")), **explicit}
    _refuse_what_needs_ssh(found, host)
    if user:
        found["user"] = user
    home = home_dir(environ)
    keys = _as_list(found.get("identityfile", []))
    standard = [f"{home}/.ssh/{name}" for name in _DEFAULT_KEYS] if not keys else []
    name, port = _pick(found, "hostname", host), int(_pick(found, "port", "22"))
    known = _pick(found, "userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2").split()
    known += _pick(found, "globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2").split()
    return Place(
        host=name,
        port=port,
        user=_pick(found, "user", "") or getpass.getuser(),
        key_files=tuple(_expand(path, home) for path in [*keys, *standard] if path.lower() != "none"),
        only_these_keys=_pick(found, "identitiesonly", "no") == "yes",
        agent=_find_agent(found, environ, home),
        known_hosts=tuple(_expand(path, home) for path in known if path.lower() != "none"),
        known_name=_pick(found, "hostkeyalias", "") or render_name(name, port),
        strict=_parse_strict(_pick(found, "stricthostkeychecking", "accept-new")),
        hashes_names=_pick(found, "hashknownhosts", "no") == "yes",
        methods=_list_methods(found),
        timeout_s=float(_pick(found, "connecttimeout", "10").replace("none", "10")),
        keepalive_s=int(_pick(found, "serveraliveinterval", "15")),
        send_env=tuple(_pick(found, "sendenv", "").split()),
        set_env=tuple(_pick(found, "setenv", "").split()),
        jumps=_resolve_jumps(_pick(found, "proxyjump", "none"), text, environ, depth),
    )


def _look_up(text: str, host: str, user: str) -> dict[str, object]:
    """Return the options that ssh_config has for ``host``; ``Match user`` sees ``user``.

    Raises:
        ConfigError: paramiko cannot read the text, or it runs a program to decide (``Match exec``).
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


def _expand(path: str, home: str) -> str:
    return home + path[1:] if path.startswith("~/") else path.replace("%d", home)


def _find_agent(found: Mapping[str, object], environ: Mapping[str, str], home: str) -> str:
    wanted = _pick(found, "identityagent", "SSH_AUTH_SOCK")
    if wanted == "none":
        return ""
    if wanted in ("SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"):
        return environ.get("SSH_AUTH_SOCK", "")
    return _expand(wanted, home)


def _parse_strict(word: str) -> str:
    """Return how strict to be; what would accept anything is made to accept what is new, and no more."""
    word = word.lower()
    return {"yes": "yes", "ask": "ask"}.get(word, "accept-new")


def _list_methods(found: Mapping[str, object]) -> tuple[str, ...]:
    wanted = _pick(found, "preferredauthentications", "publickey,keyboard-interactive,password").split(",")
    off = {
        "publickey": _pick(found, "pubkeyauthentication", "yes") == "no",
        "password": _pick(found, "passwordauthentication", "yes") == "no",
        "keyboard-interactive": _pick(found, "kbdinteractiveauthentication", "yes") == "no"
        or _pick(found, "challengeresponseauthentication", "yes") == "no",
    }
    return tuple(method for method in wanted if not off.get(method, True))


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
