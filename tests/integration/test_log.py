"""``-v``, ``-vv`` and logs: what a run did and how long it took, for every verb, and never a secret."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ (-|[0-9a-f]{16}) (ERROR  |WARNING|INFO   |DEBUG  ) \S.*")


def find_logs(project: Path) -> list[Path]:
    return sorted((project / ".mtr" / "logs").glob("*.log"))


def test_v_says_where_the_time_went(home: Home, project: Path) -> None:
    """Connection, look, what was brought and how, the command; in that order, with times."""
    first = home.run_mtr(["-v", "sh", "-c", "exit 3"], project)
    lines = first.stderr.decode().splitlines()
    wanted = [
        r"mtr: read the configuration of \S+ in [\d.]+ m?s",
        r"mtr: connected to lab \(bash@127\.0\.0\.1:\d+\): logged in in [\d.]+ m?s",
        r"mtr: running in ~/\S+ on lab \(bash@127\.0\.0\.1:\d+\)",
        r"mtr: looked at 2 files in [\d.]+ m?s: 2 to bring \(17 B\), 0 to delete",
        r"mtr: bringing it in the command's own session",
        r"mtr: synced 2 files \(\d+ B\) to lab in [\d.]+ s",
        r"mtr: the biggest of them: src/b\.py \(13 B\)",
        r"mtr: the command ended with 3 after [\d.]+ m?s",
    ]
    assert [bool(re.fullmatch(*pair)) for pair in zip(wanted, lines, strict=True)] == [True] * 8, lines
    again = home.run_mtr(["-v", "true"], project).stderr.decode()
    assert re.search(r"connection to lab \(\S+\) reused, the configuration is unchanged\n", again)
    assert re.search(r"looked at 2 files in \S+ m?s: nothing has changed\n", again)


def test_vv_says_every_program_with_its_status_and_time(home: Home, project: Path) -> None:
    """As an argv; sessions with the script that runs there. stdout stays the command's."""
    done = home.run_mtr(["-vv", "echo", "hello"], project)
    said = done.stderr.decode()
    assert done.stdout == b"hello\n"
    assert re.search(r"mtr: started /usr/bin/ssh .*-M.* -- 127\.0\.0\.1\n", said)
    assert re.search(r"mtr: session on lab: mtr-[0-9a-f]{16} remote/gate\.sh ended with 0 after [\d.<]+ m?s\n", said)
    started = re.findall(r"mtr: started (?:\S*/)?(\w+)", said)
    ended = re.findall(r"mtr: (\w+) \(\d+\) ended with \d+ after", said)
    assert sorted(started) == sorted(ended)


def test_a_log_file_takes_what_vv_says_and_stderr_stays_silent(home: Home, project: Path) -> None:
    """Appended, for the user alone, each line with time, process, run and level; several runs share it."""
    log = home.dir / "all.log"
    for _ in range(2):
        done = home.run_mtr(["--log-file", str(log), "true"], project)
        assert (done.returncode, done.stderr) == (0, b"")
    lines = log.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert sum("mtr ended with 0" in line for line in lines) == 2
    assert len({line.split()[1] for line in lines}) == 2
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("level", ["error", "warning", "info", "debug"])
def test_the_level_says_how_much(home: Home, project: Path, level: str) -> None:
    """An error is always in it; programs only in debug, what is done in info."""
    log = home.dir / "some.log"
    words = ["--log-file", str(log), "--log-level", level]
    assert home.run_mtr([*words, "-s", "127.0.0.1:1", "true"], project).returncode == 125
    found = {line.split()[3] for line in log.read_text().splitlines()}
    every = ["ERROR", "WARNING", "INFO", "DEBUG"]
    assert "ERROR" in found
    assert found <= set(every[: every.index(level.upper()) + 1])
    assert ("DEBUG" in found) == (level == "debug")


def test_enable_log_makes_a_file_in_the_project_that_is_never_synced(home: Home, project: Path) -> None:
    """.mtr/logs, for the user alone, not for git; one file for each run."""
    home.configure(project, include=[".mtr/"])
    for _ in range(2):
        assert home.run_mtr(["--enable-log", "true"], project).returncode == 0
    logs = find_logs(project)
    assert len(logs) == 2
    assert re.fullmatch(r"mtr_\d{8}_\d{6}(_\d+)?\.log", logs[0].name)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (logs[0], logs[0].parent)]
    assert modes == [0o600, 0o700]
    assert not (home.remote(project) / ".mtr" / "logs").exists()
    home.git(project, "add", "-A")
    assert not (project / ".git" / "refs" / "x").exists()
    assert b"logs" not in (project / ".git" / "index").read_bytes()


def test_the_newest_logs_stay(home: Home, project: Path) -> None:
    """Twenty of them; what is no log of mtr's stays as well."""
    folder = project / ".mtr" / "logs"
    folder.mkdir()
    (folder / "mine.log").write_text("kept")
    for number in range(25):
        path = folder / f"mtr_20200101_0000{number:02d}.log"
        path.write_text("old")
        os.utime(path, (1_500_000_000 + number, 1_500_000_000 + number))
    assert home.run_mtr(["--enable-log", "--no-sync", "true"], project).returncode == 0
    logs = [path.name for path in find_logs(project) if path.name.startswith("mtr_")]
    assert (len(logs), logs[0]) == (20, "mtr_20200101_000006.log")
    assert (folder / "mine.log").read_text() == "kept"


@pytest.mark.parametrize("planted", ["logs", ".mtr"])
def test_a_link_in_the_place_of_the_logs_is_refused(home: Home, project: Path, planted: str) -> None:
    """A project that brings one must not have files written, or removed, elsewhere; nothing has run."""
    target = home.dir / "target"
    target.mkdir()
    (target / "mtr_20200101_000000.log").write_text("precious")
    place = project / ".mtr" if planted == ".mtr" else project / ".mtr" / "logs"
    if planted == ".mtr":
        place.rename(home.dir / "target" / "moved")
    place.symlink_to(target)
    done = home.run_mtr(["--enable-log", "touch", "ran"], project)
    assert done.returncode == 125
    assert b"is not a directory of yours" in done.stderr
    assert [path.name for path in target.iterdir() if path.name != "moved"] == ["mtr_20200101_000000.log"]


@pytest.mark.parametrize("kind", ["link", "directory", "fifo", "nowhere"])
def test_a_log_file_that_is_none_is_refused_before_anything_runs(home: Home, project: Path, kind: str) -> None:
    """A link would have another file written; a FIFO would make mtr wait."""
    path = home.dir / "odd"
    if kind == "link":
        (home.dir / "precious").write_text("kept")
        path.symlink_to(home.dir / "precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = home.dir / "no" / "such"
    done = home.run_mtr(["--log-file", str(path), "true"], project)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"mtr: cannot write the log" in done.stderr
    assert home.masters() == []
    assert kind != "link" or (home.dir / "precious").read_text() == "kept"


def test_a_log_on_a_full_disk_does_not_stop_the_run(home: Home, project: Path) -> None:
    """That it cannot be written is said once."""
    line = 'ulimit -f 1; trap "" XFSZ; exec "$@"'
    log = home.dir / "full.log"
    log.write_text("x" * 500)
    argv = [sys.executable, "-m", "mtr", "--no-sync", "--log-file", str(log), "echo", "there"]
    assert home.run_mtr(["true"], project).returncode == 0
    done = subprocess.run(
        ["sh", "-c", line, "sh", *argv], cwd=project, env=home.environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"there\n")
    assert done.stderr.count(b"the log ends here") == 1


VERBS = (["sync"], ["why", "a.txt"], ["get", "a.txt", "b/"], ["servers"], ["up"], ["trust"], ["undo"], ["down"])


def test_every_verb_takes_v_and_a_log(home: Home, project: Path) -> None:
    """In front of it, and -v behind it; what is asked for is told."""
    assert home.run_mtr(["sync"], project).returncode == 0
    log = home.dir / "verbs.log"
    for words in VERBS:
        for args in (["-vv", "--log-file", str(log), *words], [*words, "-vv"]):
            done = home.run_mtr(args, project)
            assert done.returncode in (0, 1), (args, done.stderr)
            # trust and why ask no program here; every other verb asks ssh at least once.
            assert words[0] in ("trust", "why", "undo", "down", "sync") or b"mtr: started" in done.stderr, args
    text = log.read_text()
    assert all(f"verb {words[0]}" in text for words in VERBS)


def test_v_before_a_verb_shows_in_what_it_does(home: Home, project: Path) -> None:
    """``mtr -v up`` and ``mtr up -v`` say how long the login took."""
    for args in (["-v", "up"], ["up", "-v"]):
        assert b"logged in in" in home.run_mtr(args, project).stderr
        assert home.run_mtr(["down"], project).returncode == 0


SECRETS = {
    "password": {"password": PASSWORD},
    "password_env": {"password_env": "THE_PASSWORD"},
    "password_command": {"password_command": f"printf %s {shlex.quote(PASSWORD)}"},
}


@pytest.mark.parametrize("way", SECRETS)
@pytest.mark.parametrize("helper", ["askpass", "sshpass", "pexpect", "paramiko"])
def test_no_secret_stands_in_a_log(home: Home, way: str, helper: str) -> None:
    """Passwords in every way that they come and are handed over; variables; what a command reads and prints."""
    project = home.make_project(user=PASSWORD_USER)
    path = project / ".mtr" / "config.yaml"
    configured = json.loads(path.read_text())
    keys = configured["servers"]["lab"]
    del keys["password"]
    keys |= SECRETS[way] | {"env": {"CONFIGURED": "planted-in-env"}}
    keys |= {"client": "paramiko"} if helper == "paramiko" else {}
    path.write_text(json.dumps(configured))
    home.trust(project)
    log = home.dir / "secret.log"
    words = ["-vv", "--log-file", str(log), "-e", "GIVEN=planted-in-e"]
    command = ["sh", "-c", 'cat; echo "$GIVEN $CONFIGURED" | rev', "--api-key=planted-flag", "--token", "planted-word"]
    environ = {"THE_PASSWORD": PASSWORD, "MTR_PASSWORD_HELPER": helper}
    done = home.run_mtr([*words, *command], project, stdin=b"planted-in-stdin", environ=environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"planted-in-stdin" + "planted-in-e planted-in-env"[::-1].encode() + b"\n"
    for text in (log.read_text(), done.stderr.decode()):
        assert PASSWORD not in text
        assert "planted" not in text
        assert "planted-in"[::-1] not in text
    assert "***" in log.read_text()


def test_a_terminal_run_logs_no_secret_either(home: Home, project: Path) -> None:
    """There ssh stands in front, with an argv of its own."""
    log = home.dir / "tty.log"
    home.configure(project, env={"CONFIGURED": "planted-in-env"}, ssh_options={"SetEnv": "LC_X=planted-by-setenv"})
    child = home.spawn_mtr(["--log-file", str(log), "-e", "GIVEN=planted-in-e", "sh", "-c", "echo $GIVEN"], project)
    child.expect("planted-in-e")
    child.expect(pexpect.EOF)
    child.close()
    text = log.read_text()
    assert re.search(r"started .*ssh .* -tt -- 127\.0\.0\.1 'mtr-[0-9a-f]{16} remote/gate\.sh'", text)
    assert "planted" not in text


def test_a_failure_is_logged_with_its_words(home: Home, project: Path) -> None:
    """What stderr shows, in one line, control characters made visible."""
    log = home.dir / "failed.log"
    home.configure(project, pre_cmd="false")
    done = home.run_mtr(["--log-file", str(log), "true"], project)
    assert done.returncode == 125
    (line,) = [line for line in log.read_text().splitlines() if " ERROR " in line]
    assert "gate: lab: pre_cmd ended with status 1; the command did not start | pre_cmd: false | try: " in line
