"""The terminal here, joined to that of a job: what it prints comes as it comes, and keys and size go there.

Guarantees:

- Leaving, by the keys for it, a signal or a kill, leaves the job as it is, and nothing on the server but the job.
- No byte of what it prints is left out or shown twice on the way, across every line that breaks.
- The terminal here is raw only while a session stands. What is typed while the line is broken is for nobody: it would
  hit what its writer does not see.
- No key is sent twice: one that was on its way when the line broke may be lost.
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import TYPE_CHECKING

from mtr.errors import ConnectionLost, UsageError
from mtr.jobs.ask import NO_JOB, build_job_command, ensure_quiet, ensure_there, load_jobs
from mtr.jobs.follow import PIECE_BYTES
from mtr.jobs.keys import PREFIX_NAME, Keys
from mtr.jobs.model import JobError
from mtr.jobs.patience import TRANSIENT, Patience
from mtr.jobs.screen import Screen, render_history
from mtr.ssh.fallback.terminal import raw_terminal, read_size
from mtr.ssh.foreground import stdio_restored
from mtr.ssh.outcome import Ended, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.jobs.model import Job
    from mtr.ssh.line import Line

HISTORY_BYTES = 1 << 16
MAX_UNSENT_BYTES = 1 << 22
"""A job that reads nothing, or a line that carries nothing: more is not taken from the keyboard."""

TICK_S = 0.5
_FROM = re.compile(rb"(?:\A|\n)mtr-from ([0-9]{1,18}) ([0-9]{1,18}) ([0-9hl,]*)\n")
_BEYOND, _NO_TERMINAL, _WAITS = 4, 5, 6


def ensure_terminal(word: str) -> None:
    """Refuse to attach without a terminal here.

    Raises:
        UsageError: stdin or stdout is none.
    """
    if not (os.isatty(0) and os.isatty(1)):
        raise UsageError("attaching needs a terminal here", hint=f"mtr job logs -f {word}")


def ensure_attachable(job: Job) -> None:
    """Refuse what cannot be attached to.

    Raises:
        JobError: it has no terminal, or has ended.
    """
    if not job.is_pty:
        hint = f"mtr job logs -f {job.id}; with a terminal from the start: mtr -d --pty CMD"
        raise JobError(f"job {job.id} has no terminal", hint=hint)
    if not job.is_alive:
        status = "" if job.status is None else f" with {job.status}"
        why = "" if job.reason == job.state else job.reason
        raise JobError(f"job {job.id} is {job.state}{status}", detail=why, hint=f"mtr job logs {job.id}")


class Attachment:
    """The terminal here on one job; ``job`` is what was last known of it."""

    def __init__(self, line: Line, job: Job, *, history: bool = True) -> None:
        self.job = job
        self.has_left = False
        self._has_ended = False
        self._line = line
        self._patience = Patience(line.says, resumes=f"attaching again, Ctrl-C leaves job {job.id} running")
        self._offset = -HISTORY_BYTES if history else -1
        self._shows_history = history
        self._screen = Screen()
        self._ends_line = True

    def run(self) -> None:
        """Be attached until the keys for leaving come (``has_left``), or the job has ended.

        Raises:
            JobNotFound: it is there no more.
            ConnectError: the server does not let us in any more.
            ConnectionLost: it could not be reached any more for an hour.
        """
        patience = self._patience
        with stdio_restored(tty=True):
            try:
                while not (self.has_left or self._has_ended):
                    before = self._offset
                    try:
                        self._attach()
                    except TRANSIENT as error:
                        if self._offset != before:
                            patience.renew()
                        self._leave_screen()
                        patience.bear(error, hint=f"mtr job attach {self.job.id}")
            finally:
                self._leave_screen()

    def _leave_screen(self) -> None:
        ending = b"" if self._ends_line or self._screen.is_full else b"\r\n"
        write_all(self._screen.leave() + ending)
        self._ends_line = True

    def _attach(self) -> None:
        """Be attached once, until it is left or has ended.

        Raises:
            ConnectionLost: neither is so.
        """
        ended = self._line.attempt(self._attach_once)
        if self.has_left:
            return
        if not ended.arrived:
            raise ConnectionLost(f"the line to {self._line.label} broke")
        self._ensure_well(ended.status)
        self._look_at_job()

    def _ensure_well(self, status: int) -> None:
        ensure_there(self._line, self.job.id, status)
        if status == _NO_TERMINAL:
            raise JobError(
                f"the terminal of job {self.job.id} has been removed there", hint=f"mtr job stop {self.job.id}"
            )
        if status == _BEYOND:
            raise JobError(f"what job {self.job.id} has printed was cut there", hint=f"mtr job attach {self.job.id}")
        if status == _WAITS:
            raise JobError(f"job {self.job.id} has not begun: it waits in the queue", hint="mtr job list")

    def _look_at_job(self) -> None:
        found = load_jobs(self._line, [self.job.id])
        ensure_there(self._line, self.job.id, 0 if found else NO_JOB)
        self.job, self._has_ended = found[0], not found[0].is_alive
        if not self._has_ended:
            raise ConnectionLost(f"the session on {self._line.label} ended")

    def _attach_once(self) -> Ended:
        columns, rows = read_size(0)
        redraw = "redraw" if self._screen.is_full else ""
        words = [self.job.id, str(self._offset), str(rows or 24), str(columns or 80), redraw]
        (source, keyboard), (out, out_end) = os.pipe(), os.pipe()
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        session = self._line.open_session(build_job_command("attach", words), (source, out_end, null))
        for descriptor in (source, out_end, null):
            os.close(descriptor)
        os.set_blocking(keyboard, False)
        started_s = time.monotonic()

        def look() -> None:
            self._line.look_after(session, time.monotonic() - started_s)

        try:
            if (first := self._read_head(out, look)) is not None:
                self._patience.note_session()
                with Sizes(self._line, self.job.id) as sizes, raw_terminal(sizes.change):
                    # Nobody knew what it would hit.
                    _drop_typed()
                    self._show(first)
                    self._pump(out, keyboard, sizes, look)
            return Ended(0, Outcome.STATUS) if self.has_left else self._line.wait_for(session, started_s)
        finally:
            os.close(keyboard)
            os.close(out)
            session.close()

    def _read_head(self, out: int, look: Callable[[], None]) -> bytes | None:
        """Return what to show before live output; None if the session ends before it says where that begins.

        ``_offset`` is then behind it.
        """
        head = b""
        while not (found := _FROM.search(head)):
            ensure_quiet(self._line, head)
            piece = _read_piece(out, look)
            if not piece:
                return None
            head += piece
        begin, end, data = int(found[1]), int(found[2]), head[found.end() :]
        if self._offset >= 0:
            self._offset = begin + len(data)
            return self._screen.enter() + data
        self._screen.recall(found[3].decode())
        while len(data) < end - begin:
            if not (piece := _read_piece(out, look)):
                break
            data += piece
        self._offset = begin + len(data)
        past, live = data[: end - begin], data[end - begin :]
        shows = self._shows_history and not self._screen.is_full
        return (render_history(past, is_whole=begin == 0) if shows else b"") + self._screen.enter() + live

    def _show(self, data: bytes) -> None:
        if data:
            self._screen.watch(data)
            self._ends_line = data.endswith(b"\n")
            write_all(data)

    def _pump(self, out: int, keyboard: int, sizes: Sizes, look: Callable[[], None]) -> None:
        """Move bytes both ways until the session has printed its last, or the keys for leaving come."""
        keys, unsent = Keys(), b""
        while True:
            poller = select.poll()
            poller.register(out, select.POLLIN)
            poller.register(sizes.wake, select.POLLIN)
            poller.register(0, select.POLLIN)
            if unsent:
                poller.register(keyboard, select.POLLOUT)
            ready = {descriptor for descriptor, _ in poller.poll(TICK_S * 1000)}
            if not ready:
                look()
            if sizes.wake in ready:
                sizes.send()
            if out in ready:
                piece = os.read(out, PIECE_BYTES)
                if not piece:
                    return
                self._show(piece)
                self._offset += len(piece)
            if 0 in ready:
                unsent = self._take_keys(keys, unsent)
                if self.has_left:
                    return
            unsent = _send(keyboard, unsent)

    def _take_keys(self, keys: Keys, unsent: bytes) -> bytes:
        try:
            typed = os.read(0, 1 << 16)
        except OSError:
            typed = b""
        sent = keys.take(typed)
        self.has_left = keys.is_leaving or not typed
        if len(unsent) + len(sent) > MAX_UNSENT_BYTES:
            write_all(b"\a")
            return unsent
        return unsent + sent


class Sizes:
    """Tells the job's terminal how large the one here is, whenever that changes: a session of its own, once it does."""

    def __init__(self, line: Line, job_id: str) -> None:
        self._line = line
        self._job_id = job_id
        self._close: Callable[[], None] | None = None
        self._feed = -1

    def __enter__(self) -> Sizes:
        self.wake, self._woken = os.pipe()
        os.set_blocking(self._woken, False)
        return self

    def change(self, *_size: int) -> None:
        """Note that it has another size; may be called from the handler of a signal."""
        try:
            os.write(self._woken, b"\0")
        except BlockingIOError:
            pass  # It has been noted often enough.

    def send(self) -> None:
        """Tell the size that it has now."""
        os.read(self.wake, 4096)
        columns, rows = read_size(0)
        for _ in range(2):
            if self._feed < 0:
                self._open()
            try:
                os.write(self._feed, b"%d %d\n" % (rows, columns))
            except BlockingIOError:
                return  # The line stands still; attaching again tells the size, too.
            except BrokenPipeError:
                self._end()
            else:
                return

    def _open(self) -> None:
        source, self._feed = os.pipe()
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        session = self._line.open_session(build_job_command("resize", [self._job_id]), (source, null, null))
        os.close(source)
        os.close(null)
        os.set_blocking(self._feed, False)
        self._close = session.close

    def _end(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
        if self._close is not None:
            self._close()
        self._feed, self._close = -1, None

    def __exit__(self, *_: object) -> None:
        self._end()
        os.close(self.wake)
        os.close(self._woken)


def _read_piece(out: int, look: Callable[[], None]) -> bytes:
    while not select.select([out], [], [], TICK_S)[0]:
        look()
    return os.read(out, PIECE_BYTES)


def _send(keyboard: int, unsent: bytes) -> bytes:
    """Send what the session takes just now, and return the rest."""
    try:
        return unsent[os.write(keyboard, unsent) :] if unsent else b""
    except BlockingIOError:
        return unsent
    except BrokenPipeError:
        return b""  # It ends; its output says so next.


def _drop_typed() -> None:
    import termios

    termios.tcflush(0, termios.TCIFLUSH)


def write_all(data: bytes) -> None:
    """Write to the terminal, at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def render_keys() -> str:
    """Return how to leave."""
    return f"{PREFIX_NAME} d leaves it running"
