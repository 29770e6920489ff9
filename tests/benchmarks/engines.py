"""The cases of each engine: first syncs beside the program that people would use, and unchanged runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.benchmarks.contestants import Contestant, build_bare, build_mtr, build_rsync

if TYPE_CHECKING:
    from tests.benchmarks.ground import Ground, Line

KEYS = {
    "rsync": {"sync": "rsync"},
    "tar": {"sync": "tar"},
    "sftp": {"sync": "sftp"},
    "paramiko": {"client": "paramiko"},
}
"""What chooses an engine in the configuration."""

_BY_PARAMIKO = """\
import paramiko, sys
client = paramiko.SSHClient()
client.load_host_keys(sys.argv[1])
port, user, key = int(sys.argv[2]), sys.argv[3], sys.argv[4]
client.connect("127.0.0.1", port, user, key_filename=key, look_for_keys=False, allow_agent=False)
channel = client.get_transport().open_session()
channel.exec_command("true")
status = channel.recv_exit_status()
client.close()
sys.exit(status)
"""


def build_first_by(ground: Ground, engine: str, files: int, line: Line) -> list[Contestant]:
    """Return the program that people would use and ``mtr sync``, both into directories that are not there yet."""
    tree, numbers = ground.tree(files), itertools.count()

    def rename() -> None:
        ground.configure(tree.root, f"first-{engine}-{next(numbers)}", **KEYS[engine])

    mtr = build_mtr(ground, tree, line, "sync", before=rename)
    ours = Contestant("mtr", mtr.argv, mtr.cwd, mtr.environ, rename, ground.clear_remote)
    if engine == "sftp":
        # Its own files of git would be more than half of what it brings: a copy without them.
        copy = ground.copy(tree)
        put = f"printf 'mkdir %s\\nput -r . %s\\n' {ground.remote('put')} {ground.remote('put')}"
        argv = ("/bin/sh", "-c", f"{put} | sftp -q -b - -F {ground.ssh_config} {line.name}")
        return [Contestant("sftp put -r", argv, copy, ground.environ, after=ground.clear_remote), ours]
    rsync = ("/bin/sh", "-c", build_rsync(ground, tree, line, "first", "-a"))

    def rename_for_rsync() -> None:
        ground.configure(tree.root, f"first-rsync-{next(numbers)}", **KEYS["rsync"])

    other = Contestant("mtr by rsync", mtr.argv, mtr.cwd, mtr.environ, rename_for_rsync, ground.clear_remote)
    return [Contestant("rsync -a", rsync, tree.root, ground.environ, after=ground.clear_remote), other, ours]


def build_unchanged_by(ground: Ground, engine: str, files: int, line: Line) -> list[Contestant]:
    """Return the bare way to run something, without a sync, and ``mtr true`` where nothing has changed."""
    tree = ground.tree(files)
    ground.configure(tree.root, f"unchanged-{engine}", **KEYS[engine])
    mtr = build_mtr(ground, tree, line)
    if engine != "paramiko":
        return [build_bare(ground, line), mtr]
    script = ground.home.dir / "bare_paramiko.py"
    script.write_text(_BY_PARAMIKO)
    python, server = ground.mtr.with_name("python"), ground.server
    words = (str(ground.home.dir / "known_hosts"), str(line.port), "bash", str(server.key))
    argv = (str(python), str(script), *words)
    return [Contestant("bare paramiko", argv, tree.root, ground.environ), mtr]
