"""What ``mtr shell-init`` prints: a plain file of ``shell/init``, behind the lists that it works on.

Nothing but the lists varies. They hold names alone, and only such as no shell reads anything into; each is quoted
besides. The servers and aliases are those of the user's own configuration: a project's file never names a command of
a shell that goes on in other directories.
"""

from __future__ import annotations

import os
import sys

from mtr.errors import UsageError
from mtr.quoting import quote_all
from mtr.scripts import load_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mtr.names import Names

SHELLS = {"bash": "bash", "zsh": "zsh", "fish": "fish"}
"""Shells by name, and how their file in ``shell/init`` ends."""

OTHER_SHELLS = frozenset(
    ("sh", "dash", "ash", "busybox", "ksh", "ksh93", "mksh", "yash", "tcsh", "csh", "nu", "pwsh", "xonsh", "elvish")
)
COMMANDS = ("mtr", "mtremote")
MAX_ANCESTORS = 12

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@+-")
_KEYWORDS = frozenset(
    """and begin break builtin case command continue coproc do done elif else end esac eval exec exit export fi for
    foreach function if in not or repeat return select set source switch then time until while""".split()  # noqa: SIM905
)


def build_start(shell: str, names: Names, program: Iterable[str], commands: Iterable[str], alias: str = "") -> str:
    """Return what ``shell`` evaluates: lists, then its file.

    ``program`` are the words that start this mtr, ``commands`` the names under which it is typed; ``alias`` is a
    further one.
    """
    aliases = [name for name in names.aliases if is_command(name)]
    lists = {
        "program": program,
        "commands": commands,
        "servers": [name for name in names.servers if is_plain(name)],
        "aliases": aliases,
        "short": [alias] if alias else [],
    }
    render = _render_fish if shell == "fish" else _render_posix
    text = "".join(render(f"_mtr_{name}", words) for name, words in lists.items())
    return text + load_script(f"init/{shell}.{SHELLS[shell]}")


def _render_posix(name: str, words: Iterable[str]) -> str:
    return f"{name}=({quote_all(words)})\n"


def _render_fish(name: str, words: Iterable[str]) -> str:
    # fish(1), Quotes: in single quotes \\ and \' alone are escapes.
    quoted = ["'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'" for word in words]
    return f"set -g {name} {' '.join(quoted)}".rstrip() + "\n"


def is_plain(name: str) -> bool:
    """Tell whether no shell reads anything into ``name``."""
    return bool(name) and not set(name) - _SAFE


def is_command(name: str) -> bool:
    """Tell whether a function of every shell may be called ``name``."""
    return is_plain(name) and name[0] not in "-.@+0123456789" and name not in _KEYWORDS


def ensure_alias(name: str) -> None:
    """Refuse what cannot be the name of a command.

    Raises:
        UsageError: with the reason.
    """
    if not is_command(name):
        raise UsageError(f"--alias takes the name of a command, not {name!r}", hint="mtr shell-init --alias m")


def find_program(argv0: str, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the words that start this mtr, and the names under which its user types it.

    Its plain name stands for it where $PATH leads to this one: another program is called mtr as well.
    """
    base = os.path.basename(argv0)
    if base not in COMMANDS:
        return [sys.executable, "-m", "mtr"], list(COMMANDS)
    found = [name for name in COMMANDS if _is_same(_which(name, environ), f"{os.path.dirname(argv0)}/{name}")]
    path = os.path.abspath(argv0)
    return [base if base in found else path], found or [path]


def _which(name: str, environ: Mapping[str, str]) -> str:
    for folder in environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return ""


def _is_same(one: str, other: str) -> bool:
    try:
        return bool(one) and os.path.samefile(one, other)
    except OSError:
        return False


# -- which shell it is for


def detect_shell(environ: Mapping[str, str]) -> str:
    """Return the shell that has called: the nearest one among the processes above, else what $SHELL names.

    Raises:
        UsageError: it is one that mtr has no file for, or none can be seen: the wrong file would be worse than none.
    """
    hint = 'eval "$(mtr shell-init bash)", or zsh; in fish: mtr shell-init fish | source'
    for words, program in _list_ancestors():
        name = os.path.basename(words[0]).lstrip("-") if words else ""
        if name not in SHELLS and name not in OTHER_SHELLS:
            name = program
        if name in SHELLS:
            return name
        # `sh -c` stands between a shell and what it runs; any other one is who asks.
        if name in OTHER_SHELLS and not any(word.startswith("-") and "c" in word for word in words[1:2]):
            raise UsageError(f"there is nothing for {name}: bash, zsh or fish", hint=hint)
    name = os.path.basename(environ.get("SHELL", ""))
    if name not in SHELLS:
        raise UsageError("which shell is it for?", hint=hint)
    return name


def _list_ancestors() -> Iterator[tuple[list[str], str]]:
    """Yield the words of each process above this one, the nearest first, and the name of its program."""
    pid = os.getppid()
    look = _look_by_proc if os.path.exists("/proc/self/stat") else _look_by_ps
    for _ in range(MAX_ANCESTORS):
        if pid <= 1:
            return
        try:
            pid, words, program = look(pid)
        except (OSError, ValueError, IndexError):
            return
        yield words, program


def _look_by_proc(pid: int) -> tuple[int, list[str], str]:
    """Return the parent, the words, and the program of a process (proc(5))."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        before, _, after = file.read().rpartition(b")")
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = [os.fsdecode(word) for word in file.read(65_536).split(b"\0")]
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:  # another user's, under sudo
        program = os.fsdecode(before.partition(b"(")[2])
    return int(after.split()[1]), words, program


def _look_by_ps(pid: int) -> tuple[int, list[str], str]:
    """The same from ps(1), which every other system has."""
    from mtr.process.piped import run_piped

    found = run_piped(["ps", "-o", "ppid=,command=", "-p", str(pid)], timeout_s=2)
    parent, *words = os.fsdecode(found.stdout).split()
    return int(parent), words, os.path.basename(words[0])
