"""The start of jobs that wait and have a copy, as a server runs it, under every shell that may stand behind /bin/sh."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mtr.jobs.start import turn_into_start
from mtr.ssh.gate import Command
from tests.lab.processes import wait_until
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

ID = "0badcafe"
SMI = "#!/bin/sh\ncase $* in *compute-apps*) ;; *) echo '0, GPU-a, 7'; echo '1, GPU-b, 2000' ;; esac\n"


@pytest.fixture(params=sorted(POSIX_SHELLS))
def posix_sh(request: pytest.FixtureRequest) -> list[str]:
    """Each shell in turn, in place of /bin/sh."""
    return POSIX_SHELLS[request.param]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project as a sync has left it on the server, with things of its own beside, and GPUs."""
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / ".mtr").mkdir()
    for name in ("a b", "-x", "src/c"):
        (root / name).write_text(f"{name}\n")
    (root / "src" / "made").write_text("there\n")
    (root / "empty").mkdir()
    record = "".join(f"1:2:3|./{name}\n" for name in ("a b", "-x", "src/c", "gone", "src/c"))
    (root / ".mtr" / "put.me").write_text(record)
    (root / ".mtr" / "t.now").write_text("1 boot\nme now before\n")
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(SMI)
    smi.chmod(0o755)
    return root


def start(
    posix_sh: list[str], tree: Path, options: list[str], *, seen: str = "now"
) -> subprocess.CompletedProcess[bytes]:
    """Start a job with ``posix_sh`` for /bin/sh in all that is mtr's."""
    command = Command("0123456789abcdef", ("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES"; cat ./* src/*'))
    turn_into_start(command, ID, "", options, (str(tree), "me"))
    script, *words = command.argv
    shell = " ".join(posix_sh)
    words[2] = words[2].replace("/bin/sh", shell)
    extra = {
        "PATH": f"{tree.parent}/bin:{os.environ['PATH']}",
        "MTR_HOME": str(tree.parent),
        "MTR_NO": f"{tree.parent}/no",
        "MTR_TOKEN": seen,
        "MTR_GPU_CLAIMS": f"{tree.parent}/claims",
    }
    return run_shell([*posix_sh, "-c", script.replace("/bin/sh", shell), "mtr-start", *words], tree, extra=extra)


def test_a_job_with_a_copy_and_a_gpu(posix_sh: list[str], tree: Path) -> None:
    """It reads the copy, gets the GPU that is free, and leaves no claim."""
    done = start(posix_sh, tree, ["gpus=1", "copy=must"])
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{ID}\n".encode(), b"")
    job = tree.parent / ".mtr" / "jobs" / ID
    wait_until(lambda: list(job.glob("ended.*")), "its end")
    assert (job / "out").read_text() == "0\n-x\na b\nsrc/c\nthere\n"
    assert (job / "gpus").read_text() == "0\n"
    assert (job / "tree" / "src" / "made").is_symlink()
    assert not (job / "tree" / "a b").is_symlink()
    assert not (job / "tree" / "empty").is_symlink()
    assert {path.name for path in (job / "tree").iterdir()} == {"a b", "-x", "src", "empty"}
    assert {path.name for path in job.iterdir()} >= {"about", "manifest", "origin", "tree"}
    wait_until(lambda: not (tree.parent / "claims").exists(), "no claims")


@pytest.mark.parametrize("token", ["before", "+now", "+before"])
def test_a_tree_that_holds_what_was_synced(posix_sh: list[str], tree: Path, token: str) -> None:
    """Also one on which the same machine has built since."""
    assert start(posix_sh, tree, ["copy=must"], seen=token).returncode == 0
    wait_until(lambda: list((tree.parent / ".mtr" / "jobs" / ID).glob("ended.*")), "its end")


@pytest.mark.parametrize(
    ("options", "token", "words"),
    [
        (["copy=must"], "other", "token\n"),
        (["gpus=3"], "now", "job\nthere are 2 GPUs here, and the job wants 3\n0, GPU-a, 7 MiB in use\n"),
    ],
)
def test_a_refusal_leaves_nothing(posix_sh: list[str], tree: Path, options: list[str], token: str, words: str) -> None:
    """Another tree than was synced, too few GPUs: the reason stands where the gate's would, and nothing else does."""
    done = start(posix_sh, tree, options, seen=token)
    assert (done.returncode, done.stdout) == (125, b"")
    assert (tree.parent / "no").read_text().startswith(words)
    assert not list((tree.parent / ".mtr" / "jobs").glob("*"))
    assert not list((tree.parent / ".mtr" / "jobs").glob(".*"))
    assert not (tree.parent / "claims").exists()


def test_an_undo_between_is_seen(posix_sh: list[str], tree: Path) -> None:
    """What takes the token, changes the tree and gives it back while the copy is made: the copy is made anew."""
    slow = tree.parent / "bin" / "cp"
    slow.write_text(
        f'#!/bin/sh\n[ -e {tree.parent}/once ] || case $* in *--parents*) touch {tree.parent}/once; /bin/cp "$@"\n'
        f"echo undone >{tree}/src/c; printf '2 boot\\nme now before\\n' >{tree}/.mtr/t.now; exit 0 ;; esac\n"
        'exec /bin/cp "$@"\n'
    )
    slow.chmod(0o755)
    assert start(posix_sh, tree, ["copy=must"]).returncode == 0
    job = tree.parent / ".mtr" / "jobs" / ID
    wait_until(lambda: list(job.glob("ended.*")), "its end")
    assert (tree.parent / "once").exists()
    assert (job / "tree" / "src" / "c").read_text() == "undone\n"
