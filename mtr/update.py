"""The notice that a newer mtr is out: never waited for, never in batch, once a day at most.

A run on a terminal whose command has ended reads one small file of the state directory. Where that is older than a day,
it leaves a process behind that asks the index that this Python's pip is configured for which versions of ``mtremote``
there are, notes the newest, and ends, within ``ASK_TIMEOUT_S`` at the latest. The index learns what it learns from any
``pip install``: the address, pip's and Python's version. Where there is no pip, nothing is asked and nothing is said.
Nothing of this happens with ``--no-check-update``, with ``-q``, or with ``MTR_DISABLE_UPDATE_CHECK`` set.

The file ``update`` holds three lines: when the index was asked last, in seconds since the epoch; the newest version;
when that was told last.
"""

from __future__ import annotations

import os
import sys
import time

from mtr import __version__
from mtr.errors import MtrError
from mtr.state import ensure_state_dir, read_regular, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtr.voice import Voice

VARIABLE = "MTR_DISABLE_UPDATE_CHECK"
DISTRIBUTION = "mtremote"
DAY_S = 86_400
ASK_TIMEOUT_S = 15.0
MAX_BYTES = 4096
NEVER = (0, "", 0)


def tell_of_update(environ: Mapping[str, str], voice: Voice) -> None:
    """Say that a newer version is known, and have the index asked where that was longer than a day ago.

    Whatever goes wrong with it is no matter of the command that has just ended.
    """
    if environ.get(VARIABLE):
        return
    try:
        path, now_s = _find_file(environ), int(time.time())
        asked_s, newest, told_s = load_note(path)
        if is_newer(newest, __version__) and not 0 <= now_s - told_s < DAY_S:
            voice.say(f"mtr {newest} is out, this is {__version__}: {find_upgrade(sys.prefix)}")
            told_s = now_s
            store_note(path, asked_s, newest, told_s)
        if not 0 <= now_s - asked_s < DAY_S:
            # Noted before it is asked: a line that leads nowhere is not tried again with every command.
            store_note(path, now_s, newest, told_s)
            _start_asking(environ)
    except (OSError, MtrError):
        pass


def _find_file(environ: Mapping[str, str]) -> str:
    return f"{ensure_state_dir(environ)}/update"


def load_note(path: str) -> tuple[int, str, int]:
    """Return what ``path`` holds; as if nothing had ever been asked where it holds something else."""
    try:
        asked, newest, told = (read_regular(path, MAX_BYTES) or b"").decode("ascii").splitlines()
        return int(asked), newest if parse_version(newest) else "", int(told)
    except ValueError:
        return NEVER


def store_note(path: str, asked_s: int, newest: str, told_s: int) -> None:
    """Write the three lines."""
    write_atomic(path, f"{asked_s}\n{newest}\n{told_s}\n".encode("ascii"))


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of a final release, () for anything else: a preview is told to nobody."""
    parts = text.split(".")
    if len(text) > 50 or not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return tuple(map(int, parts))


def is_newer(version: str, than: str) -> bool:
    """Tell whether ``version`` is a later release than ``than``."""
    return parse_version(version) > (parse_version(than) or (1 << 30,))


def find_upgrade(prefix: str) -> str:
    """Return the command that brings a newer version into the environment at ``prefix``."""
    if "/pipx/venvs/" in prefix:
        return f"pipx upgrade {DISTRIBUTION}"
    if "/uv/tools/" in prefix:
        return f"uv tool upgrade {DISTRIBUTION}"
    return f"{sys.executable} -m pip install -U {DISTRIBUTION}"


def _start_asking(environ: Mapping[str, str]) -> None:
    """Start a process that outlives this one, with none of its streams; -P: nothing is loaded from where we stand."""
    from mtr.process.spawn import start_detached

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([package, *filter(None, [environ.get("PYTHONPATH")])])
    argv = [sys.executable, "-P", "-m", "mtr.update"]
    start_detached(argv, {**environ, "PYTHONPATH": path}, own_session=True)


def ask_index(environ: Mapping[str, str]) -> None:
    """Ask the index by pip and note the newest version."""
    from mtr.process.piped import run_piped

    quiet = ["--disable-pip-version-check", "--no-input", "--no-color", "--timeout", "5", "--retries", "0"]
    argv = [sys.executable, "-P", "-m", "pip", *quiet, "index", "versions", DISTRIBUTION]
    found = run_piped(argv, env=environ, timeout_s=ASK_TIMEOUT_S)
    if found.status == 0 and (newest := parse_answer(found.stdout.decode("utf-8", "replace"))):
        path = _find_file(environ)
        asked_s, _, told_s = load_note(path)
        store_note(path, asked_s, newest, told_s)


def parse_answer(text: str) -> str:
    """Return the version in the first line, ``mtremote (1.2.3)``; "" where it says something else."""
    name, _, rest = text.partition("\n")[0].partition(" ")
    version = rest.strip().removeprefix("(").removesuffix(")")
    return version if name == DISTRIBUTION and parse_version(version) else ""


if __name__ == "__main__":
    try:
        os.chdir("/")
        ask_index(os.environ)
    except (OSError, MtrError):
        pass  # Nobody waits for the answer; another day will do.
