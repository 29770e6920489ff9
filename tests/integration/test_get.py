"""Downloads: what a pattern names, where it lands, what is left out, and how a cut one goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_security import serve_lies
from tests.lab.disk import small_disk
from tests.lab.processes import wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

MAKE = "mkdir -p out/sub out/.hid .mtr/x; for f in a b sub/c .hid/d .e; do echo $f >out/$f.pt; done; echo t >out/t.txt"


@pytest.fixture
def made(home: Home, project: Path) -> Path:
    """A project whose server has results."""
    assert home.run_mtr([MAKE], project).returncode == 0
    return project


def list_files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() and path.name != ".mtrignore"}


@pytest.mark.parametrize("client", ["auto", "paramiko"])
def test_patterns_keep_the_path_behind_their_fixed_part(home: Home, made: Path, client: str) -> None:
    """As cp for one star; with more, the directories that tell the files apart. Hidden names are matched by a dot."""
    home.configure(made, client=client)
    for number, (pattern, found) in enumerate({
        "out/*.pt": {"a.pt", "b.pt"},
        "out/**/*.pt": {"a.pt", "b.pt", "sub/c.pt"},
        "out/[!a].pt": {"b.pt"},
        "*/sub": {"out/sub/c.pt"},
        "out/*/": {"sub/c.pt"},
        "out/.[a-z]*": {".e.pt", ".hid/d.pt"},
        f"~/{home.dir.name}/*/out/?.txt": {"proj/out/t.txt"},
        "*/*.pt": {"out/a.pt", "out/b.pt"},
    }.items()):  # fmt: skip
        done = home.run_mtr(["get", pattern, f"got{number}/"], made)
        assert done.returncode == 0, done.stderr
        assert list_files(made / f"got{number}") == found, pattern


def test_any_name_travels(home: Home, made: Path) -> None:
    """Blanks, quotes, newlines, bytes that are no UTF-8; a file that is called as a pattern wins over it."""
    folder = os.fsencode(home.remote(made) / "odd")
    os.mkdir(folder)
    names = [b"*", b"a b", b"q'\"$(x)", b"n\nl", b"\xff\xfe", b"-rf", b"[x"]
    for name in names:
        with open(folder + b"/" + name, "wb") as file:
            file.write(name)
    assert home.run_mtr(["get", "odd/*", "one/"], made).returncode == 0
    assert list_files(made / "one") == {"*"}
    os.unlink(folder + b"/*")
    assert home.run_mtr(["get", "odd/*", "all/"], made).returncode == 0
    assert sorted(os.listdir(os.fsencode(made / "all"))) == sorted(names[1:])
    for name in names[1:]:
        done = home.run_mtr([b"get", b"odd/" + name, b"each/"], made)
        assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(os.fsencode(made / "each"))) == sorted(names[1:])


def test_where_it_lands(home: Home, made: Path) -> None:
    """--to over LOCAL's place in the line, that over `download_dir`; a new name, a directory, several things."""
    for words, expected in (
        (["out/a.pt"], "downloads/a.pt"),
        (["out/a.pt", "new.pt"], "new.pt"),
        (["out/a.pt", "src"], "src/a.pt"),
        (["out/a.pt", "deep/er/"], "deep/er/a.pt"),
        (["out/a.pt", "out/b.pt", "src"], "src/b.pt"),
        (["--to", "both", "out/a.pt", "out/b.pt"], "both/b.pt"),
        (["out/sub", "renamed"], "renamed/c.pt"),
        (["out/sub/", "src/"], "src/sub/c.pt"),
        (["out/*.txt", "globbed"], "globbed/t.txt"),
        (["-C", "src", "out/a.pt", "out/b.pt", "in/"], "src/in/b.pt"),
    ):
        done = home.run_mtr(["get", *words], made)
        assert done.returncode == 0, done.stderr
        assert (made / expected).is_file(), words
    home.configure(made, download_dir="elsewhere/x")
    assert home.run_mtr(["--get", "out/a.pt"], made / "src").returncode == 0
    assert (made / "elsewhere" / "x" / "a.pt").is_file()
    assert home.run_mtr(["--get", "out/a.pt", "--to", "here.pt"], made / "src").returncode == 0
    assert (made / "src" / "here.pt").is_file()


def test_a_wrong_command_line_is_refused_before_anything_is_touched(home: Home, made: Path) -> None:
    """With the words that would do."""
    (made / "nowhere").symlink_to("missing")
    for words, said in (
        (["get", "out/a.pt", "out/b.pt", "nodir"], b"nodir/ makes it one"),
        (["get", "out/*.pt", "a.txt"], b"is no directory"),
        (["get", ""], b"empty"),
        (["get", "~root/x"], b"only ~/ is understood"),
        (["--pull", "x"], b"mtr get GLOB"),
        (["--pull", "out/*", "--to", "a.txt", "touch", "ran"], b"is no directory"),
        (["--pull", "~root/x", "touch", "ran"], b"only ~/ is understood"),
        (["--pull", "out/*", "--to", "nowhere", "touch", "ran"], b"is no directory"),
    ):
        done = home.run_mtr(words, made)
        assert done.returncode in (2, 125), words
        assert said in done.stderr, done.stderr
    assert not (home.remote(made) / "ran").exists()
    assert not (made / "downloads").exists()


@pytest.mark.parametrize("kind", ["file", "link", "read-only"])
def test_a_place_that_takes_no_downloads_costs_no_run(home: Home, made: Path, kind: str) -> None:
    """What stands in the place of `downloads` is told before the command starts."""
    place = made / "downloads"
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        place.symlink_to("missing")
    else:
        place.mkdir(mode=0o500)
    done = home.run_mtr(["--pull", "out/*", "touch", "ran"], made)
    if kind == "read-only" and os.access(place, os.W_OK):
        assert (done.returncode, list_files(place)) == (0, {"a.pt", "b.pt", "sub/c.pt", "t.txt"})  # root may
        return
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"downloads go into it" in done.stderr
    assert not (home.remote(made) / "ran").exists()


def test_downloads_stay_out_of_the_sync_after_a_full_disk(home: Home) -> None:
    """What could not be marked as such is made anew the next time."""
    with small_disk(home.dir / "p" / "small", "256k") as disk:
        (disk.path / ".git").mkdir()
        home.configure(disk.path)
        assert home.run_mtr(["--no-sync", "echo x >x.out"], disk.path).returncode == 0
        filler = disk.fill()
        done = home.run_mtr(["get", "x.out"], disk.path)
        assert (done.returncode, b"No space left" in done.stderr) == (125, True), done.stderr
        filler.unlink()
        assert home.run_mtr(["get", "x.out"], disk.path).returncode == 0
        assert b"*\n" in (disk.path / "downloads" / ".mtrignore").read_bytes()


def test_what_is_not_there_is_told_with_its_place(home: Home, made: Path) -> None:
    """A path and a pattern: where it was looked for, and what to type next; nothing is made here."""
    place = f"~/{home.dir.name}/proj"
    for remote, said in (
        ("nosuch", "No such file"),
        ("out/*.nosuch", "nothing there matches"),
        ("a.txt/", "Not a dir"),
    ):
        done = home.run_mtr(["get", remote], made)
        assert done.returncode == 125
        assert f"{place}/{remote.rstrip('/')}: {said}" in done.stderr.decode(), done.stderr
        assert b"try: " in done.stderr
    done = home.run_mtr(["get", "nosuch"], made / "src")
    assert f"names count from {place} there, and not from src in it".encode() in done.stderr
    done = home.run_mtr(["get", f"{home.home}/nosuch"], made)
    assert b"try: quote a ~ that is the server's: mtr get '~/nosuch'" in done.stderr
    assert not (made / "downloads").exists()


def test_an_unreadable_directory_is_named_and_the_rest_comes(
    home: Home, project: Path, make_server: Callable[..., SshServer]
) -> None:
    """Its name and the server's words, with exit 1; in a directory, and where a pattern looks."""
    rows = [["shut", 0o040000, 0], ["fine", 0o100644, 5], ["open", 0o040755, 0]]
    serve_lies(home, make_server, {"": rows, "shut": "forbidden", "open": [["fine", 0o100644, 5]]})
    for remote, found in (("top", {"top/fine", "top/open/fine"}), ("top/*/f*", {"open/fine"})):
        done = home.run_mtr(["get", remote, f"{len(remote)}/"], project)
        assert done.returncode == 1, done.stderr
        assert b"top/shut: Permission denied" in done.stderr
        assert list_files(project / f"{len(remote)}") == found


def test_an_unreadable_file_is_named_and_the_rest_comes(home: Home, made: Path) -> None:
    """It fails at its first byte, under the system's own hands."""
    os.symlink("/proc/self/mem", home.remote(made) / "out" / "c.pt")
    done = home.run_mtr(["get", "out/*.pt"], made)
    assert (done.returncode, b"out/c.pt: Failure" in done.stderr) == (1, True), done.stderr
    assert list_files(made / "downloads") == {"a.pt", "b.pt"}


def test_what_cannot_come_does_not_stop_the_rest(home: Home, made: Path) -> None:
    """A dangling link, a name that is missing, a directory here in a file's place: named, and exit 1."""
    os.symlink("nowhere", home.remote(made) / "out" / "z.pt")
    (made / "downloads" / "b.pt").mkdir(parents=True)
    done = home.run_mtr(["get", "--json", "--to", "downloads", "out/*.pt", "nosuch"], made)
    assert done.returncode == 1, done.stderr
    assert list_files(made / "downloads") == {"a.pt"}
    data = json.loads(done.stdout)["data"]
    assert (data["files"], data["bytes"], data["newer"]) == (1, 2, [])
    assert [os.path.basename(row["path"]) for row in data["failed"]] == ["z.pt", "nosuch", "b.pt"]
    for words in (b"z.pt: No such file", b"nosuch: No such file", b"is a directory here and a file there"):
        assert words in done.stderr


def test_filters_of_the_sync_do_not_hide_results(home: Home) -> None:
    """exclude, .gitignore and .mtrignore are about what goes there. mtr's own directory never comes."""
    project = home.make_project("ignoring", exclude=["*.pt"])
    for name in (".gitignore", ".mtrignore"):
        (project / name).write_text("out/\n")
    assert home.run_mtr([f"{MAKE}; mkdir out/.mtr; echo 1 >out/.mtr/local.yaml"], project).returncode == 0
    assert home.run_mtr(["get", "out"], project).returncode == 0
    assert list_files(project / "downloads" / "out") == {"a.pt", "b.pt", "sub/c.pt", ".hid/d.pt", ".e.pt", "t.txt"}
    assert home.run_mtr(["get", "out/.*", "hidden/"], project).returncode == 0
    assert list_files(project / "hidden") == {".e.pt", ".hid/d.pt"}
    assert b"never brought" in home.run_mtr(["get", ".mtr"], project).stderr


def test_two_things_of_one_name_do_not_overwrite_each_other(home: Home, made: Path) -> None:
    """The second is named; directories of one name become one."""
    assert home.run_mtr(["mkdir -p two/sub; echo 2 >two/a.pt; echo 2 >two/sub/d.pt"], made).returncode == 0
    done = home.run_mtr(["get", "out/a.pt", "two/a.pt", "out/sub", "two/sub", "got/"], made)
    assert done.returncode == 1
    assert b"would take the place of" in done.stderr
    assert list_files(made / "got") == {"a.pt", "sub/c.pt", "sub/d.pt"}
    assert (made / "got" / "a.pt").read_text() == "a\n"


# -- a cut, and what goes on


@pytest.fixture
def relay(home: Home, project: Path) -> Iterator[Relay]:
    """A line that can be cut, to the project's server."""
    made = Relay(home.server.port)
    home.configure(project, port=made.port, ssh_options={"ServerAliveInterval": 1, "ServerAliveCountMax": 2})
    home.known_hosts.write_text(f"[127.0.0.1]:{made.port} {(home.server.dir / 'host.pub').read_text()}")
    assert home.run_mtr(["true"], project).returncode == 0
    yield made
    made.close()


def write_large(path: Path, size_bytes: int = 12_000_000) -> bytes:
    data = os.urandom(size_bytes)
    path.write_bytes(data)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return data


def parts_of(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if ".mtr-" in path.name] if folder.exists() else []


@pytest.mark.parametrize("how", ["cut", "int", "kill"])
def test_a_cut_download_goes_on_where_it_was(home: Home, project: Path, relay: Relay, how: str) -> None:
    """The second one brings what was missing; until then nothing stands under the real name, and then nothing else."""
    data = write_large(home.remote(project) / "big.bin")
    folder = project / "downloads"
    if how == "cut":
        relay.cut_after(7_000_000)
        assert home.run_mtr(["get", "big.bin"], project).returncode == 125
    else:
        relay.bytes_per_s = 6_000_000
        process = home.popen_mtr(["get", "big.bin"], project)
        wait_until(lambda: any(p.stat().st_size > 6_000_000 for p in parts_of(folder)), "half of it")
        process.send_signal({"int": signal.SIGINT, "kill": signal.SIGKILL}[how])
        process.communicate(timeout=30)
        assert process.returncode == {"int": 130, "kill": -9}[how]
        relay.bytes_per_s = 0
    assert not (folder / "big.bin").exists()
    (part,) = parts_of(folder)
    assert part.stat().st_mode & 0o777 == 0o600
    have = part.stat().st_size
    assert have > 5_000_000
    assert data.startswith(part.read_bytes())
    assert home.run_mtr(["true"], project).returncode == 0  # a master for what is measured
    before = relay.passed_bytes
    done = home.run_mtr(["get", "big.bin"], project)
    assert done.returncode == 0, done.stderr
    assert relay.passed_bytes - before < len(data) - have + 500_000
    assert (folder / "big.bin").read_bytes() == data
    assert parts_of(folder) == []


def test_an_interrupted_pull_says_how_the_command_had_ended(home: Home, project: Path, relay: Relay) -> None:
    """130 alone would pass for the command's; what has come is kept, and what brings the rest is told."""
    write_large(home.remote(project) / "big.bin")
    relay.bytes_per_s = 3_000_000
    process = home.popen_mtr(["--no-sync", "--pull", "big.bin", "sh", "-c", "exit 3"], project)
    wait_until(lambda: any(p.stat().st_size > 2_000_000 for p in parts_of(project / "downloads")), "some of it")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == b"mtr: the command had ended with 3; the rest: mtr get big.bin\n"
    assert len(parts_of(project / "downloads")) == 1


def test_a_file_that_has_changed_starts_anew(home: Home, project: Path, relay: Relay) -> None:
    """What was kept of its old self goes."""
    remote = home.remote(project) / "big.bin"
    write_large(remote)
    relay.cut_after(7_000_000)
    assert home.run_mtr(["get", "big.bin"], project).returncode == 125
    assert len(parts_of(project / "downloads")) == 1
    shutil.copytree(project / "downloads", project / "src", dirs_exist_ok=True)
    (project / "src" / ".mtrignore").unlink()
    assert b"big" not in home.run_mtr(["sync", "--dry-run"], project).stdout  # what was kept is not brought there
    data = write_large(remote, 12_000_001)
    assert home.run_mtr(["get", "big.bin"], project).returncode == 0
    assert (project / "downloads" / "big.bin").read_bytes() == data
    assert parts_of(project / "downloads") == []


def test_a_planted_part_is_not_written_through(home: Home, project: Path, relay: Relay) -> None:
    """A link or a second name in the place of a part: the download takes another."""
    data = write_large(home.remote(project) / "big.bin")
    relay.cut_after(7_000_000)
    assert home.run_mtr(["get", "big.bin"], project).returncode == 125
    (part,) = parts_of(project / "downloads")
    victim = home.dir / "victim"
    for plant in (os.symlink, os.link):
        part.unlink(missing_ok=True)
        victim.write_text("precious")
        plant(victim, part)
        assert home.run_mtr(["get", "--force", "big.bin"], project).returncode == 0
        assert victim.read_text() == "precious"
        assert (project / "downloads" / "big.bin").read_bytes() == data


def test_two_downloads_of_one_file_at_once(home: Home, project: Path, relay: Relay) -> None:
    """Each has a part of its own; the file is whole, and nothing is left."""
    data = write_large(home.remote(project) / "big.bin")
    relay.bytes_per_s = 20_000_000
    runs = [home.popen_mtr(["get", "--force", "big.bin"], project) for _ in range(3)]
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    assert (project / "downloads" / "big.bin").read_bytes() == data
    assert parts_of(project / "downloads") == []


def test_one_file_does_not_take_the_place_of_another(home: Home, made: Path) -> None:
    """Two names may have been meant as two files: one of the project's is replaced only where that is said."""
    home.run_mtr(["true"], made)
    (made / "b.txt").write_text("mine\n")
    done = home.run_mtr(["get", "a.txt", "b.txt"], made)
    assert done.returncode == 125
    assert b"mtr get --force a.txt b.txt" in done.stderr
    assert (made / "b.txt").read_text() == "mine\n"
    assert home.run_mtr(["get", "--force", "a.txt", "b.txt"], made).returncode == 0
    assert (made / "b.txt").read_text() == (made / "a.txt").read_text()
    assert home.run_mtr(["get", "a.txt", "new.txt"], made).returncode == 0


# -- after a run


def test_a_run_brings_its_results_whatever_its_status(home: Home, made: Path) -> None:
    """--pull, more than once, and --get; in batch without a word. The status is the command's."""
    done = home.run_mtr(["--pull", "out/*.pt", "--pull", "new/", "--get", "a.txt", f"{MAKE}; mkdir new; exit 7"], made)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")
    assert list_files(made / "downloads") == {"a.pt", "b.pt", "a.txt"}
    assert (made / "downloads" / "new").is_dir()
    done = home.run_mtr(["--no-sync", "--get", "out/t.txt", "--to", "here.txt", "echo", "hi"], made)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hi\n", b"")
    assert (made / "here.txt").read_text() == "t\n"


def test_a_pull_that_fails_is_told_beside_the_status(home: Home, made: Path) -> None:
    """A pattern without a match, or a path that is missing, is 125, but not over the command's; --result says why."""
    for words, status, said in (
        (["--pull", "*.nosuch", "true"], 125, b"nothing there matches"),
        (["--pull", "nosuch", "true"], 125, b"nosuch: No such file"),
        (["--pull", "nosuch", "exit 3"], 3, b"nosuch: No such file"),
        (["--pull", "nosuch", "--pull", "out/a.pt", "true"], 125, b"nosuch: No such file"),
    ):
        done = home.run_mtr(["--result", "../result.json", *words], made)
        assert (done.returncode, done.stdout) == (status, b""), done.stderr
        assert said in done.stderr
        assert b"try: " in done.stderr
        told = json.loads((made.parent / "result.json").read_text())
        is_mtrs = status == 125
        assert (told["phase"], told["by"]) == (("pull", "mtr") if is_mtrs else ("done", "command")), told
        assert (told["code"] is not None, told["message"] is not None) == (is_mtrs, is_mtrs), told
    assert list_files(made / "downloads") == {"a.pt"}


def test_nothing_is_brought_after_an_interruption(home: Home, made: Path) -> None:
    """By Ctrl-C here, or a command that ends as by one; nor when it could not start."""
    running = home.popen_mtr(["--pull", "out/a.pt", "echo started; exec sleep 60"], made)
    assert running.stdout
    assert running.stdout.readline() == b"started\n"
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == 130
    done = home.run_mtr(["--pull", "out/*.pt", "kill -INT $$"], made)
    assert done.returncode == 130
    assert b"nothing was brought; mtr get 'out/*.pt'" in done.stderr
    home.configure(made, pre_cmd="false")
    assert home.run_mtr(["--pull", "out/a.pt", "true"], made).returncode == 125
    assert not (made / "downloads").exists()


def test_a_dry_run_names_what_would_be_brought(home: Home, made: Path) -> None:
    """With where it would go; nothing is made."""
    done = home.run_mtr(["--dry-run", "--pull", "out/*.pt", "--get", "a.txt", "true"], made)
    assert done.returncode == 0
    for remote in ("a.txt", "out/*.pt"):
        line = f"{remote} of lab (from ~/{home.dir.name}/proj) into {made}/downloads\n"
        assert line.encode() in done.stdout, done.stdout
    assert not (made / "downloads").exists()


def test_trust_is_asked_for_before_the_command_runs(home: Home, made: Path) -> None:
    """A place outside of the project, chosen by a project's file."""
    home.configure(made, is_trusted=False, download_dir=str(home.dir / "out"))
    done = home.run_mtr(["--pull", "out/a.pt", "touch", "ran"], made)
    assert done.returncode == 125
    assert b"needs your trust" in done.stderr
    assert not (home.remote(made) / "ran").exists()
    assert home.run_mtr(["--pull", "out/a.pt", "--to", "got/", "touch", "ran"], made).returncode == 0
    assert (made / "got" / "a.pt").exists()


def test_the_python_api_brings_the_same(home: Home, made: Path) -> None:
    """Remote.get: one, several, a pattern; an error of mtr's tree where nothing comes."""
    program = """
import mtr
lab = mtr.connect()
done = lab.get("out/*.pt", "got/")
print(done.files, done.failed, done.is_complete)
print(lab.get(["out/a.pt", "nosuch"]).failed[0].words)
try:
    lab.get("nosuch")
except mtr.errors.MtrError as error:
    print(error.code)
"""
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=made, env=home.environ, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.stdout == b"2 [] True\nNo such file\ndownload\n", done
    assert list_files(made / "got") == {"a.pt", "b.pt"}


def test_a_terminal_shows_progress_and_a_receipt(home: Home, project: Path, relay: Relay) -> None:
    """The bar is called get, and the receipt says how much came and to where."""
    write_large(home.remote(project) / "big.bin")
    relay.bytes_per_s = 8_000_000
    child = home.spawn_mtr(["get", "big.bin"], project)
    child.expect_exact("mtr: get ")
    child.expect(r"\d+%")
    child.expect_exact("got 1 file (12 MB) from lab")
    child.expect_exact("downloads")
    child.wait()
    assert child.exitstatus == 0
    child.close()
