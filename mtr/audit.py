"""The audit log: what agents have asked for, what became of it, and how it ended. Appended to, never rewritten.

``audit.log`` in the state directory, or what the user's own ``policy.audit_log`` names: a file of JSON objects, one a
line, 0600, written through no link. Each line is one write to a file opened for appending, under a lock (flock(2))
among the processes of this machine. A line that a crash, or a disk that was full, has cut is closed by the next one, so
what is torn is one line and never two. The line that lets a command start is on the disk (fsync) before it starts; the
line of its end is not waited for.

Past ``MAX_BYTES`` the file is renamed to ``NAME.TIME.N`` and a new one begun. mtr removes none of them.

    {"time": "2026-01-31T12:00:00.123Z", "event": "judged", "pid": 4242, "client": "...", "tool": "run_command",
     "server": "gpu-01", "argv": ["python", "train.py"], "outcome": "allowed", "rule": "...", "reason": "..."}
    {"time": "...", "event": "ended", "token": "...", "exit": 0, "duration_s": 12.5, ...}

What looks secret is masked as in mtr's other logs (``mtr.log``). The log is written as the user, so it is evidence
against accidents and agents that are held by the policy, not against a program that may write the user's files.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any

from mtr.errors import LockTimeout, MtrError
from mtr.log import mask_argv, mask_word
from mtr.policy import REFUSED, find_audit_log
from mtr.state import LOCK_TIMEOUT_S, ensure_state_dir, lock_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.config.model import Config
    from mtr.policy import Verdict

MAX_BYTES = 10_000_000
MAX_TEXT = 16_000
"""The longest word or text that is written whole; the others say how long they were."""

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
for _name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"):
    _FLAGS |= getattr(os, _name, 0)


class AuditFailed(MtrError):
    """The audit log cannot be written, and a policy is active: nothing is done that would not stand in it."""

    code = "audit"


class AuditLog:
    """Writes to the log at ``path``; threads and processes may share it.

    ``is_required`` tells that a policy is active: what cannot be noted is then refused. Otherwise ``say`` is told once.
    """

    def __init__(self, path: str, *, is_required: bool, say: Callable[[str], None]) -> None:
        self.path = path
        self.is_required = is_required
        self._say = say
        self._has_said = False

    def judged(self, verdict: Verdict, *, tool: str, server: str = "", client: str = "", **facts: object) -> None:
        """Note a verdict before anything is done for it; ``facts`` are texts and numbers such as ``token``, ``path``.

        Raises:
            AuditFailed: it cannot be noted, a policy is active, and the verdict would let something happen.
        """
        command = {"argv": list(verdict.argv)} if verdict.argv is not None else {"text": verdict.text}
        decision = {"outcome": verdict.outcome, "rule": verdict.rule, "reason": verdict.reason}
        entry = {"client": client, "tool": tool, "server": server, **command, **decision, **facts}
        try:
            self._append("judged", entry, lasts=True)
        except (OSError, MtrError) as error:
            if self.is_required and verdict.outcome != REFUSED:
                hint = f"tell the person to look after {self.path}: df -h, ls -l"
                raise AuditFailed(f"the audit log cannot be written: {_explain(error)}", hint=hint) from error
            self._say_once(error)

    def ended(self, token: str, *, exit_status: int | None, duration_s: float, **facts: object) -> None:
        """Note how what was allowed has ended; where that cannot be noted, it is said once."""
        entry = {"token": token, "exit": exit_status, "duration_s": round(duration_s, 3), **facts}
        try:
            self._append("ended", entry, lasts=False)
        except (OSError, MtrError) as error:
            self._say_once(error)

    def _say_once(self, error: Exception) -> None:
        if not self._has_said:
            self._has_said = True
            self._say(f"cannot write the audit log {self.path}: {_explain(error)}")

    def _append(self, event: str, entry: Mapping[str, object], *, lasts: bool) -> None:
        line = render_entry(event, entry)
        descriptor = self._open_locked(len(line))
        try:
            _write_line(descriptor, line)
            if lasts:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _open_locked(self, count_bytes: int) -> int:
        """Return the log opened and locked, with room for one more line; another process may just have renamed it."""
        end_s = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                self._ensure_own(descriptor)
                self._wait_for(descriptor, end_s)
                size_bytes = os.fstat(descriptor).st_size
                is_current = _is_at(self.path, descriptor)
                if is_current and not (size_bytes and size_bytes + count_bytes > MAX_BYTES and self._rotate()):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _ensure_own(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if os.name != "posix":
            return
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise MtrError(f"{self.path} is no file of yours")
        if found.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)

    def _wait_for(self, descriptor: int, end_s: float) -> None:
        while not lock_file(descriptor, wait=False):
            if time.monotonic() > end_s:
                raise LockTimeout(f"another process holds {self.path}", hint=f"fuser -v {self.path}")
            time.sleep(0.005)

    def _rotate(self) -> bool:
        """Give the log, whose lock is held, another name that nothing has; tell whether that was possible."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for number in range(1, 10_000):
            kept = f"{self.path}.{stamp}.{number}"
            try:
                # A hard link, unlike a rename, replaces nothing.
                os.link(self.path, kept, follow_symlinks=False)
            except FileExistsError:
                continue
            except OSError:
                return False  # No links there, or the file may only be appended to: it grows, and loses nothing.
            os.unlink(self.path)
            return True
        return False


def open_audit(
    config: Config, environ: Mapping[str, str], *, say: Callable[[str], None], before: AuditLog | None = None
) -> AuditLog:
    """Return the audit log that counts with ``config``: ``before`` if it still does; nothing is opened yet."""
    path = find_audit_log(config, environ) or f"{ensure_state_dir(environ)}/audit.log"
    is_required = bool(config.policies)
    if before is not None and (before.path, before.is_required) == (path, is_required):
        return before  # It knows what it has said.
    return AuditLog(path, is_required=is_required, say=say)


def render_entry(event: str, entry: Mapping[str, object]) -> bytes:
    """Return one line; what is empty is left out, and what looks secret is masked."""
    now_s = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s % 1 * 1000):03d}Z"
    kept = {key: _mask(key, value) for key, value in entry.items() if value is not None and value != ""}
    return (json.dumps({"time": stamp, "event": event, "pid": os.getpid(), **kept}) + "\n").encode("ascii")


def _mask(key: str, value: object) -> Any:
    if isinstance(value, list | tuple):
        words = [str(word) for word in value]
        return list(map(_cut, mask_argv(words) if key == "argv" else map(mask_word, words)))
    return value if isinstance(value, int | float) else _cut(mask_word(str(value)))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def _write_line(descriptor: int, line: bytes) -> None:
    """Append ``line`` with one write; what stands before it ends with a newline, whatever became of its writer."""
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes and os.pread(descriptor, 1, size_bytes - 1) != b"\n":
        line = b"\n" + line
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _explain(error: Exception) -> str:
    if isinstance(error, MtrError):
        return error.message
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
