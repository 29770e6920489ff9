"""What a run sends to the gate (``shell/remote/gate.sh``): the remote command line and its payload. Pure.

The environment that the user configured never stands on a command line, where every user of the server could
read it with ``ps``. It travels as a payload: sh text in variables that sshd accepts (sshd logs neither names
nor values), or in a file for servers that accept none. An argv too long for a command line goes the same way.
"""

from __future__ import annotations

import os

from mtr.quoting import MAX_COMMAND_BYTES, build_remote_command, encode_script, quote_all, quote_posix
from mtr.scripts import load_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Feed(Protocol):
        """What stands at a command's ends in place of mtr's own; opened again where a session has to be asked for anew.

        ``paths`` are those that the command finds synced.
        """

        paths: Sequence[bytes]

        def open(self) -> tuple[int, int, int]:
            """Return its stdin, stdout and stderr; whoever takes them closes those that are not mtr's."""

        def begin(self, session: int | None) -> None:
            """Do what is to be done once the session has been asked for, and see that it stays open when mtr has gone.

            ``session`` is the descriptor that it hangs on, None for one that nobody but mtr can hold.
            """

        def has_done(self, look: Callable[[], None]) -> bool:
            """Wait until nobody here need wait for the command any more; False where it ends before.

            ``look`` is to be called about once a second: it sees to a session that does not open.
            """

        def close(self) -> None:
            """See that nothing of it goes on."""


CARRIERS = {"LC_MTR": ("v", "LC_MTR0"), "XMODIFIERS": ("x", "XMODIFIERS")}
"""What the gate calls a carrier, and the variable."""

VARIABLE_BYTES = 100_000
"""One environment string holds less than 128 KiB (MAX_ARG_STRLEN, execve(2)), and printf may be a program."""


class Command:
    """What to run on a server, where, and in which environment.

    ``argv`` of several words is executed as it is; with ``is_text`` its one word is text for ``shell``; with
    ``is_script`` its first word is a script of mtr's, evaluated with the others as its arguments: see ``gate.sh``.
    ``remote_dir`` is absolute or starts with ``~/``, or is ``~`` itself; ``subdir`` is below it. ``token`` says what
    the tree there must be (see ``gate.sh``), "" that it does not matter. ``python`` is the environment that it runs in
    (see ``python.sh``), ``timeout_s`` after how long it is ended.
    ``feed`` is what stands at its ends, instead of mtr's own stdio.
    """

    __slots__ = (
        "argv", "env", "feed", "is_script", "is_text", "pre_cmd", "python", "remote_dir", "run_id", "shell", "subdir",
        "timeout_s", "token",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        argv: tuple[str, ...],
        *,
        is_text: bool = False,
        remote_dir: str = "~",
        subdir: str = "",
        shell: str = "auto",
        pre_cmd: str = "",
        python: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.run_id = run_id
        self.argv = argv
        self.is_text = is_text
        self.remote_dir = remote_dir
        self.subdir = subdir
        self.shell = shell
        self.pre_cmd = pre_cmd
        self.python = python
        self.env = env or {}
        self.timeout_s: float | None = None
        self.token = ""
        self.is_script = False
        self.feed: Feed | None = None

    def enter(self, directory: str) -> None:
        """Run in ``directory``, which counts from ``remote_dir`` unless it is absolute or begins with ``~/``.

        It has to be there: who names one means one that is.
        """
        if directory.startswith(("/", "~/")) or directory == "~":
            self.remote_dir, self.subdir = directory, "./"
        else:
            parts = [part for part in directory.split("/") if part not in ("", ".")]
            self.subdir = "./" + "/".join(parts)


class GateCall:
    """A command as it crosses the line: ssh's last argument, the variables to send, the file to store first.

    ``program`` is its name for people, without what might be secret in the rest of it; "" where no script of mtr's
    could end it later. ``timeout_s`` is after how long the command is ended.
    """

    __slots__ = ("environ", "feed", "program", "remote_command", "run_id", "timeout_s", "upload")

    def __init__(
        self, run_id: str, remote_command: str, environ: Mapping[str, str], upload: bytes, *, program: str = ""
    ) -> None:
        self.run_id = run_id
        self.program = program
        self.remote_command = remote_command
        self.environ = environ
        self.upload = upload
        self.timeout_s: float | None = None
        self.feed: Feed | None = None


def _name_program(command: Command) -> str:
    """Return the first word, or the name of the shell for a text that begins with something else than a name."""
    if command.is_script:
        return "sh"
    words = command.argv[0].split(maxsplit=1) if command.is_text else command.argv
    name = words[0].rpartition("/")[2] if words else ""
    return name if name.replace("-", "").replace("_", "").replace(".", "").isalnum() else "sh"


def build_gate_call(command: Command, carrier: str, push: str = "") -> GateCall:
    """Return ``command`` as a call of the gate; ``carrier`` is what the server takes: see ``MasterRecord``.

    ``push`` is sh text that sets ``mtr_push``, ``mtr_plan`` and ``mtr_tar``; see ``apply.sh``.
    """
    script, run, program = load_script("remote/gate.sh"), command.run_id, _name_program(command)
    exports = "".join(f"export {name}={quote_posix(value)}\n" for name, value in command.env.items())
    variable, argv = CARRIERS.get(carrier), command.argv
    carried = variable[0] if variable else "f"
    source = carried if exports or push else "0"
    line = _build_line(command, script, argv, source)
    if len(line) > MAX_COMMAND_BYTES:
        exports += f"set -- {quote_all(argv)}\n"
        source, argv = carried, ()
        line = _build_line(command, script, argv, source)
    if source == "0":
        return GateCall(run, line, {}, b"", program=program)
    text = f"mtr_env={quote_posix(exports)}\n{push}"
    encoded = encode_script(text) if variable else ""
    if variable and len(encoded) <= VARIABLE_BYTES:
        return GateCall(run, line, {variable[1]: encoded}, b"", program=program)
    return GateCall(run, _build_line(command, script, argv, "f"), {}, os.fsencode(text), program=program)


def _build_line(command: Command, script: str, argv: tuple[str, ...], source: str) -> str:
    mode = "s" if command.is_text else "e" if command.is_script else "a"
    place = (command.run_id, command.remote_dir, command.subdir)
    fixed = (*place, source, command.token, command.shell, _build_before(command), mode)
    return build_remote_command(f"mtr-{command.run_id}", script, (*fixed, *argv))


def _build_before(command: Command) -> str:
    """Return what runs before the command: into its Python environment, then pre_cmd."""
    if not command.python:
        return command.pre_cmd
    return f"mtr_python={quote_posix(command.python)}\n{load_script('remote/python.sh')}{command.pre_cmd}"


def new_run_id() -> str:
    """Return a fresh id of a run: 16 hexadecimal digits."""
    return os.urandom(8).hex()
