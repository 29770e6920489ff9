"""Programs whose output mtr reads, driven through the library ``sh``.

Output is bytes, exactly as written; stdin is what the caller gives, else empty, never the user's own. A
program that does not exist is an error, a failing one is a status: the caller knows what it means.

Statuses are as ``waitpid`` gives them: 0 to 255, or ``-n`` for death by signal n.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import threading
from typing import IO, TYPE_CHECKING, Any

from mtr.errors import MissingProgram, MtrError
from mtr.process import spawn
from mtr.process.piped import Captured, ProgramTimeout, run_piped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

ANY_STATUS = range(-64, 256)
CHUNK_BYTES = 65_536

__all__ = ["Captured", "ProgramTimeout", "run_captured", "stream"]


def run_captured(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    cwd: Path | None = None,
    keep_bytes: int | None = None,
    is_secret: bool = False,
) -> Captured:
    """Run ``argv`` to its end and return its status and output, of each stream ``keep_bytes`` and a little more.

    ``is_secret`` says that its arguments are for no log.

    Raises:
        MissingProgram: ``argv[0]`` is not installed.
        ProgramTimeout: it ran longer than ``timeout_s``; its process group was killed.
    """
    out: list[bytes] = []
    err: list[bytes] = []
    take_out, take_err = _keep(out, keep_bytes), _keep(err, keep_bytes)
    status = stream(
        argv,
        on_stdout=take_out,
        on_stderr=take_err,
        stdin=stdin,
        env=env,
        timeout_s=timeout_s,
        cwd=cwd,
        is_secret=is_secret,
    )
    return Captured(status, b"".join(out), b"".join(err))


def _keep(chunks: list[bytes], limit_bytes: int | None) -> Callable[[bytes], None]:
    """Return what adds a chunk to ``chunks`` until they hold ``limit_bytes``."""

    def take(chunk: bytes) -> None:
        if limit_bytes is None or sum(map(len, chunks)) < limit_bytes:
            chunks.append(chunk)

    return chunks.append if limit_bytes is None else take


def stream(
    argv: Sequence[str],
    *,
    on_stdout: Callable[[bytes], None],
    on_stderr: Callable[[bytes], None],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    cwd: Path | None = None,
    bound: bool = False,
    is_secret: bool = False,
) -> int:
    """Run ``argv`` to its end, handing over its output in chunks as they come, and return its status.

    The callbacks run on threads of their own, one per stream. With ``bound`` the program dies with mtr, also where mtr
    is killed, on systems that can do that. Raises as :func:`run_captured` does.
    """
    program = _find_program(argv[0], env)
    if bound and (binder := build_binder("KILL")):
        argv, program = [*binder, program, *argv[1:]], binder[0]
    with open(os.devnull, "rb") as null, _reading(on_stdout) as out, _reading(on_stderr) as err:
        options: dict[str, Any] = {
            # Bytes are fed by a thread that ends up to 0.1 s after the program; a file costs nothing.
            "_in": stdin or null,
            # Pipes of our own: those of ``sh`` hold output back until 64 kB are there, or read byte by byte.
            "_out": out,
            "_err": err,
            "_ok_code": ANY_STATUS,
            "_bg": True,
            "_bg_exc": False,
            "_new_session": True,  # a group of its own, so that a timeout ends its children too
            "_cwd": cwd and str(cwd),
            "_env": dict(env) if env is not None else None,
        }
        running = _start(program, argv[1:], options)
        out.close()
        err.close()
        if spawn.listener is None:
            return _wait(running, program, timeout_s)
        spawn.listener.started(running.pid, [argv[0], "***"] if is_secret else argv)
        status = _wait(running, program, timeout_s)
        spawn.listener.ended(running.pid, status)
        return status


def build_binder(signal_name: str) -> tuple[str, ...]:
    """Return the words in front of a program that send it a signal when whoever starts it dies; () where none do.

    They set PR_SET_PDEATHSIG of prctl(2), which Python cannot do for another between fork and exec. busybox has a
    setpriv as well, which cannot either.
    """
    path = _find_setpriv()
    return (path, "--pdeathsig", signal_name, "--") if path else ()


@functools.cache
def _find_setpriv() -> str:
    path = shutil.which("setpriv")
    try:
        return path if path and run_piped([path, "--pdeathsig", "KILL", "--", "true"], timeout_s=10).status == 0 else ""
    except MtrError:
        return ""


@contextlib.contextmanager
def _reading(on_chunk: Callable[[bytes], None]) -> Iterator[IO[bytes]]:
    """Give the writing end of a pipe; hand over what comes out of it, and end when all of it has come.

    An error in ``on_chunk`` does not stop the program: the rest is read and the error raised at the end.
    """
    read_end, write_end = os.pipe()
    failures: list[BaseException] = []

    def read() -> None:
        while chunk := os.read(read_end, CHUNK_BYTES):
            if not failures:
                try:
                    on_chunk(chunk)
                except Exception as error:  # noqa: BLE001  raised below, on the caller's thread
                    failures.append(error)

    thread = threading.Thread(target=read, daemon=True)
    with os.fdopen(write_end, "wb", buffering=0) as file:
        thread.start()
        yield file
    thread.join()
    os.close(read_end)
    if failures:
        raise failures[0]


def _find_program(name: str, env: Mapping[str, str] | None) -> str:
    """Return the path of ``name`` by the PATH that the program itself will have."""
    path = shutil.which(name, path=(os.environ if env is None else env).get("PATH"))
    if path is None:
        raise MissingProgram(f"{name} is not installed on this machine", hint=f"install {name}")
    return path


class _Word(str):
    """An argument that encodes as the file system's names do: ``sh`` fails on bytes that are not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        """Return the bytes that the argument had on the command line."""
        return os.fsencode(str(self))


def _start(program: str, arguments: Sequence[str], options: dict[str, Any]) -> Any:
    import sh

    try:
        # As one list, whose items ``sh`` encodes as they are; single arguments it makes plain strings first.
        return sh.Command(program)([_Word(argument) for argument in arguments], **options)
    except sh.ForkException as error:
        reason = str(error).strip().splitlines()[-1]
        raise MtrError(f"cannot start {os.path.basename(program)}", detail=reason) from error


def _wait(running: Any, program: str, timeout_s: float | None) -> int:
    """Wait for the end. The timer is ours: that of ``sh`` lets every program end 0.1 s late."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _kill_group(running.pid)

    timer = threading.Timer(timeout_s or 0, expire)
    if timeout_s:
        timer.start()
    try:
        running.wait()
    except BaseException:
        _kill_group(running.pid)
        raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise ProgramTimeout(f"{os.path.basename(program)} did not end within {timeout_s:g} s and was killed")
    return int(running.exit_code)


def _kill_group(pid: int) -> None:
    """End what is left of a program's process group, also when its leader has already gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
