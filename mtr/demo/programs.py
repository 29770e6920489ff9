"""What the demo needs of this machine, and how to get what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import TYPE_CHECKING

from mtr.errors import MissingProgram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_INSTALLERS = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "brew": "brew install",
}
_PACKAGES = {
    "sshd": {"apt-get": "openssh-server", "dnf": "openssh-server", "brew": "openssh"},
}
"""The package that has a program, by installer: Debian's, Fedora's and Homebrew's names."""

_STANDARD_DIRS = ("/usr/local/bin", "/usr/bin", "/bin")
"""Where the programs of any server are; the PATH here may hold Python alone."""

_SSHD_DIRS = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where sshd is when ``PATH`` of an ordinary user does not say."""


def render_install(programs: Iterable[str], path: str | None) -> str:
    """Return the command that installs ``programs`` with the installer found in ``path``, else with each."""
    found = [name for name in _INSTALLERS if shutil.which(name, path=path)][:1]
    return ", or: ".join(_render_command(name, programs) for name in found or _INSTALLERS)


def _render_command(installer: str, programs: Iterable[str]) -> str:
    packages = dict.fromkeys(_PACKAGES[program][installer] for program in programs)
    sudo = "" if installer == "brew" or os.getuid() == 0 else "sudo "
    return f"{sudo}{_INSTALLERS[installer]} {' '.join(packages)}"


def build_server_path(environ: Mapping[str, str]) -> str:
    """Return the ``PATH`` of the server's side: the programs of this machine, wherever they are."""
    dirs = [*environ.get("PATH", "").split(os.pathsep), *_STANDARD_DIRS]
    # The project is Python, and the only one here may be the one that runs mtr: it stands last.
    return os.pathsep.join(dict.fromkeys([*filter(None, dirs), os.path.dirname(sys.executable)]))


def find_sshd(environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of the system's sshd, which re-executes itself by it; None without one."""
    return shutil.which("sshd", path=os.pathsep.join([environ.get("PATH", ""), *_SSHD_DIRS]))


def has_embedded() -> bool:
    """Tell whether the server in Python can run: the extra ``demo`` is installed."""
    return importlib.util.find_spec("asyncssh") is not None


def build_missing_server(kind: str, environ: Mapping[str, str]) -> MissingProgram:
    """Return the error for a machine that lacks a server of ``kind`` (``sshd``, ``embedded`` or ``auto``)."""
    install, pip = render_install(["sshd"], environ.get("PATH")), "pip install 'mtremote[demo]'"
    if kind == "sshd":
        return MissingProgram("sshd is not installed on this machine", hint=install)
    if kind == "embedded":
        return MissingProgram("the Python package asyncssh is not installed", hint=pip)
    return MissingProgram(
        "there is no SSH server to show it with: neither sshd nor the Python package asyncssh is installed",
        hint=f"{pip}, or: {install}",
    )
