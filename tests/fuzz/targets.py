"""What the fuzzers feed: each target takes any bytes, and fails only where mtr does.

The claim of all of them: a value, or an :class:`mtr.errors.MtrError` that can be shown; nothing else, and soon. The
property tests (``test_parsers``) and the guided fuzzer (``guided``) share them.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtr.aliases import expand_alias, find_flaw
from mtr.command_line import Invocation, parse_arguments
from mtr.completion.line import find_cursor, quote_for_bash, split_line
from mtr.config.load import load_config
from mtr.config.model import Server
from mtr.config.openssh import list_dependencies, literal_hosts, read_ssh_config_files
from mtr.config.project import Project, find_project
from mtr.config.remote_dir import resolve_remote_dir
from mtr.config.select import parse_destination, select_server
from mtr.errors import MtrError, render_error
from mtr.route import load_route
from mtr.ssh import mux, sftp
from mtr.ssh.diagnosis import build_connect_error, build_prepare_error
from mtr.ssh.endpoint import Endpoint, parse_version
from mtr.ssh.fallback.master import parse_request
from mtr.ssh.fallback.resolve import resolve_place
from mtr.ssh.known_hosts import find_keys
from mtr.ssh.master import load_record
from mtr.ssh.options import SshClient, build_session_options, parse_query
from mtr.ssh.outcome import Ended, Outcome, parse_outcome
from mtr.ssh.questions import is_for_password
from mtr.ssh.sessions import parse_probe
from mtr.ssh.windows import parse_shell
from mtr.sync import git
from mtr.sync.compare import parse_listing
from mtr.sync.failure import explain_apply
from mtr.sync.lines import read_lines
from mtr.sync.manifest import Manifest, read_value, write_value
from mtr.sync.patterns import matches_path, parse_ignore_file, relocate_patterns, render_pattern
from mtr.sync.rsync_output import OutputReader, explain_failure
from mtr.sync.sftp_transfer import download, look_at_all, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDPOINT = Endpoint("gpu-01", "box", "dev@10.0.0.7:2222", "0" * 16, SshClient("/usr/bin/ssh", (9, 2)), "/c", (), ())


class Place:
    """A directory of one fuzzer, with a home and a project in it; removed with the process."""

    def __init__(self) -> None:
        self._holder = tempfile.TemporaryDirectory(prefix="mtr-fuzz-", ignore_cleanup_errors=True)
        self.dir = Path(self._holder.name).resolve()
        self.root = self.dir / "p"
        (self.root / ".mtr").mkdir(parents=True)
        (self.dir / ".ssh").mkdir()
        self.environ = {"HOME": str(self.dir), "USER": "u", "XDG_STATE_HOME": str(self.dir / "state")}

    def write(self, name: str, data: bytes) -> Path:
        """Put ``data`` into the file ``name`` of this place."""
        path = self.dir / name
        path.write_bytes(data)
        return path

    def folder(self, name: str) -> Path:
        """Make the directory ``name`` of this place anew."""
        path = self.dir / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


@functools.cache
def place() -> Place:
    """Return the directory of this process."""
    return Place()


def show(error: MtrError) -> None:
    """An error can be rendered, begins as every one of mtr's, and can be printed."""
    words = render_error(error)
    assert words.startswith("mtr: "), words
    words.encode(errors="backslashreplace")


def accept(parse: Callable[..., Any], *values: object, **named: object) -> Any:
    """Return what ``parse`` makes of ``values``, None where it refuses them with an error of mtr's."""
    try:
        return parse(*values, **named)
    except MtrError as error:
        show(error)
        return None


def text_of(data: bytes) -> str:
    """Return ``data`` as mtr gets words from outside: not always UTF-8."""
    return os.fsdecode(data)


def fuzz_config(data: bytes) -> None:
    """A configuration file is a configuration or is refused."""
    here = place()
    path = here.root / ".mtr" / "config.yaml"
    path.write_bytes(data)
    path.chmod(0o600)
    project = Project(here.root, Path(), config_dir=here.root / ".mtr")  # type: ignore[arg-type]
    config = accept(load_config, project, here.environ)
    if config is not None and (server := accept(select_server, config, None, here.environ)) is not None:
        accept(resolve_remote_dir, server, project, here.environ)


def fuzz_command_line(data: bytes) -> None:
    """A command line runs or is refused; the first word may be a destination."""
    words = [text_of(word) for word in data.split(b"\0")]
    found = accept(parse_arguments, words)
    assert found is None or isinstance(found, Invocation)
    accept(parse_destination, words[0], Server("", ()))
    text = os.fsdecode(data)
    with contextlib.suppress(MtrError):
        aliases = {"a": text, text.partition(" ")[0]: "b"}
        words = ["-q", *text.split(), "a"]
        expand_alias(words, parse_arguments(words), aliases)
    assert isinstance(find_flaw("a", text, is_own=False), str)
    typed, quote = split_line(text)
    find_cursor(typed)
    quote_for_bash(typed[-1], text, typed[-1], quote)


def fuzz_project(data: bytes) -> None:
    """What stands in ``.git`` and the files that it leads to makes a project or none."""
    here = place()
    root = here.folder("w")
    link, _, rest = data.partition(b"\0\0")
    (root / ".git").write_bytes(link)
    for name in ("HEAD", "commondir"):
        here.write(f"w/{name}", rest)
    found = accept(find_project, root, here.environ)
    if found is not None:
        found.load_branch()


def fuzz_manifest(data: bytes) -> None:
    """Whatever the manifest's files hold, it is a tree that can be compared, or none."""
    file = place().write("manifest", data)
    _load_manifest(str(file))
    place().write("manifest.pending", data)
    _load_manifest(str(file))


def fuzz_manifest_values(data: bytes) -> None:
    """The same for whole files with other values in them, as another version may leave."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    file = str(place().dir / "values")
    write_value(file, _freeze(value))
    write_value(f"{file}.pending", _freeze(value))
    _load_manifest(file)
    write_value(file, ("t1", _empty_tree()))
    manifest = _load_manifest(file)
    assert manifest.token == "t1"


def _empty_tree() -> tuple[object, ...]:
    from mtr.sync.manifest import Tree

    return Tree().to_tuple()


def _load_manifest(file: str) -> Manifest:
    manifest = Manifest(file)
    manifest.load()
    if manifest.tree is not None:
        tree = manifest.tree
        assert len(tree.paths) == len(tree.ctimes) == len(tree.inodes) == len(tree.sizes)
        assert manifest.tokens[0] == manifest.token
    else:
        assert not manifest.token
        assert not manifest.tokens
    read_value(file)
    return manifest


def _freeze(value: object) -> object:
    """Return ``value`` with lists at its top as tuples, which is what mtr stores there."""
    return tuple(value) if isinstance(value, list) else value


def fuzz_route(data: bytes) -> None:
    """Whatever the route's file holds, it is a route or none."""
    import marshal
    from zlib import crc32

    here = place()
    folder = here.dir / "state" / "mtr" / "routes"
    folder.mkdir(parents=True, exist_ok=True)
    asked = parse_arguments(["-C", str(here.root), "true"])
    from mtr.route import FORMAT, _find_file, _identify  # the file's name is its own affair

    identity = _identify(asked, here.environ)
    path = Path(_find_file("routes", identity, here.environ))
    path.write_bytes(data)
    assert load_route(asked, here.environ) is None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    body = marshal.dumps((FORMAT, identity, *value) if isinstance(value, list) else value, 4)
    path.write_bytes(crc32(body).to_bytes(4, "big") + body)
    load_route(asked, here.environ)


def fuzz_record(data: bytes) -> None:
    """Whatever a master's record holds, it is a record or none, and its process can be asked about."""
    here = place()
    here.write("socket.json", data)
    record = load_record(str(here.dir / "socket"))
    if record is not None:
        assert 1 < record.pid < 1 << 31
        f"{record.address}".encode(errors="backslashreplace")
        assert record.opened_s is not None


def fuzz_listing(data: bytes) -> None:
    """What ``list.sh`` prints is a list of files or is refused; the first half stands in front, the second inside."""
    head, _, inside = data.partition(b"\0\0")
    accept(parse_listing, data)
    accept(parse_listing, head + b"\nmtr-token abc\nmtr-list\n" + data)
    packed = gzip.compress(inside + b"\nmtr-end\n", 1, mtime=0)
    found = accept(parse_listing, head + b"\nmtr-token abc\nmtr-list\n" + packed)
    if found is not None and found.paths:
        for path in found.paths:
            assert b"\n" not in path


def fuzz_remote_words(data: bytes) -> None:
    """What servers and programs print is read for what it says, or for nothing."""
    text = data.decode(errors="replace")
    parse_probe(text)
    parse_shell(text)
    is_for_password(text)
    build_session_options(parse_query(text))
    git.parse_listing(data)
    show(build_prepare_error(data[0] if data else 0, "gpu-01", "~/p", text))
    show(explain_apply(text, "gpu-01 (a:22)", "~/p", "gpu-01"))


def fuzz_mux(data: bytes) -> None:
    """Whatever answers on a socket, a session of it ends in one of the four ways, and holds no more than a message."""
    session = mux.Session("/", "true", (), ())
    for start in range(0, len(data), 7):
        session._take(data[start : start + 7])
        assert len(session._buffer) <= mux.MAX_MESSAGE_BYTES
    assert isinstance(session.end(), Ended)
    try:
        parse_request(data)
    except (struct.error, IndexError):
        pass  # As its one caller takes them.


class Answering:
    """A server of SFTP whose replies are made of any bytes, under the numbers that were asked."""

    def __init__(self, data: bytes, *, raw: bool) -> None:
        self._data = data
        self._raw = raw
        self._numbers: list[int] = []

    def write(self, data: bytes) -> None:
        """Take requests, which may stand one behind the other."""
        while data:
            size, kind, number = struct.unpack_from(">IBI", data)
            if kind != 1:
                self._numbers.append(number)
            data = data[4 + size :]

    def read_some(self) -> bytes:
        """Return the next packet; b"" once there is none."""
        if self._raw:
            part, self._data = self._data[:9], self._data[9:]
            return part
        if not self._numbers:
            return struct.pack(">IBI", 5, 2, 3)
        if len(self._data) < 2:
            return b""
        kind, size = 101 + self._data[0] % 6, self._data[1]
        body, self._data = self._data[2 : 2 + size], self._data[2 + size :]
        packet = struct.pack(">BI", kind, self._numbers.pop(0)) + body
        return struct.pack(">I", len(packet)) + packet

    def finish(self) -> tuple[Ended, list[bytes]]:
        """Say how it ended."""
        return Ended(0, Outcome.STATUS), [b"", b"gone"]

    def close(self) -> None:
        """Nothing to let go of."""


def fuzz_sftp(data: bytes) -> None:
    """Whatever an SFTP server answers, a question has an answer or an error, and nothing is written elsewhere."""
    for raw in (True, False):
        held: Any = Answering(data, raw=raw)
        session = accept(sftp.Sftp, held, "gpu-01")
        if session is None:
            continue
        for ask in (_ask_stat, _ask_looks, _ask_walk, _ask_file):
            accept(ask, session)


def _ask_stat(session: sftp.Sftp) -> None:
    session.ask(sftp.stat(b"x"))


def _ask_looks(session: sftp.Sftp) -> None:
    look_at_all(session, [b"a", b"b"])


def _ask_walk(session: sftp.Sftp) -> None:
    for path, look in walk(session, b"top"):
        assert b".." not in path.split(b"/")
        assert b"\0" not in path
        assert look.size_bytes >= 0


def _ask_file(session: sftp.Sftp) -> None:
    folder = place().folder("got")
    for mode in (0o100644, 0o120777):
        look = sftp.Attributes(10, mode, 0)
        try:
            session.run([download(session, b"x", look, os.fsencode(folder / "x"), lambda _count: None)])
        except OSError as error:
            assert error.strerror  # noqa: PT017  a link that this system does not take: download_tree says so
        finally:
            assert {path.name for path in folder.iterdir()} <= {"x"}


PATHS = (b"a", b"a/b", b"sub/a.txt", b"a" * 255, b"sub/" + b"/".join([b"ab"] * 40), b"\xff/[x]/ y")


def fuzz_patterns(data: bytes) -> None:
    """Whatever an ignore file holds, its patterns match a path or do not."""
    for folder in (b"", b"sub"):
        patterns = parse_ignore_file(data, folder)
        for pattern in (*patterns, *relocate_patterns(patterns, b"sub")):
            render_pattern(pattern, b"x")
            for path in PATHS:
                matches_path(pattern, path, is_dir=True)
        list(read_lines(data, folder, str))


def fuzz_rsync(data: bytes) -> None:
    """Whatever rsync prints, there are figures or none; whatever it ends with has an error."""
    reader = OutputReader(lambda progress: show(MtrError(f"{progress.fraction:.0%}")))
    for start in range(0, len(data), 11):
        reader.feed(data[start : start + 11])
        reader.feed_error(data[start : start + 3])
    reader.feed(b"\n")
    reader.stats()
    assert len(reader.biggest()) <= 5
    status = data[0] - 128 if data else 0
    show(explain_failure(status, reader.errors + data.decode(errors="replace"), "gpu-01", "~/p"))


def fuzz_ssh_log(data: bytes) -> None:
    """Whatever ssh logs, there is an outcome and an error that names what it can."""
    text = data.decode(errors="replace")
    assert isinstance(parse_outcome(text), str)
    parse_version(text)
    here = place()
    here.write("known", data)
    for log in (text, f"@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n{text}\n"):
        show(build_connect_error(ENDPOINT, log.replace("FILE", str(here.dir / "known")), 255))


def fuzz_known_hosts(data: bytes) -> None:
    """Whatever a known_hosts file holds, there are keys in it or none."""
    file = place().write("known", data)
    for key in find_keys([str(file)], "[10.0.0.7]:2222"):
        key.fingerprint.encode(errors="backslashreplace")


def fuzz_ssh_config(data: bytes) -> None:
    """Whatever ``~/.ssh/config`` holds, it is read as far as ssh would, or refused; without ssh as well."""
    here = place()
    here.write(".ssh/config", data)
    files = accept(read_ssh_config_files, here.environ, "/nonexistent")
    if files is None:
        return
    literal_hosts(files)
    for path in list_dependencies(here.environ, "/nonexistent")[0]:
        assert "\0" not in path
    accept(resolve_place, Server("box", ("box",)), "box", here.environ)


TARGETS: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_").replace("_", "-"): target
    for name, target in sorted(globals().items())
    if name.startswith("fuzz_")
}

_TREE = b'["t1", [[], [], [], [], [], [], [], [], {}, [], [], [], false, []]]'

SEEDS: dict[str, tuple[bytes, ...]] = {
    "config": (
        b"servers:\n  a: &a\n    host: 10.0.0.7\n    port: 22\n    env: {A: 1.10}\n  b:\n    <<: *a\n    user: x\n",
        b"default: a\ndefaults:\n  exclude: [x, '*.o']\n  remote_dir: ~/{project}/{branch}\nservers: {a: }\n",
        b"%YAML 1.1\n--- !!map {? !!str a : !!binary b, <<: [{a: 1}]}\n...\n",
    ),
    "command-line": (b"-s\0a\0-e\0A=1\0--no-sync\0ls", b"dev@[::1]:22\0--server=x", b"run\0--\0-q", b"--tyt"),
    "project": (b"gitdir: .\n\0\0ref: refs/heads/main\n", b"gitdir: ../w\0\0../p/.git\n"),
    "manifest": (b"mtr1\0\0\0\0", b"mtr1"),
    "manifest-values": (_TREE, b'[["t1"], ["t2"], ["r"], []]', b'["t1", {}]', b"[1, 2]"),
    "route": (b'[{"HOME": null}, [], [], [{}, null, {}]]', b"[[], [], [], []]", b"{}"),
    "record": (
        b'{"server_name": "a", "address": "b", "destination": "c", "pid": 77, "opened_s": 1.0, "is_learnt": true}',
    ),
    "listing": (
        b"hello\nmtr-record yes\n\0\0=81a4:1700000000:2023-11-14 22:13:20.5|12:3:2023|./a.txt\n",
        b"mtr-unlisted\n\0\0~a1ff:1:2|3:4:5|./b",
    ),
    "remote-words": (
        b"mtr-probe start 1\nmtr-probe payload LC_MTR\n",
        b"? a\0H 100644 abc 0\tb\0",
        b"user dev\nport 22\n",
    ),
    "mux": (
        bytes.fromhex(
            "00000008 00000001 00000004 0000000c 80000006 00000001 00000000 0000000c 80000004 00000000 00000007"
        ),
        bytes.fromhex("0000000c 80000003 00000001 00000000"),
    ),
    "sftp": (
        bytes.fromhex("0408 00000004 00000009 0004 00000000"),
        bytes.fromhex("010a 00000001 6800 0000 0001")
        + bytes.fromhex("0318 00000001 00000001 61 00000001 61 00000004 000041ed"),
        bytes.fromhex("00000005 02 00000003"),
    ),
    "patterns": (b"*.o\n!keep.o\n/a/**/b[!x-z]\n[[:alpha:]]*\\ \n", b"**/**/**/a\n" + b"*a" * 20 + b"b\n"),
    "rsync": (
        b"mtr:1,234:5,678:a\\#303\\#251.txt\n  1,234  50%  1.2MB/s  0:00:01\r",
        b"mtr:7:7:x\nNumber of files transferred: 1\nTotal bytes sent: 5\n",
        b"rsync: mkstemp failed: Permission denied (13)\n",
    ),
    "ssh-log": (
        b"mux_client_request_session: master session id: 2\nReceived exit status from master 7\n",
        b"The fingerprint for the RSA key sent by the remote host is\nSHA256:abc.\nOffending RSA key in FILE:1\n",
        b"dev@box: Permission denied (publickey).\n",
    ),
    "known-hosts": (b"|1|c2FsdA==|aGFzaA==|x ssh-rsa AAAA\n", b"@revoked [10.0.0.7]:2222,!a,* ssh-ed25519 AAAA\n"),
    "ssh-config": (
        b"Host a b*\n  HostName 10.0.0.7\nMatch user x host y\n  Port 22\n",
        b"Include config\nInclude ~/.ssh/* ${HOME}/x\nHost *\n ProxyJump a,b@c:22\n SetEnv A='b c' D=\"e\"\n",
        b'IdentityFile "%d/.ssh/id %h"\nConnectTimeout 1m30s\nUserKnownHostsFile ~/a ~/b\nPort 22\n',
    ),
}
"""What is right, or nearly: where the fuzzers begin."""


def list_seeds(target: str) -> Iterator[bytes]:
    """Return where to begin with ``target``."""
    yield from SEEDS[target]
