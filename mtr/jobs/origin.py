"""What a job was started with: git's commit and the differences, told by a process that runs beside the start.

It goes to the server as the stdin of ``start.sh``. mtr waits until git has seen the tree as it is, and until the server
has said that the job goes on, but not for the way there. Builtin modules only.
"""

from __future__ import annotations

import os
import select

from mtr.process.piped import CHUNK_BYTES, is_ready
from mtr.process.signals import signals_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HELD_S = 60.0
"""How long a session is held at most that goes on by itself."""

MAX_ANSWER_BYTES = 1 << 20
"""What an rc file may print in front of ours."""


class OriginFeed:
    """A feed (:class:`mtr.ssh.gate.Feed`) that tells of the code in ``root``, anew for each session.

    Of what is not synced it has only names.

    Without a ``root``, nothing: what runs there is not what is here.
    ``has_begun`` says that the server has named the job ``job_id``, which thus goes on by itself; whatever an rc file
    prints there is not it.
    """

    def __init__(self, root: str | None, environ: Mapping[str, str], job_id: str, note: Callable[[], None]) -> None:
        """``note`` is done once the job has been asked for, and before it is known whether it goes on."""
        self.paths: Sequence[bytes] = ()
        self.job_id = job_id
        self.has_begun = False
        self._note = note
        self._root = root
        self._environ = environ
        self._heard: dict[int, bytearray | None] = {}
        self._out = self._told = self._here = -1
        self._group = 0

    def open(self) -> tuple[int, int, int]:
        """Return where it will come from, and where the answer and the errors go."""
        self.close()
        (source, self._out), (answer, answer_end), (errors, errors_end) = os.pipe(), os.pipe(), os.pipe()
        self._heard = {answer: bytearray(), errors: None}
        return source, answer_end, errors_end

    def begin(self, session: int | None) -> None:
        """Begin to tell; ``session`` is held until the other end closes it, also when mtr has gone."""
        # Imported here, and noted here: the server is at work meanwhile.
        from mtr.process.aside import begin_aside

        (self._told, told), (gone, self._here) = os.pipe(), os.pipe()
        lent = [told, gone, self._out, *([] if session is None else [session])]
        try:
            # Between the fork and its group's number, a signal would leave it alone.
            with signals_held():
                self._group = begin_aside(self._tell, lent) if hasattr(os, "fork") else 0
        except OSError:
            pass  # There is no room for a process: the job goes on without what it was made of.
        finally:
            for descriptor in (told, gone, self._out):
                os.close(descriptor)
            self._out = -1
        self._note()

    def _tell(self, told: int, gone: int, *rest: int) -> None:
        """Say on ``told`` when git has seen everything; its end is the end of all this. ``gone`` ends with mtr.

        The ``rest`` are where it goes to, and the session, if that can be held.
        """
        from mtr.process.aside import hold

        out, *sessions = rest
        try:
            self._send(told, out)
            for session in sessions:
                # Until then what the other end says is for mtr.
                os.read(gone, 1)
                hold(session, HELD_S)
        finally:
            for descriptor in (*sessions, gone, told):
                os.close(descriptor)

    def _send(self, told: int, out: int) -> None:
        try:
            data = memoryview(self._pack())
            _say(told)
            while data:
                data = data[_write(out, data) :]
        finally:
            os.close(out)

    def _pack(self) -> bytes:
        from mtr.jobs.git_state import NOTHING, pack_state

        if self._root is None:
            return NOTHING
        return pack_state(self._root, frozenset(self.paths), self._environ)

    def has_done(self, look: Callable[[], None]) -> bool:
        """Wait until the job goes on and git has seen what it is made of; what comes on stderr is handed on."""
        while self._heard and not self.has_begun:
            self._hear(0.5)
            look()
        while self._heard and not self._has_told():
            self._hear(0.5)
        has_done = self.has_begun and bool(self._heard)
        if has_done:
            self._group = 0
        return has_done

    def _hear(self, timeout_s: float) -> None:
        """Take what comes within ``timeout_s``."""
        poller = select.poll()
        for descriptor in self._heard:
            poller.register(descriptor, select.POLLIN)
        if self.has_begun:
            poller.register(self._told, select.POLLIN)
        for descriptor, _ in poller.poll(timeout_s * 1000):
            if descriptor != self._told:
                self._take(descriptor)

    def _take(self, descriptor: int) -> None:
        piece, said = os.read(descriptor, CHUNK_BYTES), self._heard[descriptor]
        if not piece:
            os.close(descriptor)
            _show(self._heard.pop(descriptor))
        elif said is None:
            os.write(2, piece)
        elif not self.has_begun:
            said += piece
            before, told, _ = said.partition(f"{self.job_id}\n".encode())
            self.has_begun = bool(told)
            if told:
                said[:] = before
            del said[MAX_ANSWER_BYTES:]

    def _has_told(self) -> bool:
        return is_ready(self._told, timeout_s=0.0)

    def close(self) -> None:
        """See that nothing of it goes on, unless the job does."""
        for descriptor, greeting in self._heard.items():
            os.close(descriptor)
            _show(greeting)
        self._heard = {}
        group, self._group = self._group, 0
        if group and not self._is_over():
            _end(group)
        for descriptor in (self._out, self._told, self._here):
            if descriptor >= 0:
                os.close(descriptor)
        self._out = self._told = self._here = -1

    def _is_over(self) -> bool:
        """Tell whether the process has ended: its number may be somebody else's by now."""
        if not is_ready(self._told, timeout_s=0.0):
            return False
        return not os.read(self._told, 1) or (is_ready(self._told, timeout_s=0.0) and not os.read(self._told, 1))


def _say(told: int) -> None:
    try:
        os.write(told, b"\n")
    except OSError:
        pass  # mtr was killed; the job is told of all the same.


def _write(out: int, data: memoryview) -> int:
    try:
        return os.write(out, data)
    except OSError:
        return len(data)  # The session is over.


def _end(group: int) -> None:
    from mtr.process.aside import TERM

    try:
        os.killpg(group, TERM)
    except ProcessLookupError:
        pass  # It has just ended.


def _show(greeting: bytearray | None) -> None:
    """Show what a login shell has printed in front: on stderr, since the id alone is the output."""
    if greeting:
        try:
            os.write(2, bytes(greeting) if greeting.endswith(b"\n") else bytes(greeting) + b"\n")
        except OSError:
            pass
