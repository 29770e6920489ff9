"""Where one address of a server leads: ssh's own answer, and the key that masters are shared by.

The key hashes everything that decides where and as whom ssh arrives, so that two projects with the same
server share one connection and different options never do. ``ssh -G`` tells most of it but leaves out the
jump host's own block, so the bytes of every configuration file count as well: an edited ``User`` there never
reaches the old account. What the agent, the display and Kerberos say counts where it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass, field

from mtr.errors import ConfigError, MissingProgram
from mtr.ssh import options
from mtr.ssh.known_hosts import render_name
from mtr.state import ensure_runtime_dir, read_regular, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mtr.config.model import Server

SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_KEY_HEX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one server, as ssh resolves it.

    ``explicit`` are the options of its master, ``session_options`` those of its sessions; ``address`` is
    ``user@hostname:port`` for people; ``key`` names its masters' sockets. ``forwards`` is "agent" where sessions
    forward the agent, "more" where they need what only ssh itself can set up (X11, another agent's socket).
    ``known_name`` is what known_hosts files call the server, and ``known_hosts`` are those files. ``has_jump`` says
    that others are logged in to on the way, ``key_files`` are what ssh would try. ``settings`` are all that
    ssh says (``ssh -G``).
    """

    server_name: str
    destination: str
    address: str
    key: str
    client: options.SshClient
    config: str
    explicit: tuple[str, ...]
    session_options: tuple[str, ...]
    send_env: tuple[str, ...] = ()
    forwards: str = ""
    known_name: str = ""
    known_hosts: tuple[str, ...] = ()
    has_jump: bool = False
    key_files: tuple[str, ...] = ()
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and address, as errors show them: ``gpu-01 (dev@10.0.0.7:22)``; one where they are the same."""
        name, address = self.server_name, self.address
        return name if address in (name, f"{name}:22") else f"{name} ({address})"


def load_client(environ: Mapping[str, str]) -> options.SshClient:
    """Return the ssh of ``PATH`` with its version.

    Raises:
        MissingProgram: there is none.
    """
    from mtr.process.piped import run_piped

    path = shutil.which("ssh", path=environ.get("PATH"))
    if path is None:
        raise MissingProgram("ssh is not installed on this machine", hint="install the OpenSSH client")
    text = run_piped([path, "-V"], env=environ, timeout_s=10).stderr.decode(errors="replace")
    return options.SshClient(path, parse_version(text))


def parse_version(text: str) -> tuple[int, int]:
    """Return (major, minor) from the output of ``ssh -V``; (0, 0) for an ssh that is not OpenSSH."""
    found = re.search(r"OpenSSH_(?:for_Windows_)?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def ensure_config(environ: Mapping[str, str]) -> str:
    """Write the generated configuration unless it stands already, and return its path."""
    return _ensure_file("config", options.build_config(find_user_config(environ), SYSTEM_CONFIG).encode(), environ)


def ensure_plain_config(environ: Mapping[str, str], first: str = "") -> str:
    """Write a configuration without mtr's defaults, as the user's ssh has it, with the file ``first`` in front."""
    files = [first] if first else []
    text = options.build_plain_config(*files, find_user_config(environ), SYSTEM_CONFIG)
    return _ensure_file(f"config.{'first' if first else 'plain'}", text.encode(), environ)


def find_user_config(environ: Mapping[str, str]) -> str:
    """Return the user's configuration; where that includes the file of ``mtr ssh-config``, a copy without it.

    That file is made from what ssh says of the others: with it, ssh would say for ever what it said then.
    """
    from mtr.config.openssh import MAX_BYTES, drop_own_include, find_own_include, user_file

    path = user_file(environ)
    data = read_regular(path, MAX_BYTES) or b""
    if not find_own_include(data, environ):
        return path
    return _ensure_file("config.user", drop_own_include(data, environ), environ)


def _ensure_file(name: str, wanted: bytes, environ: Mapping[str, str]) -> str:
    """Write a file of the runtime directory unless it stands already, and return its path."""
    path = f"{ensure_runtime_dir(environ)}/{name}"
    if read_regular(path, len(wanted) + 1) != wanted:
        write_atomic(path, wanted)
    return path


def resolve_endpoint(
    server: Server, destination: str, client: options.SshClient, environ: Mapping[str, str]
) -> Endpoint:
    """Ask ssh where ``destination`` leads with the options of ``server``, without connecting.

    Raises:
        ConfigError: ssh refuses its configuration; its words name the file and the line.
    """
    from mtr.config.openssh import drop_own_include, read_ssh_config_files

    config = ensure_config(environ)
    explicit = options.build_explicit(server)
    answer = query_ssh(server, destination, client, environ)
    query = options.parse_query(answer)
    # An ``Include`` of mtr's own comes and goes without any of the rest being another.
    files = [_drop_blank_lines(drop_own_include(file.data, environ)) for file in read_ssh_config_files(environ)]
    return Endpoint(
        server_name=server.name,
        destination=destination,
        address=_render_address(query),
        key=build_key(client, answer, [*explicit], files, _ambient(query, environ)),
        client=client,
        config=config,
        explicit=tuple(explicit),
        session_options=options.build_session_options(query),
        send_env=tuple(query.get("sendenv", ())),
        forwards=_parse_forwards(query),
        known_name=_parse_known_name(query),
        key_files=tuple(os.path.expanduser(path) for path in query.get("identityfile", ())),
        known_hosts=_parse_known_hosts(query, environ),
        has_jump=any(query.get(name, ["none"]) != ["none"] for name in ("proxyjump", "proxycommand")),
        settings=query,
    )


def query_ssh(server: Server, destination: str, client: options.SshClient, environ: Mapping[str, str]) -> str:
    """Return what ``ssh -G`` says of ``destination`` with the options of ``server``; raises as above."""
    explicit = options.build_explicit(server)
    argv = options.build_query_argv(client, ensure_config(environ), explicit, destination)
    return ask_ssh(server.name, argv, environ)


def _drop_blank_lines(data: bytes) -> bytes:
    return b"\n".join(line for line in data.split(b"\n") if line.strip())


def ask_ssh(name: str, argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return what ``ssh -G`` says.

    Raises:
        ConfigError: ssh refuses its configuration; its words name the file and the line.
    """
    from mtr.config.openssh import user_file
    from mtr.process.piped import run_piped

    asked = run_piped(argv, env=environ, timeout_s=30)
    if asked.status != 0:
        words = asked.stderr.decode(errors="replace").replace("\r", "")
        copy = f"{ensure_runtime_dir(environ)}/config.user"
        raise ConfigError(
            f"ssh refuses the options for {name}",
            # The lines of the copy are those of the user's own file.
            detail=words.replace(copy, user_file(environ)),
            hint=f"ssh -G {argv[-1]}",
        )
    return asked.stdout.decode(errors="surrogateescape")


def explain_option(client: options.SshClient, name: str, value: str, environ: Mapping[str, str]) -> str:
    """Return ssh's own words on why it does not take the option ``name`` with ``value``; "" where it does."""
    from mtr.process.piped import run_piped

    argv = options.build_query_argv(client, "none", ("-o", f"{name}={value}"), "localhost")
    asked = run_piped(argv, env=environ, timeout_s=30)
    words = asked.stderr.decode(errors="replace").replace("\r", "").strip().split("\n")
    return (
        f"ssh: {words[0].removeprefix('command-line line 0: ').removeprefix('command-line: line 0: ')}"
        if asked.status
        else ""
    )


def _render_address(query: Mapping[str, Sequence[str]]) -> str:
    user, host, port = (query.get(name, ["?"])[0] for name in ("user", "hostname", "port"))
    return f"{user}@{host}:{port}"


def _parse_known_name(query: Mapping[str, Sequence[str]]) -> str:
    alias, host, port = (query.get(name, [""])[0] for name in ("hostkeyalias", "hostname", "port"))
    return alias or render_name(host, port)


def _parse_known_hosts(query: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files that hold host keys; the first is where ssh adds to."""
    home = environ.get("HOME") or os.path.expanduser("~")
    words = [*query.get("userknownhostsfile", [""])[0].split(), *query.get("globalknownhostsfile", [""])[0].split()]
    return tuple(home + word[1:] if word.startswith("~/") else word for word in words)


def _parse_forwards(query: Mapping[str, Sequence[str]]) -> str:
    agent, x11 = query.get("forwardagent", ["no"])[0], query.get("forwardx11", ["no"])[0]
    if x11 != "no" or agent not in ("yes", "no"):
        return "more"
    return "agent" if agent == "yes" else ""


def _ambient(query: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> list[str]:
    """Return what a master freezes of the environment that it was opened in, as far as it is used."""
    used = ["KRB5CCNAME"]
    if query.get("forwardagent", ["no"]) != ["no"]:
        used.append("SSH_AUTH_SOCK")
    if query.get("forwardx11", ["no"]) != ["no"]:
        used.append("DISPLAY")
    return [f"{name}={environ.get(name, '')}" for name in used]


def build_key(
    client: options.SshClient, answer: str, explicit: Iterable[str], files: Iterable[bytes], ambient: Iterable[str]
) -> str:
    """Return the name of the masters for this set of options, 16 hexadecimal digits."""
    parts = [client.path, repr(client.version), answer, *explicit, *ambient]
    digest = hashlib.sha256()
    for part in [*(p.encode(errors="surrogateescape") for p in parts), *files]:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()[:_KEY_HEX_DIGITS]
