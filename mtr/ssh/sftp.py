"""SFTP, version 3, with as many requests in flight as a line holds: what makes many small files fast on a long one.

A task is a generator: it yields the requests that it wants to be sent together, gets their replies in the same order,
and goes on. One that yields :class:`~mtr.ssh.sftp_tasks.Ahead` goes on with the first replies
while the others are under way. :meth:`Sftp.run` keeps many tasks going at once. Paths are bytes, as everywhere.

Source: draft-ietf-secsh-filexfer-02, and ``posix-rename@openssh.com`` of OpenSSH's PROTOCOL. OpenSSH takes the two
paths of a SYMLINK in the other order than the draft, and so do all who talk to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from struct import error as StructError  # noqa: N812
from struct import pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

from mtr.errors import MtrError
from mtr.ssh.outcome import Ended, Outcome
from mtr.ssh.sftp_tasks import Running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtr.ssh.held import Held
    from mtr.ssh.wire import Wire

BLOCK_BYTES = 32768
"""Every server takes this much in one request (draft, 3); OpenSSH would take eight times as much."""

BATCH_BLOCKS = 64
"""Blocks of one file that are in flight together: 2 MiB, the window of OpenSSH's channels."""

MAX_PACKET_BYTES = 1 << 18
"""sftp-common.h, SFTP_MAX_MSG_LENGTH: OpenSSH's own client takes no more."""

MAX_REQUESTS = 512
MAX_TASKS = 100
"""Each may hold a file open, and some systems allow a process 256."""
FLUSH_BYTES = 128 << 10

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = range(5)
READ, WRITE, CREATE, TRUNCATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x10, 0x20

_INIT, _VERSION, _EXTENDED = 1, 2, 200
_STATUS, _HANDLE, _DATA, _NAME, _ATTRS = 101, 102, 103, 104, 105
_SIZE, _OWNER, _MODE, _TIMES, _MORE = 0x1, 0x2, 0x4, 0x8, 0x80000000

_MESSAGES = {NO_SUCH_FILE: "No such file or directory", PERMISSION_DENIED: "Permission denied", FAILURE: "Failure"}


class Attributes(NamedTuple):
    """What a server says of a path: size in bytes, mode with its type bits (None: unsaid), mtime in seconds."""

    size_bytes: int
    mode: int | None
    mtime_s: int


class Reply:
    """One answer: an error has a ``status`` other than OK; else one of the others is set."""

    __slots__ = ("attributes", "data", "names", "status", "words")

    def __init__(self, status: int = OK, words: str = "") -> None:
        self.status = status
        self.words = words
        self.data = b""
        self.names: list[tuple[bytes, Attributes]] = []
        self.attributes: Attributes | None = None


class SftpError(MtrError):
    """The server refused a request; ``status`` is its number, ``path`` what it was about, ``said`` why."""

    code = "sftp"

    def __init__(self, path: bytes, reply: Reply) -> None:
        words = reply.words or _MESSAGES.get(reply.status, f"status {reply.status}")
        super().__init__(f"{path.decode(errors='replace')}: {words}")
        self.said = words
        self.path = path
        self.status = reply.status
        self.words = words


class SftpLost(MtrError):
    """The session ended in the middle, or never was one of SFTP."""

    code = "sftp-lost"

    def __init__(self, message: str, *, detail: str = "", ended: Ended | None = None, hint: str = "") -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.ended = ended


Task = Generator[list[bytes], list[Reply], None]


# -- requests: the type, and what follows the number that is put between


def _string(data: bytes) -> bytes:
    return pack(">I", len(data)) + data


def open_file(path: bytes, flags: int, mode: int = 0o600) -> bytes:
    """Ask for a handle; ``flags`` are READ, WRITE and their kin."""
    return b"\x03" + _string(path) + pack(">III", flags, _MODE, mode)


def close(handle: bytes) -> bytes:
    """Ask to close ``handle``."""
    return b"\x04" + _string(handle)


def read(handle: bytes, offset: int, size_bytes: int) -> bytes:
    """Ask for up to ``size_bytes`` of a file."""
    return b"\x05" + _string(handle) + pack(">QI", offset, size_bytes)


def write(handle: bytes, offset: int, data: bytes) -> bytes:
    """Ask to write ``data``."""
    return b"\x06" + _string(handle) + pack(">Q", offset) + _string(data)


def lstat(path: bytes) -> bytes:
    """Ask what ``path`` is; a link is itself."""
    return b"\x07" + _string(path)


def stat(path: bytes) -> bytes:
    """Ask what ``path`` leads to."""
    return b"\x11" + _string(path)


def set_look(handle: bytes, mode: int, mtime_s: int) -> bytes:
    """Ask to set mode and times of an open file."""
    mtime_s = min(max(mtime_s, 0), 0xFFFFFFFF)
    return b"\x0a" + _string(handle) + pack(">IIII", _MODE | _TIMES, mode, mtime_s, mtime_s)


def open_dir(path: bytes) -> bytes:
    """Ask for a handle to read a directory."""
    return b"\x0b" + _string(path)


def read_dir(handle: bytes) -> bytes:
    """Ask for the next names of a directory."""
    return b"\x0c" + _string(handle)


def remove(path: bytes) -> bytes:
    """Ask to remove a file."""
    return b"\x0d" + _string(path)


def make_dir(path: bytes) -> bytes:
    """Ask to make a directory."""
    return b"\x0e" + _string(path) + pack(">I", 0)


def remove_dir(path: bytes) -> bytes:
    """Ask to remove an empty directory."""
    return b"\x0f" + _string(path)


def read_link(path: bytes) -> bytes:
    """Ask where a link leads."""
    return b"\x13" + _string(path)


def make_link(path: bytes, target: bytes) -> bytes:
    """Ask to make a link at ``path``."""
    return b"\x14" + _string(target) + _string(path)


def rename(path: bytes, target: bytes) -> bytes:
    """Ask to rename; what stands at ``target`` makes it fail."""
    return b"\x12" + _string(path) + _string(target)


def replace(path: bytes, target: bytes) -> bytes:
    """Ask to rename over ``target``, as rename(2) does; see :attr:`Sftp.can_replace`."""
    return b"\xc8" + _string(b"posix-rename@openssh.com") + _string(path) + _string(target)


def check(path: bytes, replies: Iterable[Reply]) -> None:
    """Raise SftpError for the first of ``replies`` that is an error."""
    for reply in replies:
        if reply.status != OK:
            raise SftpError(path, reply)


class Sftp:
    """One SFTP session; a context manager. ``can_replace`` says that a rename may replace what is there."""

    def __init__(self, held: Held, label: str) -> None:
        """Begin the session on ``held``, whose subsystem is sftp.

        Raises:
            SftpLost: the server has no SFTP.
        """
        self._held = held
        self._label = label
        self._number = 0
        self._out = bytearray()
        self._in = bytearray()
        self._has_begun = False
        self._waiting: dict[int, tuple[Running, int]] = {}
        self._running = 0
        try:
            self._write(pack(">IBI", 5, _INIT, 3))
            packet = self._read_packet()
            if packet[:1] != bytes([_VERSION]):
                raise self._lost("it answers something else than SFTP")
        except BaseException:
            held.close()
            raise
        self.can_replace = b"posix-rename@openssh.com" in packet
        self._has_begun = True

    def __enter__(self) -> Sftp:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def run(self, tasks: Iterable[Task]) -> None:
        """Carry out ``tasks``, many at once, taking new ones as others end; the first error ends all.

        Raises:
            SftpError: what a task raises.
            SftpLost: the session ended.
        """
        ready = deque[Running]()
        try:
            self._run(iter(tasks), ready)
        except BaseException:
            # Now, and not when they are collected: they have files to close and to remove.
            for running in (*ready, *(running for running, _ in self._waiting.values())):
                running.task.close()
            self._waiting.clear()
            self._running = 0
            raise

    def _run(self, source: Iterator[Task], ready: deque[Running]) -> None:
        exhausted = False
        while True:
            while ready:
                self._advance(ready.popleft())
            while not exhausted and len(self._waiting) < MAX_REQUESTS and self._running < MAX_TASKS:
                task = next(source, None)
                exhausted = task is None
                if task is not None:
                    self._running += 1
                    self._advance(Running(task))
            self._flush()
            if not self._running:
                return  # What tasks have asked for last, and not waited for, may be on its way yet.
            self._take_replies(ready)

    @property
    def batch_blocks(self) -> int:
        """How many blocks of a file to have in flight: fewer, the more files there are at once."""
        return max(4, 4 * BATCH_BLOCKS // max(4, self._running))

    def ask(self, request: bytes) -> Reply:
        """Send one request and return its reply."""
        found: list[Reply] = []

        def task() -> Task:
            found.extend((yield [request]))

        self.run([task()])
        return found[0]

    def _advance(self, running: Running) -> None:
        """Let a task take its replies and ask for more."""
        while not running.missing:
            try:
                requests = running.advance()
            except StopIteration:
                self._running -= 1
                return
            for index, request in zip(running.expect(requests), requests, strict=True):
                self._number = (self._number + 1) & 0xFFFFFFFF
                self._waiting[self._number] = (running, index)
                self._out += pack(">IBI", len(request) + 4, request[0], self._number)
                self._out += request[1:]
            if len(self._out) > FLUSH_BYTES:
                self._flush()

    def _take_replies(self, ready: deque[Running]) -> None:
        """Take at least one reply, and all that have come."""
        while True:
            packet = self._read_packet()
            try:
                number, reply = unpack_from(">I", packet, 1)[0], parse_reply(packet)
            except (StructError, IndexError) as error:
                raise self._lost("it sends packets that are cut") from error
            if number not in self._waiting:
                raise self._lost("it answers what nobody has asked")
            running, index = self._waiting.pop(number)
            if running.take(index, reply):
                ready.append(running)
            if not self._has_packet():
                return

    def _flush(self) -> None:
        if self._out:
            self._write(bytes(self._out))
            self._out.clear()

    def _write(self, data: bytes) -> None:
        try:
            self._held.write(data)
        except BrokenPipeError as error:
            raise self._lost() from error

    def _has_packet(self) -> bool:
        return len(self._in) >= 4 and len(self._in) >= 4 + unpack_from(">I", self._in)[0]

    def _read_packet(self) -> bytes:
        while not self._has_packet():
            data = self._held.read_some()
            if not data:
                raise self._lost()
            self._in += data
            if unpack_from(">I", self._in.ljust(4, b"\0"))[0] > MAX_PACKET_BYTES:
                # What an rc file prints comes before the first packet, and its letters look like a great length.
                raise self._lost(f"something there prints before SFTP begins: {bytes(self._in[:200])!r}")
        end = 4 + unpack_from(">I", self._in)[0]
        packet = bytes(self._in[4:end])
        del self._in[:end]
        return packet

    def _lost(self, words: str = "") -> SftpLost:
        ended = None
        if not words:
            ended, (_, stderr) = self._held.finish()
            words = stderr.decode(errors="replace") or ended.words
        if self._has_begun and ended is not None:
            return SftpLost(f"the line to {self._label} broke", detail=words, ended=ended, hint="run it again")
        words = words or "the session ended without a word"
        hint = "see whether sshd_config there has a Subsystem sftp, and what the rc files print"
        return SftpLost(f"no SFTP with {self._label}", detail=words, ended=ended, hint=hint)


def open_sftp(line: Wire) -> Sftp:
    """Open SFTP over ``line``; again, as any session, where it provably did not open.

    Raises:
        SftpLost: the server has none.
        ConnectError: no session opens.
    """
    opened: list[Sftp] = []

    def once() -> Ended:
        try:
            opened.append(Sftp(line.hold("sftp", subsystem=True), line.label))
        except SftpLost as lost:
            if lost.ended is None or lost.ended.has_opened:
                raise
            return lost.ended
        return Ended(0, Outcome.STATUS)

    line.attempt(once)
    return opened[0]


def parse_reply(packet: bytes) -> Reply:
    """Return the reply in one packet."""
    kind, reply = packet[0], Reply()
    if kind == _STATUS:
        reply.status = unpack_from(">I", packet, 5)[0]
        if len(packet) >= 13:
            reply.words = _take_string(packet, 9)[0].decode(errors="replace")
    elif kind in (_HANDLE, _DATA):
        reply.data = _take_string(packet, 5)[0]
    elif kind == _NAME:
        count, offset = unpack_from(">I", packet, 5)[0], 9
        for _ in range(count):
            name, offset = _take_string(packet, offset)
            _, offset = _take_string(packet, offset)
            attributes, offset = _take_attributes(packet, offset)
            reply.names.append((name, attributes))
    elif kind == _ATTRS:
        reply.attributes = _take_attributes(packet, 5)[0]
    return reply


def _take_string(packet: bytes, offset: int) -> tuple[bytes, int]:
    end = offset + 4 + unpack_from(">I", packet, offset)[0]
    if end > len(packet):
        raise StructError("a string is cut")
    return packet[offset + 4 : end], end


def _take_attributes(packet: bytes, offset: int) -> tuple[Attributes, int]:
    flags, offset = unpack_from(">I", packet, offset)[0], offset + 4
    size, mode, mtime = 0, None, 0
    if flags & _SIZE:
        size, offset = unpack_from(">Q", packet, offset)[0], offset + 8
    if flags & _OWNER:
        offset += 8
    if flags & _MODE:
        mode, offset = unpack_from(">I", packet, offset)[0], offset + 4
    if flags & _TIMES:
        mtime, offset = unpack_from(">I", packet, offset + 4)[0], offset + 8
    if flags & _MORE:
        count, offset = unpack_from(">I", packet, offset)[0], offset + 4
        for _ in range(2 * count):
            _, offset = _take_string(packet, offset)
    return Attributes(size, mode, mtime), offset
