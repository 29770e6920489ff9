"""What a job was started with: git's commit and the differences, told by a program that runs beside the start.

Its output goes straight to the server as the stdin of ``start.sh``. mtr waits until git has seen the tree as it is, and
until the server has said that the job goes on, but not for the way there. Builtin modules only.
"""

from __future__ import annotations

import os
import select

from mtr.process.piped import CHUNK_BYTES, open_input, widen
from mtr.process.spawn import is_ended, start_piped, wait_for
from mtr.scripts import find_shipped
from mtr.ssh.gate import Feed
from mtr.state import ensure_state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TERM = 15
MAX_ANSWER_BYTES = 1 << 20
"""What an rc file may print in front of ours."""


class OriginFeed(Feed):
    """Tells of the code in ``root``, anew each time that it is opened; of what is not synced only names.

    Without a ``root``, nothing: what runs there is not what is here. Nor where there is no /bin/sh to tell it.
    ``has_begun`` says that the server has named the job ``job_id``, which thus goes on by itself; whatever an rc file
    prints there is not it.
    """

    def __init__(self, root: str | None, environ: Mapping[str, str], job_id: str) -> None:
        self.job_id = job_id
        self.has_begun = False
        self._root = root
        self._environ = environ
        self._open: dict[int, bytearray | None] = {}
        self._pid = 0

    def open(self) -> tuple[int, int, int]:
        """Begin to tell; return where that comes from, and where the answer and the errors go."""
        self.close()
        (answer, answer_end), (errors, errors_end) = os.pipe(), os.pipe()
        self._open = {answer: bytearray(), errors: None}
        return self._open_source(), answer_end, errors_end

    def has_done(self, look: Callable[[], None]) -> bool:
        """Wait until the job goes on and git has seen what it is made of; what comes on stderr is handed on."""
        while self._open and not self.has_begun:
            self._hear(0.5)
            look()
        # At the other end, more than the pipe holds waits for the channel's window.
        while self._open and not self._has_told():
            self._hear(0.003)
        return self.has_begun and bool(self._open)

    def _hear(self, timeout_s: float) -> None:
        """Take what comes within ``timeout_s``."""
        poller = select.poll()
        for descriptor in self._open:
            poller.register(descriptor, select.POLLIN)
        for descriptor, _ in poller.poll(timeout_s * 1000):
            piece, said = os.read(descriptor, CHUNK_BYTES), self._open[descriptor]
            if not piece:
                os.close(descriptor)
                _show(self._open.pop(descriptor))
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
        if self._pid and is_ended(self._pid) is not None:
            self._pid = 0
        return not self._pid

    def _open_source(self) -> int:
        if self._root is None or os.name != "posix":
            return open_input(b"")
        (out, out_end), source = os.pipe(), self._open_paths()
        widen(out)
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            script = f"{find_shipped('shell')}/local/origin.sh"
            self._pid = start_piped(["/bin/sh", script, self._root], self._environ, (source, out_end, null))
        finally:
            for descriptor in (source, out_end, null):
                os.close(descriptor)
        return out

    def _open_paths(self) -> int:
        """Return a descriptor that reads the paths, in a file without a name: they may be more than a pipe holds."""
        place = f"{ensure_state_dir(self._environ)}/origin.{os.getpid()}.{os.urandom(4).hex()}"
        source = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(place)
        data = memoryview(b"".join(path + b"\0" for path in self.paths))
        while data:
            data = data[os.write(source, data) :]
        os.lseek(source, 0, os.SEEK_SET)
        return source

    def close(self) -> None:
        """See that nothing of it goes on."""
        for descriptor, greeting in self._open.items():
            os.close(descriptor)
            _show(greeting)
        self._open = {}
        pid, self._pid = self._pid, 0
        if pid and is_ended(pid) is None:
            # It leads a session of its own, with git in it.
            os.killpg(pid, TERM)
            wait_for(pid)


def _show(greeting: bytearray | None) -> None:
    """Show what a login shell has printed in front: on stderr, since the id alone is the output."""
    if greeting:
        try:
            os.write(2, bytes(greeting) if greeting.endswith(b"\n") else bytes(greeting) + b"\n")
        except OSError:
            pass
