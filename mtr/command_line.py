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
    Option(("--dry-run",), "dry_run", "Print what would be done, secrets masked, and do nothing."),
    Option(("-q", "--quiet"), "quiet", "No progress and no receipt."),
    Option(("-v", "--verbose"), "verbose", "Say on stderr what is done."),
    Option(("--version",), "version", "Print the version."),
    Option(("-h", "--help"), "help", "Print this help."),
)

_BY_FLAG = {flag: option for option in OPTIONS for flag in option.flags}


class Invocation:
    """A parsed command line. ``forced`` says that ``--`` or ``run`` made the words a remote command."""

    __slots__ = (
        "directory", "dry_run", "env", "forced", "help", "quiet", "server", "sync", "tty", "verbose", "version",
        "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.words: list[str] = []
        self.forced = False
        self.server: str | None = None
        self.directory: str | None = None
        self.env: dict[str, str] = {}
        self.sync = True
        self.tty: bool | None = None
        self.dry_run = False
        self.quiet = False
        self.verbose = False
        self.version = False
        self.help = False

    @property
    def own_word(self) -> str | None:
        """The first word, if it is mtr's own and not forced to be a remote program."""
        return self.words[0] if self.words and not self.forced and self.words[0] in OWN_WORDS else None


def parse_arguments(arguments: Sequence[str]) -> Invocation:
    """Parse what stands behind ``mtr``.

    Raises:
        UsageError: an option that mtr does not have, or one without its argument.
    """
    invocation = Invocation()
    rest = _parse_options(invocation, list(arguments))
    if invocation.words == [] and rest[:1] == ["run"]:
        rest = _parse_options(invocation, rest[1:])
        invocation.forced = not invocation.help
    invocation.words = rest
    return invocation


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
    flag, equals, attached = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
    option = _BY_FLAG.get(flag)
    if option is None or (equals and not option.metavar):
        raise UsageError(f"no option {word}", hint=_suggest(word))
    if not option.metavar:
        return option, None
    if equals:
        return option, attached
    if not left:
        raise UsageError(f"option {flag} needs {option.metavar}", hint="mtr --help")
    return option, left.pop()


def _suggest(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word.partition("=")[0][:100], _BY_FLAG, n=1)
    return f"{close[0]} is one; mtr --help lists them all" if close else "mtr --help"


def _apply(invocation: Invocation, option: Option, value: str | None) -> None:
    if option.name == "env":
        name, equals, text = (value or "").partition("=")
        if not equals or not name.isidentifier() or not name.isascii():
            raise UsageError(f"-e takes NAME=VALUE, not {value}", hint="mtr -e CUDA_VISIBLE_DEVICES=0 CMD")
        invocation.env[name] = text
    elif value == "":
        raise UsageError(f"option {option.flags[0]} needs {option.metavar}, and this is empty", hint="mtr --help")
    else:
        setattr(invocation, option.name, option.value if value is None else value)
