"""``mtr job`` and ``mtr -d`` as people and programs meet them: the table, the words, what is brought, what is told."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from mtr.cli.job_table import ENDED_SHOWN, choose_rows, render_jobs, render_state
from mtr.cli.table import measure
from mtr.jobs.model import Job, JobError, parse_listing
from tests.lab.keys import Keys
from tests.lab.processes import processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home


@pytest.fixture(autouse=True)
def _ended(home: Home, project: Path) -> Iterator[None]:
    """No job is there before a test, and none after it."""
    end_jobs(home, project)
    yield
    home.configure(project)
    end_jobs(home, project)


def end_jobs(home: Home, project: Path) -> None:
    """Stop and remove whatever jobs are on the server."""
    folder = home.server.home_of("bash") / ".mtr" / "jobs"
    if found := [path.name for path in folder.glob("[0-9a-f]*")]:
        assert home.run_mtr(["job", "stop", *found], project).returncode == 0
        assert home.run_mtr(["job", "rm", *found], project).returncode == 0


def list_jobs(home: Home, project: Path, *more: str) -> list[dict[str, object]]:
    """Return what ``mtr job list --json`` tells."""
    done = home.run_mtr(["job", "list", "--json", *more], project)
    assert done.returncode == 0, done.stderr.decode()
    answer = json.loads(done.stdout)
    assert (answer["kind"], answer["ok"]) == ("jobs", True)
    return answer["data"]  # type: ignore[no-any-return]


def start(home: Home, project: Path, *words: str) -> str:
    """Start a job and return its id, which is all that stands on stdout."""
    done = home.run_mtr(["-d", *words], project)
    assert done.returncode == 0, done.stderr.decode()
    assert re.fullmatch(rb"[0-9a-f]{8}\n", done.stdout)
    assert done.stderr == b"", "in batch, nothing is said"
    return done.stdout.decode().strip()


def show(home: Home, project: Path, *words: str, width: int = 80, **environ: str) -> str:
    """Return what a terminal gets."""
    home.environ |= environ
    child = home.spawn_mtr(words, project, dimensions=(24, width))
    child.expect(pexpect.EOF)
    child.close()
    return child.before.decode().replace("\r\n", "\n")  # type: ignore[no-any-return]


# -- the table


def test_the_table_has_what_one_needs(home: Home, project: Path) -> None:
    """Id, name, server, state with status, age, run time, size of the output, command as typed; the newest last."""
    first = start(home, project, "--name", "train", "sh", "-c", "head -c 5000 /dev/zero; exit 4")
    home.run_mtr(["job", "wait", first], project)
    second = start(home, project, "sleep 60")
    head, one, two = home.run_mtr(["job", "list"], project).stdout.decode().splitlines()
    assert head.split() == ["ID", "NAME", "SERVER", "STATE", "STARTED", "TIME", "OUTPUT", "COMMAND"]
    assert re.fullmatch(
        rf"{first}  train  lab     failed 4  \d+ s ago  +\d+s    5\.0 kB  sh -c 'head -c 5000 /dev/zero; exit 4'", one
    )
    assert re.fullmatch(rf"{second}  -      lab     running   \d+ s ago  +\d+s    -       sleep 60", two)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal(home: Home, project: Path, width: int) -> None:
    """No line is wider: the command gives way; a pipe gets all of it."""
    job = start(home, project, "--name", "a-rather-long-name-of-a-job", "sleep 60; " + "echo long; " * 20)
    lines = show(home, project, "job", "list", width=width, NO_COLOR="1").splitlines()
    assert max(map(measure, lines)) <= width
    assert job in lines[1]
    assert "…" in lines[1]
    assert "echo long; " * 20 in home.run_mtr(["job", "list"], project).stdout.decode().replace("\n", " ")


def test_colours_are_for_terminals_that_want_them(home: Home, project: Path) -> None:
    """None in a pipe, none with NO_COLOR."""
    start(home, project, "sleep 60")
    assert "\x1b[32mrunning" in show(home, project, "job", "list")
    assert b"\x1b[" not in home.run_mtr(["job", "list"], project).stdout
    assert "\x1b[" not in show(home, project, "job", "list", NO_COLOR="1")


def test_what_a_server_tells_reaches_no_terminal_raw() -> None:
    """Control characters in a name or a command show as what they are; an id that is none is an answer of nobody."""
    evil = Job("ab", "lab", "running", name="a\x1b]0;x\x07", command="b\x1b[2J\nc", age_s=1)
    shown = render_jobs([evil], width=80, has_colour=False)
    assert "\x1b" not in shown
    assert shown.count("\n") == 2
    for name in ("../../x", "", "a/b", "AB", ".."):
        with pytest.raises(JobError):
            parse_listing(f"now 1 boot\njob {name}\nsizes\n", "lab")


def test_filters_choose(home: Home, project: Path) -> None:
    """--running: only those that have not ended; else the last that have, and --all of them; JSON has all."""
    jobs = [Job(f"{number:08x}", "lab", "done", age_s=100 - number) for number in range(ENDED_SHOWN + 5)]
    jobs[0] = Job("ffff", "lab", "running")
    assert [job.id for job in choose_rows(jobs, everything=False, running=True)] == ["ffff"]
    assert choose_rows(jobs, everything=True, running=False) == jobs
    assert choose_rows(jobs, everything=False, running=False) == [jobs[0], *jobs[-ENDED_SHOWN:]]
    ended, alive = start(home, project, "true"), start(home, project, "sleep 60")
    home.run_mtr(["job", "wait", ended], project)
    assert {job["id"] for job in list_jobs(home, project)} == {ended, alive}
    assert [job["id"] for job in list_jobs(home, project, "--running")] == [alive]
    shown = home.run_mtr(["job", "list", "--running"], project).stdout.decode()
    assert alive in shown
    assert ended not in shown


def test_a_narrow_terminal_does_without_some_columns() -> None:
    """A line stays a line: first the output's size goes, then when it was started, then how long it runs."""
    job = Job("0123abcd", "gpu-01", "running", name="train", command="python train.py", age_s=99, runs_s=99)
    heads = {
        width: render_jobs([job], width=width, has_colour=False).splitlines()[0].split() for width in (80, 64, 56, 40)
    }
    assert heads[80] == ["ID", "NAME", "SERVER", "STATE", "STARTED", "TIME", "OUTPUT", "COMMAND"]
    assert heads[64] == ["ID", "NAME", "SERVER", "STATE", "STARTED", "TIME", "COMMAND"]
    assert heads[56] == ["ID", "NAME", "SERVER", "STATE", "TIME", "COMMAND"]
    assert heads[40] == ["ID", "NAME", "SERVER", "STATE", "COMMAND"]


def test_what_was_left_out_is_said(home: Home, project: Path) -> None:
    """No job, and none that runs, are two answers; where no server is known, nobody has been asked."""
    none = home.run_mtr(["job", "list", "-s", "lab"], project)
    assert none.stderr == b"mtr: there are no jobs on lab; to start one: mtr -d CMD\n"
    job = start(home, project, "true")
    home.run_mtr(["job", "wait", job], project)
    none = home.run_mtr(["job", "list", "--running"], project)
    assert (none.stdout, none.stderr) == (b"", b"mtr: no job waits or runs; those that have ended: mtr job list\n")
    for words in (["list"], ["list", "--json"], ["logs", job], ["prune"]):
        done = home.run_mtr(["job", *words], home.home)
        assert done.returncode == 125
        assert b"mtr: no server is configured here, so none can be asked for jobs\n" in done.stderr
        assert b"mtr -C PROJECT job list" in done.stderr


def test_a_note_of_a_name_that_has_changed_hinders_nothing(home: Home, project: Path) -> None:
    """The server was called otherwise when the job was started: it is found all the same."""
    job = start(home, project, "echo hello")
    path = project / ".mtr" / "config.yaml"
    path.write_text(path.read_text().replace('"lab"', '"gpu"'))
    assert home.run_mtr(["job", "logs", "-f", job], project).stdout == b"hello\n"


def test_what_stands_on_stderr_is_not_overlooked(home: Home, project: Path) -> None:
    """A traceback: `logs` says where it is; a terminal that follows is told of the end, too."""
    job = start(home, project, "--name", "train", "echo out; echo oh no >&2; exit 3")
    home.run_mtr(["job", "wait", job], project)
    done = home.run_mtr(["job", "logs", "train"], project)
    more = f"mtr: 6 B more on its stderr: mtr job logs --stderr {job}\n"
    assert (done.stdout, done.stderr.decode()) == (b"out\n", more)
    done = home.run_mtr(["job", "logs", "-f", "--stderr", "train"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"oh no\n", b"")
    assert show(home, project, "job", "logs", "-f", "train") == f"out\nmtr: job {job} failed with 3\n{more}"


def test_what_is_removed_is_named(home: Home, project: Path) -> None:
    """The beginning of an id is enough, so that one sees which one it was."""
    job = start(home, project, "--name", "train", "true")
    home.run_mtr(["job", "wait", job], project)
    done = home.run_mtr(["job", "rm", job[:4]], project)
    assert done.stderr.decode() == f"mtr: job {job} (train) was removed\n"


def test_a_job_that_ran_out_of_time_has_timed_out(home: Home, project: Path) -> None:
    """In the words of the table."""
    job = start(home, project, "--timeout", "0.1", "sleep 60")
    done = home.run_mtr(["job", "wait", job], project)
    assert (done.returncode, done.stderr.decode()) == (124, f"mtr: job {job} timed out with 124\n")


def test_a_server_without_jobs_has_nothing_to_remove(home: Home, project: Path) -> None:
    """Nor is that a failure: servers are asked that have never had a job."""
    jobs = home.server.home_of("bash") / ".mtr" / "jobs"
    for left in jobs.glob("*"):
        left.rmdir()
    if jobs.exists():
        jobs.rmdir()
    done = home.run_mtr(["job", "prune"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"mtr: 0 jobs removed\n")


def test_states_have_words() -> None:
    """What people read; the JSON has the plain states."""
    words = [render_state(Job("a", "lab", state, status=status)) for state, status in
             (("done", 0), ("failed", 137), ("timeout", 124), ("stopped", 143), ("lost", None))]  # fmt: skip
    assert words == ["done", "failed 137", "timed out", "stopped", "lost"]


def test_a_server_that_cannot_be_asked_hides_no_other(home: Home, project: Path) -> None:
    """The rest shows, with the error behind it; 1, and 125 where nobody could be asked. Of prune, too."""
    job = start(home, project, "sleep 60")
    path = project / ".mtr" / "config.yaml"
    data = json.loads(path.read_text())
    data["servers"]["gone"] = {"host": "127.0.0.1", "port": 1, "user": "bash"}
    path.write_text(json.dumps(data))
    done = home.run_mtr(["job", "list"], project)
    assert done.returncode == 1
    assert job in done.stdout.decode()
    assert b"gone" in done.stderr
    answer = home.run_mtr(["job", "list", "--json"], project)
    told = json.loads(answer.stdout)
    assert (told["kind"], told["ok"], told["error"]["code"]) == ("jobs", False, "refused")
    assert [row["id"] for row in told["data"]] == [job]
    assert home.run_mtr(["job", "list", "-s", "gone"], project).returncode == 125
    pruned = home.run_mtr(["job", "prune", "--json"], project)
    told = json.loads(pruned.stdout)
    assert (pruned.returncode, told["kind"], told["ok"], told["data"]) == (1, "job-prune", False, [])
    assert home.run_mtr(["job", "prune", "-s", "gone"], project).returncode == 125


def test_two_names_of_one_machine_show_its_jobs_once(home: Home, project: Path) -> None:
    """Under the first name; and a job's name is not ambiguous for that."""
    path = project / ".mtr" / "config.yaml"
    data = json.loads(path.read_text())
    data["servers"]["again"] = data["servers"]["lab"]
    path.write_text(json.dumps(data))
    job = start(home, project, "--name", "once", "true")
    assert [(row["id"], row["server"]) for row in list_jobs(home, project)] == [(job, "lab")]
    assert home.run_mtr(["job", "wait", "once"], project).returncode == 0


# -- the words


def test_job_alone_is_its_help(home: Home, project: Path) -> None:
    """And job start --help tells of jobs, with every option of a run."""
    for words in (["job"], ["job", "--help"], ["job", "-h"]):
        done = home.run_mtr(words, project)
        assert done.returncode == 0
        assert b"mtr job logs -f ID  " in done.stdout
        assert b"\\b" not in done.stdout
    for words in (["job", "start", "--help"], ["job", "-s", "lab", "start", "-h"]):
        done = home.run_mtr(words, project)
        assert done.returncode == 0
        assert b"The id alone is on stdout" in done.stdout
        assert b"--notify HOW" in done.stdout
    for words in (["job", "start"], ["job", "start", "--name", "x"]):
        done = home.run_mtr(words, project)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"a job needs a command" in done.stderr


def test_server_and_directory_stand_before_and_behind_each_verb(home: Home, project: Path) -> None:
    """mtr -s, mtr job -s, mtr job list -s; the same for -C; the one behind counts more."""
    home.run_mtr(["up"], project)
    elsewhere = home.home
    for words in (["-C", str(project), "-s", "lab", "job", "start", "true"],
                  ["job", "-C", str(project), "-s", "lab", "start", "true"],
                  ["job", "start", "-C", str(project), "-s", "lab", "true"]):  # fmt: skip
        done = home.run_mtr(words, elsewhere)
        assert (done.returncode, done.stderr) == (0, b"")
    for words in (["-s", "lab", "job", "list"], ["job", "-s", "lab", "list"], ["job", "list", "-s", "lab"],
                  ["-s", "nope", "job", "list", "-s", "lab"]):  # fmt: skip
        done = home.run_mtr([*words, "-C", str(project)], elsewhere)
        assert (done.returncode, done.stderr) == (0, b""), words
        assert done.stdout.count(b"\n") == 4
    done = home.run_mtr(["job", "-s", "nope", "list"], project)
    assert done.returncode == 125
    assert b"there is no server nope" in done.stderr


def test_a_job_can_be_called_start(home: Home, project: Path) -> None:
    """A word behind another verb is that verb's."""
    job = start(home, project, "--name", "start", "echo hello")
    assert home.run_mtr(["job", "wait", "start"], project).returncode == 0
    assert home.run_mtr(["job", "logs", "start"], project).stdout == b"hello\n"
    assert home.run_mtr(["job", "-s", "lab", "logs", job], project).stdout == b"hello\n"


def test_a_terminal_is_told_how_to_go_on(home: Home, project: Path) -> None:
    """One line behind the id: how to follow, how to stop; with -q, and in batch, nothing."""
    home.run_mtr(["true"], project)
    shown = show(home, project, "-d", "true")
    assert re.fullmatch(r"([0-9a-f]{8})\nmtr: on lab; follow: mtr job logs -f \1; stop: mtr job stop \1\n", shown)
    assert re.fullmatch(r"[0-9a-f]{8}\n", show(home, project, "-q", "-d", "true"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-d"], "there is no command"),
        (["-d", "sync"], "`mtr sync` is no command there"),
        (["-d", "--tty", "true"], "--tty means nothing to it"),
        (["-d", "--pull", "x", "--to", "y", "true"], "mtr job pull --to"),
        (["-d", "--name", "a b", "true"], "is no name for a job"),
        (["-d", "--name", "a\nb", "true"], "is no name for a job"),
        (["-d", "--name", "-x", "true"], "is no name for a job"),
        (["-d", "--name", "x" * 65, "true"], "is no name for a job"),
        (["--name", "x", "true"], "--name is for jobs"),
        (["--notify", "desktop", "true"], "--notify is for jobs"),
        (["--snapshot", "true"], "--snapshot is for jobs"),
        (["job", "logs"], "`mtr job logs` needs ID\n     try: mtr job logs --help"),
        (["job", "stop", ""], "the id of a job is empty"),
        (["job", "ps"], "`mtr job` has no ps\n     try: did you mean mtr job list? mtr job --help"),
        (["job", "strat"], "did you mean mtr job start?"),
        (["job", "zzz"], "`mtr job` has no zzz\n     try: mtr job --help"),
        (["-d", "--notify", "bell", "true"], "there is none"),
        (["-d", "--notify", "", "true"], "this is empty"),
    ],
)
def test_what_means_nothing_is_refused(home: Home, project: Path, words: list[str], said: str) -> None:
    """Before anything is touched, with 2 and the reason."""
    done = home.run_mtr(words, project)
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert not (home.remote(project) / "a.txt").exists()


def test_variables_and_aliases_reach_a_job(home: Home, project: Path) -> None:
    """-e as for a run; mtr -d ALIAS is the alias, as a job."""
    path = project / ".mtr" / "config.yaml"
    data = json.loads(path.read_text()) | {"aliases": {"say": "sh -c 'echo \"$WORD $0\"'"}}
    path.write_text(json.dumps(data))
    job = start(home, project, "-e", "WORD=hi", "say", "you")
    assert home.run_mtr(["job", "logs", "-f", job], project).stdout == b"hi you\n"
    data["aliases"]["bg"] = "-d sleep 60"
    path.write_text(json.dumps(data))
    done = home.run_mtr(["bg"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"carries --detach, which only an alias of your own" in done.stderr


def test_a_dry_run_says_what_a_job_is(home: Home, project: Path) -> None:
    """And starts none, notes none, and shows no command that may hold a secret."""
    words = ["-d", "--pull", "out/*", "--notify", "curl https://hook.example/SECRET", "--dry-run", "python", "x.py"]
    done = home.run_mtr(words, project)
    said = done.stdout.decode()
    assert done.returncode == 0
    assert "python x.py, as a job that goes on without mtr\n" in said
    assert "# when it has ended, mtr job pull brings out/*\n" in said
    assert "a process here tells of it: a command that is run here" in said
    assert "SECRET" not in said
    assert list_jobs(home, project) == []
    assert not (home.home / ".state/mtr/jobs").exists()


def test_the_result_file_has_the_id(home: Home, project: Path) -> None:
    """As job; a run has null there."""
    job = start(home, project, "--result", str(home.dir / "r.json"), "exit 7")
    result = json.loads((home.dir / "r.json").read_text())
    assert (result["job"], result["by"], result["exit"], result["phase"]) == (job, "mtr", 0, "done")
    home.run_mtr(["--result", str(home.dir / "r.json"), "true"], project)
    assert json.loads((home.dir / "r.json").read_text())["job"] is None


def test_a_job_that_cannot_be_started_is_a_failure_of_mtrs(home: Home, project: Path) -> None:
    """125, with the server's own words; nothing is noted."""
    jobs = home.server.home_of("bash") / ".mtr" / "jobs"
    for left in jobs.glob("*"):
        left.rmdir()
    jobs.rmdir()
    jobs.write_text("")
    try:
        done = home.run_mtr(["-d", "true"], project)
    finally:
        jobs.unlink()
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"mtr: no job was started on lab" in done.stderr
    assert str(jobs).encode() in done.stderr
    assert [*(home.home / ".state/mtr/jobs").iterdir()] == []


# -- what is brought


def test_what_a_job_leaves_is_brought_by_whoever_asks(home: Home, project: Path) -> None:
    """--pull is kept with the job: wait --pull brings it, and so does job pull, later, from another state directory."""
    code = "mkdir -p out; echo 1 >out/a.json; echo 2 >out/b.json; echo no >out/c.txt; exit 3"
    job = start(home, project, "--pull", "out/*.json", "--get", "a.txt", "--name", "p", code)
    assert home.run_mtr(["job", "wait", "--pull", job], project).returncode == 3
    came = {path.name: path.read_text() for path in (project / "downloads").iterdir() if path.suffix}
    assert came == {"a.json": "1\n", "b.json": "2\n", "a.txt": "one\n"}
    other = {"XDG_STATE_HOME": str(home.dir / "other")}
    done = home.run_mtr(["job", "pull", "--to", str(home.dir / "there"), "p"], project, environ=other)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(home.dir / "there")) == ["a.json", "a.txt", "b.json"]


def test_a_pull_that_brings_nothing_is_told(home: Home, project: Path) -> None:
    """Before the end it is refused; a job without --pull has nothing; what did not come is named."""
    job = start(home, project, "--pull", "nowhere", "sleep 60")
    done = home.run_mtr(["job", "pull", job], project)
    assert done.returncode == 125
    assert f"mtr job wait --pull {job}".encode() in done.stderr
    assert home.run_mtr(["job", "stop", job], project).returncode == 0
    done = home.run_mtr(["job", "pull", job], project)
    assert done.returncode == 125
    assert b"nowhere" in done.stderr
    done = home.run_mtr(["job", "pull", start(home, project, "true")], project)
    assert done.returncode == 125
    assert b"was not told what to bring" in done.stderr


def test_pulls_of_several_jobs_do_not_hinder_each_other(home: Home, project: Path) -> None:
    """One that leaves nothing makes it 1, and the other's comes; one that has not ended is refused before any comes."""
    nothing = start(home, project, "--pull", "nowhere", "true")
    something = start(home, project, "--pull", "a.txt", "true")
    runs = start(home, project, "--pull", "a.txt", "sleep 60")
    assert home.run_mtr(["job", "wait", nothing, something], project).returncode == 0
    refused = home.run_mtr(["job", "pull", "--to", "early/", something, runs], project)
    assert (refused.returncode, (project / "early").exists()) == (125, False)
    assert f"mtr get --job {runs} a.txt".encode() in refused.stderr
    done = home.run_mtr(["job", "pull", "--to", "here/", nothing, something], project)
    assert done.returncode == 1
    assert (project / "here" / "a.txt").read_text() == "one\n"
    assert b"got 1 file" in done.stderr
    again = home.run_mtr(["job", "pull", "-q", "--to", "here/", something], project)
    assert (again.returncode, again.stderr) == (0, b"")


def test_wait_with_pull_is_125_where_only_the_pull_failed(home: Home, project: Path) -> None:
    """As a run's --pull: the job's own status, unless that is 0."""
    job = start(home, project, "--pull", "nowhere", "true")
    assert home.run_mtr(["job", "wait", "--pull", job], project).returncode == 125
    job = start(home, project, "--pull", "nowhere", "exit 3")
    assert home.run_mtr(["job", "wait", "--pull", job], project).returncode == 3


def test_a_projects_place_for_downloads_needs_trust_there_too(home: Home, project: Path) -> None:
    """download_dir that leads out of a cloned project writes nothing before it is trusted."""
    job = start(home, project, "--pull", "a.txt", "true")
    home.configure(project, is_trusted=False, download_dir=str(home.dir / "outside"))
    for words in (["job", "wait", "--pull", job], ["job", "pull", job]):
        done = home.run_mtr(words, project)
        assert done.returncode == 125
        assert b"needs your trust" in done.stderr
    assert not (home.dir / "outside").exists()


# -- what is told


def test_the_end_of_a_job_runs_a_command(home: Home, project: Path) -> None:
    """With id, state, status and server in its environment; then nothing of mtr is left, and the log is empty."""
    told = home.dir / "told"
    command = f'echo "$MTR_JOB $MTR_STATE $MTR_STATUS $MTR_SERVER" >{told}.new; mv {told}.new {told}'
    job = start(home, project, "--notify", command, "sleep 0.3; exit 5")
    wait_until(told.exists, "the command to run")
    assert told.read_text() == f"{job} failed 5 lab\n"
    wait_until(lambda: not find_watchers(home), "the watcher to end")
    assert (home.home / ".state/mtr/notify.log").read_text() == ""


def find_watchers(home: Home) -> dict[int, str]:
    """Return the processes that wait for jobs of this person, with their words."""
    found = processes_mentioning([str(home.dir)])
    return {pid: words for pid, words in found.items() if "mtr.notify" in words}


def test_the_watcher_outlives_its_terminal_and_a_broken_line(home: Home, project: Path) -> None:
    """The terminal goes, the master is killed: the end is told all the same; the command is not in its argv."""
    told = home.dir / "told"
    child = home.spawn_mtr(
        ["-d", "--notify", f"echo SECRET >{told}", "while [ ! -e go ]; do sleep 0.05; done"], project
    )
    child.expect(pexpect.EOF)
    child.close(force=True)
    wait_until(lambda: find_watchers(home), "the watcher to start")
    for pid in home.masters():
        os.kill(pid, signal.SIGKILL)
    assert "SECRET" not in "".join(find_watchers(home).values())
    assert home.run_mtr(["--no-sync", "touch", "go"], project).returncode == 0
    wait_until(told.exists, "the command to run")
    wait_until(lambda: not find_watchers(home), "the watcher to end")


def test_the_watcher_ends_with_a_job_that_is_removed(home: Home, project: Path) -> None:
    """And says that nothing is known of it."""
    told = home.dir / "told"
    job = start(home, project, "--notify", f'echo "$MTR_STATE:$MTR_STATUS" >{told}', "sleep 60")
    wait_until(lambda: find_watchers(home), "the watcher to start")
    (watcher,) = find_watchers(home)
    os.kill(watcher, signal.SIGSTOP)
    home.run_mtr(["job", "stop", job], project)
    home.run_mtr(["job", "rm", job], project)
    os.kill(watcher, signal.SIGCONT)
    wait_until(lambda: told.exists() and told.read_text(), "the command to run")
    assert told.read_text() == "unknown:\n"
    wait_until(lambda: not find_watchers(home), "the watcher to end")


def test_the_terminal_that_asked_rings(home: Home, project: Path) -> None:
    """One bell, long after mtr has ended there, and nothing else."""
    shell = pexpect.spawn("sh", cwd=str(project), env=home.environ, timeout=30, echo=False)
    shell.sendline(
        f"PS1=; {sys.executable} -m mtr -d --notify bell 'while [ ! -e go ]; do sleep 0.05; done'; echo back"
    )
    shell.expect("back")
    assert home.run_mtr(["--no-sync", "touch", "go"], project).returncode == 0
    shell.expect("\a")
    shell.close(force=True)
    wait_until(lambda: not find_watchers(home), "the watcher to end")


def test_the_desktop_is_told_in_plain_text(home: Home, project: Path) -> None:
    """notify-send gets title and text without markup; without it, and without osascript, there is no job."""
    assert home.run_mtr(["-d", "--notify", "desktop", "true"], project).returncode == 125
    assert list_jobs(home, project) == []
    folder, told = home.dir / "bin", home.dir / "told"
    folder.mkdir()
    (folder / "notify-send").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{told}.new; mv {told}.new {told}\n')
    (folder / "notify-send").chmod(0o755)
    home.environ["PATH"] = f"{folder}:{home.environ['PATH']}"
    job = start(home, project, "--name", "<b>&x", "--notify", "desktop", "exit 2")
    wait_until(told.exists, "the note")
    *front, title, text = told.read_text().splitlines()
    assert (front, title) == (["-a", "mtr", "--"], "mtr: bx failed with 2")
    assert text.startswith(f"{job} on lab after ")
    wait_until(lambda: not find_watchers(home), "the watcher to end")


def test_wait_tells_and_keeps_the_jobs_status(home: Home, project: Path) -> None:
    """--notify of wait is told when all have ended; a command that fails is said, and changes nothing."""
    told = home.dir / "told"
    job = start(home, project, "exit 3")
    done = home.run_mtr(["job", "wait", "--notify", f'echo "$MTR_STATUS" >>{told}', job], project)
    assert (done.returncode, told.read_text()) == (3, "3\n")
    done = home.run_mtr(["job", "wait", "--notify", "exit 9", job], project)
    assert done.returncode == 3
    assert b"ended with 9" in done.stderr


def test_the_configuration_can_ask_for_it(home: Home, project: Path) -> None:
    """`notify` of the user's own file holds for each job, in warm runs too; --notify is stronger."""
    told = home.dir / "told"
    own = home.home / ".config" / "mtr" / "config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps({"defaults": {"notify": f'echo "$MTR_JOB" >>{told}'}}))
    for _ in range(2):
        job = start(home, project, "true")
        wait_until(lambda: told.exists() and job in told.read_text(), "the command to run")  # noqa: B023
    start(home, project, "--notify", f"touch {told}.other", "true")
    wait_until((home.dir / "told.other").exists, "the other command to run")
    wait_until(lambda: not find_watchers(home), "the watchers to end")
    assert told.read_text().count("\n") == 2
    shown = home.run_mtr(["config", "show"], project).stdout.decode()
    assert "notify: '***'" in shown or "notify: ***" in shown
    assert str(told) not in shown


def test_a_projects_notify_runs_nothing_before_it_is_trusted(home: Home, project: Path) -> None:
    """A command of a cloned project's asks, as every program that it would run here; bell and desktop need no trust."""
    told = home.dir / "told"
    home.configure(project, is_trusted=False, notify=f"touch {told}")
    for words in (["-d", "true"], ["true"]):
        done = home.run_mtr(words, project)
        assert (done.returncode, done.stdout) == (125, b"")
        assert b"servers.lab.notify: touch" in done.stderr
        assert b"runs a program here" in done.stderr
    assert not told.exists()
    home.trust(project)
    job = start(home, project, "true")
    wait_until(told.exists, "the command to run")
    assert job
    wait_until(lambda: not find_watchers(home), "the watcher to end")
    home.configure(project, is_trusted=False, notify="bell")
    start(home, project, "true")
    assert find_watchers(home) == {}, "nobody is there to hear it"


# -- keys


def test_ids_and_names_complete(home: Home, project: Path) -> None:
    """By real keys: from what was noted here, and from the server whose connection is open."""
    person = Keys("bash", home, project)
    person.run("true")
    noted = start(home, project, "--name", "train-noted", "true")
    other = {"XDG_STATE_HOME": str(home.dir / "other")}
    done = home.run_mtr(["-d", "--name", "elsewhere", "sleep 60"], project, environ=other)
    assert done.returncode == 0
    assert "rror" not in person.run("_mtr_run true")  # keeps a route for this environment
    person.show_words("mtr")
    try:
        for line, words in (
            ("mtr job logs -f tra", "<job><logs><-f><train-noted>"),
            (f"mtr job stop {noted[:5]}", f"<job><stop><{noted}>"),
            ("mtr job wait els", "<job><wait><elsewhere>"),
            (f"mtr job wait els {noted[:5]}", f"<job><wait><els><{noted}>"),
            ("mtr -d --after train", "<-d><--after><train-noted>"),
            ("mtr job start --noti", "<job><start><--notify>"),
            ("mtr job start --notify des", "<job><start><--notify><desktop>"),
            ("mtr job sta", "<job><start>"),
            ("mtr job wait --pu", "<job><wait><--pull>"),
            ("mtr job list -s la", "<job><list><-s><lab>"),
        ):
            assert person.complete(line) == words
        home.run_mtr(["down"], project)
        assert person.complete("mtr job logs tra") == "<job><logs><train-noted>"
        assert home.masters() == [], "no TAB opens a connection"
    finally:
        person.close()
