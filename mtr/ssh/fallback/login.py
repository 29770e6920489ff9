"""Logging in with paramiko: the server's key first, then methods in order until the server is satisfied.

The same rules as with ssh: a key that differs from the stored one stops everything; a password that mtr knows is tried
once; a person is asked only where there may be one. Errors are those that ssh's own words lead to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from base64 import b64decode
from functools import partial
from typing import TYPE_CHECKING

import paramiko
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import (
    AuthenticationException,
    BadAuthenticationType,
    IncompatiblePeer,
    SSHException,
)

from mtr.errors import (
    AuthenticationFailed,
    ConnectError,
    ConnectionRefused,
    ConnectionTimeout,
    HostKeyChanged,
    UnknownHost,
)
from mtr.ssh import known_hosts
from mtr.ssh.diagnosis import build_key_changed
from mtr.ssh.questions import NOT_THE_SERVERS, is_for_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtr.config.model import Secret
    from mtr.ssh.fallback.resolve import Place

    Ask = Callable[[str], str]
    Says = Callable[[str], None]

# What paramiko logs would end up on the user's stderr.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


def _ask_for_jump(ask: Ask, question: str) -> str:
    """Ask for a jump host: marked, so that no password of the server behind it is the answer."""
    return ask(f"{NOT_THE_SERVERS}{question}")


class Login:
    """One login to ``place`` for the server ``name``: ``password`` if mtr knows one, ``ask`` if there is a person."""

    def __init__(
        self, name: str, place: Place, password: Secret | None, ask: Ask | None, says: Says, *, jump: bool = False
    ) -> None:
        self.name = name
        self._is_jump = jump
        self.place = place
        self.says = says
        self._password = password
        self._ask = ask
        self._refused: list[str] = []
        self._way: list[paramiko.Transport] = []

    @property
    def label(self) -> str:
        """Name and address, as errors show them."""
        way = "the jump host of " if self._is_jump else ""
        return f"{way}{self.name} ({self.place.address})"

    def open(self) -> paramiko.Transport:
        """Return a transport that is logged in; the caller closes it.

        Raises:
            ConnectError: of the kind that says why.
        """
        way = self._way = list[paramiko.Transport]()
        try:
            for jump in self.place.jumps:
                # A jump host gets the keys and the agent, never the password of the server behind it.
                ask = None if self._ask is None else partial(_ask_for_jump, self._ask)
                login = Login(self.name, jump, None, ask, self.says, jump=True)
                way.append(login.open_on(login.connect(way[-1] if way else None)))
            transport = self.open_on(self.connect(way[-1] if way else None))
        except BaseException:
            for passed in reversed(way):
                passed.close()
            raise
        return transport

    def connect(self, way: paramiko.Transport | None) -> socket.socket | paramiko.Channel:
        """Return a stream to the server, over ``way`` if there is a jump host."""
        place = self.place
        if way is not None:
            try:
                target = (place.host, place.port)
                return way.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=place.timeout_s)
            except SSHException as error:
                hint = "check that the jump host may open connections to it"
                message = f"cannot reach {self.label} from the jump host"
                raise ConnectionRefused(message, detail=str(error), hint=hint) from error
        try:
            return socket.create_connection((place.host, place.port), timeout=place.timeout_s)
        except socket.gaierror as error:
            hint = f"check `host` of {self.name} in .mtr/config.yaml, or its Host block in ~/.ssh/config"
            message = f"cannot find {self.label}: the name does not resolve"
            raise UnknownHost(message, detail=str(error), hint=hint) from error
        except ConnectionRefusedError as error:
            hint = "check that sshd runs there and that the port is right"
            raise ConnectionRefused(
                f"cannot reach {self.label}: connection refused", detail=str(error), hint=hint
            ) from error
        except OSError as error:
            hint = f"check the address, the VPN and the firewall, then: mtr up -s {self.name}"
            raise ConnectionTimeout(f"cannot reach {self.label}: no answer", detail=str(error), hint=hint) from error

    def open_on(self, stream: socket.socket | paramiko.Channel) -> paramiko.Transport:
        """Return a transport on ``stream`` that is logged in; both are closed if it cannot be."""
        transport = paramiko.Transport(stream)
        try:
            self._start(transport)
            self._verify(transport)
            self._authenticate(transport)
        except BaseException:
            transport.close()
            raise
        if self.place.keepalive_s:
            transport.set_keepalive(self.place.keepalive_s)
        return transport

    def _start(self, transport: paramiko.Transport) -> None:
        transport.banner_timeout = max(30.0, self.place.timeout_s)
        # A person looks for a phone, and has as long as the server gives (LoginGraceTime).
        transport.auth_timeout = 900.0
        known = {key.kind for key in self._find_known() if not key.marker}
        options = transport.get_security_options()
        # A server has several keys; the one that is known is the one to ask for.
        options.key_types = sorted(options.key_types, key=lambda kind: _plain_kind(kind) not in known)
        try:
            transport.start_client(timeout=self.place.timeout_s + 20)
        except IncompatiblePeer as error:
            hint = "install the OpenSSH client, or update the server's"
            message = f"{self.label} and this machine have no algorithm in common"
            raise ConnectError(message, detail=str(error), hint=hint) from error
        except (SSHException, EOFError, OSError) as error:
            words = str(error) or "the connection was closed before it said anything"
            raise ConnectError(f"cannot connect to {self.label}", detail=words) from error

    # -- the server's key

    def _find_known(self) -> list[known_hosts.KnownKey]:
        return known_hosts.find_keys((*self.place.known_hosts, *self.place.global_known_hosts), self.place.known_name)

    def _verify(self, transport: paramiko.Transport) -> None:
        """Compare the server's key with what is stored, and store one that is new.

        Raises:
            HostKeyChanged: another one is stored, or this one is revoked.
            ConnectError: it is not known, and the configuration accepts no new ones.
        """
        key = transport.get_remote_server_key()
        kind, blob, place = key.get_name(), key.asbytes(), self.place
        shown, known = known_hosts.render_fingerprint(kind, blob), self._find_known()
        if any(found.marker == "@revoked" and found.key == blob for found in known):
            raise HostKeyChanged(f"the host key of {self.label} has been revoked; nothing was sent", detail=shown)
        stored = [found for found in known if not found.marker]
        if any(found.key == blob for found in stored):
            return
        if stored:
            raise build_key_changed(self.label, place.known_name, shown, stored)
        if place.strict == "yes" or (place.strict == "ask" and not self._may_add(shown)):
            message = f"the host key of {self.label} is not known, and your ssh configuration does not accept new ones"
            raise ConnectError(message, detail=shown, hint=f"mtr up -s {self.name}")
        stored_in = f"was stored in {place.known_hosts[0]}" if place.known_hosts else "is not stored anywhere"
        try:
            for file in place.known_hosts[:1]:
                known_hosts.add_key(file, place.known_name, kind, blob, is_hashed=place.hashes_names)
        except OSError as error:
            stored_in = f"cannot be stored in {place.known_hosts[0]} ({error.strerror})"
        self.says(f"the host key of {self.label} is new and {stored_in}: {shown}")

    def _may_add(self, shown: str) -> bool:
        question = f"The host key of {self.label} is new: {shown}. Connect (yes/no)? "
        return self._ask is not None and self._ask(question).strip().lower() == "yes"

    # -- the user

    def _authenticate(self, transport: paramiko.Transport) -> None:
        """Try methods until the server is satisfied; after a partial success the rest of them (RFC 4252, 5.1).

        Keys are offered before it is asked what the server takes: paramiko requests the service anew for each try,
        and there are servers that grant one request alone.
        """
        methods = list(self.place.methods)
        left = self._try(transport, methods[0]) if methods[:1] == ["publickey"] else None
        refused = {"publickey"} if left is None and methods[:1] == ["publickey"] else set()
        if left is None:
            left = self._list_taken(transport)
        offered = ", ".join(left)
        while left:
            for method in methods:
                rest = self._try(transport, method) if method in left and method not in refused else None
                if rest is not None:
                    # After a partial success what was refused before may be what is wanted now.
                    left, refused = rest, set()
                    break
            else:
                raise self._build_denied(f"it takes {offered}")

    def _list_taken(self, transport: paramiko.Transport) -> list[str]:
        """Return the methods that the server takes; [] where it asks for none."""
        try:
            return list(transport.auth_none(self.place.user))
        except BadAuthenticationType as error:
            return list(error.allowed_types)
        except (SSHException, EOFError, OSError) as error:
            raise self._build_denied(str(error)) from error

    def _try(self, transport: paramiko.Transport, method: str) -> list[str] | None:
        """Return what the server wants after ``method``, [] once it is satisfied; None where it did not work."""
        act = {
            "publickey": self._try_keys,
            "password": self._try_password,
            "keyboard-interactive": self._try_questions,
        }[method]
        try:
            return act(transport)
        except BadAuthenticationType:
            return None
        except AuthenticationException as error:
            self._refused.append(f"{method}: {error}")
            if not transport.is_active():
                raise self._build_denied() from error
            return None
        except (SSHException, EOFError, OSError) as error:
            raise self._build_denied(str(error)) from error

    def _try_keys(self, transport: paramiko.Transport) -> list[str] | None:
        for key in self._list_keys():
            try:
                return list(transport.auth_publickey(self.place.user, key))
            except BadAuthenticationType:
                return None
            except AuthenticationException as error:
                self._refused.append(f"publickey: {error}")
                if not transport.is_active():
                    hint = f"name the one key with `key_filename` for {self.name}"
                    message = f"{self.label} cut the login off after too many keys"
                    raise AuthenticationFailed(message, detail="\n".join(self._refused), hint=hint) from error
        return None

    def _list_keys(self) -> Iterator[paramiko.PKey]:
        """Yield the keys to offer: the agent's first, unless only those in files may be."""
        if self.place.agent:
            named = {blob for path in self.place.key_files if (blob := read_public_key(path))}
            for key in self._list_agent_keys():
                # IdentitiesOnly leaves the agent those keys that a file names (ssh_config(5)).
                if not self.place.only_these_keys or key.asbytes() in named:
                    yield key
        for path in self.place.key_files:
            if not path.endswith(".pub") and os.path.exists(path) and (loaded := self._load_key(path)) is not None:
                yield loaded

    def _list_agent_keys(self) -> Iterator[paramiko.PKey]:
        before = os.environ.get("SSH_AUTH_SOCK")
        os.environ["SSH_AUTH_SOCK"] = self.place.agent
        try:
            with contextlib.suppress(SSHException, OSError):
                yield from paramiko.Agent().get_keys()
        finally:
            os.environ.pop("SSH_AUTH_SOCK")
            if before is not None:
                os.environ["SSH_AUTH_SOCK"] = before

    def _load_key(self, path: str, passphrase: str | None = None) -> paramiko.PKey | None:
        """Return the key in a file; None, with the reason noted, where it cannot be used."""
        try:
            return paramiko.PKey.from_path(path, passphrase.encode() if passphrase else None)  # type: ignore[arg-type]
        except TypeError:
            # cryptography's way of saying that it is encrypted.
            if passphrase is None and self._ask is not None:
                return self._load_key(path, self._ask(f"Enter passphrase for key '{path}': ") or " ")
            self._refused.append(f"{path}: needs its passphrase, and nobody can be asked for it")
        except (ValueError, SSHException, OSError, UnknownKeyType) as error:
            words = "the passphrase is wrong" if passphrase else str(error)
            self._refused.append(f"{path}: {words}")
        return None

    def _try_password(self, transport: paramiko.Transport) -> list[str] | None:
        text = self._take_password(f"{self.place.user}@{self.place.host}'s password: ")
        return None if text is None else list(transport.auth_password(self.place.user, text, fallback=False))

    def _take_password(self, question: str) -> str | None:
        """Return the password that is known, once, or what a person types; None where there is neither."""
        if self._password is not None:
            known, self._password = self._password, None
            return known.reveal()
        return self._ask(question) if self._ask is not None else None

    def _try_questions(self, transport: paramiko.Transport) -> list[str] | None:
        unanswered: list[str] = []
        if self._password is None and self._ask is None:
            return None

        def handle(_title: str, _instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            answers = [self._answer(text) for text, _shown in prompts]
            unanswered.extend(text for (text, _), answer in zip(prompts, answers, strict=True) if answer is None)
            if None in answers:
                # An empty answer would count as a wrong one, and wrong ones lock accounts.
                raise SSHException("unanswered")
            return [answer for answer in answers if answer is not None]

        try:
            return list(transport.auth_interactive(self.place.user, handle))
        except (SSHException, EOFError):
            if unanswered:
                raise self._build_denied() from None
            raise

    def _answer(self, question: str) -> str | None:
        if is_for_password(question):
            return self._take_password(question)
        if self._ask is not None:
            return self._ask(question)
        self._refused.append(f"it asks {question.strip()!r}, and nobody can be asked")
        return None

    def _build_denied(self, words: str = "") -> ConnectError:
        hint = f"log in once on a terminal: mtr up -s {self.name}"
        detail = "\n".join(dict.fromkeys([*self._refused, *([words] if words else [])]))
        return AuthenticationFailed(f"{self.label} accepts no login", detail=detail, hint=hint)


def read_public_key(path: str) -> bytes:
    """Return the public half of the key in ``path``, from the file beside it; b"" where there is none."""
    try:
        with open(path if path.endswith(".pub") else f"{path}.pub", encoding="utf-8", errors="replace") as file:
            return b64decode(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return b""


def _plain_kind(kind: str) -> str:
    """Return the kind of key behind a signature algorithm: RSA keys sign in three ways (RFC 8332)."""
    return "ssh-rsa" if kind.startswith("rsa-sha2") else kind
