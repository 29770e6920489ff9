"""The code a job runs is the code you saw: the copy that it runs in, what git says of it, and where its outputs are."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mtr.jobs.git_state import pack_state
from tests.lab.disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def start(home: Home, project: Path, *words: str, **more: object) -> str:
    """Start a job and return its id."""
    done = home.run_mtr(["-d", *words], project, **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr.decode()
    job_id = done.stdout.decode().strip()
    assert re.fullmatch("[0-9a-f]{8}", job_id), done.stdout
    return job_id


def finish(home: Home, project: Path, *ids: str) -> bytes:
    """Wait for jobs and return what the first has printed."""
    done = home.run_mtr(["job", "wait", *ids], project)
    assert done.returncode == 0, done.stderr.decode()
    return home.run_mtr(["job", "logs", ids[0]], project).stdout


def place(home: Home, job_id: str, user: str = "bash") -> Path:
    """Return where the server keeps the job."""
    return home.server.home_of(user) / ".mtr" / "jobs" / job_id


def show(home: Home, project: Path, job_id: str) -> dict[str, object]:
    """Return what `mtr job show --json` says."""
    done = home.run_mtr(["job", "show", "--json", job_id], project)
    assert done.returncode == 0, done.stderr.decode()
    data: dict[str, object] = json.loads(done.stdout)["data"]
    return data


def hold(home: Home, project: Path) -> tuple[str, Path]:
    """Start a job that lasts until a file is there; return its id and that file."""
    gate = home.server.home_of("bash") / f"go-{home.dir.name}-{os.urandom(4).hex()}"
    return start(home, project, "sh", "-c", f"until [ -e {gate} ]; do sleep 0.1; done"), gate


def remove(home: Home, project: Path, *ids: str) -> None:
    """Remove jobs, so that other tests do not see them."""
    done = home.run_mtr(["job", "rm", *ids], project)
    assert done.returncode == 0, done.stderr.decode()


def test_later_syncs_do_not_change_what_a_queued_job_reads(home: Home, project: Path) -> None:
    """The copy is made at the start, by default for a job that waits; the project goes on beside it."""
    first, gate = hold(home, project)
    job = start(home, project, "--after", first, "sh", "-c", "cat a.txt; python3 src/b.py; echo made >out.txt; pwd")
    (project / "a.txt").write_text("edited later\n")
    (project / "src" / "b.py").unlink()
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"edited later\n"
    gate.touch()
    printed = finish(home, project, job)
    assert printed.startswith(b"one\ntwo\n"), printed
    assert printed.endswith(f"/.mtr/jobs/{job}/tree\n".encode())
    assert not (home.remote(project) / "out.txt").exists()
    done = home.run_mtr(["get", "--job", job, "out.txt", "*.txt", "here/"], project)
    assert done.returncode == 0, done.stderr.decode()
    assert (project / "here" / "out.txt").read_text() == "made\n"
    assert (project / "here" / "a.txt").read_text() == "one\n"
    remove(home, project, job, first)
    gate.unlink()


def test_without_a_copy_outputs_are_in_the_project(home: Home, project: Path) -> None:
    """`mtr get --job` finds them there; a job that does not wait has no copy unless it is asked for."""
    job = start(
        home, project, "--name", f"plain-{home.dir.name}", "sh", "-c", "mkdir -p out; echo made >out/x.txt; pwd"
    )
    assert finish(home, project, job).decode().strip() == str(home.remote(project))
    done = home.run_mtr(["get", "--job", f"plain-{home.dir.name}", "out/*.txt", "--to", "here/"], project)
    assert done.returncode == 0, done.stderr.decode()
    assert (project / "here" / "x.txt").read_text() == "made\n"
    unknown = home.run_mtr(["get", "--job", "no-such-job", "out"], project)
    assert unknown.returncode == 125
    assert b"there is no job no-such-job" in unknown.stderr
    remove(home, project, job)


def test_the_copy_is_nobody_elses(home: Home, project: Path) -> None:
    """A job that writes into a file changes neither the project's nor what mtr knows of that: no hard links."""
    assert home.run_mtr(["true"], project).returncode == 0
    there = home.remote(project) / "a.txt"
    before = there.stat()
    job = start(home, project, "--snapshot", "sh", "-c", "echo more >>a.txt; cat a.txt")
    assert finish(home, project, job) == b"one\nmore\n"
    after = there.stat()
    assert there.read_text() == "one\n"
    assert (before.st_ino, before.st_ctime_ns, before.st_nlink) == (after.st_ino, after.st_ctime_ns, 1)
    (project / "a.txt").write_text("two\n")
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.stdout, done.stderr) == (b"two\n", b""), "nothing was taken for changed on the server"
    remove(home, project, job)


ODD = [b"with space", b"-rf", b"new\nline", b"q'\"$(x)`", b"back\\slash", b"\xff\xfe", b"d ir/-x", b"n\nd/in", b"*"]


def make_odd(project: Path) -> None:
    """Make files with names that break scripts, links, and a program."""
    root = os.fsencode(project)
    for name in ODD:
        os.makedirs(os.path.dirname(root + b"/" + name), exist_ok=True)
        with open(root + b"/" + name, "wb") as file:
            file.write(name)
    (project / "run").write_text("#!/bin/sh\necho ran\n")
    (project / "run").chmod(0o755)
    (project / "link").symlink_to("a.txt")
    (project / "dangling").symlink_to("nowhere")


@pytest.mark.parametrize("pushes", [1, 2])
@pytest.mark.parametrize("tools", ["gnu", "busybox"])
def test_any_name_is_in_the_copy(home: Home, project: Path, tmp_path: Path, tools: str, pushes: int) -> None:
    """Blanks, newlines, leading dashes, no UTF-8; links stay links; also without GNU cp, also after a later push."""
    if pushes == 2:
        assert home.run_mtr(["true"], project).returncode == 0
    make_odd(project)
    words = ["--snapshot", "sh", "-c", "./run; cat link"]
    if tools == "busybox":
        bin_dir = tmp_path / "bin"
        bin_dir.mkdir()
        for name in ("cp", "tar", "find", "xargs", "sort", "sed", "head", "tr", "rm", "mkdir", "ln"):
            (bin_dir / name).symlink_to(shutil.which("busybox") or "")
        words = ["-e", f"PATH={bin_dir}:/usr/bin:/bin", *words]
    job = start(home, project, *words)
    assert finish(home, project, job) == b"ran\none\n"
    tree = os.fsencode(place(home, job) / "tree")
    for name in ODD:
        with open(tree + b"/" + name, "rb") as file:
            assert file.read() == name
        assert not os.path.islink(tree + b"/" + name), name
    assert os.readlink(tree + b"/link") == b"a.txt"
    assert os.readlink(tree + b"/dangling") == b"nowhere"
    remove(home, project, job)


def test_what_is_not_synced_is_linked_to(home: Home, project: Path) -> None:
    """Data beside the code is there without being copied, on every level; what is empty is the copy's own."""
    (project / ".gitignore").write_text("data/\n*.bin\nfresh/\n")
    assert home.run_mtr(["mkdir -p data fresh; echo big >data/set; echo w >src/w.bin"], project).returncode == 0
    text = "cat data/set src/w.bin; echo x >fresh/x; ls -d .mtr"
    job = start(home, project, "--snapshot", "sh", "-c", f"{text}; true")
    assert finish(home, project, job) == b"big\nw\n"
    tree = place(home, job) / "tree"
    there = home.remote(project)
    assert (tree / "data").readlink() == there / "data"
    assert (tree / "src" / "w.bin").readlink() == there / "src" / "w.bin"
    assert (tree / "fresh" / "x").exists()
    assert not (there / "fresh" / "x").exists()
    remove(home, project, job)


def test_a_job_begins_in_the_same_directory_of_the_copy(home: Home, project: Path) -> None:
    """One that is started below the project's root begins below the copy's."""
    job = start(home, project / "src", "--snapshot", "pwd")
    assert finish(home, project, job).decode().strip() == str(place(home, job) / "tree" / "src")
    remove(home, project, job)


def test_a_copy_needs_something_that_was_synced(home: Home, project: Path) -> None:
    """--snapshot with --no-sync copies what was synced last; before any sync it is refused, and nothing is left."""
    before = set((home.server.home_of("bash") / ".mtr" / "jobs").glob("*"))
    done = home.run_mtr(["-d", "--no-sync", "--snapshot", "true"], project)
    assert done.returncode == 125
    assert done.stdout == b""
    assert b"no job was started" in done.stderr
    jobs = home.server.home_of("bash") / ".mtr" / "jobs"
    assert set(jobs.glob("*")) == before
    assert home.run_mtr(["true"], project).returncode == 0
    (project / "a.txt").write_text("edited\n")
    job = start(home, project, "--no-sync", "--snapshot", "cat", "a.txt")
    assert finish(home, project, job) == b"one\n"
    code = show(home, project, job)["code"]
    assert isinstance(code, dict)
    assert code["state"] == "none", "what is here is not what ran there"
    remove(home, project, job)


def test_a_full_disk_refuses_the_job(home: Home, project: Path) -> None:
    """Nothing starts, nothing is left, and the system's words say why."""
    (project / "big").write_bytes(os.urandom(400_000))
    jobs = home.server.home_of("zsh") / ".mtr" / "jobs"
    jobs.parent.mkdir(exist_ok=True)
    home.configure(project, "zsh")
    with small_disk(jobs, "200k") as disk:
        done = home.run_mtr(["-d", "--snapshot", "true"], project)
        assert done.returncode == 125
        assert b"No space left on device" in done.stderr
        assert done.stderr.count(b"\n") < 12
        assert list(disk.path.iterdir()) == []
        job = start(home, project, "--no-snapshot", "echo", "well")
        assert finish(home, project, job) == b"well\n"
    jobs.rmdir()


def test_a_copy_is_of_one_moment(home: Home, project: Path) -> None:
    """Other runs push all the time: each copy holds one version of all files, that of its start or a later one."""
    names = [f"f{number:03}" for number in range(300)]

    def write(version: int) -> None:
        for name in names:
            (project / name).write_text(f"{version}\n")

    write(0)
    assert home.run_mtr(["true"], project).returncode == 0
    pusher = (
        "import subprocess, sys, itertools, pathlib\n"
        "for version in range(1, 13):\n"
        f"    [pathlib.Path(name).write_text(f'{{version}}\\n') for name in {names!r}]\n"
        "    subprocess.run([sys.executable, '-m', 'mtr', 'sync', '-q'], check=True)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", pusher], cwd=project, env=home.environ)
    jobs = []
    while other.poll() is None:
        # Without a sync of its own: this one must not wait for a moment at which nobody writes here.
        done = home.run_mtr(["-d", "--no-sync", "--snapshot", "true"], project)
        if done.returncode == 0:
            jobs.append(done.stdout.decode().strip())
        else:
            assert b"others keep changing" in done.stderr, done.stderr
    assert other.returncode == 0
    assert jobs
    for job in jobs:
        tree = place(home, job) / "tree"
        assert len({(tree / name).read_text() for name in names}) == 1, job
    finish(home, project, *jobs)
    remove(home, project, *jobs)


def test_the_patch_gives_the_code_back(home: Home, project: Path) -> None:
    """On the commit, `mtr job show --diff` applied gives what the job has run: changed, new and binary files."""
    home.git(project, "add", ".")
    home.git(project, "commit", "-qm", "one")
    (project / "a.txt").write_text("changed\n")
    (project / "new file").write_text("new\n")
    (project / "-dash").write_text("dash\n")
    (project / "bin").write_bytes(bytes(range(256)))
    (project / "src" / "b.py").unlink()
    job = start(home, project, "true")
    finish(home, project, job)
    details = show(home, project, job)
    code = details["code"]
    assert isinstance(code, dict)
    assert code["state"] == "whole"
    assert code["branch"] == "main"
    dirty = {item["path"]: item["status"] for item in code["dirty"]}
    assert dirty == {"a.txt": "M", "src/b.py": "D", "new file": "?", "-dash": "?", "bin": "?"}
    other = home.dir / "other"
    subprocess.run(["git", "clone", "-q", project, other], env=home.environ, check=True)
    assert subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=other, text=True).strip() == code["commit"]
    patch = home.run_mtr(["job", "show", "--diff", job], project).stdout
    subprocess.run(["git", "apply"], cwd=other, input=patch, check=True)
    for name in ("a.txt", "new file", "-dash", "bin"):
        assert (other / name).read_bytes() == (project / name).read_bytes(), name
    assert not (other / "src" / "b.py").exists()
    shown = home.run_mtr(["job", "show", job], project).stdout.decode()
    for words in (job, "true", code["commit"], "M a.txt", "? new file", "files had been synced", "done"):
        assert words in shown, shown
    remove(home, project, job)


def test_a_change_in_the_second_of_the_commit_is_in_the_patch(home: Home, project: Path) -> None:
    """As long as before, and at the same time: git looks into what is as new as its index, and the patch is git's."""
    home.git(project, "config", "core.trustctime", "false")
    times = (1_700_000_000, 1_700_000_000)
    os.utime(project / "a.txt", times)
    home.git(project, "add", ".")
    home.git(project, "commit", "-qm", "one")
    with (project / "a.txt").open("r+") as file:
        file.write("two")
    os.utime(project / "a.txt", times)
    os.utime(project / ".git" / "index", times)
    job = start(home, project, "cat", "a.txt")
    assert finish(home, project, job) == b"two\n"
    patch = home.run_mtr(["job", "show", "--diff", job], project).stdout
    assert b"-one\n+two\n" in patch
    remove(home, project, job)


def test_a_submodule_in_the_patch_is_one_that_git_applies(home: Home, project: Path) -> None:
    """Whatever the user's own way to look at submodules."""
    inner = project / "inner"
    inner.mkdir()
    home.git(inner, "init", "-q")
    (inner / "f").write_text("1\n")
    home.git(inner, "add", ".")
    home.git(inner, "commit", "-qm", "inner")
    home.git(project, "-c", "advice.addEmbeddedRepo=false", "add", ".")
    home.git(project, "commit", "-qm", "one")
    home.git(project, "config", "diff.submodule", "log")
    before = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=inner, text=True).strip()
    home.git(inner, "commit", "-qm", "more", "--allow-empty")
    told = pack_state(str(project), {b"inner", b"a.txt", b"src/b.py"}, home.environ)
    assert f"-Subproject commit {before}" in gzip.decompress(told).decode()


def test_the_patch_has_nothing_that_is_not_synced(home: Home, project: Path) -> None:
    """What is excluded stays here, though git tracks it; so does what is in .mtr."""
    (project / "keys.env").write_text("old\n")
    (project / ".mtrignore").write_text("*.env\n")
    home.git(project, "add", "-f", ".")
    home.git(project, "commit", "-qm", "one")
    (project / "keys.env").write_text("a-secret-of-mine\n")
    (project / "more.env").write_text("another-secret-of-mine\n")
    (project / ".mtr" / "local.yaml").write_text("# a-third-secret-of-mine\n")
    (project / "a.txt").write_text("changed\n")
    job = start(home, project, "true")
    finish(home, project, job)
    patch = home.run_mtr(["job", "show", "--diff", job], project).stdout
    assert b"changed" in patch
    assert b"secret-of-mine" not in patch
    remove(home, project, job)


def test_a_large_difference_is_cut_and_said(home: Home, project: Path) -> None:
    """The job starts all the same, and its patch is not passed off as a whole one."""
    home.git(project, "add", ".")
    home.git(project, "commit", "-qm", "one")
    (project / "big.txt").write_text("".join(f"{number:08x}\n" for number in range(2_200_000)))
    job = start(home, project, "true")
    finish(home, project, job)
    code = show(home, project, job)["code"]
    assert isinstance(code, dict)
    assert code["state"] == "cut"
    assert code["patch_bytes"] <= 16 << 20
    told = home.run_mtr(["job", "show", "--diff", job], project)
    assert b"git apply will not take it" in told.stderr
    remove(home, project, job)


@pytest.mark.parametrize("without", ["repository", "git", "commit"])
def test_code_without_git(home: Home, project: Path, tmp_path: Path, without: str) -> None:
    """No repository, no git here, nothing committed yet: the job starts, and what is known is told."""
    environ = {}
    if without == "repository":
        shutil.rmtree(project / ".git")
    elif without == "git":
        for name in os.listdir("/usr/bin"):
            if not name.startswith("git"):
                (tmp_path / name).symlink_to(f"/usr/bin/{name}")
        environ = {"PATH": str(tmp_path)}
        # What is synced is asked of git: it is known from before.
        shutil.rmtree(project / ".git")
    job = start(home, project, "true", environ=environ)
    finish(home, project, job)
    code = show(home, project, job)["code"]
    assert isinstance(code, dict)
    assert code["commit"] == ""
    assert code["state"] == ("whole" if without == "commit" else "none")
    if without == "commit":
        patch = home.run_mtr(["job", "show", "--diff", job], project).stdout
        assert b"+one" in patch
    assert list(home.home.glob(".state/mtr/origin*")) == []
    remove(home, project, job)


def test_several_start_with_copies_while_the_tree_changes(home: Home, project: Path) -> None:
    """Each starts over when another's push has come between, and reads one version of all."""
    assert home.run_mtr(["true"], project).returncode == 0
    running = []
    for version in range(5):
        (project / "a.txt").write_text(f"{version}\n")
        (project / "src" / "b.py").write_text(f"{version}\n")
        running.append(home.popen_mtr(["-d", "--snapshot", "cat", "a.txt", "src/b.py"], project))
    jobs = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
        jobs.append(out.decode().strip())
    finish(home, project, *jobs)
    for job in jobs:
        first, second = home.run_mtr(["job", "logs", job], project).stdout.split()
        assert first == second
    remove(home, project, *jobs)


def test_a_project_that_has_gone_is_brought_again(home: Home, project: Path) -> None:
    """Somebody has removed the project there: it is brought again and copied."""
    assert home.run_mtr(["true"], project).returncode == 0
    shutil.rmtree(home.remote(project))
    job = start(home, project, "--snapshot", "cat", "a.txt")
    assert finish(home, project, job) == b"one\n"
    remove(home, project, job)
