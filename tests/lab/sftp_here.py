"""OpenSSH's own SFTP server on this machine, without a connection: it is asked what one over ssh would be asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from struct import pack, unpack_from

SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")
READ = 5


class Served:
    """A session that is held; with ``most_bytes``, one that answers with fewer bytes than it is asked for."""

    def __init__(self, most_bytes: int = 0) -> None:
        self._most_bytes = most_bytes
        program = next(path for path in SERVERS if Path(path).exists())
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def write(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(self._shorten(data) if self._most_bytes else data)
        self._process.stdin.flush()

    def _shorten(self, data: bytes) -> bytes:
        """Return the packets of ``data``, those that read asking for less: the length is what stands last in them."""
        packets, at = b"", 0
        while at < len(data):
            end = at + 4 + unpack_from(">I", data, at)[0]
            packet = data[at:end]
            if packet[4] == READ:
                packet = packet[:-4] + pack(">I", min(self._most_bytes, unpack_from(">I", packet, len(packet) - 4)[0]))
            packets, at = packets + packet, end
        return packets

    def read_some(self) -> bytes:
        assert self._process.stdout
        return os.read(self._process.stdout.fileno(), 65536)

    def close(self) -> None:
        self._process.communicate()
