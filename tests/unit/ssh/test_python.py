"""The Python environment of a run, entered as a server does it, under every shell that may run it."""

from __future__ import annotations

import json
import os
import sys
import venv
from typing import TYPE_CHECKING

import pytest

from tests.unit.shells import LOGIN_SHELLS
from tests.unit.ssh.test_gate import RUN, command, run_gate

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

SHOW = 'command -v python; echo "$CONDA_DEFAULT_ENV|$CONDA_PREFIX|$VIRTUAL_ENV|$MARK|$SET|${PYTHONHOME-none}"'


@pytest.fixture(params=["bash", "dash", "mksh", "zsh", "ash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each value that `shell` may have, in turn."""
    if request.param != "ash":
        return str(request.param)
    wrapper = tmp_path / "ash"
    wrapper.write_text('#!/bin/sh\nexec busybox ash "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def run_in(home: Path, shell: str, python: str, *words: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run ``words`` (or a look around) in the environment ``python``."""
    found = command(*(words or (SHOW,)), is_text=not words, shell=shell, python=python, **more)
    return run_gate(LOGIN_SHELLS["dash"], home, found)


def make_conda(prefix: Path, *, is_base: bool = False) -> Path:
    """Make what conda would: a Python, conda-meta with variables, and a package's activation script."""
    for folder in ("bin", "conda-meta", "etc/conda/activate.d", *(["condabin", "envs"] if is_base else [])):
        (prefix / folder).mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(sys.executable)
    (prefix / "conda-meta" / "state").write_text(json.dumps({"env_vars": {"SET": "it's a $value", "bad name": "x"}}))
    (prefix / "etc" / "conda" / "activate.d" / "mark.sh").write_text('export MARK="marked $CONDA_DEFAULT_ENV"\n')
    (prefix / "etc" / "conda" / "activate.d" / "mark.fish").write_text("exit 1\n")
    return prefix


def test_an_environment_of_condas_is_entered_by_its_name(tmp_path: Path, shell: str) -> None:
    """Its programs come first, its packages' scripts run, its variables are set; conda itself is not started."""
    base = make_conda(tmp_path / "miniconda3", is_base=True)
    torch = make_conda(base / "envs" / "torch")
    done = run_in(tmp_path, shell, "conda:torch", env={"PYTHONHOME": "/nosuch"})
    line = f"torch|{torch}||marked torch|it's a $value|none"
    assert done.stdout.decode().splitlines() == [f"{torch}/bin/python", line], done.stderr
    done = run_in(tmp_path, shell, "conda:base")
    assert done.stdout.decode().splitlines()[1].startswith(f"base|{base}|")
    done = run_in(tmp_path, shell, "conda:torch", "python", "-c", "import os; print(os.environ['MARK'])")
    assert (done.returncode, done.stdout) == (0, b"marked torch\n")


def test_variables_that_are_no_text_are_set_as_conda_sets_them(tmp_path: Path, shell: str) -> None:
    """An environment.yml may have numbers there."""
    base = make_conda(tmp_path / "miniconda3", is_base=True)
    state = base / "conda-meta" / "state"
    state.write_text(json.dumps({"env_vars": {"CUDA_VISIBLE_DEVICES": 0, "SET": "after"}}))
    state.rename(make_conda(base / "envs" / "torch") / "conda-meta" / "state")
    done = run_in(tmp_path, shell, "conda:torch", "sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES $SET"')
    assert (done.stdout, done.stderr) == (b"0 after\n", b"")


def test_conda_is_found_where_it_was_put(tmp_path: Path, shell: str) -> None:
    """On the PATH, by its own list of environments, by the environment's path; names with spaces too."""
    far = make_conda(tmp_path / "far away" / "py 3")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"/nosuch/envs/x\n{far}\n")
    for python in ("conda:py 3", f"conda:{far}"):
        assert run_in(tmp_path, shell, python).stdout.decode().startswith(f"{far}/bin/python\n"), python
    odd = make_conda(tmp_path / "odd", is_base=True)
    (odd / "bin" / "conda").symlink_to("/bin/true")
    made = make_conda(odd / "envs" / "made")
    path = f"{odd}/bin:{os.environ['PATH']}"
    assert run_in(tmp_path, shell, "conda:made", env={"PATH": path}).stdout.decode().startswith(f"{made}/bin/python\n")


def test_a_venv_is_entered_by_its_path(tmp_path: Path, shell: str) -> None:
    """Relative to the project's directory, wherever below it the command runs; ~/ too; pre_cmd comes after it."""
    (tmp_path / "proj" / "sub").mkdir(parents=True)
    venv.create(tmp_path / "proj" / ".venv", with_pip=False, symlinks=True)
    place = tmp_path / "proj" / ".venv"
    for python in ("venv:.venv", "venv:~/proj/.venv", f"venv:{place}"):
        done = run_in(tmp_path, shell, python, remote_dir="~/proj", subdir="sub", pre_cmd="export MARK=$VIRTUAL_ENV")
        assert done.stdout.decode().splitlines() == [f"{place}/bin/python", f"||{place}|{place}||none"], done.stderr
    look = ("python", "-c", "import sys; print(sys.prefix)")
    assert run_in(tmp_path, shell, "venv:proj/.venv", *look).stdout.decode() == f"{place}\n"


@pytest.mark.parametrize(
    "python", ["conda:nosuch", "venv:.venv", "conda:/nosuch", "conda:$(touch x)", "venv:'; touch x; '"]
)
def test_an_environment_that_is_not_there_is_a_refusal(tmp_path: Path, shell: str, python: str) -> None:
    """The command does not start, and what is there instead is told; a name is never code."""
    make_conda(tmp_path / "miniforge3", is_base=True)
    make_conda(tmp_path / "miniforge3" / "envs" / "torch")
    done = run_in(tmp_path, shell, python, "touch", "started")
    assert (done.returncode, done.stdout, done.stderr) == (125, b"", b"")
    assert not (tmp_path / "started").exists()
    assert not (tmp_path / "x").exists()
    reason, found = (tmp_path / f".mtr-no.{RUN}").read_text().splitlines()
    assert reason == "python"
    assert "torch" in found or "no bin/python" in found or python == "conda:/nosuch"
