"""mtr's command line as a value: the one table of options, mtr's own words, and the parser of a run. Pure.

Options come before the command; from the first word that is not an option, everything belongs to the remote
command. The parser stands here and not in click, because a run must not wait for click to load; click builds
its help and its own commands' options from the same table.
"""

from __future__ import annotations

from mtr.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OWN_WORDS = frozenset(
    (
        "init", "run", "sync", "why", "undo", "get", "servers", "up", "down", "doctor", "config", "trust",
        "ssh-config", "shell-init", "job", "tunnel", "viewer", "envs", "ui", "pod", "model", "gpus", "mcp", "demo",
    )
)  # fmt: skip
"""First words that are mtr's own. Frozen: a script's ``mtr WORD`` must not change its meaning later."""


class Option:
    """One option of a run: its flags, the field that it sets, and its help.

    ``value`` is what a flag without an argument sets; with an argument, ``metavar`` names it.
    """

    __slots__ = ("flags", "help", "metavar", "name", "value")

    def __init__(
        self,
        flags: tuple[str, ...],
        name: str,
        help: str,  # noqa: A002
        metavar: str = "",
        *,
        value: object = True,
    ) -> None:
        self.flags = flags
        self.name = name
        self.help = help
        self.metavar = metavar
        self.value = value


OPTIONS = (
    Option(
        ("-s", "--server"), "server", "Server to use: a name, user@host[:port], or a Host of ~/.ssh/config.", "NAME"
    ),
    Option(("-C",), "directory", "Run as if started in DIR.", "DIR"),
    Option(("-e", "--env"), "env", "Set an environment variable for the command; may be repeated.", "K=V"),
    Option(("--sync",), "sync", "Sync first (the default).", value=True),
    Option(("--no-sync",), "sync", "Run without syncing.", value=False),
    Option(("--tty",), "tty", "Use a terminal there even where stdin or stdout is none here.", value=True),
    Option(("--no-tty",), "tty", "Batch: stdout and stderr apart, nothing but the command's own bytes.", value=False),
    Option(("--timeout",), "timeout_s", "End the command after this many seconds, with status 124.", "SECONDS"),
    Option(("-d", "--detach"), "detach", "Start it as a job that goes on without mtr, and print its id."),
    Option(("--name",), "name", "Call the job NAME.", "NAME"),
    Option(("--pty",), "pty", "Give the job a terminal of its own, for mtr job attach."),
    Option(("--after",), "after", "Let the job begin when job ID has ended, well or not; may be repeated.", "ID"),
    Option(("--gpus",), "gpus", "Let the job wait until N GPUs are free, and pin those.", "N"),
    Option(("--snapshot",), "snapshot", "Run the job in a copy that later syncs leave alone.", value=True),
    Option(("--no-snapshot",), "snapshot", "Run it where every run does; the default unless it waits.", value=False),
    Option(
        ("--notify",), "notify", "Tell when the job has ended: bell, desktop, or a command that is run here.", "HOW"
    ),
    Option(("--get",), "get", "Bring this file or directory back afterwards; without CMD, at once.", "REMOTE"),
    Option(("--to",), "to", "Where --get and --pull put it.", "LOCAL"),
    Option(
        ("--pull",),
        "pull",
        "Bring what matches back after the command, failed or not; of a job, with mtr job pull. May be repeated.",
        "GLOB",
    ),
    Option(("--dry-run",), "dry_run", "Print what would be done, secrets masked, and do nothing."),
    Option(("--result",), "result", "Write how it went to FILE, as JSON.", "FILE"),
    Option(("-q", "--quiet"), "quiet", "No progress and no receipt."),
    Option(("-v", "--verbose"), "verbose", "Say on stderr what is done; -vv: every program that is started.", value=1),
    Option(("-vv",), "verbose", "", value=2),
    Option(("--log-file",), "log_file", "Write what -vv says to FILE.", "FILE"),
    Option(("--enable-log",), "enable_log", "The same, to a new file in .mtr/logs."),
    Option(("--log-level",), "log_level", "How much of it: error, warning, info or debug (the default).", "LEVEL"),
    Option(("--init",), "init", "The same as mtr init."),
    Option(("--no-check-update",), "check_update", "Do not tell of a newer version.", value=False),
    Option(("--version",), "version", "Print the version."),
    Option(("-h", "--help"), "help", "Print this help."),
)
"""Every option that may stand before a command; one without a help text is another spelling."""

MAX_NAME = 64
"""Characters in the name of a job."""

MAX_TIMEOUT_S = 1e9
MAX_GPUS = 999

LOG_LEVELS = ("error", "warning", "info", "debug")

BY_FLAG = {flag: option for option in OPTIONS for flag in option.flags}


class Invocation:
    """A parsed command line. ``forced`` says that ``--`` or ``run`` made the words a remote command.

    ``alias`` is the alias that it was made of, with its text, "" for none.
    """

    __slots__ = (
        "after", "alias", "check_update", "detach", "directory", "dry_run", "enable_log", "env", "forced", "get",
        "gpus", "help", "init", "log_file", "log_level", "name", "notify", "pty", "pull", "quiet", "result", "server",
        "snapshot", "sync", "timeout_s", "to", "tty", "verbose", "version", "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.words: list[str] = []
        self.alias = ""
        self.forced = False
        self.server: str | None = None
        self.directory: str | None = None
        self.env: dict[str, str] = {}
        self.sync = True
        self.tty: bool | None = None
        self.timeout_s: float | None = None
        self.get: str | None = None
        self.to: str | None = None
        self.pull: list[str] = []
        self.detach = False
        self.name: str | None = None
        self.notify: str | None = None
        self.pty = False
        self.after: list[str] = []
        self.gpus = 0
        self.snapshot: bool | None = None
        self.dry_run = False
        self.result: str | None = None
        self.quiet = False
        self.verbose = 0
        self.log_file: str | None = None
        self.enable_log = False
        self.log_level: str | None = None
        self.init = False
        self.check_update = True
        self.version = False
        self.help = False

    @property
    def own_word(self) -> str | None:
        """The first word, if it is mtr's own and not forced to be a remote program; else what an option stands for."""
        if self.words:
            return self.words[0] if not self.forced and self.words[0] in OWN_WORDS else None
        return "init" if self.init else "get" if self.get else None


def parse_arguments(arguments: Sequence[str], invocation: Invocation | None = None) -> Invocation:
    """Parse what stands behind ``mtr``, into ``invocation``, which knows what came before an error.

    Raises:
        UsageError: an option that mtr does not have, or one without its argument.
    """
    invocation = invocation or Invocation()
    rest = _parse_options(invocation, list(arguments))
    if rest[:1] == ["job"] and "start" in rest and not invocation.forced:
        rest = _parse_start(invocation, rest)
    if invocation.words == [] and rest[:1] == ["run"] and not invocation.forced:
        rest = _parse_options(invocation, rest[1:])
        invocation.forced = bool(rest) and not invocation.help
        rest = rest if invocation.forced else ["run"]
    invocation.words = rest
    _ensure_sensible(invocation)
    return invocation


def _parse_start(invocation: Invocation, rest: list[str]) -> list[str]:
    """Return what ``job [OPTIONS] start …`` means: a run that detaches; with ``--help`` it stays what it is."""
    words = _parse_options(invocation, rest[1:])
    if words[:1] != ["start"] or invocation.forced:
        return rest
    words = _parse_options(invocation, words[1:])
    if invocation.help:
        return ["job", "start"]
    if not words:
        raise UsageError("a job needs a command", hint="mtr job start CMD; mtr job start --help")
    invocation.detach = invocation.forced = True
    return words


def _ensure_sensible(invocation: Invocation) -> None:
    """Refuse options that mean nothing together."""
    if invocation.init and invocation.words:
        raise UsageError("--init takes no command", hint="mtr init; then the command")
    if invocation.pull and not invocation.words and not invocation.help and not invocation.version:
        raise UsageError("--pull brings files after a command, and there is none", hint="mtr get GLOB")
    _ensure_job(invocation)
    if invocation.gpus and "CUDA_VISIBLE_DEVICES" in invocation.env:
        raise UsageError("--gpus chooses the GPUs, and so does -e CUDA_VISIBLE_DEVICES", hint="leave one of them out")
    if invocation.to is not None and not invocation.get and not invocation.pull:
        raise UsageError(
            "--to says where --get or --pull puts it, and neither is there", hint="mtr --get REMOTE --to LOCAL"
        )


def _ensure_job(invocation: Invocation) -> None:
    """Refuse what is for jobs alone without one, and with one what means nothing to it."""
    if not invocation.detach:
        for flag in ("name", "notify", "after", "gpus"):
            if getattr(invocation, flag):
                raise UsageError(f"--{flag} is for jobs", hint=f"mtr -d --{flag} … CMD")
        if invocation.snapshot:
            raise UsageError("--snapshot is for jobs", hint="mtr -d --snapshot CMD")
        if invocation.pty:
            raise UsageError("--pty is for jobs", hint="mtr -d --pty CMD; for a run: mtr --tty CMD")
        return
    if not invocation.words and not invocation.help and not invocation.version:
        raise UsageError("-d starts a job, and there is no command", hint="mtr -d CMD")
    if invocation.own_word not in (None, "run"):
        raise UsageError(f"`mtr {invocation.own_word}` is no command there, and -d takes one", hint="mtr -d -- CMD")
    if invocation.tty:
        raise UsageError("a job goes on without this terminal, so --tty means nothing to it", hint="mtr -d --pty CMD")
    if invocation.to is not None:
        hint = "leave --to out; when it has ended: mtr job pull --to DIR ID"
        raise UsageError("a job brings nothing before it is asked, so --to is said then", hint=hint)


def _parse_options(invocation: Invocation, arguments: list[str]) -> list[str]:
    """Take the options off the front of ``arguments`` and return what is left."""
    # Turned round, so that taking a word off costs the same however many there are.
    left = arguments[::-1]
    while left and left[-1].startswith("-") and left[-1] != "-":
        word = left.pop()
        if word == "--":
            invocation.forced = True
            break
        option, value = _split_option(word, left)
        _apply(invocation, option, value)
    return left[::-1]


def _split_option(word: str, left: list[str]) -> tuple[Option, str | None]:
    """Return the option in ``word`` and its argument, attached or the next word, which is the last of ``left``."""
    flag, equals, attached = word, "", ""
    if word.startswith("--"):
        flag, equals, attached = word.partition("=")
    elif word not in BY_FLAG:
        flag, equals, attached = word[:2], word[2:], word[2:]
    option = BY_FLAG.get(flag)
    if option is None or (equals and not option.metavar):
        raise UsageError(f"no option {word}", hint=_suggest(word))
    if not option.metavar:
        return option, None
    if equals:
        return option, attached
    if not left:
        raise UsageError(f"option {flag} needs {option.metavar}", hint="mtr run --help")
    return option, left.pop()


def _suggest(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word.partition("=")[0][:100], BY_FLAG, n=1)
    return f"did you mean {close[0]}? mtr run --help lists them all" if close else "mtr run --help"


def _apply(invocation: Invocation, option: Option, value: str | None) -> None:
    if option.name == "env":
        name, equals, text = (value or "").partition("=")
        if not equals or not name.isidentifier() or not name.isascii():
            raise UsageError(f"-e takes NAME=VALUE, not {value}", hint="mtr -e CUDA_VISIBLE_DEVICES=0 CMD")
        invocation.env[name] = text
    elif value == "":
        raise UsageError(f"option {option.flags[0]} needs {option.metavar}, and this is empty", hint="mtr run --help")
    elif option.name == "timeout_s":
        invocation.timeout_s = _parse_seconds(value or "")
    elif option.name in ("pull", "after"):
        getattr(invocation, option.name).append(value or "")
    elif option.name == "name":
        invocation.name = ensure_job_name(value or "")
    elif option.name == "gpus":
        invocation.gpus = _parse_count(value or "")
    elif option.name == "log_level" and value not in LOG_LEVELS:
        raise UsageError(f"--log-level takes {', '.join(LOG_LEVELS)}, not {value}", hint="mtr run --help")
    else:
        setattr(invocation, option.name, option.value if value is None else value)


def ensure_job_name(text: str) -> str:
    """Return ``text`` if a job can be called so: what can be typed and shown in a line.

    Raises:
        UsageError: it cannot.
    """
    if not text.isprintable() or text.startswith("-") or len(text) > MAX_NAME or len(text.split()) != 1:
        raise UsageError(
            f"{text!r} is no name for a job: one word, of {MAX_NAME} characters at most", hint="mtr -d --name train CMD"
        )
    return text


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < MAX_TIMEOUT_S:
        raise UsageError(f"--timeout takes seconds, more than 0, not {text}", hint="mtr --timeout 600 CMD")
    return seconds


def _parse_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= MAX_GPUS:
        raise UsageError(f"--gpus takes a number, 1 or more, not {text}", hint="mtr -d --gpus 2 CMD")
    return int(text)
