"""Sessions over a paramiko transport: held by mtr, or joined to mtr's own stdio.

Threads move the bytes of a joined one: nothing here needs a pipe that can be polled, so it works on Windows too.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import TYPE_CHECKING, Any

from mtr.ssh.outcome import Ended, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import paramiko

CHUNK_BYTES = 65_536
TICK_S = 0.2
SIGPIPE_STATUS = 141


def prepare_channel(
    transport: paramiko.Transport, environ: Mapping[str, str], terminal: tuple[str, int, int] | None = None
) -> paramiko.Channel:
    """Open a session in which nothing runs yet, with ``terminal`` as its (type, columns, rows).

    Raises:
        SSHException: it did not open.
    """
    channel = transport.open_session()
    try:
        for name, value in environ.items():
            channel.set_environment_variable(_encode(name), _encode(value))
        if terminal is not None:
            channel.get_pty(_encode(terminal[0]), terminal[1], terminal[2])
    except BaseException:
        channel.close()
        raise
    return channel


def start_in_channel(channel: paramiko.Channel, command: str, *, subsystem: bool) -> None:
    """Start ``command``, or the subsystem of that name; from now on something may run, whatever is raised.

    Raises:
        SSHException: the server refused, or the line was lost before it said so.
    """
    if subsystem:
        channel.invoke_subsystem(command)
    else:
        channel.exec_command(_encode(command))


def _encode(text: str) -> Any:
    return text.encode(errors="surrogateescape")


def read_end(channel: paramiko.Channel) -> Ended:
    """Return how the session of ``channel`` ended, waiting for its status while the line lives."""
    while not channel.status_event.wait(TICK_S) and not channel.closed and channel.get_transport().is_active():
        pass
    if channel.exit_status >= 0:
        return Ended(channel.exit_status, Outcome.STATUS)
    return Ended(255, Outcome.NO_STATUS, "the session ended without a status")


class HeldChannel:
    """A session that mtr feeds and reads while it goes on: the face of :class:`mtr.ssh.held.Held`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._read = b""
        self._said: list[bytes] = []
        # Who drains only one of the two streams stops the session once the other's window is full.
        self._reader = hand_over(channel.recv_stderr, self._said.append)

    def feed(self, feed: Callable[[Callable[[bytes], None]], None]) -> None:
        """Let ``feed`` write to the session's stdin, then end it; a session that reads no more ends it early."""
        try:
            feed(self.write)
            self._channel.shutdown_write()
        except (BrokenPipeError, OSError):
            pass  # Its status and words say why.

    def write(self, data: bytes) -> None:
        """Write all of ``data`` to the session's stdin."""
        view = memoryview(data)
        while view:
            if self._channel.recv_ready():
                self._drain()
            try:
                view = view[self._channel.send(bytes(view[:CHUNK_BYTES])) :]
            except TimeoutError:
                continue
            except OSError as error:
                raise BrokenPipeError(str(error)) from error

    def _drain(self) -> None:
        while self._channel.recv_ready():
            self._read += self._channel.recv(CHUNK_BYTES)

    def read_some(self) -> bytes:
        """Return what the session has said, waiting for something; b"" at its end."""
        data, self._read = self._read, b""
        return data or self._receive()

    def _receive(self) -> bytes:
        try:
            return self._channel.recv(4 * CHUNK_BYTES)
        except OSError:
            return b""

    def read_line(self) -> str:
        """Return the next line of the session's stdout with its newline, "" at its end."""
        while b"\n" not in self._read:
            data = self._receive()
            if not data:
                return ""
            self._read += data
        line, newline, self._read = self._read.partition(b"\n")
        return (line + newline).decode(errors="replace")

    def finish(self) -> tuple[Ended, list[bytes]]:
        """Read to the end; return how the session ended, and the rest of both streams."""
        chunks = [self._read]
        while data := self._receive():
            chunks.append(data)
        self._reader.join(5)
        return read_end(self._channel), [b"".join(chunks), b"".join(self._said)]

    def close(self) -> None:
        """Let go of the session: its stdin ends, whatever it was about to do."""
        self._channel.close()


class JoinedChannel:
    """A session on descriptors of this process, with the face of :class:`mtr.ssh.mux.Session`.

    ``owned`` says that they are its own, to be closed, each by the thread that uses it; ``heard`` is called whenever
    the server has sent something.
    """

    def __init__(
        self,
        channel: paramiko.Channel,
        descriptors: tuple[int, int, int],
        *,
        owned: bool = False,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self._channel = channel
        self._heard = heard
        self._over = threading.Event()
        self._lost_reader = False
        self._lost_output = False
        self._owned = owned
        source, out, err = descriptors
        readers = [(channel.recv, out), (channel.recv_stderr, err)]
        self._pumps = [threading.Thread(target=self._copy, args=pair, daemon=True) for pair in readers]
        threading.Thread(target=self._feed, args=(source,), daemon=True).start()
        for pump in self._pumps:
            pump.start()
        threading.Thread(target=self._wait, daemon=True).start()

    def _feed(self, source: int) -> None:
        try:
            while self._is_fed(source) and (data := os.read(source, CHUNK_BYTES)):
                self._channel.sendall(data)
        except OSError:
            pass  # The session reads no more, or there is nothing to read here.
        finally:
            self._let_go(source)
            with contextlib.suppress(OSError, EOFError):
                self._channel.shutdown_write()

    def _is_fed(self, source: int) -> bool:
        """Wait until ``source`` has something; tell whether the session is still there to take it.

        A read that waits longer than the session lives would take what is typed for the next program.
        """
        if not hasattr(select, "poll"):
            return True
        poller = select.poll()
        poller.register(source, select.POLLIN)
        while not self._over.is_set() and not self._channel.closed:
            if poller.poll(TICK_S * 1000):
                return not self._over.is_set()
        return False

    def _copy(self, receive: Callable[[int], bytes], target: int) -> None:
        try:
            while data := self._receive(receive):
                write_all(target, data)
        except OSError as error:
            # Nobody reads here any more, or the disk is full: the command there is to notice that as it would here.
            self._lost_reader = isinstance(error, BrokenPipeError)
            self._lost_output = True
            self._channel.close()
        finally:
            self._let_go(target)

    def _receive(self, receive: Callable[[int], bytes]) -> bytes:
        try:
            data = receive(CHUNK_BYTES)
        except OSError:
            return b""  # The session was closed here.
        self._heard()
        return data

    def _let_go(self, descriptor: int) -> None:
        if self._owned:
            os.close(descriptor)

    def _wait(self) -> None:
        for pump in self._pumps:
            pump.join()
        read_end(self._channel)
        self._over.set()

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self._over.is_set()

    @property
    def has_opened(self) -> bool:
        """Whether the server has opened the session: there is no object of one that has not."""
        return True

    def wait_for_news(self, timeout_s: float | None) -> bool:
        """Wait for the end; tell whether it came within ``timeout_s``."""
        if timeout_s is None:
            # Without a limit no signal would be looked at before the end.
            while not self._over.wait(TICK_S):
                pass
            return True
        return self._over.wait(timeout_s)

    def end(self) -> Ended:
        """Return how the session ended; it is let go of where it has not."""
        is_whole = self.is_over and not self._lost_output
        ended = read_end(self._channel) if is_whole else Ended(255, Outcome.NO_STATUS)
        self.close()
        return Ended(SIGPIPE_STATUS, Outcome.STATUS) if self._lost_reader else ended

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal there how large the one here is."""
        self._channel.resize_pty(columns, rows)

    def close(self) -> None:
        """Let go of the session."""
        self._channel.close()


def hand_over(receive: Callable[[int], bytes], take: Callable[[bytes], None]) -> threading.Thread:
    """Start a thread that gives ``take`` what comes out of one stream of a session, to its end."""

    def copy() -> None:
        try:
            while data := receive(CHUNK_BYTES):
                take(data)
        except OSError:
            pass

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` to ``descriptor``, which somebody may have made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            time.sleep(0.005)
