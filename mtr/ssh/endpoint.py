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
from dataclasses import dataclass

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
    that others are logged in to on the way, ``key_files`` are what ssh would try.
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
    user_config = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".ssh", "config")
    path = f"{ensure_runtime_dir(environ)}/config"
    wanted = options.build_config(user_config, SYSTEM_CONFIG).encode()
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
    from mtr.config.openssh import read_ssh_config_files

    config = ensure_config(environ)
    explicit = options.build_explicit(server)
    answer = ask_ssh(server, destination, client, environ)
    query = options.parse_query(answer)
    files = [file.data for file in read_ssh_config_files(environ)]
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
    )


def ask_ssh(server: Server, destination: str, client: options.SshClient, environ: Mapping[str, str]) -> str:
    """Return what ``ssh -G`` says of ``destination`` with the options of ``server``; raises as above."""
    from mtr.process.piped import run_piped

    argv = options.build_query_argv(client, ensure_config(environ), options.build_explicit(server), destination)
    asked = run_piped(argv, env=environ, timeout_s=30)
    if asked.status != 0:
        raise ConfigError(
            f"ssh refuses the options for {server.name}",
            detail=asked.stderr.decode(errors="replace").replace("\r", ""),
            hint=f"ssh -G {destination}",
        )
    return asked.stdout.decode(errors="surrogateescape")


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
