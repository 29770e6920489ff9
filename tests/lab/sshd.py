"""A throwaway sshd on 127.0.0.1 with users, passwords and login shells of its own.

nss_wrapper gives it the users, pam_wrapper the passwords; every user has the uid that runs the tests, so it
works for root and for anyone else alike. sshd drops both wrappers from the environment of sessions.
"""

from __future__ import annotations

import glob
import hmac
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.processes import die_with_parent, end_tree, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELLS = ("bash", "dash", "zsh", "fish", "tcsh", "mksh")
PASSWORD_USER = "pw"
PASSWORD = "pass word'1$"


CODE_SECRET = b"one-time codes of the lab"


def make_code(counter: int) -> str:
    """Return the one-time code of ``counter`` (RFC 4226, HOTP): each is taken once, in order."""
    digest = hmac.digest(CODE_SECRET, counter.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 0xF
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class SshServer:
    """One sshd; a context manager. ``lines`` are added in front of its configuration, where the first value wins."""

    def __init__(
        self,
        *,
        lines: tuple[str, ...] = (),
        key_from: SshServer | None = None,
        accept_env: str = "LANG LC_*",
        with_code: bool = False,
        more_users: Mapping[str, str] | None = None,
    ) -> None:
        """Make its files; ``with_code`` asks for the password, then for a one-time code (see :func:`make_code`).

        ``more_users`` are further users, whose shell is bash, with their passwords.
        """
        self.dir = Path(tempfile.mkdtemp(prefix="mtr-lab-", dir="/tmp"))
        self.port = free_port()
        self.log = self.dir / "log"
        self.key = key_from.key if key_from else self._make_key("client")
        self._host_key = self._make_key("host")
        self._with_code = with_code
        self._write_users(more_users or {})
        if with_code:
            lines = (*lines, "PasswordAuthentication no", "KbdInteractiveAuthentication yes")
        self._write_config((*lines, f"AcceptEnv {accept_env}"))
        self._process: subprocess.Popen[bytes] | None = None

    def _make_key(self, name: str) -> Path:
        path = self.dir / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        return path

    def home_of(self, user: str) -> Path:
        """Return the home directory of ``user`` on this server."""
        return self.dir / "home" / user

    def _write_users(self, more: Mapping[str, str]) -> None:
        uid, gid = os.getuid(), os.getgid()
        known = {PASSWORD_USER: PASSWORD, **more}
        users = {**{name: shutil.which(name) for name in SHELLS}, **dict.fromkeys(known, "/bin/bash")}
        # sshd, started by root, needs its own user for privilege separation.
        system = [
            f"{u.pw_name}:x:{u.pw_uid}:{u.pw_gid}::{u.pw_dir}:{u.pw_shell}"
            for u in pwd.getpwall()
            if u.pw_name == "sshd"
        ]
        rows = [f"{name}:x:{uid}:{gid}::{self.home_of(name)}:{shell}" for name, shell in users.items()]
        (self.dir / "passwd").write_text("\n".join([*rows, *system]) + "\n")
        shutil.copy("/etc/group", self.dir / "group")
        passwords = [f"{name}:{known.get(name, 'x')}:sshd" for name in users]
        (self.dir / "passdb").write_text("\n".join(passwords) + "\n")
        places = [f"/usr/{lib}/pam_wrapper/pam_matrix.so" for lib in ("lib/*", "lib", "lib64")]
        matrix = Path(next(found for place in places for found in glob.glob(place)))
        (self.dir / "pam").mkdir()
        rules = [f"{kind} required {matrix} passdb={self.dir}/passdb" for kind in ("auth", "account", "session")]
        if self._with_code:
            oath = matrix.parent.parent / "security" / "pam_oath.so"
            rules.insert(1, f"auth required {oath} usersfile={self.dir}/oath window=50 digits=6")
            secrets = [f"HOTP {name} - {CODE_SECRET.hex()}" for name in users]
            (self.dir / "oath").write_text("\n".join(secrets) + "\n")
            (self.dir / "oath").chmod(0o600)
        for service in ("sshd", "other"):
            (self.dir / "pam" / service).write_text("\n".join(rules) + "\n")
        for name in users:
            self.home_of(name).mkdir(parents=True)

    def _write_config(self, lines: tuple[str, ...]) -> None:
        fixed = f"""
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self._host_key}
AuthorizedKeysFile {self.key}.pub {self.dir}/more_keys
PermitRootLogin yes
StrictModes no
UsePAM yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PidFile none
PrintMotd no
PrintLastLog no
MaxStartups 200
Subsystem sftp internal-sftp
"""
        for name in ("Subsystem", "MaxStartups"):
            if any(line.startswith(f"{name} ") for line in lines):
                # sshd takes no second one of the former, and the last one of the latter.
                fixed = "".join(line for line in fixed.splitlines(keepends=True) if not line.startswith(f"{name} "))
        (self.dir / "sshd_config").write_text("\n".join(lines) + fixed)

    def start(self) -> SshServer:
        """Start listening."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        environ = {
            "PATH": os.environ["PATH"],
            "LD_PRELOAD": "libnss_wrapper.so:libpam_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(self.dir / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.dir / "group"),
            "PAM_WRAPPER": "1",
            "PAM_WRAPPER_SERVICE_DIR": str(self.dir / "pam"),
        }
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert sshd, "sshd is not installed: make test installs it"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sshd, "-D", "-e", "-f", str(self.dir / "sshd_config")],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  no threads run yet when servers start
            )
        wait_until(lambda: b"Server listening" in self.log.read_bytes(), f"sshd: {self.log.read_text()}")
        return self

    @property
    def pid(self) -> int:
        """The listener's pid."""
        assert self._process
        return self._process.pid

    def kill(self) -> None:
        """End the listener and every session of it; the files stay."""
        if self._process:
            end_tree(self._process.pid)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> SshServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
