"""Every error that mtr raises, as one tree, and how an error looks to a person.

Owns the classes and their rendering; does no I/O. Each class has a stable ``code`` for programs, each
instance a message (what, where), a ``detail`` (the remote's or the program's own words) and a ``hint``
(the next command to type).

    MtrError                     exit 125
    ├── UsageError               exit 2: the command line is wrong
    ├── ConfigError              a configuration file is wrong: ``path:line:column: key: reason``
    │   └── NotTrusted           a project's file asks for what only the user may allow
    ├── ProjectError             no usable project root (missing, empty, a home directory, /)
    ├── ServerNotFound           no server of that name
    ├── MissingProgram           ssh, rsync, sshpass … is not installed here
    ├── ConnectError             the connection could not be opened
    │   ├── UnknownHost          the name does not resolve
    │   ├── ConnectionRefused    nothing listens there
    │   ├── ConnectionTimeout    no answer in time
    │   ├── AuthenticationFailed wrong key, password or user
    │   ├── HostKeyChanged       the server's key is not the one that was stored
    │   └── LoginShellBroken     logged in, but the login shell never ran what it was given
    ├── ConnectionLost           the line broke after the command had started
    ├── TimedOut                 exit 124: the time that --timeout gave the command is over
    ├── LockTimeout              another mtr on this machine holds a lock for too long
    ├── GateRefused              the server refused before the command started
    └── SyncError                the files did not reach the server; the command did not start
        ├── RsyncMissing         no rsync on the server
        ├── RemoteNotWritable    the remote directory cannot be made or written
        └── RemoteDiskFull       no space or quota left there
"""

from __future__ import annotations

EXIT_FAILURE = 125
EXIT_USAGE = 2


class MtrError(Exception):
    """Root of the tree: a message, the other side's own words, and the next command."""

    code = "error"
    exit_status = EXIT_FAILURE

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        # What a program that does not catch it shows below its traceback.
        for note in (detail.strip("\n"), hint and f"try: {hint}"):
            if note:
                self.add_note(sanitize(note))


class UsageError(MtrError):
    """The command line itself is wrong."""

    code = "usage"
    exit_status = EXIT_USAGE


class ConfigError(MtrError):
    """A configuration file is wrong; ``problems`` (of ``config.source``) are each with its place, where known."""

    code = "config"
    problems: tuple[object, ...] = ()


class NotTrusted(ConfigError):
    """A project's configuration asks for what only the user may allow, and they have not."""

    code = "not-trusted"


class ProjectError(MtrError):
    """There is no usable project root."""

    code = "project"


class ServerNotFound(MtrError):
    """No server of that name is configured, and it does not read as a destination."""

    code = "server-not-found"


class MissingProgram(MtrError):
    """A program that mtr drives is not installed on this machine."""

    code = "missing-program"


class ConnectError(MtrError):
    """The connection could not be opened."""

    code = "connect"


class UnknownHost(ConnectError):
    """The host name does not resolve."""

    code = "unknown-host"


class ConnectionRefused(ConnectError):
    """Nothing listens at that address and port."""

    code = "refused"


class ConnectionTimeout(ConnectError):
    """The server did not answer in time."""

    code = "timeout"


class AuthenticationFailed(ConnectError):
    """The server accepted none of what was offered."""

    code = "authentication"


class HostKeyChanged(ConnectError):
    """The server's host key is not the stored one."""

    code = "host-key-changed"


class LoginShellBroken(ConnectError):
    """The login works, but the login shell there never runs what it is given."""

    code = "login-shell"


class ConnectionLost(MtrError):
    """The line broke after the command had started; its fate is unknown."""

    code = "connection-lost"


class TimedOut(MtrError):
    """The time that the command was given is over, and it was ended."""

    code = "timed-out"
    exit_status = 124


class LockTimeout(MtrError):
    """Another process of this user does not let go of a lock."""

    code = "lock-timeout"


class GateRefused(MtrError):
    """The server refused before the command started."""

    code = "gate"


class SyncError(MtrError):
    """The files did not reach the server, so the command did not start."""

    code = "sync"


class RsyncMissing(SyncError):
    """There is no rsync on the server."""

    code = "rsync-missing"


class RemoteNotWritable(SyncError):
    """The remote directory cannot be made or written."""

    code = "remote-not-writable"


class RemoteDiskFull(SyncError):
    """No space or quota is left on the server."""

    code = "remote-disk-full"


def build_internal(error: BaseException) -> MtrError:
    """Return the error for what nobody has thought of: where it happened, for whoever mends it."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
    message = f"a fault of mtr itself: {type(error).__name__}: {error}"
    return MtrError(message, detail=f"at {where}", hint="run it again; if it stays, report these lines")


def sanitize(text: str) -> str:
    """Return ``text`` with every control character but newline and tab made visible.

    The words of a server end up on the user's terminal: an escape sequence in them must not move the
    cursor, retitle the window or answer back.
    """
    return "".join(c if c in "\n\t" or c.isprintable() else repr(c)[1:-1] for c in text)


def reveal_controls(text: str) -> str:
    """Return ``text`` with every control character made visible, newlines too: for names and values in one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def render_error(error: MtrError, *, has_colour: bool = False) -> str:
    """Return the lines shown on stderr for ``error``, ending in a newline.

    The first line is ``mtr: MESSAGE``; detail and hint stand below, indented to its text.
    """
    red, plain = ("\x1b[1;31m", "\x1b[0m") if has_colour else ("", "")
    lines = sanitize(error.message).splitlines() or [error.code]
    lines += sanitize(error.detail).strip("\n").splitlines()
    if error.hint:
        lines.append(f"try: {sanitize(error.hint)}")
    return f"{red}mtr:{plain} " + "\n     ".join(lines) + "\n"
