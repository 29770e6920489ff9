"""``mtr shell-init`` in the shells that evaluate it: functions, completion by real keys, names that mean harm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mtr.completion.start import SHELLS as SHELLS_ENDINGS
from mtr.completion.start import build_start
from mtr.names import Names
from mtr.scripts import find_shipped
from tests.lab.keys import ARGV, MTR, Keys
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home

SHELLS = ("bash", "zsh", "fish")
MTR_ARGV = [sys.executable, "-m", "mtr"]
ALIASES = {"train": "python train.py", "ls": "ls -x", "full": "sync --full"}

in_every_shell = pytest.mark.parametrize("shell", SHELLS)


@pytest.fixture
def keys(home: Home, project: Path) -> Iterator[Callable[..., Keys]]:
    """Start a shell at the project of a person whose own configuration has two servers and some aliases."""
    file = home.home / ".config/mtr/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"servers": {"gpu-01": {"host": "127.0.0.1"}, "gpu-02": {}}, "aliases": ALIASES}))
    file.chmod(0o600)
    (project / "my file.txt").touch()
    (project / "sub dir").mkdir()
    with contextlib.ExitStack() as stack:

        def start(shell: str, **more: str) -> Keys:
            made = Keys(shell, home, project, **more)
            stack.callback(made.close)
            return made

        yield start


@in_every_shell
def test_functions_stand_for_servers_and_aliases(home: Home, keys: Callable[..., Keys], shell: str) -> None:
    """mtr-NAME is mtr -s NAME, an alias is a command, and --alias is mtr; every word arrives as it was typed."""
    person = keys(shell, options="--alias m")
    said = person.run("mtr-gpu-01 --dry-run 'a b' '$HOME'")
    assert "on gpu-01" in said.replace("\n", "")
    assert "'a b' '$HOME'" in said.replace("\n", "")
    assert "train: python train.py" in person.run("m --dry-run train -x").replace("\n", "")
    assert "is not a server" not in person.run("train --help")


@in_every_shell
def test_no_command_is_taken(keys: Callable[..., Keys], shell: str) -> None:
    """An alias with the name of a command, a function or a builtin that is there does not become one."""
    person = keys(shell)
    assert "a.txt" in person.run("ls")
    assert "_mtr_run" not in person.run("type ls" if shell != "fish" else "functions ls")


@in_every_shell
def test_keys_complete_what_mtr_knows(keys: Callable[..., Keys], shell: str) -> None:
    """Options, servers of both files and of ssh, verbs, their options, aliases, levels, files with blanks."""
    first = "autoload -Uz compinit; compinit -D -u" if shell == "zsh" else ""
    person = keys(shell, options="--alias m", first=first)
    person.show_words("mtr", "m", "mtr-gpu-01")
    for line, words in (
        ("mtr --dry", "<--dry-run>"),
        ("mtr -s la", "<-s><lab>"),
        ("m -s gpu-02", "<-s><gpu-02>"),
        ("mtr --server=la", "<--server=lab>"),
        ("mtr serv", "<servers>"),
        ("mtr sync --fu", "<sync><--full>"),
        ("mtr up gpu-01", "<up><gpu-01>"),
        ("mtr trai", "<train>"),
        ("mtr --log-level wa", "<--log-level><warning>"),
        ("mtr shell-init z", "<shell-init><zsh>"),
        ("mtr -C su", "<-C><sub dir>"),
        ("mtr cat my", "<cat><my file.txt>"),
        ("mtr --log-file my", "<--log-file><my file.txt>"),
        ("mtr ./a", "<./a.txt>"),
        ("mtr -s lab --no-sync cat a.t", "<-s><lab><--no-sync><cat><a.txt>"),
        ("mtr-gpu-01 und", "<undo>"),
        ("mtr-gpu-01 cat a.t", "<cat><a.txt>"),
        ("FOO=1 mtr 'tra i' \"my", "<tra i><my file.txt>"),
    ):
        found = person.complete(line)
        # zsh takes the slash of a directory away when the line ends there.
        assert found.replace("/>", ">") == words


@in_every_shell
def test_the_server_is_asked_over_an_open_connection_alone(
    home: Home, project: Path, keys: Callable[..., Keys], shell: str
) -> None:
    """Programs and files of the server complete once a run has opened the connection; before, nothing is opened."""
    person = keys(shell)
    answer = [*MTR_ARGV, "shell-init", "--complete", shell, *(["mtr sha2"] if shell == "bash" else ["mtr", "sha2"])]
    asked = subprocess.run(answer, cwd=project, env=home.environ, capture_output=True, check=True)
    assert (asked.stdout, asked.stderr, home.masters()) == (b"files\n", b"", [])
    # As this shell would: fish, for one, adds a USER, and a kept route is for one environment.
    assert "rror" not in person.run("_mtr_run true")
    (home.remote(project) / "log dir").mkdir()
    hostile = "it's $(touch pwned) `touch pwned` $HOME \\.txt"
    (home.remote(project) / "log dir" / hostile).touch()
    person.show_words("mtr")
    assert person.complete("mtr sha25") == "<sha256sum>"
    assert person.complete("mtr get lo") == "<get><log dir/>"
    assert person.complete("mtr get log\\ dir/") == f"<get><log dir/{hostile}>"
    if shell == "zsh":  # that was compctl; the same by the newer system
        person.run("autoload -Uz compinit; compinit -D -u")
        wait_until(lambda: "_mtr_complete" in person.run("print $_comps[mtr]"), "the new completion")
        assert person.complete("mtr sha25") == "<sha256sum>"
        assert person.complete("mtr get log\\ dir/it") == f"<get><log dir/{hostile}>"
    if shell == "bash":
        assert person.complete('mtr get "log dir/it') == f"<get><log dir/{hostile}>"
    assert not (project / "pwned").exists()


@in_every_shell
def test_a_server_that_hangs_holds_up_no_key(home: Home, project: Path, shell: str) -> None:
    """A master that has been stopped is not waited for, and it is left as it is."""
    assert home.run_mtr(["true"], project).returncode == 0
    (master,) = home.masters()
    os.kill(master, signal.SIGSTOP)
    try:
        words = ["mtr get lo"] if shell == "bash" else ["mtr", "get", "lo"]
        done = subprocess.run(
            [*MTR_ARGV, "shell-init", "--complete", shell, *words],
            cwd=project, env=home.environ, capture_output=True, check=True, timeout=30,
        )  # fmt: skip
    finally:
        os.kill(master, signal.SIGCONT)
    assert (done.stdout, done.stderr) == (b"paths\n", b"")
    assert home.masters() == [master]


@in_every_shell
def test_it_can_be_evaluated_twice_and_under_strict_options(keys: Callable[..., Keys], shell: str) -> None:
    """set -eu, NO_UNSET, KSH_ARRAYS and others; aliases of the same names; twice."""
    strict = {
        "bash": "set -u; alias mtr-gpu-01=false m=false",
        "zsh": "setopt no_unset ksh_arrays sh_word_split rc_quotes no_clobber; alias mtr-gpu-01=false m=false",
        "fish": "alias mtr-gpu-01=false; alias m=false",
    }
    person = keys(shell, first=strict[shell], options="--alias m")
    said = person.run(person.build_init("--alias m"))
    assert not [line for line in said.splitlines() if "rror" in line or "unbound" in line or "not set" in line]
    assert "on gpu-01" in person.run("mtr-gpu-01 --dry-run true").replace("\n", "")
    assert "on lab" in person.run("m --dry-run -s lab true").replace("\n", "")
    person.show_words("mtr")
    assert person.complete("mtr --dry") == "<--dry-run>"


@in_every_shell
def test_a_script_that_ends_at_the_first_failure_goes_on(home: Home, project: Path, shell: str) -> None:
    """With set -e and no list at all; what it prints is for the shell alone."""
    if shell == "fish":
        script = f"{MTR} shell-init fish | source; and echo went-on"
    else:
        script = f'set -eu; eval "$({MTR} shell-init)"; eval "$({MTR} shell-init {shell})"; echo went-on'
    done = subprocess.run(
        [ARGV[shell][0], "-c", script], cwd=project, env=home.environ, capture_output=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"went-on\n", b"", 0)


@in_every_shell
def test_names_that_mean_harm_stay_out(home: Home, tmp_path: Path, shell: str) -> None:
    """Whatever a name holds, evaluating runs nothing; what no shell reads anything into becomes a function."""
    hostile = [
        "$(touch pwned)",
        "`touch pwned`",
        "'; touch pwned; '",
        'x"; touch pwned; "',
        "a\ntouch pwned",
        "-x",
        "",
        "a b",
    ]
    hostile += [
        "${x:-$(touch pwned)}",
        "a;touch pwned",
        "\\'; touch pwned",
        "(touch pwned)",
        "!!",
        "*",
        "é\x1b]0;x\x07",
    ]
    names = Names([*hostile, "good.1"], [], dict.fromkeys([*hostile, "if", "end", "good-2"], "x"))
    program = ["show-words", "it's", "$(touch pwned)", "`touch pwned`", "\\", "a\\'b"]
    text = build_start(shell, names, program, ["mtr"], "m")
    call = "mtr-good.1 'a b'; good-2 c; m d"
    load = "cat start | source" if shell == "fish" else ". ./start"
    (tmp_path / "start").write_text(text)
    environ = {**home.environ, "LC_ALL": "C.UTF-8"}
    (tmp_path / "show-words").write_text('#!/bin/sh\nprintf "<%s>" "$@"; echo\n')
    (tmp_path / "show-words").chmod(0o755)
    environ["PATH"] = f"{tmp_path}:{environ['PATH']}"
    done = subprocess.run(
        [ARGV[shell][0], "-c", f"{load}; {call}"], cwd=tmp_path, env=environ, capture_output=True, check=False
    )
    front = b"<it's><$(touch pwned)><`touch pwned`><\\><a\\'b>"
    assert (done.stderr, not (tmp_path / "pwned").exists()) == (b"", True)
    assert done.stdout.splitlines() == [front + b"<-s><good.1><a b>", front + b"<good-2><c>", front + b"<d>"]


@in_every_shell
def test_names_of_a_project_become_no_commands(home: Home, project: Path, shell: str) -> None:
    """The shell goes on in other directories; -s and the alias's own name complete there all the same."""
    said = home.run_mtr(["shell-init", shell], project)
    assert (said.returncode, b"'lab'" in said.stdout) == (0, False)


@in_every_shell
def test_odd_names_of_the_server_are_not_offered(home: Home, project: Path, shell: str) -> None:
    """What would steer the terminal, or begin another line; what is only odd is offered, for bash in quotes."""
    assert home.run_mtr(["true"], project).returncode == 0
    for name in ("x\x1b]0;title\x07", "x\ny", "x\ty", "x z"):
        (home.remote(project) / name).touch()
    words = ["mtr get x"] if shell == "bash" else ["mtr", "get", "x"]
    done = home.run_mtr(["shell-init", "--complete", shell, *words], project)
    assert done.stdout == (b"paths\nx\\ z\n" if shell == "bash" else b"paths\nx z\n")


@in_every_shell
def test_completion_runs_nothing_of_a_project(home: Home, project: Path, shell: str) -> None:
    """Not a password_command, not a ProxyCommand; and a configuration that is wrong says nothing at a TAB."""
    home.configure(project, is_trusted=False, password_command="touch ran", ssh_options={"ProxyCommand": "touch ran"})
    for words in (["mtr", "-s", ""], ["mtr", "py"], ["mtr", "get", "x"], ["mtr", "cat", "x"]):
        given = [" ".join(words)] if shell == "bash" else words
        asked = [*MTR_ARGV, "shell-init", "--complete", shell, *given]
        done = subprocess.run(asked, cwd=project, env=home.environ, capture_output=True, check=True)
        assert done.stderr == b""
    assert not (project / "ran").exists()
    (project / ".mtr/config.yaml").write_text("servers: [")
    done = subprocess.run(asked, cwd=project, env=home.environ, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"files\n", b"")


@in_every_shell
def test_the_shell_that_asks_is_seen(home: Home, project: Path, shell: str) -> None:
    """Directly, behind sh -c, as a login shell, and whatever $SHELL says; one that mtr does not know is refused."""
    environ = {**home.environ, "SHELL": "/bin/dash"}
    marks = {"bash": "COMPREPLY", "zsh": "compdef", "fish": "commandline"}
    program = ARGV[shell][0]
    for script in (f"{MTR} shell-init; true", f"sh -c '{MTR} shell-init; true'; true"):
        done = subprocess.run([program, "-c", script], cwd=project, env=environ, capture_output=True, check=True)
        assert marks[shell] in done.stdout.decode()
    login = subprocess.run(
        [f"-{program}", "-c", f"{MTR} shell-init; true"],
        executable=f"/usr/bin/{program}", cwd=project, env=environ, capture_output=True, check=True,
    )  # fmt: skip
    assert marks[shell] in login.stdout.decode()
    other = subprocess.run(
        ["dash"], input=f"{MTR} shell-init\n".encode(), env=environ, capture_output=True, check=False
    )
    assert (other.returncode, other.stdout) == (2, b"")
    assert b"nothing for dash" in other.stderr


@in_every_shell
def test_a_wrong_configuration_leaves_the_shell_its_start(home: Home, project: Path, shell: str) -> None:
    """It is said on stderr, and what is printed works without the names."""
    file = home.home / ".config/mtr/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("servers: {a: {nosuch: 1}}\n")
    done = home.run_mtr(["shell-init", shell], project)
    assert done.returncode == 0
    assert b"unknown key" in done.stderr
    assert b"_mtr_complete" in done.stdout


def test_zsh_completes_with_a_compinit_that_comes_later(keys: Callable[..., Keys]) -> None:
    """Without one, compctl completes; with one, the new system takes over at the next prompt."""
    person = keys("zsh")
    person.show_words("mtr")
    assert person.complete("mtr trai") == "<train>"
    person.run("autoload -Uz compinit; compinit -D -u")
    wait_until(lambda: "_mtr_complete" in person.run("print $_comps[mtr]"), "the new completion")
    assert person.complete("mtr sync --fu") == "<sync><--full>"


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ('mtr -C "." -s la', "names", ["lab"]),
        ("mtr --server=la", "names", ["lab"]),
        ("mtr -e A='x y' -s la", "names", ["lab"]),
        ("mtr -- sync x", "files", []),
        ("mtr run -s la", "names", ["lab"]),
        ("mtr -s", "names", ["-s"]),
        ("mtr -sla", "names", ["-slab"]),
        ("mtr -e A=b -C . sync --serv", "names", ["--server"]),
        ("mtr get -s la", "names", ["lab"]),
        ("mtr why x", "files", []),
        ("mtr train -s la", "files", []),
    ],
)
def test_a_line_of_bash_is_read_as_bash_reads_it(
    home: Home, project: Path, line: str, kind: str, words: list[str]
) -> None:
    """Quotes, and characters at which readline begins another word; what mtr's options take, and where they end."""
    asked = [*MTR_ARGV, "shell-init", "--complete", "bash", line, ":="]
    done = subprocess.run(asked, cwd=project, env=home.environ, capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [kind, *words]


@pytest.mark.parametrize("name", ["if", "a b", "$(x)", "-x", "", "1", "m;"])
def test_a_short_form_is_the_name_of_a_command(home: Home, project: Path, name: str) -> None:
    """Anything else is refused before anything is printed."""
    done = home.run_mtr(["shell-init", "bash", "--alias", name], project)
    assert (done.returncode, done.stdout) == (2, b"")


def test_the_files_are_sound(home: Home, project: Path) -> None:
    """Each shell reads its own without a complaint, and the help shows what to write where."""
    for shell in SHELLS:
        file = f"{find_shipped('shell')}/init/{shell}.{SHELLS_ENDINGS[shell]}"
        subprocess.run([shell, "-n", file], check=True)
    said = home.run_mtr(["shell-init", "--help"], project)
    assert said.returncode == 0
    assert b'eval "$(mtr shell-init)"' in said.stdout


def test_an_option_that_means_nothing_to_it_is_refused(home: Home, project: Path) -> None:
    """As before any other verb."""
    done = home.run_mtr(["--dry-run", "shell-init", "bash"], project)
    assert (done.returncode, done.stdout) == (2, b"")
