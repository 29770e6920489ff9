"""Which server a run goes to.

``-s`` or ``MTR_SERVER``, else ``default``, else the first under ``servers``. What no file names may still be a
destination: ``user@host[:port]``, the same behind ``ssh://``, a literal ``Host`` of ssh's configuration, or a name with
a dot or a colon; it gets the ``defaults`` like any other server.
"""

from __future__ import annotations

import re
from dataclasses import replace

from mtr.errors import ConfigError, ServerNotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.config.model import Config, Server

_DESTINATION = re.compile(
    r"""
    (?:(?P<user>.+)@)?
    (?: \[(?P<bracketed>[0-9A-Fa-f:.]*:[^\]]*)\]
      | (?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[^:]+)?)\Z
      | (?P<name>[^:@\[\]]+)
    )
    (?::(?P<port>[0-9]+))?\Z
    """,
    re.VERBOSE | re.DOTALL,
)
_URI = "ssh://"
_ELSEWHERE = "mtr -s user@host CMD"


def select_server(config: Config, requested: str | None, environ: Mapping[str, str]) -> Server:
    """Return the server that ``requested`` names, or the one that the configuration chooses.

    Raises:
        ServerNotFound: nothing of that name is known, or nothing is configured.
        ConfigError: ``default`` names a server that is not there.
        UsageError: what was requested can never be a destination.
    """
    requested = requested or environ.get("MTR_SERVER") or None
    if requested is None:
        return _select_default(config)
    if requested in config.servers:
        return config.servers[requested]
    if requested.startswith("-"):
        raise UsageError(f"{requested} is not a server: no destination begins with -", hint=_ELSEWHERE)
    if _is_literal_host(requested, environ):
        return replace(config.template, name=requested, hosts=(requested,))
    return parse_destination(requested, config.template) or _fail(config, requested)


def explain_choice(config: Config, requested: str | None, environ: Mapping[str, str]) -> str:
    """Return why :func:`select_server` chooses as it does, in words."""
    if named := requested or environ.get("MTR_SERVER"):
        how = "you have named it" if requested else "MTR_SERVER names it"
        return how if named in config.servers else f"{how}; a destination that no configuration names"
    if config.default is not None:
        return f"`default` names it, {config.sources[('default',)]}"
    return "it is the first one under `servers`"


def _select_default(config: Config) -> Server:
    if config.default is None:
        if not config.servers:
            raise ServerNotFound(
                "no server is configured", hint=f"mtr init sets this project up; without: {_ELSEWHERE}"
            )
        return next(iter(config.servers.values()))
    if config.default in config.servers:
        return config.servers[config.default]
    position = config.sources.get(("default",))
    where = f"{position}: " if position else ""
    raise ConfigError(
        f"{where}default: {explain_wrong_default(config)}",
        detail=_render_names(config),
        hint=_hint_close(config, config.default),
    )


def explain_wrong_default(config: Config) -> str:
    """Return what is wrong with ``default``; "" where it names a server, or there is none."""
    if config.default is None or config.default in config.servers:
        return ""
    return f"there is no server {config.default}{_did_you_mean(config, config.default)}"


def _is_literal_host(name: str, environ: Mapping[str, str]) -> bool:
    from mtr.config.openssh import literal_hosts, read_ssh_config_files

    return name in literal_hosts(read_ssh_config_files(environ))


def parse_destination(text: str, template: Server) -> Server | None:
    """Return ``text`` as a server, if it reads as a destination; None otherwise.

    Raises:
        UsageError: it does, but its user, host or port can never be right.
    """
    rest = text.removeprefix(_URI)
    is_uri = rest != text
    found = _DESTINATION.match(rest.removesuffix("/") if is_uri else text)
    if found is None or (is_uri and "/" in found[0]):
        return None
    user, host = found["user"], found["bracketed"] or found["bare"] or found["name"]
    if user is None and "." not in host and ":" not in host and not is_uri:
        return None
    if user is not None and is_uri:
        from urllib.parse import unquote

        user = unquote(user)
    port = int(found["port"][:6]) if found["port"] else None
    _ensure_sane(text, user, host, port)
    return replace(
        template, name=found[0], hosts=(host,), user=user or template.user, port=port if port else template.port
    )


def _ensure_sane(text: str, user: str | None, host: str, port: int | None) -> None:
    from mtr.config.schema import HOST_PATTERN, USER_PATTERN

    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"{text}: a port is from 1 to 65535", hint=_ELSEWHERE)
    if not re.search(HOST_PATTERN, host) or (user is not None and not re.search(USER_PATTERN, user)):
        raise UsageError(f"{text!r} holds characters that no destination has", hint=_ELSEWHERE)


def _fail(config: Config, requested: str) -> Server:
    raise ServerNotFound(
        f"there is no server {requested}{_did_you_mean(config, requested)}",
        detail=_render_names(config),
        hint=_hint_close(config, requested),
    )


def _find_close(config: Config, name: str) -> str | None:
    import difflib

    by_lower = {known.lower(): known for known in config.servers}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def _did_you_mean(config: Config, name: str) -> str:
    close = _find_close(config, name)
    return f"; did you mean {close}?" if close else ""


def _hint_close(config: Config, name: str) -> str:
    return f"mtr -s {_find_close(config, name) or 'user@host'} CMD"


def _render_names(config: Config) -> str:
    return f"configured: {', '.join(config.servers) or 'none'}"
