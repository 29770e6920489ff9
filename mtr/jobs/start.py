"""Starting a job: the command of a run that starts another, which stays. As warm as a run: on builtin modules alone.

The gate checks the tree, brings a small push, enters the directory and the environment, and then evaluates
``shell/remote/job/start.sh`` in the place of the command.
"""

from __future__ import annotations

import os

from mtr.errors import ConfigError
from mtr.jobs.origin import OriginFeed
from mtr.quoting import quote_as_typed
from mtr.scripts import load_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from mtr.command_line import Invocation
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
    command: Command,
    invocation: Invocation,
    line: Line,
    environ: Mapping[str, str],
    project: Project | None,
    *,
    job_id: str = "",
    stdin: bool = False,
    by: str = "",
) -> OriginFeed:
    """Let ``command`` start a job that runs what it would have run itself, and be noted here with its server.

    ``job_id`` is one that was drawn before; by default it is drawn here. ``stdin`` says that it will be sent some.
    ``by`` is kept with the job: what has started it, where that was no person.

    Returns what tells the server of the code, once it has been given the paths that are synced, and hears whether the
    job goes on: the command's feed. Whoever sees that there is no job drops the note.

    Raises:
        ConfigError: the server runs Windows.
        JobNotFound: a job that it is to wait for is not on that server.
    """
    _ensure_posix(line)
    after = _find_after(invocation.after, line) if invocation.after else []
    job_id = prepare_job(command, invocation, environ, project, after, job_id=job_id, stdin=stdin, by=by)
    root = project.root if project is not None and invocation.sync else None

    def note() -> None:
        from mtr.jobs.noted import note_job

        note_job(job_id, name_server(invocation, line, environ), environ, name=invocation.name or "")

    command.feed = origin = OriginFeed(root, environ, job_id, note)
    return origin


def name_server(invocation: Invocation, line: Line, environ: Mapping[str, str]) -> str:
    """Return what ``-s`` takes for the server of ``line``, from wherever somebody asks later."""
    return invocation.server or environ.get("MTR_SERVER") or line.server_name


def _ensure_posix(line: Line) -> None:
    if line.facts.system:
        hint = "mtr CMD, and stay; or a scheduled task there"
        raise ConfigError(f"{line.server_name} runs Windows, and jobs need a POSIX shell there", hint=hint)


def prepare_job(
    command: Command,
    invocation: Invocation,
    environ: Mapping[str, str],
    project: Project | None,
    after: Sequence[str] = (),
    *,
    job_id: str = "",
    stdin: bool = False,
    by: str = "",
) -> str:
    """Let ``command`` start a job, as :func:`begin_job`, and touch nothing; return the job's id.

    ``after`` are the ids of those that it waits for.
    """
    job_id = job_id or new_job_id()
    options = [f"timeout={render_seconds(invocation.timeout_s)}"] if invocation.timeout_s else []
    options += [f"after={','.join(after)}"] if after else []
    options += [f"gpus={invocation.gpus}"] if invocation.gpus else []
    if project is not None and (copy := _choose_copy(invocation)):
        options.append(f"copy={copy}")
    options += ["pty"] if invocation.pty else ["input"] if stdin else []
    tree = (project.remote_dir, project.client) if project is not None else ("", "")
    wanted = [*([invocation.get] if invocation.get else []), *invocation.pull]
    more = {**(build_pulls(wanted) if wanted else {}), **({"by": by} if by else {})}
    turn_into_start(command, job_id, invocation.name or "", options, tree, more)
    if invocation.pty:
        from mtr.jobs.terminal import add_terminal

        add_terminal(command, environ)
    command.timeout_s = None
    return job_id


def _choose_copy(invocation: Invocation) -> str:
    """Return how the job gets a copy of the tree: ``must``, ``try`` for one that waits, "" for none."""
    if invocation.snapshot is None:
        return "try" if invocation.after or invocation.gpus else ""
    return "must" if invocation.snapshot else ""


def _find_after(words: Sequence[str], line: Line) -> list[str]:
    """Return the ids of the jobs that ``words`` mean on that server."""
    from mtr.jobs.ask import load_jobs
    from mtr.jobs.choose import choose_job

    jobs = load_jobs(line)
    return list(dict.fromkeys(choose_job(word, jobs).id for word in words))


def turn_into_start(
    command: Command,
    job_id: str,
    name: str,
    options: Sequence[str],
    tree: tuple[str, str] = ("", ""),
    more: Mapping[str, str] | None = None,
) -> None:
    """Let ``command`` start the job ``job_id`` in its place.

    ``options`` are those of ``start.sh``; ``tree`` is the project's directory there, and whose record tells what is in
    it; ``more`` is kept with the job for whoever asks later.
    """
    given = dict(option.partition("=")[::2] for option in options)
    about = {"name": name, "command": render_command(command), "directory": render_directory(command), "root": tree[0]}
    about |= {word: given[word] for word in ("after", "gpus", "timeout") if word in given}
    about |= {"pty": "yes"} if "pty" in given else {}
    start, keeper, stop = _load_texts(given)
    fixed = (job_id, build_about({**about, **(more or {})}), keeper, stop, *tree, " ".join(options))
    command.argv = (start, *fixed, *_build_argv(command))
    command.is_text, command.is_script = False, True


def _load_texts(given: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the scripts of a start with these options: its own, its keeper's, and what ends it in time."""
    life, gpus = load_script("remote/job/life.sh"), load_script("remote/job/gpus.sh") if "gpus" in given else ""
    queue = gpus + load_script("remote/job/queue.sh") if "after" in given or gpus else ""
    copy = load_script("remote/job/copy.sh") if "copy" in given else ""
    return (
        (life + gpus if gpus else "") + copy + load_script("remote/job/start.sh"),
        life + queue + load_script("remote/job/keeper.sh"),
        life + load_script("remote/job/stop.sh") if "timeout" in given else "",
    )


def render_seconds(seconds: float) -> str:
    """Return ``seconds`` as every sleep(1) takes them that takes parts of a second: without an exponent."""
    return f"{max(seconds, 0.001):.3f}".rstrip("0").rstrip(".")


def build_pulls(wanted: Sequence[str]) -> dict[str, str]:
    """Return how a job keeps what is to be brought when it has ended: one a line.

    Where it goes to is said by who brings it: what a server tells must not choose a place here.
    """
    return {"pull": "\n".join(wanted)}


def _build_argv(command: Command) -> tuple[str, ...]:
    """Return the argv of the job: a text is run by the shell that the gate would have chosen."""
    if not command.is_text:
        return command.argv
    if command.shell != "auto":
        return (command.shell, "-c", command.argv[0])
    return ("/bin/sh", "-c", 'command -v bash >/dev/null && exec bash -c "$1"; exec sh -c "$1"', "sh", command.argv[0])


def render_command(command: Command) -> str:
    """Return the command as it would be typed; of a very long one the beginning, since each listing tells of it."""
    text = command.argv[0] if command.is_text else quote_as_typed(command.argv)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def render_directory(command: Command) -> str:
    """Return where it runs."""
    return f"{command.remote_dir}/{command.subdir.removeprefix('./')}".rstrip("/")


def build_about(fields: Mapping[str, str]) -> str:
    """Return what the client wants to know later as one line of JSON; json itself takes 5 ms to load."""
    return "{" + ", ".join(f'"{name}": {_quote(value)}' for name, value in fields.items()) + "}"


def _quote(text: str) -> str:
    """Return ``text`` as a string of JSON, in ASCII."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    """Return ``character`` as JSON has it; a byte that was no UTF-8 is U+FFFD. A codec would take time to load."""
    code = ord(character)
    if 0x20 <= code <= 0x7E and character not in '"\\':
        return character
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{0xFFFD if 0xD800 <= code <= 0xDFFF else code:04x}"
