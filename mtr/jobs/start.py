"""Starting a job: the command of a run that starts another, which stays. As warm as a run: on builtin modules alone.

The gate checks the tree, brings a small push, enters the directory and the environment, and then executes
``shell/remote/job/start.sh`` in the place of the command.
"""

from __future__ import annotations

import os

from mtr.jobs.origin import Origin
from mtr.quoting import quote_all
from mtr.scripts import load_script
from mtr.state import ensure_state_dir, read_regular, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from mtr.command_line import Invocation
    from mtr.errors import MtrError
    from mtr.ssh.gate import Command
    from mtr.ssh.line import Line

    class Project(Protocol):
        """What of a delivery's project a job needs to know."""

        root: str
        remote_dir: str
        client: str


ID_BYTES = 4
MAX_SHOWN = 2000


def new_job_id() -> str:
    """Return a fresh id of a job: 8 hexadecimal digits. Two that are the same meet on the server, which refuses one."""
    return os.urandom(ID_BYTES).hex()


def begin_job(
    command: Command, invocation: Invocation, line: Line, environ: Mapping[str, str], project: Project | None
) -> None:
    """Let ``command`` start a job that runs what it would have run itself, and note here on which server that is."""
    job_id = new_job_id()
    is_queued = bool(invocation.after or invocation.gpus)
    is_copied = is_queued if invocation.snapshot is None else invocation.snapshot
    options = [f"timeout={invocation.timeout_s:g}"] if invocation.timeout_s else []
    options += [f"after={','.join(invocation.after)}"] if invocation.after else []
    options += [f"gpus={invocation.gpus}"] if invocation.gpus else []
    tree = project.remote_dir if project is not None and is_copied else ""
    client = project.client if project is not None else ""
    turn_into_start(command, job_id, invocation.name or "", options, (tree, client))
    command.timeout_s = None
    command.feed = Origin(project.root if project is not None else None, environ)
    note_job(job_id, invocation.server or environ.get("MTR_SERVER") or line.server_name, environ)


def turn_into_start(
    command: Command, job_id: str, name: str, options: Sequence[str], copied: tuple[str, str] = ("", "")
) -> None:
    """Let ``command`` start the job ``job_id`` in its place.

    ``options`` are the keeper's; ``copied`` is the directory of which it gets a copy, and whose record tells what is
    in it.
    """
    words = " ".join(options)
    life = load_script("remote/job/life.sh")
    keeper = life + (load_script("remote/job/queue.sh") if "after=" in words or "gpus=" in words else "")
    stop = life + load_script("remote/job/stop.sh") if "timeout=" in words else ""
    about = {"name": name, "command": render_command(command), "directory": render_directory(command)}
    fixed = (job_id, build_about(about), keeper + load_script("remote/job/keeper.sh"), stop, *copied, words)
    inner = _build_argv(command)
    command.argv = ("/bin/sh", "-c", load_script("remote/job/start.sh"), "mtr-start", *fixed, *inner)
    command.is_text = False
    command.tells_home = True


def build_not_started(line: Line) -> MtrError:
    """Return the error for a start that the server could not do; its own words have been shown."""
    from mtr.jobs.model import JobError

    hint = f"mtr -s {line.server_name} --no-sync 'df -h ~; ls -ld ~/.mtr ~/.mtr/jobs'"
    return JobError(f"no job was started on {line.label}", hint=hint)


def note_job(job_id: str, server: str, environ: Mapping[str, str]) -> None:
    """Note on which server the job is, so that nobody need be asked later; without the note, all are asked."""
    try:
        folder = f"{ensure_state_dir(environ)}/jobs"
        if not os.path.isdir(folder):
            os.makedirs(folder, 0o700, exist_ok=True)
        write_atomic(f"{folder}/{job_id}", server.encode(errors="surrogateescape"))
    except OSError:
        pass


def find_noted(job_id: str, environ: Mapping[str, str]) -> str:
    """Return the server that was noted for the job, "" where none was."""
    data = read_regular(f"{ensure_state_dir(environ)}/jobs/{job_id}", 4096)
    return (data or b"").decode(errors="surrogateescape")


def _build_argv(command: Command) -> tuple[str, ...]:
    """Return the argv of the job: a text is run by the shell that the gate would have chosen."""
    if not command.is_text:
        return command.argv
    if command.shell != "auto":
        return (command.shell, "-c", command.argv[0])
    return ("/bin/sh", "-c", 'command -v bash >/dev/null && exec bash -c "$1"; exec sh -c "$1"', "sh", command.argv[0])


def render_command(command: Command) -> str:
    """Return the command as it would be typed; of a very long one the beginning, since each listing tells of it."""
    text = command.argv[0] if command.is_text else quote_all(command.argv)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def render_directory(command: Command) -> str:
    """Return where it runs."""
    return f"{command.remote_dir}/{command.subdir}".rstrip("/")


def build_about(fields: Mapping[str, str]) -> str:
    """Return what the client wants to know later as one line of JSON; json itself takes 5 ms to load."""
    return "{" + ", ".join(f'"{name}": {_quote(value)}' for name, value in fields.items()) + "}"


def _quote(text: str) -> str:
    """Return ``text`` as a string of JSON, in ASCII."""
    return '"' + "".join(map(_escape, text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace"))) + '"'


def _escape(character: str) -> str:
    code = ord(character)
    if character in '"\\' or code < 0x20 or code > 0x7E:
        units = character.encode("utf-16-be")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return character
