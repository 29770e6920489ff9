"""What the fuzzers have found, kept as it was: each once made mtr fall over, wait, or leave something behind."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mtr.command_line import parse_arguments
from mtr.config.model import Server
from mtr.errors import ConfigError, SyncError
from mtr.process.piped import TooMuchOutput, read_all
from mtr.ssh import mux
from mtr.ssh.control import ask_alive, ask_to_stop
from mtr.ssh.fallback.resolve import resolve_place
from mtr.ssh.held import Held
from mtr.ssh.sftp import Attributes, Sftp
from mtr.state import note_once, read_regular, write_atomic
from mtr.sync.compare import parse_listing
from mtr.sync.patterns import matches_path, parse_ignore_file
from mtr.sync.rsync_output import OutputReader, explain_failure
from mtr.sync.sftp_transfer import download, walk
from tests.fuzz.targets import TARGETS, Answering, place
from tests.fuzz.test_parsers import run_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEEP = b"x0: &x0 [1]\n" + b"".join(
    b"x%d: &x%d " % (n, n) + b"[" * 30 + b"*x%d" % (n - 1) + b"]" * 30 + b"\n" for n in range(1, 36)
)

EXAMPLES: list[tuple[str, bytes]] = [
    ("config", DEEP),
    ("config", b"[" + b"a," * 400_000 + b"]"),
    ("project", b"gitdir: " + b"9" * 5000),
    ("project", b"gitdir: .\n\0\0a\0b"),
    ("manifest-values", b'[1, []]'),
    ("manifest-values", b'["t1", [[], [], [], [], [], [], [], [1], {}, [], [], [], false, []]]'),
    ("manifest-values", b"5"),
    ("route", b"[[], [], [], []]"),
    ("route", b"[1, 2, 3, 4]"),
    ("record", b"[" * 100_000),
    ("record", b'{"server_name": 1, "address": 2, "destination": 3, "pid": "4", "opened_s": "x"}'),
    ("record", b'{"server_name": "", "address": "", "destination": "", "pid": 1e99, "opened_s": 1.0}'),
    ("listing", b"mtr-\xff\nmtr-token \xff\xff\nmtr-list\n"),
    ("listing", b"\0\0=:|x|./a"),
    ("listing", b"\0\0=81a4:1:2|3|./a"),
    ("listing", b"\0\0=81a4:" + b"9" * 5000 + b":2|3:4:5|./a"),
    ("mux", b"\0\0\0\x00"),
    ("mux", b"\0\0\0\x04\x80\x00\x00\x04"),
    ("mux", b"\xff\xff\xff\xff" + b"x" * 100_000),
    ("patterns", b"*a" * 60 + b"b"),
    ("patterns", b"**/" * 3000 + b"x"),
    ("rsync", b"mtr:,:.:x\n"),
    ("rsync", b"mtr:" + b"9" * 5000 + b":1:x\n"),
    ("rsync", b"  1 " + b"9" * 5000 + b"% 1/s \n"),
    ("rsync", b"mtr:1:1:\\#777\n"),
    ("rsync", b"mtr:1:1:a\nmtr:1:2:a\n"),
    (
        "ssh-log",
        b"[10.0.0.7]:2222 ssh-rsa AAAA\nOffending RSA key in FILE:" + b"9" * 5000 + b"\n"
        b"fingerprint for the RSA key sent by the remote host is\nSHA256:a.\n",
    ),
    ("ssh-config", b"Include a\0b/*\n"),
    ("ssh-config", b"Include config\n" * 12),
    ("ssh-config", b"Port x\n"),
    ("ssh-config", b"ConnectTimeout " + b"9" * 400 + b"\n"),
    # A download that fails beside another one left that one's part behind.
    ("sftp", base64.b64decode("BAgEAMuMy8rLy8sEWwAECF0ABAAECADLMAA=")),
]  # fmt: skip


@pytest.mark.parametrize(("target", "data"), EXAMPLES)
def test_what_was_found_stays_mended(target: str, data: bytes) -> None:
    """A value or an error of mtr's, soon."""
    run_target(target, data)


def test_every_target_has_a_name_for_the_guided_fuzzer() -> None:
    """The guided fuzzer lists them without importing them."""
    from tests.fuzz import guided

    assert sorted(guided.NAMES) == sorted(TARGETS)


def test_a_glob_with_many_stars_still_matches() -> None:
    """What a star takes is tried once, and every match is found."""
    (pattern,) = parse_ignore_file(b"*a*ab*b?c*")
    for name, found in ((b"aabbxc", True), (b"xaxabxxbxcx", True), (b"abbxc", False), (b"aabbc", False)):
        assert matches_path(pattern, name, is_dir=False) is found, name


def test_a_list_that_grows_without_bounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes from a server do not become gigabytes here."""
    monkeypatch.setattr("mtr.sync.compare.MAX_LISTING_BYTES", 1 << 20)
    packed = gzip.compress(b"\0" * (2 << 20))
    with pytest.raises(SyncError, match="too long"):
        parse_listing(b"mtr-token abc\nmtr-list\n" + packed)


def test_rsyncs_words_are_kept_within_bounds() -> None:
    """Without an end of a line, with errors without end."""
    reader = OutputReader()
    for _ in range(200):
        reader.feed(b"x" * 100_000)
        reader.feed_error(b"y" * 100_000)
    assert len(reader._rest) < 1 << 20
    assert len(reader.errors) <= 1 << 20
    reader.feed(b"\n" * 100_000)
    assert len(reader._lines) <= 1000


@pytest.mark.parametrize("status", [-40, -64, -9, 999])
def test_rsync_may_die_of_any_signal(status: int) -> None:
    """Also of one that has no name."""
    assert "rsync" in explain_failure(status, "", "gpu", "~/p").message


def test_circles_of_includes_are_refused(tmp_path: Path) -> None:
    """As ssh refuses them, and at once: each level may branch."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Include config\n" * 5)
    with pytest.raises(ConfigError, match="include each other"):
        resolve_place(Server("box", ("box",)), "box", {"HOME": str(tmp_path)})


def test_a_configuration_of_ssh_that_is_too_large_is_named(tmp_path: Path) -> None:
    """Gigabytes are not read."""
    (tmp_path / ".ssh").mkdir()
    with (tmp_path / ".ssh" / "config").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ConfigError, match="larger than"):
        resolve_place(Server("box", ("box",)), "box", {"HOME": str(tmp_path)})


def test_a_hundred_thousand_options_take_no_longer_each() -> None:
    """Parsing is linear."""
    started_s = time.monotonic()
    assert parse_arguments([*["-q"] * 200_000, "ls"]).words == ["ls"]
    assert time.monotonic() - started_s < 5


@pytest.mark.parametrize("leads_to", [b"", b"a\0b"])
def test_a_link_leads_somewhere_or_is_refused(leads_to: bytes, tmp_path: Path) -> None:
    """A server may say anything; nothing is made of it."""
    body = struct.pack(">II", 1, len(leads_to)) + leads_to + struct.pack(">II", 0, 0)
    session = Sftp(Answering(bytes([3, len(body)]) + body, raw=False), "gpu-01")  # type: ignore[arg-type]
    look = Attributes(0, 0o120777, 0)
    with pytest.raises(SyncError, match="leads"):
        session.run([download(session, b"x", look, os.fsencode(tmp_path / "x"), lambda _count: None)])
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_never_listed_to_its_end_is_refused() -> None:
    """A server that answers with no names would be asked for ever."""
    names = bytes([3, 4]) + struct.pack(">I", 0)
    session = Sftp(Answering(bytes([1, 5]) + struct.pack(">I", 1) + b"h" + names * 50, raw=False), "gpu-01")  # type: ignore[arg-type]
    with pytest.raises(SyncError, match="to its end"):
        list(walk(session, b"top"))


# -- what stands where a file belongs


@pytest.fixture(params=["nothing", "directory", "fifo", "dangling", "device", "nul"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a path at which no file is that could be read."""
    path = tmp_path / "x"
    makers = {
        "directory": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "dangling": lambda: path.symlink_to("y"),
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    makers.get(request.param, lambda: None)()
    return f"{path}\0" if request.param == "nul" else str(path)


def test_no_file_is_neither_read_nor_waited_for(odd: str) -> None:
    """None is what there is to read."""
    assert read_regular(odd, 100) is None


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """And no further."""
    (tmp_path / "x").write_bytes(b"12345")
    assert read_regular(str(tmp_path / "x"), 3) == b"123"
    assert read_regular(str(tmp_path / "x"), 100) == b"12345"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A directory in its place; and no other file is left there."""
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        write_atomic(str(tmp_path / "x"), b"")
    assert caught.value.filename == str(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_where_notes_are_kept_silences_nothing(tmp_path: Path) -> None:
    """What cannot be noted is said each time."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    (tmp_path / "mtr").mkdir()
    (tmp_path / "mtr" / "said").write_text("")
    assert note_once(environ, "words")
    assert note_once(environ, "words")


# -- sockets on which no master answers


@contextlib.contextmanager
def answering(answer: bytes, *, forever: bool = False) -> Iterator[str]:
    """A socket on which somebody answers whatever it is asked with ``answer``, once or without end."""
    path = str(place().folder("s") / "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, contextlib.suppress(OSError):
                    client.sendall(answer)
                    while forever:
                        client.sendall(answer)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(10)


HELLO = struct.pack(">III", 8, mux.HELLO, mux.VERSION)


@pytest.mark.parametrize(
    ("answer", "forever"),
    [
        (b"", False),
        (b"\0", False),
        (b"\xff\xff\xff\xff" * 1000, True),
        (HELLO, True),
        (HELLO + struct.pack(">II", 4, mux.ALIVE), False),
        (HELLO + struct.pack(">III", 8, mux.HELLO, 99), False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"\0\0\0\0" * 1000, True),
        (struct.pack(">IIII", 12, mux.FAILURE, 0, 0), False),
        (struct.pack(">III", 8, mux.SESSION_OPENED, 0) + struct.pack(">II", 4, mux.EXIT_MESSAGE), False),
    ],
)
def test_what_is_no_master_is_taken_for_none(answer: bytes, *, forever: bool) -> None:
    """It is not alive, nothing opens on it for certain, and neither question waits for ever."""
    with answering(answer, forever=forever) as path:
        assert ask_alive(path, 5.0) is None
        assert ask_to_stop(path, 5.0) is False
        null = os.open(os.devnull, os.O_RDWR)
        session = mux.Session(path, "true", (), (null, null, null))
        os.close(null)
        end_s = time.monotonic() + 10
        while not session.is_over and time.monotonic() < end_s:
            session.wait_for_news(1.0)
            assert len(session._buffer) <= mux.MAX_MESSAGE_BYTES + 65536
        assert session.is_over
        assert session.end().status == 255


# -- output without end


def test_output_without_end_is_cut_off() -> None:
    """A few bytes were asked for; what never ends takes neither memory nor time without bounds."""
    read_end, write_end = os.pipe()
    stop = threading.Event()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            while not stop.is_set():
                os.write(write_end, b"y\n" * 30_000)
        os.close(write_end)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(TooMuchOutput):
        read_all([read_end], 0.1, lambda: None, 1 << 20)
    stop.set()
    writer.join(10)


def test_the_clock_is_looked_at_while_output_comes() -> None:
    """A deadline counts for a server that talks without end as for a silent one."""
    read_end, write_end = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            while True:
                os.write(write_end, b"y")
        os.close(write_end)

    class Late(Exception):
        pass

    def look() -> None:
        raise Late

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(Late):
        read_all([read_end], 0.05, look)
    writer.join(10)


def test_a_line_without_end_is_a_line() -> None:
    """Whoever waits for a word of the server's does not gather all that comes in front."""
    held = Held.__new__(Held)
    held._read = bytearray(b"x" * (1 << 20))
    held._out = -1
    assert held.read_line()
