"""What a run sends to the gate (``shell/remote/gate.sh``): the remote command line and its payload. Pure.

The environment that the user configured never stands on a command line, where every user of the server could
read it with ``ps``. It travels as a payload: sh text in variables that sshd accepts (sshd logs neither names
nor values), or in a file for servers that accept none. An argv too long for a command line goes the same way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from mtr.quoting import MAX_COMMAND_BYTES, build_remote_command, encode_script, quote_all, quote_posix
from mtr.scripts import load_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE_BYTES = 100_000
"""One environment string holds less than 128 KiB (MAX_ARG_STRLEN, execve(2)), and printf may be a program."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run on a server, where, and in which environment.

    ``argv`` of several words is executed as it is; with ``is_text`` its one word is text for ``shell``.
    ``remote_dir`` is absolute or starts with ``~/``, or is ``~`` itself; ``subdir`` is below it.
    """

    run_id: str
    argv: tuple[str, ...]
    is_text: bool = False
    remote_dir: str = "~"
    subdir: str = ""
    shell: str = "auto"
    pre_cmd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateCall:
    """A command as it crosses the line: ssh's last argument, the variables to send, the file to store first."""

    run_id: str
    remote_command: str
    environ: Mapping[str, str]
    upload: bytes


def build_gate_call(command: Command, payload: str) -> GateCall:
    """Return ``command`` as a call of the gate; ``payload`` is what the server takes: see ``MasterRecord``."""
    script = load_script("remote/gate.sh")
    exports = "".join(f"export {name}={quote_posix(value)}\n" for name, value in command.env.items())
    line = _build_line(command, script, command.argv, "0")
    if len(line) > MAX_COMMAND_BYTES:
        return _with_payload(command, script, (), f"{exports}set -- {quote_all(command.argv)}\n", payload)
    if exports:
        return _with_payload(command, script, command.argv, exports, payload)
    return GateCall(command.run_id, line, {}, b"")


def _with_payload(command: Command, script: str, argv: tuple[str, ...], text: str, payload: str) -> GateCall:
    encoded = encode_script(text)
    if payload == "LC_MTR" and len(encoded) <= VARIABLE_BYTES:
        return GateCall(command.run_id, _build_line(command, script, argv, "v"), {"LC_MTR0": encoded}, b"")
    if payload == "XMODIFIERS" and len(encoded) <= VARIABLE_BYTES:
        return GateCall(command.run_id, _build_line(command, script, argv, "x"), {"XMODIFIERS": encoded}, b"")
    return GateCall(command.run_id, _build_line(command, script, argv, "f"), {}, os.fsencode(text))


def _build_line(command: Command, script: str, argv: tuple[str, ...], source: str) -> str:
    mode = "s" if command.is_text else "a"
    fixed = (command.run_id, command.remote_dir, command.subdir, source, command.shell, command.pre_cmd, mode)
    return build_remote_command(f"mtr-{command.run_id}", script, (*fixed, *argv))
