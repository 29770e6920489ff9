"""An SFTP server that lies, as a hostile one would to a download. sshd runs it as its sftp subsystem.

``python hostile_sftp.py SCENE``: the tree it shows is a JSON file of directories (path to a list of [name, mode,
size]), files (path to text) and links (path to target); ``endless`` makes a directory list new names for ever,
``forbidden`` one refuse to.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from struct import pack, unpack_from
from typing import Any

INIT, OPEN, CLOSE, READ, LSTAT, OPENDIR, READDIR, REALPATH, STAT, READLINK = 1, 3, 4, 5, 7, 11, 12, 16, 17, 19
EOF_, NO_SUCH_FILE, PERMISSION_DENIED = 1, 2, 3


def text(data: bytes) -> bytes:
    return pack(">I", len(data)) + data


def attributes(mode: int, size: int) -> bytes:
    """Size, permissions and times."""
    return pack(">IQIII", 0x1 | 0x4 | 0x8, size, mode, 1_000_000_000, 1_000_000_000)


class Liar:
    def __init__(self, scene: dict[str, dict[str, Any]]) -> None:
        self.folders = scene["folders"]
        self.files = scene["files"]
        self.links = scene["links"]
        self.open: dict[bytes, Any] = {}
        self.numbers = itertools.count()

    def answer(self, kind: int, number: bytes, body: bytes) -> bytes:
        size = unpack_from(">I", body)[0]
        first = body[4 : 4 + size]
        name = first.decode(errors="surrogateescape").rsplit("/top", 1)[-1].lstrip("/")
        refusal = self._refuse(kind, name)
        return self._status(number, refusal) if refusal else self._answer(kind, number, body, name)

    def _refuse(self, kind: int, name: str) -> int:
        if kind == OPENDIR and self.folders[name] == "forbidden":
            return PERMISSION_DENIED
        return NO_SUCH_FILE if kind == STAT and "*" in name else 0

    def _answer(self, kind: int, number: bytes, body: bytes, name: str) -> bytes:
        size = unpack_from(">I", body)[0]
        first = body[4 : 4 + size]
        if kind in (STAT, LSTAT):
            is_folder = name in self.folders
            return b"\x69" + number + attributes(0o040755 if is_folder else 0o100644, 5)
        if kind in (OPENDIR, OPEN):
            handle = b"%d" % next(self.numbers)
            shown = (
                iter(self._entries(self.folders[name])) if kind == OPENDIR else self.files.get(name, "lies\n").encode()
            )
            self.open[handle] = shown
            return b"\x66" + number + text(handle)
        if kind == READDIR:
            return self._read_dir(number, self.open[first])
        if kind == READ:
            offset = unpack_from(">Q", body, 4 + size)[0]
            data = self.open[first][offset : offset + 32768]
            return b"\x67" + number + text(data) if data else self._status(number, EOF_)
        if kind == READLINK:
            target = self.links[name].encode()
            return b"\x68" + number + pack(">I", 1) + text(target) + text(b"") + pack(">I", 0)
        return self._status(number, 0)

    def _entries(self, wanted: Any) -> Any:
        if wanted == "endless":
            return ([f"{count}-" + "x" * 200, 0o100644, 1] for count in itertools.count())
        return wanted

    def _read_dir(self, number: bytes, entries: Any) -> bytes:
        found = list(itertools.islice(entries, 500))
        if not found:
            return self._status(number, EOF_)
        rows = (text(name.encode()) + text(b"") + attributes(mode, size) for name, mode, size in found)
        return b"\x68" + number + pack(">I", len(found)) + b"".join(rows)

    def _status(self, number: bytes, status: int) -> bytes:
        return b"\x65" + number + pack(">I", status) + text(b"") + text(b"")


def main() -> None:
    """Serve on stdin and stdout."""
    liar = Liar(json.loads(Path(sys.argv[1]).read_text()))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(4):
        packet = source.read(unpack_from(">I", head)[0])
        reply = b"\x02" + pack(">I", 3) if packet[0] == INIT else liar.answer(packet[0], packet[1:5], packet[5:])
        sink.write(text(reply))
        sink.flush()


if __name__ == "__main__":
    main()
