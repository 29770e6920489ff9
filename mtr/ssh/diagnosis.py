"""Reading ssh's own words, and the gate's: why a connection did not open, or a command did not start. Pure.

The texts are OpenSSH's (sshconnect.c, ssh.c, mux.c) and the C library's; they are not translated, since ssh
never calls setlocale for messages. What is not recognised stays a plain :class:`ConnectError` with the words.
"""

from __future__ import annotations

import re
import shlex
import shutil

from mtr.errors import (
    AuthenticationFailed,
    ConnectError,
    ConnectionRefused,
    ConnectionTimeout,
    GateRefused,
    HostKeyChanged,
    RemoteDiskFull,
    RemoteNotWritable,
    SyncError,
    UnknownHost,
)
from mtr.ssh.known_hosts import find_keys, render_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtr.ssh.endpoint import Endpoint
    from mtr.ssh.gate import Command
    from mtr.ssh.known_hosts import KnownKey


def build_connect_error(endpoint: Endpoint, log: str, status: int, *, asked: bool = True) -> ConnectError:
    """Return the error for a master that did not open, from its log and its exit status.

    ``asked`` says that whatever the server wanted could be answered: by a person, or with a password.
    """
    words = drop_noise(log)
    for pattern, build in _CAUSES:
        if re.search(pattern, log):
            is_unasked = build is _denied and not asked and re.search(_WOULD_ASK, log)
            return _unasked(endpoint, words) if is_unasked else build(endpoint, words)
    words = words or f"ssh ended with status {status} and said nothing"
    return ConnectError(f"cannot connect to {endpoint.label}", detail=words, hint=_try_ssh(endpoint))


def drop_noise(log: str) -> str:
    """Return ``log`` without the lines that only frame the cause."""
    noise = r"@+\s*$|kex_exchange_identification|Warning: Permanently added|Connection closed by UNKNOWN"
    kept = [line.rstrip("\r") for line in log.splitlines() if not re.match(noise, line)]
    return "\n".join(line for line in kept if line.strip())


def render_ssh(endpoint: Endpoint, *more: str) -> str:
    """Return the ssh to type by hand, with the user and the port that mtr's own configuration adds."""
    added = dict(word.partition("=")[::2] for word in endpoint.explicit if "=" in word)
    flags = [f"-l {shlex.quote(added['User'])}"] if "User" in added else []
    flags += [f"-p {added['Port']}"] if "Port" in added else []
    return " ".join(["ssh", *more, *flags, shlex.quote(endpoint.destination), "true"])


def _try_ssh(endpoint: Endpoint) -> str:
    """Return the command that shows more."""
    return render_ssh(endpoint, "-v")


def _refused(endpoint: Endpoint, words: str) -> ConnectError:
    hint = f"check that sshd runs there and that the port is right: {_try_ssh(endpoint)}"
    return ConnectionRefused(f"cannot reach {endpoint.label}: connection refused", detail=words, hint=hint)


def _timeout(endpoint: Endpoint, words: str) -> ConnectError:
    hint = f"check the address, the VPN and the firewall, then: mtr up -s {endpoint.server_name}"
    return ConnectionTimeout(f"cannot reach {endpoint.label}: no answer", detail=words, hint=hint)


def _unknown_host(endpoint: Endpoint, words: str) -> ConnectError:
    hint = f"check `host` of {endpoint.server_name} in .mtr/config.yaml, or its Host block in ~/.ssh/config"
    if "@" in endpoint.server_name or endpoint.server_name == endpoint.destination:
        hint = f"check the spelling of {endpoint.destination}, or write a Host block for it into ~/.ssh/config"
    return UnknownHost(f"cannot find {endpoint.label}: the name does not resolve", detail=words, hint=hint)


def _denied(endpoint: Endpoint, words: str) -> ConnectError:
    hint = f"check user and key; where it must ask: mtr up -s {endpoint.server_name}; to see more: {_try_ssh(endpoint)}"
    return AuthenticationFailed(f"{_name_refuser(endpoint, words)} accepts no login", detail=words, hint=hint)


_WOULD_ASK = r"Permission denied \([^)]*(?:password|keyboard-interactive)"
"""How ssh names what a server would still take (sshconnect2.c)."""


def _unasked(endpoint: Endpoint, words: str) -> ConnectError:
    message = f"{_name_refuser(endpoint, words)} accepts no login; it would take a password, and nobody can be asked"
    return AuthenticationFailed(message, detail=words, hint=f"mtr up -s {endpoint.server_name}")


def _name_refuser(endpoint: Endpoint, words: str) -> str:
    """Return who refused: the server, or a host on the way there, by the user@host that ssh names at the end."""
    named = re.findall(r"^(\S+@\S+): Permission denied", words, re.MULTILINE)
    if not endpoint.has_jump or not named or named[-1] == endpoint.address.rpartition(":")[0]:
        return endpoint.label
    return f"{named[-1]}, on the way to {endpoint.label},"


def _too_many_keys(endpoint: Endpoint, words: str) -> ConnectError:
    hint = f"name the one key with `key_filename` for {endpoint.server_name}"
    message = f"{endpoint.label} cut the login off after too many keys"
    return AuthenticationFailed(message, detail=words, hint=hint)


def _key_changed(endpoint: Endpoint, words: str) -> ConnectError:
    """Return the error with both fingerprints: ssh says the one that was offered, and where the stored one is."""
    host, _, port = endpoint.address.rpartition("@")[2].rpartition(":")
    offered = re.search(r"fingerprint for the (\S+) key sent by the remote host is\s+(SHA256:\S+?)\.?\s", f"{words}\n")
    offending = re.findall(r"^Offending (?:\S+ )?key (?:in|for IP in) (.+):(\d+)$", words, re.MULTILINE)
    name = endpoint.known_name or render_name(host, port)
    stored = [key for file, line in offending for key in find_keys([file], name) if str(key.line) == line]
    if not (offered and stored):
        return HostKeyChanged(_CHANGED.format(endpoint.label), detail=words, hint=f"ssh-keygen -R {shlex.quote(name)}")
    return build_key_changed(endpoint.label, name, f"{offered[1]} {offered[2]}", stored)


_CHANGED = "the host key of {} is not the one that was stored; nothing was sent"


def build_key_changed(label: str, name: str, offered: str, stored: Sequence[KnownKey]) -> HostKeyChanged:
    """Return the error for a server that offers another key than the ``stored`` ones, with the command that accepts."""
    lines = [f"offered now:  {offered}"]
    lines += [f"stored:       {key.fingerprint} ({key.file}:{key.line})" for key in stored]
    lines.append("either the server was installed anew, or somebody stands in between")
    if shutil.which("ssh-keygen"):
        files = dict.fromkeys(key.file for key in stored)
        accept = "; ".join(f"ssh-keygen -R {shlex.quote(name)} -f {shlex.quote(file)}" for file in files)
    else:
        # From the last line to the first, so that their numbers stay right.
        accept = "; ".join(f"sed -i.old {key.line}d {shlex.quote(key.file)}" for key in reversed(stored))
    hint = f"if its administrator confirms the new key: {accept}"
    return HostKeyChanged(_CHANGED.format(label), detail="\n".join(lines), hint=hint)


def _key_unknown(endpoint: Endpoint, words: str) -> ConnectError:
    return ConnectError(
        f"the host key of {endpoint.label} is not known, and your ssh configuration does not accept new ones",
        detail=words,
        hint=f"mtr up -s {endpoint.server_name}",
    )


def _no_algorithm(endpoint: Endpoint, words: str) -> ConnectError:
    hint = "allow one that both know, in the ssh configuration of one of them, or update the older"
    return ConnectError(f"{endpoint.label} and this machine have no algorithm in common", detail=words, hint=hint)


def _closed(endpoint: Endpoint, words: str) -> ConnectError:
    """Return the error for a connection that is closed in place of a greeting; on a way of several it may be any's."""
    if endpoint.has_jump:
        return ConnectError(f"cannot connect to {endpoint.label}", detail=words, hint=_try_ssh(endpoint))
    hint = f"wait a moment (too many logins at once, a ban after failed ones), or check the port: {_try_ssh(endpoint)}"
    return ConnectError(f"{endpoint.label} closed the connection before any login", detail=words, hint=hint)


_CAUSES: tuple[tuple[str, Callable[[Endpoint, str], ConnectError]], ...] = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", _key_changed),
    ("Too many authentication failures", _too_many_keys),
    ("Permission denied|No more authentication methods|Host key verification failed.*denied", _denied),
    ("Host key verification failed", _key_unknown),
    ("Could not resolve hostname|Name or service not known|nodename nor servname", _unknown_host),
    ("Connection refused", _refused),
    ("Unable to negotiate|no matching .* found", _no_algorithm),
    ("timed out|Timeout, server|No route to host|Network is unreachable|Host is down", _timeout),
    ("kex_exchange_identification: .*Connection (closed|reset) by", _closed),
)
"""Patterns in order: the first that matches names the cause."""


def build_prepare_error(status: int, label: str, remote_dir: str, words: str) -> SyncError:
    """Return the error for a status of ``list.sh`` other than 0."""
    if re.search("No space left|[Dd]isk quota exceeded", words):
        return RemoteDiskFull(f"no space left on {label} for {remote_dir}", detail=words, hint="df -h there")
    if status in (1, 2):
        hint = "choose another `remote_dir`, or make that one writable"
        return RemoteNotWritable(f"{label}: cannot write to {remote_dir}", detail=words, hint=hint)
    if status == 5:
        hint = "wait for the other run; if there is none, remove .mtr/busy.* in that directory there"
        return SyncError(f"{label}: somebody's sync to {remote_dir} does not end", hint=hint)
    return SyncError(f"{label}: cannot look at {remote_dir} (status {status})", detail=words)


def build_refusal(server_name: str, command: Command, words: Sequence[str]) -> GateRefused:
    """Return the error for what the gate left when it refused: a word, then the system's own words."""
    reason, detail = words[0], "\n".join(words[1:])
    where = f"{command.remote_dir}/{command.subdir.removeprefix('./')}".rstrip("/")
    if reason in ("directory", "missing"):
        what, hint = {
            "directory": (f"cannot enter {where}", "check `remote_dir`, and who may write there"),
            "missing": (f"there is no directory {where}", "name one that is there; empty ones are not synced"),
        }[reason]
        return GateRefused(f"{server_name}: {what}; the command did not start", detail=detail, hint=hint)
    if reason == "pre_cmd":
        ended = f"ended with status {detail}" if detail else "never came to its end"
        if not command.pre_cmd:
            return GateRefused(
                f"{server_name}: what {command.python} runs when it is activated {ended}; the command did not start",
                hint="see what is in etc/conda/activate.d of that environment there",
            )
        return GateRefused(
            f"{server_name}: pre_cmd {ended}; the command did not start",
            detail=f"pre_cmd: {command.pre_cmd}",
            hint="log in with ssh, and try it in that directory there",
        )
    if reason == "python":
        hint = f"mtr config show {server_name}, and set `python` to one that is there"
        if command.python.startswith("venv:"):
            # With this very environment in the configuration, mtr cannot make it.
            make = f"cd {command.remote_dir} && python3 -m venv {command.python[5:]}"
            hint = f"log in with ssh, and make it: {make}"
        message = f"{server_name}: there is no {command.python} there; the command did not start"
        return GateRefused(message, detail=detail, hint=hint)
    if reason == "shell":
        hint = f"choose another `shell` for {server_name}"
        return GateRefused(f"{server_name}: no shell {detail} there; the command did not start", hint=hint)
    message = f"{server_name}: the environment of the command did not arrive; it did not start"
    hint = f"mtr down -s {server_name}, and run again"
    if reason == "job":
        message, hint = f"no job was started on {server_name}", f"mtr doctor -s {server_name}"
    return GateRefused(message, detail=detail, hint=hint)
