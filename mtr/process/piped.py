"""Reading what a program or a session writes, on builtin modules only: what a warm run needs of that.

Everything else that mtr reads goes through ``captured``, whose library takes longer to load than a whole warm run.
"""

from __future__ import annotations

import os
import select
import time

from mtr.errors import MissingProgram, MtrError
from mtr.process.spawn import start_piped, wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CHUNK_BYTES = 65_536
MAX_ANSWER_BYTES = 128 << 20
"""A compressed list of some millions of files; nothing else that mtr asks a server for is as long."""


WIDE_BYTES = 1 << 20
"""What an ordinary user may make a pipe hold (pipe(7), pipe-max-size)."""


class Captured:
    """What a finished program left: status, and both streams as bytes."""

    __slots__ = ("status", "stderr", "stdout")

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"Captured(status={self.status}, stdout={self.stdout!r}, stderr={self.stderr!r})"


class ProgramTimeout(MtrError):
    """A program that mtr drives did not end in time; it was killed."""

    code = "program-timeout"


class TooMuchOutput(MtrError):
    """What should have said a little goes on and on."""

    code = "too-much-output"

    def __init__(self, limit_bytes: int) -> None:
        hint = "see whether an rc file there prints without end: ssh HOST true"
        super().__init__(f"more than {limit_bytes >> 20} MiB came where mtr had asked for less", hint=hint)


def open_input(data: bytes) -> int:
    """Return a descriptor that reads ``data`` and then ends: a file without a name, or /dev/null."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    if len(data) <= 4096:  # What every pipe holds (PIPE_BUF, pipe(7)), so that nobody has to read yet.
        read_end, write_end = os.pipe()
        os.write(write_end, data)
        os.close(write_end)
        return read_end
    from tempfile import TemporaryFile

    with TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        return os.dup(file.fileno())


def read_all(
    descriptors: Sequence[int],
    tick_s: float | None = None,
    on_tick: Callable[[], None] | None = None,
    limit_bytes: int | None = None,
) -> list[bytes]:
    """Return what comes out of each of ``descriptors`` until its end, and close them.

    ``on_tick`` is called every ``tick_s``, or up to twice as seldom, whether or not something comes.

    Raises:
        TooMuchOutput: more than ``limit_bytes`` come in all.
    """
    size, ticked_s = 0, time.monotonic()
    found: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    left = set(descriptors)
    try:
        while left:
            events = poller.poll(None if tick_s is None else tick_s * 1000)
            if on_tick is not None and (not events or time.monotonic() - ticked_s > (tick_s or 0)):
                on_tick()
                ticked_s = time.monotonic()
            for descriptor, _ in events:
                chunk = os.read(descriptor, CHUNK_BYTES)
                found[descriptor].append(chunk)
                size += len(chunk)
                if limit_bytes is not None and size > limit_bytes:
                    raise TooMuchOutput(limit_bytes)
                if not chunk:
                    poller.unregister(descriptor)
                    left.discard(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return [b"".join(chunks) for chunks in found.values()]


def is_ready(descriptor: int, *, writing: bool = False, timeout_s: float) -> bool:
    """Tell whether ``descriptor`` can be read (or written) within ``timeout_s``; its end counts as well."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def widen(pipe: int) -> None:
    """Let ``pipe`` hold more, where that can be had: fewer turns between who writes and who reads."""
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, WIDE_BYTES)
        except OSError:
            pass


def run_piped(
    argv: Sequence[str], *, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> Captured:
    """Run ``argv`` to its end and return its status and output.

    Raises:
        MissingProgram: ``argv[0]`` is not installed.
        ProgramTimeout: it ran longer than ``timeout_s`` and was killed.
    """
    if not hasattr(os, "posix_spawn"):
        from mtr.process.plain import run_plain

        found = run_plain(argv, stdin, os.environ if env is None else env, timeout_s)
        if found is None:
            raise _build_timeout(argv, timeout_s)
        return Captured(*found)
    source = open_input(stdin)
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    try:
        pid = start_piped(argv, os.environ if env is None else env, (source, out_end, err_end))
    except MissingProgram:
        os.close(out)
        os.close(err)
        raise
    finally:
        for descriptor in (source, out_end, err_end):
            os.close(descriptor)
    deadline_s = time.monotonic() + timeout_s if timeout_s else None

    def look() -> None:
        if deadline_s is not None and time.monotonic() > deadline_s:
            os.kill(pid, 9)
            raise _build_timeout(argv, timeout_s)

    try:
        stdout, stderr = read_all((out, err), 0.1 if timeout_s else None, look)
    except BaseException:
        os.kill(pid, 9)
        wait_for(pid)
        raise
    return Captured(wait_for(pid), stdout, stderr)


def _build_timeout(argv: Sequence[str], timeout_s: float | None) -> ProgramTimeout:
    return ProgramTimeout(f"{os.path.basename(argv[0])} did not end within {timeout_s or 0:g} s and was killed")
