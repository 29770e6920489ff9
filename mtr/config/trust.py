"""Trust in what a project's configuration asks of this machine.

A cloned repository brings its ``.mtr/config.yaml`` along. Values in it that make mtr run programs here, hand out what
is this machine's own to a server of the file's choice, or weaken the check of host keys count only once the user has
said so. The user's own configuration is trusted always; nothing else of a project's files ever asks.

Options of ssh are judged by a list of harmless ones: an option that is not on it, such as one that a future ssh brings,
asks; so does a value with characters that ssh or a shell would expand.

On disk: ``trust/ROOT.HASH`` in the state directory, a small JSON object, for each set of values that was trusted for a
project: nothing is ever rewritten, so runs at the same time do not meet. What is kept is the hash of the values alone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from mtr.config.env_file import is_within
from mtr.config.model import Position, render_key_path
from mtr.config.policy import limits_commands
from mtr.config.schema import PASSWORD_KEYS
from mtr.config.validate import list_sections
from mtr.errors import NotTrusted, reveal_controls
from mtr.state import ensure_state_dir, remove_file, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from mtr.config.model import KeyPath
    from mtr.config.source import Source

VARIABLE = "MTR_TRUST"
"""Holds hashes, parted by commas, that count as trusted: for CI, where nobody can be asked."""

RUNS, GIVES, WEAKENS, WRITES, EVADES = (
    "runs a program here",
    "gives what is yours to the server",
    "may run a program here, or weaken the check of the server",
    "writes downloads outside of the project",
    "decides what a command comes to, and your own policy limits what agents run",
)

_DECIDING = frozenset(("pre_cmd", "shell", "python", "env", "env_file", "remote_dir", "host", "port", "user"))
"""What else than the command decides what runs, and where: an agent that edits these would evade the user's policy."""

_PLAIN = frozenset(
    # ssh_config(5) of OpenSSH 9.2 and what later ones added, in its order: what can neither run anything, hand anything
    # out, nor accept another host key.
    """addressfamily bindaddress bindinterface certificatefile checkhostip compression compressionlevel
    connectionattempts connecttimeout escapechar fingerprinthash gssapiauthentication hashknownhosts hostname
    identitiesonly identityfile ipqos kbdinteractiveauthentication challengeresponseauthentication loglevel
    numberofpasswordprompts obscurekeystroketiming passwordauthentication port preferredauthentications proxyjump
    pubkeyauthentication rekeylimit requesttty serveralivecountmax serveraliveinterval setenv tcpkeepalive
    updatehostkeys user visualhostkey""".split()  # noqa: SIM905  a page of words
)
_OFF = {
    **dict.fromkeys(("forwardagent", "forwardx11", "forwardx11trusted", "gssapidelegatecredentials"), ("no", "false")),
    **dict.fromkeys(("permitlocalcommand", "addkeystoagent", "tunnel"), ("no", "false")),
    **dict.fromkeys(("proxycommand", "identityagent", "pkcs11provider", "knownhostscommand"), ("none",)),
    "stricthostkeychecking": ("yes", "true", "ask"),
}
"""Values with which an option of the other kind is the careful choice."""

_GIVING = frozenset(
    """sendenv forwardagent forwardx11 forwardx11trusted gssapidelegatecredentials remoteforward
    identityagent addkeystoagent""".split()  # noqa: SIM905
)
_RUNNING = frozenset(
    """proxycommand localcommand permitlocalcommand knownhostscommand pkcs11provider securitykeyprovider
    xauthlocation include smartcarddevice""".split()  # noqa: SIM905
)

_SAFE_VALUE = re.compile(r"[A-Za-z0-9_.,:@%+/=^*?~\[\] -]*\Z")


@dataclass(frozen=True, slots=True)
class Value:
    """One value that needs trust: the way to it, its text, where it is written, and why it asks."""

    path: KeyPath
    text: str
    position: Position
    reason: str

    def __str__(self) -> str:
        key = f"{render_key_path(self.path)}: " if self.path else ""
        return reveal_controls(f"{self.position}: {key}{_mask(self.path, self.text)}  ({self.reason})")


@dataclass(frozen=True, slots=True)
class Claim:
    """All values of a project's files that need trust; ``root`` is the directory whose ``.mtr`` holds them."""

    root: str
    values: tuple[Value, ...]

    @property
    def digest(self) -> str:
        """The hash of just these values: 64 hexadecimal digits, the same for every checkout."""
        kept = sorted([value.position.file.name, *map(str, value.path), value.text] for value in self.values)
        return sha256(json.dumps(["mtr trust 1", kept]).encode(errors="surrogatepass")).hexdigest()


def _mask(path: KeyPath, text: str) -> str:
    """Return ``text`` without the values of variables that it sets: they may be secrets."""
    if len(path) > 1 and path[-2] == "env":
        return "***"
    is_setenv = len(path) > 1 and path[-2] == "ssh_options" and str(path[-1]).lower() == "setenv"
    return re.sub(r"=\S+", "=***", text) if is_setenv else text


# -- which values need trust


def find_claim(root: Path | None, own: Source | None, foreign: Iterable[Source]) -> Claim | None:
    """Return what the project's files ``foreign`` ask of this machine; ``own`` is the user's configuration."""
    data = own.data if own else None
    lending = {path[1] for path, section in list_sections(data) if path[1:] and _lends(section)}
    is_limited = limits_commands(data)
    values = tuple(value for source in foreign for value in _list_values(source, lending, is_limited=is_limited))
    return Claim(str(root), values) if values and root is not None else None


def _list_values(source: Source, lending: set[str | int], *, is_limited: bool) -> Iterator[Value]:
    if doubt := explain_doubt(source):
        yield Value((), source.digest, Position(source.file, 1, 1), f"all of it: {doubt}")
    for path, section in list_sections(source.data):
        # What the user lends a server of this name must not go to another machine that the project names so.
        is_redirected = path[1] in lending if path[1:] else bool(lending)
        found = list(_judge_section(section, is_redirected=is_redirected))
        if is_limited:
            known = {at for at, *_ in found}
            found += [value for value in _list_deciding(section) if value[0] not in known]
        for at, text, reason in found:
            yield Value((*path, *at), text, source.values[(*path, *at)], reason)


def _list_deciding(section: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield what a project's files say of how commands run, where the user's own policy limits them."""
    for key, value in section.items():
        for name, inner in value.items() if key in ("env", "ssh_options") and isinstance(value, dict) else ():
            yield (key, name), _render(inner), EVADES
        if key in _DECIDING and key != "env":
            yield (key,), _render(value), EVADES


def _lends(section: Mapping[str, Any]) -> bool:
    """Tell whether a server of the user's own configuration is given a password or anything else of this machine's."""
    options = section.get("ssh_options") or {}
    has_password = any(key in section for key in PASSWORD_KEYS)
    return has_password or any(judge_option(name, _render(value)) for name, value in options.items())


def _judge_section(section: Mapping[str, Any], *, is_redirected: bool) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield the way, the text and the reason of what needs trust in ``defaults`` or in one server."""
    for key, value in section.items():
        if key == "password_command" or (key == "notify" and value not in ("bell", "desktop")):
            yield (key,), value, RUNS
        elif key == "password_env" or (key in ("host", "port") and is_redirected):
            yield (key,), _render(value), GIVES
        elif key == "env_file" and not is_within(value):
            yield (key,), value, GIVES
        elif key == "download_dir" and leads_out(value):
            yield (key,), value, WRITES
        elif key == "ssh_options":
            for name, option in (value or {}).items():
                text = _render(option)
                reason = judge_option(name, text) or (GIVES if is_redirected and name.lower() in _REDIRECTING else "")
                if reason:
                    yield (key, name), text, reason


_REDIRECTING = frozenset(("hostname", "proxyjump", "port"))


def _render(value: object) -> str:
    """Return a value as ssh would take it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def judge_option(name: str, value: str) -> str:
    """Return why an option of ssh needs trust when a project's file sets it; "" for one that does not."""
    name = name.lower()
    if value.lower() in _OFF.get(name, ()):
        return ""
    if name in _PLAIN and _SAFE_VALUE.match(value):
        return ""
    if name in _RUNNING:
        return RUNS
    return GIVES if name in _GIVING else WEAKENS


def leads_out(download_dir: str) -> bool:
    """Tell whether downloads would go out of the project, or to where git or mtr read what to do."""
    parts = os.path.normpath(download_dir).split(os.sep)
    out = os.path.isabs(download_dir) or parts[0] in ("..", "~")
    return out or any(part.lower() in (".git", ".mtr") for part in parts)


def explain_doubt(source: Source) -> str:
    """Return why everything in a file needs trust: somebody else may have written it. "" for a file of the user's own.

    Groups are left out: with a umask of 002, which many systems have, every file is writable by the user's own group.
    """
    if os.name != "posix" or source.owner is None:
        return ""
    if source.owner not in _list_own_ids():
        return f"it belongs to the user {_name_user(source.owner)}"
    return "everybody on this machine may write it" if source.mode & 0o002 else ""


def _list_own_ids() -> set[int]:
    """Return whose files count as the user's own: theirs, root's, and under sudo those of who has called it."""
    uid, caller = os.geteuid(), os.environ.get("SUDO_UID", "")
    return {0, uid, *([int(caller)] if uid == 0 and caller.isascii() and caller.isdigit() else [])}


def _name_user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# -- what was trusted


def is_trusted(claim: Claim, environ: Mapping[str, str]) -> bool:
    """Tell whether exactly these values were trusted for this project, or are named by ``MTR_TRUST``."""
    return is_stored(claim, environ) or is_named(claim, environ)


def is_named(claim: Claim, environ: Mapping[str, str]) -> bool:
    """Tell whether ``MTR_TRUST`` names these values."""
    return claim.digest in (word.strip().lower() for word in environ.get(VARIABLE, "").split(","))


def is_stored(claim: Claim, environ: Mapping[str, str]) -> bool:
    """Tell whether the user has trusted these values here."""
    try:
        descriptor = os.open(find_file(claim, environ), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            found, data = os.fstat(descriptor), file.read(65_536)
    except OSError:
        return False
    # Another user may have put it there, where the state directory was once open to them.
    is_own = os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)
    return stat.S_ISREG(found.st_mode) and is_own and data == _render_record(claim)


def find_file(claim: Claim, environ: Mapping[str, str]) -> str:
    """Return the path that stands for the trust in ``claim``, whether or not it is there."""
    return f"{ensure_state_dir(environ)}/trust/{_name_root(claim.root)}.{claim.digest}"


def _name_root(root: str) -> str:
    return sha256(os.fsencode(root)).hexdigest()[:32]


def _render_record(claim: Claim) -> bytes:
    return json.dumps({"root": claim.root, "hash": claim.digest}).encode()


def store_trust(claim: Claim, environ: Mapping[str, str]) -> None:
    """Keep that the user trusts ``claim``."""
    path = find_file(claim, environ)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    write_atomic(path, _render_record(claim))


def revoke_trust(root: str, environ: Mapping[str, str]) -> int:
    """Forget all that was trusted for the project at ``root``; return how many sets of values that were."""
    folder = f"{ensure_state_dir(environ)}/trust"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = [name for name in names if name.startswith(f"{_name_root(root)}.") and not name.endswith(".tmp")]
    for name in found:
        remove_file(f"{folder}/{name}")
    return len(found)


def ensure_trusted(claim: Claim | None, environ: Mapping[str, str]) -> None:
    """Make sure that what a project asks of this machine was trusted.

    Raises:
        NotTrusted: with each value and where it is written.
    """
    if claim is None or is_trusted(claim, environ):
        return
    named = f"; {VARIABLE} names other values" if environ.get(VARIABLE) else ""
    raise NotTrusted(
        f"the configuration in {claim.root} asks for what needs your trust, and has not got it{named}",
        detail="\n".join(map(str, claim.values)),
        hint=f"mtr trust; in CI: {VARIABLE}={claim.digest}",
    )
