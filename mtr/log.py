"""What ``-vv`` and a log tell beyond ``-v``: every program that is started, every session, with status and time.

A log is a file of lines: time, process, id of the run (``-`` before it has one), level, text. One write for each
line, to a file opened for appending, so that the lines of several runs stay whole. Never in it: what comes from or goes
to the command, the environment's values, passwords. Arguments show as they are, but for those that hold what is secret
by their look (``--token=…``, ``https://user:password@…``), and for scripts, which show by their name.

    --log-file FILE   appends to FILE; made 0600; no link, no file of another user's
    --enable-log      .mtr/logs/mtr_YYYYMMDD_HHMMSS.log of the project, directory 0700, file 0600; the newest 20 stay
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import stat
import time
from typing import TYPE_CHECKING

from mtr.command_line import LOG_LEVELS
from mtr.errors import MtrError, ProjectError, UsageError, reveal_controls
from mtr.quoting import encode_script
from mtr.scripts import list_scripts, load_script
from mtr.voice import Voice, render_duration, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mtr.command_line import Invocation

KEPT_LOGS = 20
MAX_WORD = 200
MAX_TEXT = 4000

_LOG_NAME = re.compile(r"mtr_\d{8}_\d{6}(_\d+)?\.log")
_SCRIPT = re.compile(r"exec /bin/sh -c '[^']*' (mtr-[a-z0-9]+) ")
"""As ``build_remote_command`` writes it."""

_HIDDEN_NAME = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]*"
_HIDDEN_VALUE = re.compile(rf"(?i)^(-{{0,2}}{_HIDDEN_NAME}[=:]).+", re.DOTALL)
_HIDDEN_FLAG = re.compile(rf"(?i)^-{{1,2}}{_HIDDEN_NAME}$")
_HIDDEN_IN_TEXT = re.compile(rf"(?i)(?<![\w.-])(-{{0,2}}{_HIDDEN_NAME}=|--{_HIDDEN_NAME}\s+)(?:'[^']*'|\"[^\"]*\"|\S+)")
"""In a text for a shell."""

_SET_VARIABLE = re.compile(r"(?i)^((?:-o)?\s*setenv[= ]).*", re.DOTALL)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
_BEARER = re.compile(r"(?i)\b(authorization:\s*\w+|bearer)\s+\S+")


class Log:
    """A file that takes lines of ``level`` and above; what cannot be written is said once, and the run goes on."""

    def __init__(self, descriptor: int, path: str, level: str) -> None:
        self.path = path
        self.run_id = "-"
        self._descriptor = descriptor
        self._levels = LOG_LEVELS[: LOG_LEVELS.index(level) + 1]
        self._is_broken = False

    def write(self, level: str, text: str) -> None:
        """Append one line."""
        if level not in self._levels:
            return
        now_s = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s % 1 * 1000):03d}Z"
        words = reveal_controls(shorten(text, MAX_TEXT))
        line = f"{stamp} {os.getpid()} {self.run_id} {level.upper():7} {words}\n"
        try:
            os.write(self._descriptor, line.encode(errors="backslashreplace"))
        except OSError as error:
            if not self._is_broken:
                self._is_broken, Voice.log = True, None
                Voice().say(f"cannot write {self.path} ({error.strerror}): the log ends here")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class Programs:
    """Hears of programs and sessions, and tells of them with ``-vv`` and in the log."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[str, float]] = {}

    def started(self, key: int, argv: Sequence[str]) -> None:
        """Tell of a program."""
        self._tell(f"started {render_argv(argv)}")
        self._running[key] = (f"{os.path.basename(argv[0])} ({key})", time.monotonic())

    def opened(self, key: int, what: str, command: str) -> None:
        """Tell of a session."""
        name = f"session on {what}: {render_remote(command)}"
        self._tell(name)
        self._running[key] = (name, time.monotonic())

    def ended(self, key: int, status: int) -> None:
        """Tell how it ended."""
        if key in self._running:
            name, started_s = self._running.pop(key)
            self._tell(f"{name} ended with {status} after {render_duration(time.monotonic() - started_s)}")

    @staticmethod
    def _tell(line: str) -> None:
        Voice().trace(line)
        if Voice.log is not None:
            Voice.log.write("debug", line)


def render_argv(argv: Sequence[str]) -> str:
    """Return ``argv`` as a person would type it, without what looks secret."""
    shown = [shorten(word, MAX_WORD) for word in mask_argv(_name_remote(argv))]
    return " ".join(word if "***" in word else shlex.quote(word) for word in shown)


def mask_argv(argv: Sequence[str]) -> list[str]:
    """Return the words of ``argv`` with what looks secret masked, behind a flag of such a name as well."""
    shown, hides = [], False
    for word in argv:
        shown.append("***" if hides else mask_word(word))
        hides = _HIDDEN_FLAG.match(word) is not None
    return shown


def _name_remote(argv: Sequence[str]) -> Sequence[str]:
    """Return an argv of ssh with the name of what runs there: the text may hold values of variables (for Windows)."""
    ends = [index for index, word in enumerate(argv) if word == "--"]
    if not ends or not any(os.path.basename(word) == "ssh" for word in argv[: ends[-1]]):
        return argv
    there = ends[-1] + 2
    return [*argv[:there], *([render_remote(" ".join(argv[there:]))] if len(argv) > there else [])]


def render_remote(command: str) -> str:
    """Return the name of what ``command`` runs on the server: a script of mtr's, else its first word."""
    found = _SCRIPT.match(command)
    if found is None:
        first, *more = command.split(maxsplit=1) or [""]
        return f"{shorten(first, MAX_WORD)} ***" if more else shorten(first, MAX_WORD)
    script = next((name for name, text in _encode_scripts().items() if text in command), "")
    return f"{found[1]} {script}".rstrip()


@functools.cache
def _encode_scripts() -> dict[str, str]:
    """Return mtr's scripts as they cross the line."""
    names = [f"remote/{name}" for name in list_scripts("remote")]
    return {name: encode_script(load_script(name)) for name in names}


def render_word(word: str) -> str:
    """Return one argument: what looks secret masked, the rest in at most ``MAX_WORD``."""
    return shorten(mask_word(word), MAX_WORD)


def mask_word(word: str) -> str:
    """Return one argument, or a text for a shell, with what looks secret masked."""
    patterns = (_HIDDEN_IN_TEXT,) if any(map(str.isspace, word)) else (_HIDDEN_VALUE,)
    for pattern in (*patterns, _SET_VARIABLE):
        word = pattern.sub(r"\1***", word)
    return _BEARER.sub(r"\1 ***", _IN_ADDRESS.sub("***", word))


def open_log(invocation: Invocation) -> Log:
    """Return the log that was asked for; ``--log-file`` wins over ``--enable-log``.

    Raises:
        MtrError: it cannot be opened; nothing has been done yet.
    """
    level = invocation.log_level or "debug"
    if invocation.log_file is not None:
        path = os.path.abspath(invocation.log_file)
        return Log(_open_file(path), path, level)
    return _open_in_project(invocation, level)


def _open_file(path: str) -> int:
    """Open ``path`` for appending, as a file of this user's own."""
    hint = "give --log-file a file of your own, in a directory that is there"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        why = "it is a link" if os.path.islink(path) else error.strerror
        raise UsageError(f"cannot write the log {path}: {why}", hint=hint) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
        os.close(descriptor)
        raise UsageError(f"cannot write the log {path}: it is no file of yours", hint=hint)
    return descriptor


def _open_in_project(invocation: Invocation, level: str) -> Log:
    """Make the log of this run in the project's ``.mtr/logs``, and remove the oldest ones."""
    from mtr.config.project import find_project

    project = find_project(invocation.directory)
    project.ensure_syncable()
    folder = project.root / ".mtr" / "logs"
    try:
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
            _ensure_own(path)
        folder.chmod(0o700)
        _ignore_in_git(folder)
        log = _create(folder, level)
        _prune(folder)
    except OSError as error:
        hint = "mtr --log-file FILE CMD writes elsewhere"
        raise MtrError(f"cannot make a log in {folder}: {error.strerror}", hint=hint) from error
    return log


def _ensure_own(path: Path) -> None:
    """Refuse a link, which a project may bring to have files written, and removed, elsewhere."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ProjectError(f"{path} is not a directory of yours: no log is written there", hint=f"ls -ld {path}")


def _ignore_in_git(folder: Path) -> None:
    try:
        descriptor = os.open(folder / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("*\n")


def _create(folder: Path, level: str) -> Log:
    stem = time.strftime("mtr_%Y%m%d_%H%M%S")
    for number in range(1, 1000):
        path = folder / (f"{stem}.log" if number == 1 else f"{stem}_{number}.log")
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            return Log(os.open(path, flags, 0o600), str(path), level)
        except FileExistsError:
            continue
    raise MtrError(f"a thousand logs of this second stand in {folder}", hint="run it again")


def _prune(folder: Path) -> None:
    """Remove all but the newest logs; what else lies there stays."""
    found = [path for path in folder.iterdir() if _LOG_NAME.fullmatch(path.name) and not path.is_symlink()]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in found[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)
