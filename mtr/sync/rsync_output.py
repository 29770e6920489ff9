r"""Reading what rsync says: progress, transferred files, statistics, and why it failed.

Pure. rsync runs with ``LC_ALL=C``, so its words are English and every unusual byte of a name is written
``\#ooo``. Its stdout mixes three things, parted by newlines and carriage returns: progress (``--info=progress2``),
lines of our own ``--out-format``, and the ``--stats`` block at the end.
"""

from __future__ import annotations

import heapq
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.errors import MtrError, RemoteDiskFull, RemoteNotWritable, RsyncMissing, SyncError
from mtr.sync.base import Progress, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSFER_FORMAT = "mtr:%b:%l:%n"
"""Bytes sent for a file, its length, its name (rsyncd.conf(5), "log format")."""

BIGGEST_KEPT = 5
DETAIL_LINES = 12
MAX_LINE_BYTES = 64 << 10
"""A name on one line, each byte of it escaped, and more."""

MAX_LINES = 1000
MAX_ERROR_BYTES = 1 << 20

_BREAK = re.compile(rb"[\r\n]")
_TRANSFER = re.compile(rb"mtr:(\d[\d,.]{0,40}):(\d[\d,.]{0,40}):(.*)", re.DOTALL)
_PROGRESS = re.compile(rb"\s{0,100}(\d[\d,.]{0,40})\s{1,100}(\d{1,9})%\s{1,100}(\S{1,40}/s)\s")
_ESCAPED_BYTE = re.compile(rb"\\#([0-3][0-7]{2})")
_FILES_SENT = re.compile(r"^Number of (?:regular )?files transferred: (\d[\d,.]{0,40})", re.MULTILINE)
_BYTES_SENT = re.compile(r"^Total bytes sent: (\d[\d,.]{0,40})", re.MULTILINE)

_NO_RSYNC = re.compile(
    r"\brsync: (?:command |Command )?not found"  # bash, dash, ksh, tcsh, busybox
    r"|command not found: rsync"  # zsh
    r"|Unknown command:? '?rsync"  # fish
    r"|\brsync: inaccessible or not found"  # mksh
)
_DISK_FULL = re.compile(r"No space left on device|[Qq]uota exceeded")
_REFUSED = re.compile(r"Permission denied|Read-only file system|Operation not permitted")
_LOCAL = re.compile(r"\[sender\]|send_files failed to open|readlink_stat|link_stat")
_SHELL_NOISE = "is your shell clean?"
_IN_THE_WAY = re.compile(r"could not make way for|cannot delete non-empty directory")
_LINK_REFUSED = "Too many levels of symbolic links"

_LINE_LOST = frozenset({10, 12, 30, 35, 255})
"""Socket I/O, protocol data stream, two timeouts (rsync(1), EXIT VALUES), and ssh's own 255."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the ``--stats`` block says of what was sent."""

    files_sent: int
    bytes_sent: int


def parse_stats(text: str) -> Stats:
    """Return the figures of a ``--stats`` block, of rsync 3.0 (``Number of files transferred``) to 3.5.

    Raises:
        ValueError: a figure is missing.
    """
    files, sent = _FILES_SENT.search(text), _BYTES_SENT.search(text)
    if not files or not sent:
        raise ValueError(f"no statistics of rsync: {text[-200:]!r}")
    return Stats(_parse_number(files[1]), _parse_number(sent[1]))


def parse_progress(line: bytes) -> Progress | None:
    """Return the progress that ``line`` shows, or None if it shows none."""
    found = _PROGRESS.match(line)
    if not found:
        return None
    return Progress(int(found[2]) / 100, _parse_number(found[1].decode()), found[3].decode(errors="replace"))


def parse_transfer(line: bytes) -> Transfer | None:
    """Return the file of a line in ``TRANSFER_FORMAT``, or None for any other line and for directories."""
    found = _TRANSFER.fullmatch(line)
    if not found or found[3].endswith(b"/"):
        return None
    path = _ESCAPED_BYTE.sub(lambda byte: bytes([int(byte[1], 8)]), found[3])
    return Transfer(path, _parse_number(found[2].decode()), _parse_number(found[1].decode()))


def _parse_number(text: str) -> int:
    """Return ``1,234`` or ``1.234`` as 1234: rsync groups digits, and all figures here are whole."""
    return int(re.sub(r"[,.]", "", text))


class OutputReader:
    """Takes rsync's output in chunks, as they come, and keeps what the receipt or an error needs."""

    def __init__(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._on_progress = on_progress
        self._rest = b""
        self._lines: list[bytes] = []
        self._errors = bytearray()
        self._biggest: list[tuple[int, int, Transfer]] = []
        self.files_sent = 0

    def feed(self, chunk: bytes) -> None:
        """Take a chunk of stdout."""
        *lines, rest = _BREAK.split(self._rest + chunk)
        for line in lines:
            self._take(line)
        self._rest = rest[:MAX_LINE_BYTES]

    def feed_error(self, chunk: bytes) -> None:
        """Take a chunk of stderr."""
        self._errors += chunk[: max(0, MAX_ERROR_BYTES - len(self._errors))]

    @property
    def errors(self) -> str:
        """Return what rsync, ssh and the login shell said on stderr."""
        return self._errors.decode(errors="replace")

    def stats(self) -> Stats | None:
        """Return the final figures; None where this rsync gives none, which is no reason to fail a sync."""
        text = b"\n".join([*self._lines, self._rest]).decode(errors="replace")
        try:
            return parse_stats(text)
        except ValueError:
            return None

    def biggest(self) -> tuple[Transfer, ...]:
        """Return the files that took most bytes on the line, the largest first."""
        return tuple(transfer for _, _, transfer in sorted(self._biggest, reverse=True))

    def _take(self, line: bytes) -> None:
        progress, transfer = parse_progress(line), parse_transfer(line)
        if transfer:
            self._keep(transfer)
        elif progress:
            if self._on_progress:
                self._on_progress(progress)
        elif not line.startswith(b"mtr:"):
            self._lines.append(line)
            # The statistics come last.
            del self._lines[:-MAX_LINES]

    def _keep(self, transfer: Transfer) -> None:
        self.files_sent += 1
        # The number keeps a path that comes twice apart: transfers have no order.
        heapq.heappush(self._biggest, (transfer.bytes_sent, self.files_sent, transfer))
        if len(self._biggest) > BIGGEST_KEPT:
            heapq.heappop(self._biggest)


def explain_failure(status: int, stderr: str, server: str, remote_dir: str) -> MtrError:
    """Return the error for an rsync that ended with ``status``, with its own words as the detail.

    ``status`` is as ``waitpid`` gives it. Words are looked at before numbers: 23 and 12 mean many things.
    """
    detail = _trim(stderr)
    lines = stderr.splitlines()
    # ssh and shells say "Permission denied" too, about other things.
    refused = [line for line in lines if line.startswith("rsync: ") and _REFUSED.search(line)]
    if status == 127 or _NO_RSYNC.search(stderr):
        return RsyncMissing(
            f"there is no rsync on {server}",
            detail=detail,
            hint=f"mtr -s {server} --no-sync 'sudo apt-get install -y rsync'",
        )
    if _DISK_FULL.search(stderr):
        return RemoteDiskFull(
            f"no space left for {remote_dir} on {server}", detail=detail, hint=f"mtr -s {server} --no-sync df -h ."
        )
    if any(_LOCAL.search(line) for line in refused):
        return SyncError(
            "a file of the project cannot be read here",
            detail=detail,
            hint="chmod u+r FILE, or leave it out: echo FILE >> .mtrignore",
        )
    if refused:
        return RemoteNotWritable(
            f"cannot write to {remote_dir} on {server}",
            detail=detail,
            hint=f"mtr -s {server} --no-sync ls -la, or set another `remote_dir`",
        )
    return _explain_connection(status, stderr, server, detail)


def _explain_connection(status: int, stderr: str, server: str, detail: str) -> MtrError:
    """Return the error where no file is to blame."""
    if _SHELL_NOISE in stderr:
        return SyncError(
            f"the login shell's start-up files on {server} print something, which breaks rsync",
            detail=detail,
            hint=f"ssh {server} true, which must print nothing; let ~/.bashrc there print only when interactive",
        )
    if _LINK_REFUSED in stderr:
        return SyncError(
            f"rsync refuses to write through a symbolic link that stands on {server} in place of a directory",
            detail=detail,
            hint="leave that directory out: echo DIR/ >> .mtrignore",
        )
    if _IN_THE_WAY.search(stderr):
        return SyncError(
            f"a directory that is not empty stands on {server} where a file or link belongs",
            detail=detail,
            hint=f"mtr -s {server} --no-sync mv PATH PATH.old",
        )
    if status in _LINE_LOST:
        return SyncError(
            f"the connection to {server} broke during the sync; the next one resumes it",
            detail=detail,
            hint=f"mtr -s {server} sync",
        )
    known = {number.value: number.name for number in signal.Signals}
    killed_by = known.get(-status, f"signal {-status}")
    ending = f"was killed by {killed_by}" if status < 0 else f"failed with status {status}"
    return SyncError(f"rsync to {server} {ending}", detail=detail, hint=f"mtr down -s {server}; mtr sync -s {server}")


def _trim(stderr: str) -> str:
    """Return the first lines of ``stderr``, where the cause stands; a failing tree can repeat it 10,000 times."""
    lines = stderr.strip().splitlines()
    more = len(lines) - DETAIL_LINES
    return "\n".join([*lines[:DETAIL_LINES], f"… and {more} more lines"] if more > 0 else lines)
