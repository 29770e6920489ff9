"""The command line as a user meets it: help, version, verbs, dry run, the order of a run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


def test_no_command_prints_help(home: Home) -> None:
    """On stdout, status 0; outside any project too."""
    for words in ([], ["--help"], ["-h"]):
        done = home.run_mtr(words, home.dir)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"Usage: mtr [OPTIONS] CMD [ARGS]..." in done.stdout


def test_run_alone_needs_a_command_and_its_help_has_every_option(home: Home) -> None:
    """Nothing runs by accident; -h is --help, also behind a verb."""
    done = home.run_mtr(["run"], home.dir)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"a run needs a command" in done.stderr
    for words in (["run", "--help"], ["run", "-h"]):
        assert b"--dry-run" in home.run_mtr(words, home.dir).stdout
    assert b"Usage: mtr sync" in home.run_mtr(["sync", "-h"], home.dir).stdout


def test_data_and_failures_come_in_one_envelope(home: Home, project: Path) -> None:
    """``--json``: what it is, whether it went well, and the error's code, words and next command otherwise."""
    found = json.loads(home.run_mtr(["servers", "--json"], project).stdout)
    assert (found["kind"], found["ok"], found["data"][0]["name"]) == ("servers", True, "lab")
    (project / ".mtr" / "config.yaml").write_text("servers: [")
    done = home.run_mtr(["servers", "--json"], project)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["error"]["code"], found["error"]["exit_status"]) == (
        125,
        False,
        "config",
        125,
    )
    assert found["error"]["hint"]
    assert done.stderr.startswith(b"mtr: ")


def test_the_version_is_printed(home: Home) -> None:
    """``mtr 0.1.0``."""
    assert home.run_mtr(["--version"], home.dir).stdout.startswith(b"mtr 0.")


def test_a_run_syncs_then_runs(home: Home, project: Path) -> None:
    """An edit is there for the next run; a run without sync leaves the server's files as they are."""
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"one\n"
    (project / "a.txt").write_text("edited\n")
    assert home.run_mtr(["--no-sync", "cat", "a.txt"], project).stdout == b"one\n"
    assert home.run_mtr(["cat", "a.txt"], project).stdout == b"edited\n"


def test_sync_alone_is_silent_in_batch(home: Home, project: Path) -> None:
    """Nothing on stdout; nothing on stderr either where nobody looks."""
    done = home.run_mtr(["sync"], project)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (home.remote(project) / "src" / "b.py").exists()
    done = home.run_mtr(["sync", "-v"], project)
    assert b"up to date" in done.stderr


def test_a_sync_and_its_undo_are_data_too(home: Home, project: Path) -> None:
    """What would be brought, what was, and what came back: in the same envelope."""

    def ask(*words: str) -> dict[str, object]:
        return json.loads(home.run_mtr([*words, "--json"], project).stdout)  # type: ignore[no-any-return]

    assert ask("sync", "--dry-run")["data"] == {
        "new": ["a.txt", "src/b.py"],
        "changed": [],
        "deleted": [],
        "foreign": [],
    }
    receipt = ask("sync")["data"]
    assert isinstance(receipt, dict)
    assert (receipt["files"], receipt["server"], receipt["deleted"]) == (2, "lab", 0)
    (project / "a.txt").unlink()
    assert ask("sync")["data"]["deleted"] == 1  # type: ignore[index]
    found = ask("undo")
    assert (found["kind"], found["data"]["paths"]) == ("undo", ["a.txt"])  # type: ignore[index]
    assert ask("trust", "--show")["data"] == {"hash": None, "trusted": True, "values": []}
    home.configure(project, is_trusted=False, password_command="pass show lab")
    found = ask("trust", "--show")
    assert found["data"]["trusted"] is False  # type: ignore[index]
    assert home.run_mtr(["sync", "--watch", "--json"], project).returncode == 2


def test_a_terminal_sees_a_receipt(home: Home, project: Path) -> None:
    """How much went where, once."""
    child = home.spawn_mtr(["true"], project)
    child.expect(r"mtr: synced 2 files \(\d+ B\) to lab in [0-9.]+ s\r\n")
    child.expect_exact(__import__("pexpect").EOF)
    child.close()


def test_own_files_are_never_synced(home: Home, project: Path) -> None:
    """``.mtr/`` stays here, whatever the rules say."""
    home.configure(project, include=[".mtr/"])
    (project / ".mtr" / "local.yaml").write_text("{}")
    assert home.run_mtr(["true"], project).returncode == 0
    assert not list((home.remote(project) / ".mtr").glob("*.yaml"))


def test_a_dry_run_shows_the_commands_and_runs_nothing(home: Home, project: Path) -> None:
    """Ssh as it would be started, what would be brought and how; the environment masked; no connection, no file."""
    done = home.run_mtr(["--dry-run", "-e", "TOKEN=hunter2", "touch", "started"], project)
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert any(" -M -N -f " in line for line in lines)
    assert "# sync: asks the server what it has, and brings what differs" in lines
    assert any("touch started" in line for line in lines)
    assert "# with TOKEN=***" in lines
    assert b"hunter2" not in done.stdout
    assert not home.masters()
    assert not home.remote(project).exists()
    assert home.run_mtr(["true"], project).returncode == 0
    for size, words in ((10, "in the command's own session"), (300_000, "a stream"), (20_000_000, "by rsync")):
        (project / "new").write_bytes(os.urandom(size))
        shown = home.run_mtr(["--dry-run", "true"], project).stdout.decode()
        assert "1 to bring, 0 to delete" in shown
        assert words in shown
        assert ("\nrsync " in shown) is (size > 1_000_000)
    assert not (home.remote(project) / "new").exists()


def test_a_verb_refuses_an_option_that_it_does_not_take(home: Home, project: Path) -> None:
    """``mtr --dry-run undo`` must not undo."""
    done = home.run_mtr(["--dry-run", "undo"], project)
    assert done.returncode == 2
    assert b"takes no --dry-run" in done.stderr
    assert not home.remote(project).exists()


def test_the_server_can_come_from_the_environment(home: Home, project: Path) -> None:
    """MTR_SERVER, weaker than -s."""
    done = home.run_mtr(["true"], project, environ={"MTR_SERVER": "nosuch"})
    assert done.returncode == 125
    assert b"nosuch" in done.stderr
    assert home.run_mtr(["-s", "lab", "true"], project, environ={"MTR_SERVER": "nosuch"}).returncode == 0


def test_reserved_words_are_said_to_be_so(home: Home, project: Path) -> None:
    """A verb that is still to come is no remote program by accident."""
    done = home.run_mtr(["tunnel"], project)
    assert done.returncode == 2
    assert b"mtr -- tunnel" in done.stderr


def test_the_python_interface(home: Home, project: Path) -> None:
    """``mtr.connect().run([...])`` returns status and bytes."""
    import subprocess
    import sys

    script = (
        "import mtr; r = mtr.connect('lab'); print(r.sync().files_sent); "
        "d = r.run(['cat', 'a.txt']); print(d.status, d.stdout); print(r.run('exit 3').status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=home.environ, capture_output=True, check=False, text=True
    )
    assert done.stdout == "2\n0 b'one\\n'\n3\n", done.stderr


def test_a_worktree_reads_the_main_worktrees_configuration(home: Home, project: Path) -> None:
    """``git worktree add``: no configuration of its own, its own files."""
    home.git(project, "add", "a.txt", "src")
    home.git(project, "commit", "-qm", "x")
    tree = home.dir / "p" / "tree"
    home.git(project, "worktree", "add", "-q", str(tree))
    (tree / "a.txt").write_text("in the worktree\n")
    home.configure(project, remote_dir="~/{project}-{branch}")
    done = home.run_mtr(["sh", "-c", "cat a.txt; pwd"], tree)
    assert done.stdout.decode().splitlines() == ["in the worktree", f"{home.server.home_of('bash')}/tree-tree"], (
        done.stderr
    )


def test_a_directory_removed_on_the_server_is_made_again(home: Home, project: Path) -> None:
    """Its parents too, on the same connection."""
    import shutil

    assert home.run_mtr(["true"], project).returncode == 0
    shutil.rmtree(home.remote(project).parent)
    done = home.run_mtr(["cat", "a.txt"], project)
    assert (done.returncode, done.stdout) == (0, b"one\n"), done.stderr


def test_a_submodule_that_became_a_file_is_that_file(home: Home, project: Path) -> None:
    """What stands on disk is synced."""
    import shutil

    nested = project / "gl"
    nested.mkdir()
    home.git(nested, "init", "-q")
    home.git(nested, "commit", "-q", "--allow-empty", "-m", "x")
    home.git(project, "add", "gl")
    home.git(project, "commit", "-qm", "x")
    shutil.rmtree(nested)
    nested.write_text("file\n")
    assert home.run_mtr(["cat", "gl"], project).stdout == b"file\n"


def test_a_reader_that_has_gone_ends_mtr_as_it_ends_a_filter(home: Home, project: Path) -> None:
    """`mtr servers | head -0`: 141, and not a word."""
    for words in (["servers"], ["config", "schema"], ["--help"], ["doctor"], ["shell-init", "bash"]):
        reader, writer = os.pipe()
        os.close(reader)
        with home.popen_mtr(words, project, stdout=writer) as run:
            os.close(writer)
            assert (run.communicate()[1], run.returncode) == (b"", 141), words


def test_words_that_nobody_can_take_change_no_status(home: Home, project: Path) -> None:
    """stderr on a full disk, or a pipe that nobody reads: what the command did counts, and mtr's failures stay 125."""
    reader, broken = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full:
        for stderr in (full, broken):
            for words, status in (
                (["-v", "sh", "-c", "exit 3"], 3),
                (["-v", "true"], 0),
                (["-s", "nope", "true"], 125),
            ):
                with home.popen_mtr(words, project, stderr=stderr) as run:
                    assert run.wait() == status, words
    os.close(broken)
