"""The throwaway place of a demo: one directory that holds both machines, and goes as a whole.

Owns the layout, the environment of everything that the demo starts, the keys, and ssh's configuration. Nothing
of the user's is read or written: ssh finds the real home directory by the uid, so keys and known hosts are named
in the configuration of the throwaway one.

On disk, all in ``/tmp/mtr-demo-XXXXXXXX`` (0700; short, because sockets lie below it)::

    home/       $HOME of the machine that mtr runs on; home/.ssh: config, key, known_hosts
    run/        its $XDG_RUNTIME_DIR
    train/      the project, a copy of examples/train
    server/     the other machine: host key, authorized keys, and what ``server`` keeps there
    server/home/    $HOME of the sessions there
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtr.errors import MtrError
from mtr.scripts import find_shipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HOST_ALIAS = "demo"
PROJECT = "train"
IGNORED_BYTES = 256_000_000
"""Size of the sparse file that ``.gitignore`` keeps from travelling."""

_DROPPED = ("MTR_", "XDG_", "SSH_", "GIT_", "RSYNC_")
"""What would bring in the user's own agent, runtime directory, repository or server."""

_SSH_CONFIG = """\
Host {alias}
  HostName 127.0.0.1
  HostKeyAlias {alias}
  Port {port}
  User {user}
  ProxyCommand none
  ProxyJump none
  IdentityFile {home}/.ssh/key
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  StrictHostKeyChecking yes
  UserKnownHostsFile {home}/.ssh/known_hosts
  GlobalKnownHostsFile /dev/null
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The directory of one demo, and the environment of what it starts on this side."""

    dir: Path
    environ: Mapping[str, str]

    @property
    def home(self) -> Path:
        """The home directory of this side."""
        return self.dir / "home"

    @property
    def project(self) -> Path:
        """The project."""
        return self.dir / PROJECT

    @property
    def server(self) -> Path:
        """What the server keeps."""
        return self.dir / "server"

    @property
    def server_home(self) -> Path:
        """The home directory of sessions on the server."""
        return self.server / "home"

    @property
    def remote_dir(self) -> Path:
        """The server's copy of the project: absolute, since rsync starts in the real home directory there."""
        return self.server_home / PROJECT

    def write_ssh_config(self, port: int) -> None:
        """Let the host name of the demo lead to the server on ``port``."""
        text = _SSH_CONFIG.format(alias=HOST_ALIAS, port=port, user=find_user().pw_name, home=self.home)
        (self.home / ".ssh" / "config").write_text(text)


def find_user() -> pwd.struct_passwd:
    """Return who runs this.

    Raises:
        MtrError: the password database does not know the uid; ssh itself refuses to work then.
    """
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError as error:
        hint = "run it as a user with an entry in /etc/passwd"
        raise MtrError(f"uid {os.getuid()} has no user name, and ssh needs one", hint=hint) from error


@contextlib.contextmanager
def open_stage(environ: Mapping[str, str]) -> Iterator[Stage]:
    """Make the place for one demo; it is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="mtr-demo-", dir="/tmp")).resolve()
    try:
        stage = Stage(directory, build_environ(environ, directory))
        _write_dirs(stage)
        _write_project(stage)
        _write_keys(stage)
        yield stage
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def build_environ(environ: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return ``environ`` turned to the throwaway home; mtr itself stays importable from where it is now."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_DROPPED)}
    home = directory / "home"
    package = Path(__file__).resolve().parents[2]
    return kept | {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(directory / "run"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "MTR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONPATH": os.pathsep.join([str(package), *filter(None, [environ.get("PYTHONPATH")])]),
    }


def _write_dirs(stage: Stage) -> None:
    for path in (stage.home, stage.home / ".ssh", stage.dir / "run", stage.server, stage.server_home):
        path.mkdir(mode=0o700)


def _write_project(stage: Stage) -> None:
    """Copy the example, configure its server, and add data that must not travel."""
    shutil.copytree(Path(find_shipped("examples"), PROJECT), stage.project, copy_function=shutil.copyfile)
    stage.project.chmod(0o700)  # where mtr is installed, folders may be read-only
    (stage.project / "data").mkdir()
    with (stage.project / "data" / "images.bin").open("wb") as data:
        data.truncate(IGNORED_BYTES)
    keys: dict[str, object] = {"host": HOST_ALIAS, "remote_dir": str(stage.remote_dir)}
    if stage.environ.get("NO_COLOR"):
        keys["env"] = {"NO_COLOR": "1"}
    (stage.project / ".mtr").mkdir()
    # JSON is YAML, and quotes everything.
    (stage.project / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {HOST_ALIAS: keys}}, indent=2))


def _write_keys(stage: Stage) -> None:
    """Make the host's key and the user's, and let each side know the other's public half."""
    host, user = stage.server / "host_key", stage.home / ".ssh" / "key"
    for path in (host, user):
        _make_key(path)
    (stage.server / "authorized_keys").write_text(user.with_suffix(".pub").read_text())
    (stage.home / ".ssh" / "known_hosts").write_text(f"{HOST_ALIAS} {host.with_suffix('.pub').read_text()}")


def _make_key(path: Path) -> None:
    """Make a pair of keys, as ``ssh-keygen`` would: the machine need not have that."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, form = Ed25519PrivateKey.generate(), serialization.Encoding
    openssh, no_passphrase = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(form.PEM, openssh, no_passphrase))
    public = key.public_key().public_bytes(form.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public + b" mtr demo\n")
