"""Remedies: commands to type, for this machine and for a server."""

from __future__ import annotations

import os
import shlex
import shutil

_INSTALL = {
    "apt-get": "apt-get install -y",
    "dnf": "dnf install -y",
    "yum": "yum install -y",
    "zypper": "zypper install -y",
    "apk": "apk add",
    "pacman": "pacman -S",
    "pkg": "pkg install",
    "brew": "brew install",
}
_PACKAGES = {
    "ssh": {
        "apt-get": "openssh-client",
        "dnf": "openssh-clients",
        "yum": "openssh-clients",
        "zypper": "openssh-clients",
    }
    | {"apk": "openssh-client"},
    "awk": {"apt-get": "mawk", "dnf": "gawk", "yum": "gawk", "zypper": "gawk", "pacman": "gawk", "apk": "busybox"},
    "find": dict.fromkeys(("apt-get", "dnf", "yum", "zypper", "pacman"), "findutils"),
}
"""The package that has a program, by installer; where none stands it is called as the program is."""

_OTHERWISE = {"ssh": "openssh"}
_CORE = frozenset("stat base64 tr wc head cat cp ln mv rm mkdir rmdir date uname env sleep".split())  # noqa: SIM905
_SSHD = "/etc/ssh/sshd_config.d/mtr.conf"


def render_install(program: str, installer: str, *, is_root: bool = False) -> str:
    """Return the command with which ``installer`` brings ``program``."""
    package = "coreutils" if program in _CORE else _PACKAGES.get(program, {}).get(installer)
    sudo = "" if is_root or installer == "brew" else "sudo "
    return f"{sudo}{_INSTALL[installer]} {package or _OTHERWISE.get(program, program)}"


def render_install_here(program: str, path: str | None) -> str:
    """Return the command that brings ``program`` to this machine, by the installer that is in ``path``."""
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    installer = next((name for name in _INSTALL if shutil.which(name, path=path)), "")
    return render_install(program, installer, is_root=is_root) if installer else f"install {program}"


def render_there(server: str, text: str) -> str:
    """Return the ``mtr`` that runs ``text`` on ``server``."""
    return f"mtr -s {shlex.quote(server)} --no-sync {shlex.quote(text)}"


def render_sshd_line(server: str, line: str, *, is_root: bool = False) -> str:
    """Return the command that adds ``line``, plain words, to the configuration of the server's sshd."""
    sudo = "" if is_root else "sudo "
    reload = f"{sudo}systemctl reload ssh || {sudo}systemctl reload sshd"
    # What is open goes on as it was opened.
    close = f"mtr down {shlex.quote(server)}"
    text = f'echo "{line}" | {sudo}tee -a {_SSHD} && {reload}'
    return f"{render_there(server, text)}; {close}"
