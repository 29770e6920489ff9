"""What an ``allow`` pattern lets run beyond what it seems to say, for `mtr config check`.

Advice from lists of programs: one that is not on them may do the same, and no warning is no promise.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mtr.shell_words import WILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtr.config.model import Config, KeyPath, Position
    from mtr.config.policy import Pattern

_INTERPRETERS = frozenset(
    """sh ash bash dash zsh ksh mksh fish csh tcsh rbash busybox toybox pwsh powershell cmd python pypy ipython
    perl ruby irb node nodejs deno bun lua luajit php R Rscript julia octave tclsh wish expect osascript groovy
    scala ghci ocaml guile racket gdb lldb sqlite3 psql mysql ed ex vi vim nvim view emacs nano""".split()  # noqa: SIM905
)
"""They run what stands in an argument, or what they read."""

_WRITTEN = frozenset("awk gawk mawk nawk sed jq bc dc m4".split())  # noqa: SIM905
"""Their first argument is a program, most of which can start another or write files."""

_LAUNCHERS = frozenset(
    """env xargs parallel nice ionice nohup setsid stdbuf timeout time watch sudo su doas runuser pkexec ssh mosh tmux
    screen script strace ltrace perf valgrind chroot unshare nsenter flock taskset numactl chrt systemd-run at batch
    srun sbatch salloc mpirun mpiexec torchrun deepspeed accelerate uvx npx pipx entr""".split()  # noqa: SIM905
)
"""They run the command in their arguments."""

_SUBCOMMANDS = frozenset(
    """docker podman nerdctl kubectl apptainer singularity conda mamba micromamba uv poetry pdm hatch rye npm yarn pnpm
    cargo go dotnet git hg svn gh brew apt apt-get pip pip3 gem systemctl""".split()  # noqa: SIM905
)
"""Some of their subcommands, or options in front of one, run any command."""

_RUNNING = frozenset(
    """run exec start create attach debug bisect rebase submodule filter-branch difftool mergetool config clone alias
    shell x dlx install build test""".split()  # noqa: SIM905
)
"""Subcommands that do."""

_BEHIND_A_NAME = frozenset("ssh mosh chroot flock taskset".split())  # noqa: SIM905
"""Launchers whose first argument is no command yet."""

_CONTAINERS = frozenset("docker podman nerdctl kubectl apptainer singularity".split())  # noqa: SIM905

_OPTIONS = frozenset(
    """find fd tar rsync scp sftp make gmake ninja just cmake bazel gradle mvn less more man zip unzip sort split curl
    wget rg grep pytest tox nox tee dd cp mv ln install chmod chown""".split()  # noqa: SIM905
)
"""An option or a target of theirs runs a command, or they write files anywhere."""

_GIT_WRITERS = frozenset(
    ("diff", "log", "show", "format-patch", "archive", "grep", "fetch", "pull", "push", "ls-remote")
)
_PLAIN_OPTION = re.compile(r"-|\+|[0-9]+[smhd]?\Z|[A-Za-z_]\w*=")


def explain_breadth(pattern: Pattern) -> str:
    """Return why ``pattern`` may let more run than it seems to; "" where nothing is known."""
    program = PurePosixPath(pattern.words[0]).name
    plain = re.sub(r"[0-9.]+\Z", "", program) or program
    fixed = [word for word in pattern.words[1:] if not _PLAIN_OPTION.match(word) and WILD not in word]
    is_open = pattern.takes_rest or any(WILD in word for word in pattern.words[1:])
    if plain in _INTERPRETERS or program in _INTERPRETERS:
        if not fixed and not is_open:
            return f"lets anything run: {program} runs what is sent to its input"
        if not fixed or _is_code(pattern):
            return f"lets anything run: {program} takes code in its arguments; name the script: {program} train.py *"
        return ""
    if not is_open:
        return ""
    return _explain_other(program, fixed, pattern)


def _is_code(pattern: Pattern) -> bool:
    """Tell whether what follows ``-c``, ``-e`` or ``-m`` is open."""
    index = next((i for i, word in enumerate(pattern.words) if i and re.fullmatch(r"-[a-z]*[cem]|--eval", word)), 0)
    rest = pattern.words[index + 1 :]
    return bool(index) and (any(WILD in word for word in rest[:1]) or (not rest and pattern.takes_rest))


def _explain_other(program: str, fixed: list[str], pattern: Pattern) -> str:
    takes_options = "--" not in pattern.words
    if program in _WRITTEN and not fixed:
        return f"lets anything run: the first argument of {program} is a program, which can start others or write files"
    if program in _LAUNCHERS and len(fixed) < (2 if program in _BEHIND_A_NAME else 1):
        return f"lets anything run: {program} runs the command in its arguments"
    enters = program in _CONTAINERS and len(fixed) == 2 and fixed[0] in ("exec", "run")
    if program in _SUBCOMMANDS and (not fixed or fixed[-1] in _RUNNING or enters):
        return f"lets anything run: options or subcommands of {program} run any command"
    if program == "git" and fixed[0] in _GIT_WRITERS and takes_options:
        return (
            f"lets options through, and some of git {fixed[0]} write files or run programs (--output=FILE); put -- in"
        )
    if program in _OPTIONS and (takes_options or program == "find"):
        return f"lets options through, and {program} has some that run a command or write any file"
    return ""


def list_doubts(config: Config) -> Iterator[tuple[Position, KeyPath, str]]:
    """Yield where a policy probably does not say what was meant: the place, the way there, and the reason."""
    for rules in config.policies:
        for index, pattern in enumerate(rules.allow or ()):
            if pattern.position is not None and (reason := explain_breadth(pattern)):
                yield pattern.position, ("policy", "allow", index), reason
        for name in rules.servers or ():
            place = config.sources.get(("policy", "servers"))
            if place is not None and name != "local" and name not in config.servers:
                yield place, ("policy", "servers"), f"no file names a server {name}"
