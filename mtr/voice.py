"""What mtr itself says during a run: on stderr, prefixed ``mtr:``, and nothing in batch.

Progress, receipts and times are for people: they need a terminal on stderr *and* on stdout, since a command whose
output goes to a file or a program must leave nothing of mtr's beside it. Lines that say why something took
long (a reconnection) are said always.

What is said with ``-v`` goes to a log as well, where there is one. What is drawn and taken away again is the work of
``progress``, which is loaded only then. Builtin modules only: a warm run imports it.
"""

from __future__ import annotations

import os
import sys
import time

from mtr.errors import render_error, reveal_controls, sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from mtr.errors import MtrError
    from mtr.log import Log
    from mtr.result_file import ResultFile
    from mtr.sync.base import Progress
    from mtr.sync.result import SyncResult

_SHOW_AFTER_S = 0.3
"""A sync shorter than this is over before a bar could be read."""

_TELL_AFTER_S = 1.0
"""What takes longer than this says on a terminal what it is waiting for."""

LONG_RUN_S = 10.0
"""A command that ran longer says how it ended: whoever waited may have looked away."""


class Voice:
    """Says things to the person at the terminal.

    ``verbosity``, ``log`` and ``result_file`` are those of the whole process: what ``-v``, the options of logs, and
    ``--result`` ask for, wherever a voice speaks.
    """

    verbosity = 0
    log: Log | None = None
    result_file: ResultFile | None = None

    def __init__(self, *, quiet: bool = False, label: str = "sync") -> None:
        self._quiet = quiet
        self._is_terminal = os.isatty(2)
        self._interactive = not quiet and self._is_terminal and os.isatty(1)
        self._started_s = time.monotonic()
        self._entered_s = self._started_s
        self.label = label

    @property
    def is_interactive(self) -> bool:
        """Whether a person looks on, and wants to be told."""
        return self._interactive

    @property
    def tells(self) -> bool:
        """Whether a detail is heard by anybody."""
        return Voice.verbosity > 0 or Voice.log is not None

    def renew(self) -> Voice:
        """Return a voice like this one for something that begins now."""
        return Voice(quiet=self._quiet, label=self.label)

    def say(self, line: str) -> None:
        """Print one line that the user must see."""
        self._print(line)
        if Voice.log is not None:
            Voice.log.write("warning", line)

    def detail(self, line: str) -> None:
        """Print one line for who asked with ``-v``."""
        if Voice.verbosity:
            self._print(line)
        if Voice.log is not None:
            Voice.log.write("info", line)

    def trace(self, line: str) -> None:
        """Print one line for who asked with ``-vv``."""
        if Voice.verbosity > 1:
            self._print(line)

    def _print(self, line: str) -> None:
        ending = "\r\n" if self._is_terminal and _is_raw() else "\n"
        write_line(f"mtr: {reveal_controls(line)}{ending}")

    # -- where a run is

    def enter(self, phase: str) -> None:
        """Note that ``phase`` begins: config, connect, sync, start, run, pull or done."""
        self._entered_s = time.monotonic()
        if Voice.result_file is not None:
            Voice.result_file.enter(phase)

    def note(self, **facts: object) -> None:
        """Note what ``--result`` tells: server, by, run, and what was brought."""
        if Voice.result_file is not None:
            Voice.result_file.note(**facts)
        if Voice.log is not None and "run" in facts:
            Voice.log.run_id = str(facts["run"])

    # -- asking

    def can_ask(self) -> bool:
        """Tell whether a person can be asked: a terminal to read from, which no command has taken over."""
        return self._is_terminal and os.isatty(0) and not _is_raw()

    def ask(self, question: str) -> bool:
        """Ask the person at the terminal; anything but yes is no."""
        write_line(f"mtr: {sanitize(question)} [y/N] ")
        return read_typed().strip().lower() in ("y", "yes")

    # -- what is drawn

    def show_progress(self, progress: Progress) -> None:
        """Draw how far a sync is that tells a fraction."""
        self.show_count(progress.bytes_done, round(progress.bytes_done / max(0.001, progress.fraction)))

    def show_count(self, bytes_done: int, bytes_total: int) -> None:
        """Draw how far a transfer is, on a terminal only, over what was drawn before."""
        if self._interactive and time.monotonic() - self._started_s > _SHOW_AFTER_S:
            from mtr.progress import draw_bar

            draw_bar(self.label, bytes_done, bytes_total)

    def waiting(self, text: str) -> waiting:
        """Return a block that says what it waits for while it takes long, on a terminal, and takes that away again."""
        return waiting(text if self._interactive else "")

    def show_receipt(self, result: SyncResult, server_name: str) -> None:
        """Print what a sync has brought over; nothing where it had nothing to do."""
        clear_line()
        self.note(files=result.files_sent, bytes=result.bytes_sent, deleted=result.deleted)
        if not result.files_sent and not result.deleted:
            return
        if self._interactive or self.tells:
            line = render_receipt(result, server_name)
            if self._interactive or Voice.verbosity:
                self._print(line)
            if Voice.log is not None:
                Voice.log.write("info", line)
        if self.tells and result.biggest:
            self.detail(render_biggest(result))

    def show_done(self, line: str) -> None:
        """Print what has been done for a person; nothing in batch."""
        clear_line()
        if self._interactive or self.tells:
            self.say(line)

    def show_end(self, words: Sequence[str], status: int, server_name: str, *, tty: bool) -> None:
        """Print how a command ended that ran for long, for the person who comes back to it; detail for ``-v``."""
        took_s = time.monotonic() - self._entered_s
        if self.tells:
            from mtr.ending import describe_end

            self.detail(f"the command {describe_end(status, took_s)}")
        if tty and self._interactive and took_s > LONG_RUN_S and not Voice.verbosity:
            from mtr.ending import describe_end, is_conversation
            from mtr.progress import find_line

            if not is_conversation(words):
                find_line()
                self._print(f"{shorten(' '.join(words), 40)} {describe_end(status, took_s)} on {server_name}")


class waiting:  # noqa: N801  read as a statement: with waiting("connecting to gpu-01")
    """Say ``text`` on the terminal if the block takes long, until it is over; "" says nothing."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __enter__(self) -> None:
        if self._text:
            from mtr.progress import tell_later

            self._end = tell_later(self._text, _TELL_AFTER_S)

    def __exit__(self, _kind: type | None, _error: BaseException | None, _traceback: TracebackType | None) -> None:
        if self._text:
            self._end()


def read_typed() -> str:
    """Return the line that a person types, with its end; bytes that are no text of theirs come as surrogates."""
    if sys.stdin.errors not in (None, "surrogateescape"):
        sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    return sys.stdin.readline()


def write_line(text: str) -> None:
    """Write ``text`` to stderr in place of what is drawn there.

    Where that takes nothing (a full disk, a reader that has gone), the words are lost, and nothing else is.
    """
    try:
        clear_line(text)
        sys.stderr.flush()
    except OSError:
        pass


def clear_line(text: str = "") -> None:
    """Take away what is drawn on the terminal, if anything is, and write ``text`` there."""
    drawn = sys.modules.get("mtr.progress")
    if drawn is not None:
        drawn.write_over(text)
    elif text:
        sys.stderr.write(text)


def show_error(error: MtrError) -> None:
    """Show ``error`` on stderr, with ``mtr:`` in red where that is a terminal that shows colours."""
    write_line(render_error(error, has_colour=wants_colour()))


def wants_colour(descriptor: int = 2) -> bool:
    """Tell whether ``descriptor``, stderr, is a terminal for colours: https://no-color.org, and one that knows them."""
    return os.isatty(descriptor) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _is_raw() -> bool:
    """Tell whether the terminal is in raw mode already, for the command that comes next."""
    import termios

    try:
        return not termios.tcgetattr(2)[1] & termios.OPOST
    except termios.error:
        return False


def shorten(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def render_duration(seconds: float) -> str:
    """Return e.g. ``12 ms``, ``3.4 s``, ``2 min 14 s``, ``3 h 5 min``, ``2 d 4 h``."""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def render_span(seconds: float) -> str:
    """Return roughly how long that is, in one unit: ``12 s``, ``5 min``, ``3 h``, ``2 d``; 0 for less than nothing."""
    whole = max(0, round(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{round(whole / size)} {unit}"
    return f"{whole} s"


def render_count(count: int, noun: str) -> str:
    """Return e.g. ``1 file``, ``1,204 files``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def render_receipt(result: SyncResult, server_name: str) -> str:
    """Return e.g. ``synced 3 files (12 kB) to gpu-01 in 0.21 s``."""
    sent = "" if result.bytes_sent is None else f" ({render_bytes(result.bytes_sent)})"
    deleted = f", deleted {result.deleted:,} there" if result.deleted else ""
    return (
        f"synced {render_count(result.files_sent, 'file')}{sent} to {server_name}{deleted} in {result.duration_s:.2f} s"
    )


def render_biggest(result: SyncResult) -> str:
    """Return the file that is most of what was brought."""
    biggest = result.biggest[0]
    return f"the biggest of them: {os.fsdecode(biggest.path)} ({render_bytes(biggest.size_bytes)})"


def render_bytes(count: int) -> str:
    """Return ``count`` bytes in the largest unit of 1,000 that fits, as ``df -H`` does."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        # What rounds to 1,000 is one of the next unit.
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
