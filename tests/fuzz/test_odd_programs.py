"""Programs on the PATH that are not what they are called: no traceback, and nothing half done on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtr.ssh.gate import Command, build_gate_call
from tests.fuzz.scale import pick
from tests.fuzz.test_odd_surroundings import is_clear
from tests.lab.trees import read_tree
from tests.unit.shells import run_shell

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

BODIES = {
    "silent": "exit 0",
    "failing": "echo 'fatal: no' >&2; exit 128",
    "odd bytes": r"printf '\377\376\000? x\000? ../../y\000H 160000\000\n\n'; exit 0",
    "words": "echo usage: x; exit 1",
    "killed": "kill -9 $$",
    "odd status": "kill -40 $$",
    "many lines": "i=0; while [ $i -lt 2000 ]; do echo 'user x'; i=$((i+1)); done",
}
CASES = [(program, body) for body in BODIES for program in ("git", "ssh", "rsync", "ssh-keygen")]


@pytest.mark.parametrize(("program", "body"), pick(CASES, 5))
def test_what_is_called_like_a_program(home: Home, project: Path, program: str, body: str) -> None:
    """Whatever it prints and however it ends; with the real one the next run is right."""
    home.configure(project, sync="rsync" if program == "rsync" else "auto")
    fake = home.dir / "bin"
    fake.mkdir()
    (fake / program).write_text(f"#!/bin/sh\n{BODIES[body]}\n")
    (fake / program).chmod(0o755)
    odd = {"PATH": f"{fake}:{home.environ['PATH']}"}
    for arguments in (["true"], ["sync", "--full"], ["why", "a.txt", "src"], ["servers"]):
        is_clear(home.run_mtr(arguments, project, environ=odd), among=b"try: ")
    assert home.run_mtr(["sync", "--full"], project).returncode == 0
    assert read_tree(project).items() <= read_tree(home.remote(project)).items()


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.binary(max_size=8).map(
    lambda data: data.replace(b"\0", b"").decode(errors="surrogateescape")
)


@settings(settings.get_profile("fuzz-programs"))
@given(argv=st.lists(words, max_size=4), value=words, subdir=st.sampled_from(["", "a b", "-n", "$(x)", "é'\"\\"]))
def test_the_gate_passes_any_words_on(tmp_path: Path, argv: list[str], value: str, subdir: str) -> None:
    """Arguments, an environment variable and a directory arrive byte for byte."""
    (tmp_path / "p" / subdir).mkdir(parents=True, exist_ok=True)
    show = ["sh", "-c", 'printf "%s\\0" "$A" "$PWD" "$@"', "x", *argv]
    command = Command("0123456789abcdef", tuple(show), remote_dir="~/p", subdir=subdir, env={"A": value})
    call = build_gate_call(command, "LC_MTR")
    done = run_shell(["bash", "-c", call.remote_command], tmp_path, extra=call.environ)
    place = str(tmp_path / "p" / subdir).rstrip("/")
    expected = "".join(f"{word}\0" for word in (value, place, *argv)).encode(errors="surrogateescape")
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
