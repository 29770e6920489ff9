"""The programs of this machine that mtr drives, tried by running them."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from mtr import __version__
from mtr.doctor.check import Finding, Skipped, fail, ok, warn
from mtr.doctor.facts import name_rsync
from mtr.doctor.remedies import render_install_here
from mtr.errors import MissingProgram
from mtr.process.piped import run_piped
from mtr.state import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mtr.config.model import Server

PROGRAM_TIMEOUT_S = 10.0


def check_python() -> Finding:
    """Return which Python runs mtr; one that is too old would not have come here."""
    return ok(f"{platform.python_version()}, {sys.executable}")


def check_mtr() -> Finding:
    """Return which mtr this is."""
    return ok(f"{__version__}, {os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}")


def check_name(environ: Mapping[str, str]) -> Finding:
    """Return whether typing ``mtr`` starts this program: the network tool of that name may stand in front."""
    path = environ.get("PATH")
    first = shutil.which("mtr", path=path)
    own = next((found for found in _list_in_path("mtr", path) if _is_own(found)), None)
    beside = os.path.join(os.path.dirname(sys.executable), "mtr")
    if first is not None and first == own:
        return ok(f"mtr is {first}")
    other = "mtr is not in PATH" if first is None else f"another program comes first in PATH: {first}"
    if shutil.which("mtremote", path=path):
        return warn(f"{other}; mtremote is this one", "mtremote doctor")
    place = own or (beside if os.access(beside, os.X_OK) else "")
    if place:
        return warn(other, f'export PATH={shlex.quote(os.path.dirname(place))}:"$PATH"')
    return warn(other, f"{shlex.quote(sys.executable)} -m mtr doctor")


def _list_in_path(name: str, path: str | None) -> list[str]:
    folders = (os.defpath if path is None else path).split(os.pathsep)
    return [found for folder in folders if (found := shutil.which(name, path=folder or "."))]


def _is_own(program: str) -> bool:
    """Tell whether ``program`` is the small script that an installer writes for mtr."""
    head = read_regular(program, 4096) or b""
    return head.startswith(b"#!") and b"mtr.warm" in head


def check_ssh(environ: Mapping[str, str], servers: Iterable[Server]) -> Finding:
    """Return whether the OpenSSH client is here and can do what mtr asks of it."""
    from mtr.ssh.endpoint import load_client

    servers = [*servers]
    install = render_install_here("ssh", environ.get("PATH"))
    try:
        client = load_client(environ)
    except MissingProgram as error:
        return _without_ssh(error.message, install, servers)
    name = f"{_load_version(client.path, environ)}, {client.path}"
    if lack := _find_ssh_lack(client.path, environ):
        return fail(f"{name}: {lack}", install)
    if client.version < (8, 4):
        return warn(f"{name}: before 8.4, passwords are typed at its prompt (by sshpass, where that is here)", install)
    return ok(name)


def _without_ssh(words: str, install: str, servers: list[Server]) -> Finding:
    """Return what it means that there is no ssh: paramiko stands in, unless the configuration wants ssh."""
    wanting = [server.name for server in servers if server.client == "openssh"]
    if wanting:
        return fail(f"{words}, and {wanting[0]} has `client: openssh`", install)
    return warn(f"{words}: paramiko stands in, and large files do not resume after a cut", install)


def _load_version(path: str, environ: Mapping[str, str]) -> str:
    found = run_piped([path, "-V"], env=environ, timeout_s=PROGRAM_TIMEOUT_S)
    return found.stderr.decode(errors="replace").strip().partition(",")[0]


def _find_ssh_lack(path: str, environ: Mapping[str, str]) -> str:
    """Return what of mtr's needs this ssh lacks: it must tell its configuration, and share a connection."""
    asked = run_piped([path, "-F", "none", "-G", "localhost"], env=environ, timeout_s=PROGRAM_TIMEOUT_S)
    if asked.status != 0 or b"hostname " not in asked.stdout:
        return "it does not know -G"
    # No master is there: an ssh that can share connections says so, another ignores the question.
    argv = [path, "-F", "none", "-S", f"{os.sep}nonexistent{os.sep}socket", "-O", "check", "localhost"]
    shared = run_piped(argv, env=environ, timeout_s=PROGRAM_TIMEOUT_S)
    return "" if b"ontrol socket" in shared.stderr else "it cannot share a connection (ControlMaster)"


def check_paramiko(environ: Mapping[str, str], servers: Iterable[Server]) -> Finding:
    """Return which paramiko stands in for ssh, where one has to."""
    from importlib.metadata import PackageNotFoundError, version

    if shutil.which("ssh", path=environ.get("PATH")) and all(server.client != "paramiko" for server in servers):
        raise Skipped
    try:
        return ok(version("paramiko"))
    except PackageNotFoundError:
        return fail("paramiko is not installed", f"{shlex.quote(sys.executable)} -m pip install paramiko")


def check_rsync(environ: Mapping[str, str]) -> Finding:
    """Return whether this rsync takes the options that mtr gives it: each is tried."""
    from mtr.sync.rsync import Features, probe_features

    install = render_install_here("rsync", environ.get("PATH"))
    path = shutil.which("rsync", path=environ.get("PATH"))
    if path is None:
        return warn("not installed: large files go as one stream, which does not resume after a cut", install)
    found = run_piped([path, "--version"], env=environ, timeout_s=PROGRAM_TIMEOUT_S)
    name = f"{name_rsync(found.stdout.decode(errors='replace').partition(chr(10))[0])}, {path}"
    lacking = [option for option in Features().options if option not in probe_features().options]
    if lacking:
        words = f"{name}: it refuses {', '.join(option.partition('=')[0] for option in lacking)}"
        return warn(f"{words}; large files go as one stream, which does not resume after a cut", install)
    return ok(name)


def check_git(environ: Mapping[str, str]) -> Finding:
    """Return whether git is here, which decides what is synced."""
    path = shutil.which("git", path=environ.get("PATH"))
    if path is None:
        install = render_install_here("git", environ.get("PATH"))
        return warn("not installed: mtr reads .gitignore files by itself", install)
    found = run_piped([path, "--version"], env=environ, timeout_s=PROGRAM_TIMEOUT_S)
    if found.status != 0:
        return fail(f"{path} does not run\n{found.stderr.decode(errors='replace').strip()}", f"{path} --version")
    return ok(f"{found.stdout.decode(errors='replace').strip()}, {path}")


def check_sshpass(environ: Mapping[str, str], servers: Iterable[Server]) -> Finding:
    """Return whether sshpass is here, where it matters: an ssh before 8.4, and a server with a password."""
    from mtr.ssh.endpoint import load_client
    from mtr.ssh.options import has_password

    asking = [server.name for server in servers if has_password(server)]
    path = environ.get("PATH")
    if not asking or not shutil.which("ssh", path=path) or load_client(environ).version >= (8, 4):
        raise Skipped
    if found := shutil.which("sshpass", path=path):
        return ok(found)
    install = render_install_here("sshpass", path)
    return warn(f"not installed: the password of {asking[0]} is typed at ssh's prompt by mtr itself", install)
