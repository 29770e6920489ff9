"""What rsync says, recorded from versions 3.0 to 3.5, and what mtr makes of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.errors import MtrError, RemoteDiskFull, RemoteNotWritable, RsyncMissing, SyncError
from mtr.sync.base import Progress, Transfer
from mtr.sync.rsync_output import OutputReader, Stats, explain_failure, parse_progress, parse_stats, parse_transfer

OUTPUT_35 = (
    b"\r              3   0%    0.00kB/s    0:00:00  "
    b"\r              3   0%    0.00kB/s    0:00:00 (xfr#1, to-chk=5/6)\n"
    b"mtr:50:3:a b\nmtr:36:0:new\\#012line\nmtr:0:4096:s/\n"
    b"\r      3,000,003  99%  572.20MB/s    0:00:00 (xfr#4, to-chk=1/6)\nmtr:3000517:3000000:s/big\nmtr:0:3:s/l\n"
    b"\r      3,000,003  99%  572.20MB/s    0:00:00 (xfr#4, to-chk=0/6)\n\n"
    b"Number of files: 6 (reg: 4, dir: 1, link: 1)\nNumber of created files: 6 (reg: 4, dir: 1, link: 1)\n"
    b"Number of deleted files: 0\nNumber of regular files transferred: 4\nTotal file size: 3,000,006 bytes\n"
    b"Total transferred file size: 3,000,003 bytes\nLiteral data: 3,000,003 bytes\nMatched data: 0 bytes\n"
    b"File list size: 0\nFile list generation time: 0.001 seconds\nFile list transfer time: 0.000 seconds\n"
    b"Total bytes sent: 3,001,011\nTotal bytes received: 98\n\n"
    b"sent 3,001,011 bytes  received 98 bytes  6,002,218.00 bytes/sec\ntotal size is 3,000,006  speedup is 1.00\n"
)
STATS_30 = "Number of files: 2\nNumber of files transferred: 1\nTotal file size: 5 bytes\nTotal bytes sent: 117\n"


@given(st.lists(st.integers(0, len(OUTPUT_35)), max_size=12))
def test_output_reads_alike_however_it_is_cut(cuts):
    """Chunks end anywhere: progress, files and figures come out the same."""
    seen: list[Progress] = []
    reader = OutputReader(seen.append)
    edges = [0, *sorted(cuts), len(OUTPUT_35)]
    for start, end in itertools.pairwise(edges):
        reader.feed(OUTPUT_35[start:end])
    assert reader.stats() == Stats(files_sent=4, bytes_sent=3_001_011)
    assert seen[-1] == Progress(0.99, 3_000_003, "572.20MB/s")
    assert reader.biggest()[0] == Transfer(b"s/big", 3_000_000, 3_000_517)
    assert b"new\nline" in {transfer.path for transfer in reader.biggest()}


def test_stats_of_an_old_rsync():
    """In rsync 3.0 the count of files stands under another name."""
    assert parse_stats(STATS_30) == Stats(1, 117)


@pytest.mark.parametrize("text", ["", "Total bytes sent: 5\n", "Number of files transferred: many\n", "\x00\xff"])
def test_stats_that_are_none_raise(text: str):
    """A block without the figures is an error, not a zero."""
    with pytest.raises(ValueError, match="no statistics"):
        parse_stats(text)


def test_a_receipt_without_figures_is_no_failure():
    """An rsync that prints no statistics leaves them unknown."""
    reader = OutputReader()
    reader.feed(b"mtr:50:3:a\n")
    assert reader.stats() is None
    assert reader.files_sent == 1


@pytest.mark.parametrize("line", [b"", b"hello", b"mtr:1:2:x", b"  12 files 5%", b"100%", b"\xff 1% 1kB/s "])
def test_lines_that_show_no_progress(line: bytes):
    """Anything but a progress line is none."""
    assert parse_progress(line) is None


@pytest.mark.parametrize("line", [b"", b"mtr:", b"mtr:x:1:a", b"mtr:0:4096:dir/", b" mtr:1:1:a"])
def test_lines_that_name_no_file(line: bytes):
    """Directories and other lines are no transferred files."""
    assert parse_transfer(line) is None


NO_RSYNC = [
    "bash: line 1: rsync: command not found\n",
    "bash: rsync: command not found\n",
    "sh: 1: rsync: not found\n",
    "zsh:1: command not found: rsync\n",
    "fish: Unknown command: rsync\nfish: \nrsync --server -s\n",
    "fish: Unknown command 'rsync'\n",
    "rsync: Command not found.\n",
    "ash: rsync: not found\n",
    "/bin/mksh: rsync: inaccessible or not found\n",
]


@pytest.mark.parametrize("words", NO_RSYNC)
@pytest.mark.parametrize("status", [12, 127, 1])
def test_no_rsync_there_in_the_words_of_any_login_shell(words: str, status: int):
    """Whatever the shell says and rsync makes of it, the error is that rsync is missing on the server."""
    tail = "rsync: connection unexpectedly closed (0 bytes received so far) [sender]\nrsync error: … (code 12)\n"
    error = explain_failure(status, words + tail, "gpu-01", "/data")
    assert isinstance(error, RsyncMissing)
    assert words.splitlines()[0] in error.detail


@pytest.mark.parametrize(
    ("status", "stderr", "expected", "message"),
    [
        (
            23,
            'rsync: [receiver] mkstemp "/ro/.f.Ab" failed: Permission denied (13)',
            RemoteNotWritable,
            "cannot write to /ro",
        ),
        (23, 'rsync: mkstemp "/ro/.f.Ab" failed: Permission denied (13)', RemoteNotWritable, "cannot write"),
        (11, 'rsync: [Receiver] mkdir "/ro/x" failed: Read-only file system (30)', RemoteNotWritable, "cannot write"),
        (
            23,
            'rsync: [generator] failed to set times on "/ro/a": Operation not permitted (1)',
            RemoteNotWritable,
            "cannot",
        ),
        (
            11,
            'rsync: [receiver] write failed on "/d/big": No space left on device (28)',
            RemoteDiskFull,
            "no space left",
        ),
        (11, 'rsync: write failed on "/d/big": Disk quota exceeded (122)', RemoteDiskFull, "no space left"),
        (
            23,
            'rsync: [sender] send_files failed to open "/p/k": Permission denied (13)',
            SyncError,
            "cannot be read here",
        ),
        (23, 'rsync: send_files failed to open "/p/k": Permission denied (13)', SyncError, "cannot be read here"),
        (2, "protocol version mismatch -- is your shell clean?\n(see the rsync manpage…)", SyncError, "start-up files"),
        (
            23,
            "cannot delete non-empty directory: a\ncould not make way for new regular file: a",
            SyncError,
            "not empty",
        ),
        (
            255,
            "mux_client_request_session: read from master failed: Broken pipe",
            SyncError,
            "connection to gpu-01 broke",
        ),
        (255, "dev@gpu-01: Permission denied (publickey).", SyncError, "connection to gpu-01 broke"),
        (12, "rsync: connection unexpectedly closed (8 bytes received so far) [sender]", SyncError, "broke"),
        (30, "rsync error: timeout in data send/receive (code 30)", SyncError, "broke"),
        (10, "rsync error: error in socket IO (code 10)", SyncError, "broke"),
        (-9, "", SyncError, "killed by SIGKILL"),
        (14, "", SyncError, "status 14"),
    ],
)
def test_failures_are_told_apart(status: int, stderr: str, expected: type[MtrError], message: str):
    """Each way to fail has its own error, with rsync's words and a next step."""
    error = explain_failure(status, stderr, "gpu-01", "/ro")
    assert type(error) is expected
    assert message in error.message
    assert error.detail == stderr
    assert error.hint


def test_repeated_complaints_are_cut():
    """Ten thousand lines of the same fault are shown as a few."""
    error = explain_failure(23, "rsync: something\n" * 10_000, "s", "/d")
    assert error.detail.endswith("… and 9988 more lines")


@given(st.integers(-30, 255).filter(lambda status: status not in {0, 24}), st.text())
def test_any_failure_has_an_error(status: int, stderr: str):
    """No words and no status leave mtr without an explanation."""
    assert explain_failure(status, stderr, "s", "/d").message
