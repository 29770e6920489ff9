"""What the demo needs of this machine, and how to get what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
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
    "ssh": {"apt-get": "openssh-client", "dnf": "openssh-clients", "brew": "openssh"},
    "ssh-keygen": {"apt-get": "openssh-client", "dnf": "openssh", "brew": "openssh"},
    "rsync": {"apt-get": "rsync", "dnf": "rsync", "brew": "rsync"},
    "sshd": {"apt-get": "openssh-server", "dnf": "openssh-server", "brew": "openssh"},
}
"""The package that has a program, by installer: Debian's, Fedora's and Homebrew's names."""

_SSHD_DIRS = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where sshd is when ``PATH`` of an ordinary user does not say."""


def check_programs(environ: Mapping[str, str]) -> None:
    """Make sure that the programs which mtr drives are installed.

    Raises:
        MissingProgram: names all that are missing, and the command that installs them.
    """
    path = environ.get("PATH")
    missing = [name for name in ("ssh", "ssh-keygen", "rsync") if shutil.which(name, path=path) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingProgram(
            f"{_render_list(missing)} {verb} not installed on this machine", hint=render_install(missing, path)
        )


def _render_list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def render_install(programs: Iterable[str], path: str | None) -> str:
    """Return the command that installs ``programs`` with the installer found in ``path``, else with each."""
    found = [name for name in _INSTALLERS if shutil.which(name, path=path)][:1]
    return ", or: ".join(_render_command(name, programs) for name in found or _INSTALLERS)


def _render_command(installer: str, programs: Iterable[str]) -> str:
    packages = dict.fromkeys(_PACKAGES[program][installer] for program in programs)
    sudo = "" if installer == "brew" or os.getuid() == 0 else "sudo "
    return f"{sudo}{_INSTALLERS[installer]} {' '.join(packages)}"


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
