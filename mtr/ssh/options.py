"""Argument vectors for ssh: the master's, a session's, a query's. Pure.

Rules that hold for all of them:

- ssh takes the first value that it meets for an option. What mtr must have stands first, then what the user
  wrote for this server, then (in the generated file) the user's and the system's own configuration, then
  mtr's defaults.
- The destination is the ``host`` as the user wrote it, behind ``--``, so that ``Host`` blocks of their own
  configuration match and no name is taken for an option.
- A session never reads a configuration and has no way to a login of its own: ``-F none`` and a
  ``ProxyCommand`` that fails. Without its master it ends at once, having run nothing.
- ``IgnoreUnknown`` is never set: the first value would win over the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.config.model import Server

IDLE_S = 4 * 3600
"""How long a master without sessions stays."""

CONFIG_DEFAULTS = """\
Match all
  StrictHostKeyChecking accept-new
  ConnectTimeout 10
  ServerAliveInterval 15
  ServerAliveCountMax 4
  SendEnv LC_MTR* XMODIFIERS
"""

_FORCED = (
    f"ControlPersist={IDLE_S}",
    "RemoteCommand=none",
    "RequestTTY=no",
    "PermitLocalCommand=no",
    "ClearAllForwardings=yes",
    "LogLevel=ERROR",
)
_FORCED_SINCE_8_7 = ("ForkAfterAuthentication=no", "SessionType=none", "StdinNull=no")

_SESSION_KEYS = frozenset(
    ("escapechar", "forwardagent", "forwardx11", "forwardx11trusted", "xauthlocation", "sendenv", "setenv")
)
"""What a session decides for itself, and so must be told: read once from ``ssh -G``."""


@dataclass(frozen=True, slots=True)
class SshClient:
    """The ssh program of this machine: its path and its OpenSSH version."""

    path: str
    version: tuple[int, int]

    @property
    def tells_outcome(self) -> bool:
        """Whether a session's log can say how it ended: ``LogVerbose`` came with OpenSSH 8.5."""
        return self.version >= (8, 5)


def build_config(user_config: str, system_config: str) -> str:
    """Return the text of the generated configuration: the user's file, the system's, then mtr's defaults.

    ``Match all`` before each ``Include`` ends whatever block the included file left open.
    """
    return build_plain_config(user_config, system_config) + CONFIG_DEFAULTS


def build_plain_config(*files: str) -> str:
    """Return the text of a configuration that is ``files`` one after the other, as plain ssh reads its own."""
    return "".join(f'Match all\nInclude "{path}"\n' for path in files)


def build_explicit(server: Server) -> list[str]:
    """Return the ``-o`` options for what the user wrote for ``server``.

    A key of its own implies ``IdentitiesOnly``: an agent with twenty keys would use up the tries before it. A
    password alone means the password, and one attempt with it: a second could lock an account.
    """
    options = [f"{name}={value}" for name, value in server.ssh_options.items()]
    if server.user:
        # Only where it must be: an ssh before 8.7 reads no backslash in quotes as such.
        options.append(f"User={quote_value(server.user) if ' ' in server.user else server.user}")
    if server.port:
        options.append(f"Port={server.port}")
    if server.key_filename:
        options += [f"IdentityFile={_quote_path(str(server.key_filename))}", "IdentitiesOnly=yes"]
    if has_password(server):
        options += ["NumberOfPasswordPrompts=1", "PreferredAuthentications=password,keyboard-interactive"]
        if not server.key_filename:
            options.append("PubkeyAuthentication=no")
    return _as_flags(options)


def has_password(server: Server) -> bool:
    """Tell whether ``server`` logs in with a password that mtr knows or can ask for."""
    return any((server.password, server.password_env, server.password_command))


def _quote_path(path: str) -> str:
    """Return ``path`` with ``%`` doubled and in double quotes: ssh expands tokens and splits at blanks."""
    return quote_value(path.replace("%", "%%"))


def quote_value(value: str) -> str:
    """Return ``value`` in double quotes, as one word for ssh's option parser."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _as_flags(options: Sequence[str]) -> list[str]:
    return [word for option in options for word in ("-o", option)]


def build_query_argv(client: SshClient, config: str, explicit: Sequence[str], destination: str) -> list[str]:
    """Return the argv that prints ssh's resolved configuration for ``destination`` (``ssh -G``)."""
    # ssh checks this one before it prints, and refuses to go on.
    forced = _as_flags(["ForkAfterAuthentication=no"] if client.version >= (8, 7) else [])
    return [client.path, "-F", config, *forced, *explicit, "-G", "--", destination]


def build_master_argv(
    client: SshClient, config: str, explicit: Sequence[str], destination: str, socket: str, *, may_prompt: bool
) -> list[str]:
    """Return the argv that opens a master apart from any command and goes into the background.

    Its log is ``SOCKET.log``. ``may_prompt`` lets ssh prompt on its terminal (the user's, or the one that
    sshpass answers); without it, ssh fails instead.
    """
    batch = "no" if may_prompt else "yes"
    forced = [*_FORCED, *(_FORCED_SINCE_8_7 if client.version >= (8, 7) else ()), f"BatchMode={batch}"]
    background = ["-M", "-N", "-f", "-S", socket, "-E", f"{socket}.log"]
    return [client.path, "-F", config, *background, *_as_flags(forced), *explicit, "--", destination]


def build_diagnosis_argv(
    client: SshClient, config: str, explicit: Sequence[str], destination: str, *, log_level: str = "INFO"
) -> list[str]:
    """Return the argv of an ssh that logs in by itself, asks nobody, says what goes wrong, and runs nothing."""
    forced = ["ControlMaster=no", "ControlPath=none", "BatchMode=yes", "RemoteCommand=none", f"LogLevel={log_level}"]
    alone = ["-T", "-x", "-a", *_as_flags([*forced, "ClearAllForwardings=yes", "PermitLocalCommand=no"])]
    return [client.path, "-F", config, *alone, *explicit, "--", destination, "true"]


def parse_query(text: str) -> dict[str, list[str]]:
    """Return the output of ``ssh -G`` as option name (lower case) to its values, in order."""
    found: dict[str, list[str]] = {}
    # A value may hold what Python takes for the end of a line as well.
    for line in text.removesuffix("\n").split("\n"):
        name, _, value = line.partition(" ")
        found.setdefault(name, []).append(value)
    return found


def build_session_options(query: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the ``-o`` options of a session from the resolved configuration ``query``."""
    options = [
        f"{name}={quote_value(value) if name == 'setenv' else value}"
        for name in sorted(_SESSION_KEYS)
        for value in query.get(name, ())
    ]
    return tuple(_as_flags(options))
