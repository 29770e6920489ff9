"""Driving programs whose output mtr reads."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from mtr.errors import MissingProgram
from mtr.process.captured import ProgramTimeout, run_captured, stream
from tests.lab.processes import processes_mentioning, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_bytes_and_status_are_exact() -> None:
    """Whatever the bytes; stdin is what is given, else empty."""
    done = run_captured(["sh", "-c", "cat; printf 'e\\377\\0' >&2; exit 7"], stdin=b"\0\xff\n")
    assert (done.status, done.stdout, done.stderr) == (7, b"\0\xff\n", b"e\xff\0")
    assert run_captured(["cat"]).stdout == b""
    assert run_captured(["sh", "-c", "kill -TERM $$"]).status == -15


def test_words_are_not_touched() -> None:
    """Empty ones, blanks, globs, bytes that are not UTF-8."""
    assert run_captured(["printf", "%s|", "", "a b", "*", "é", "\udcff"]).stdout == b"|a b|*|\xc3\xa9|\xff|"


def test_much_goes_both_ways() -> None:
    """More than any pipe holds."""
    data = os.urandom(3_000_000)
    assert run_captured(["cat"], stdin=data).stdout == data


def test_output_comes_as_it_is_written() -> None:
    """A chunk is handed over when it is there, not when some buffer is full."""
    seen: list[float] = []
    stream(
        ["sh", "-c", "echo a; sleep 0.5; echo b"], on_stdout=lambda _: seen.append(time.monotonic()), on_stderr=print
    )
    assert len(seen) == 2
    assert seen[1] - seen[0] > 0.3


def test_an_error_in_a_callback_is_raised_and_the_program_ends() -> None:
    """The rest of the output is read, so that nothing hangs on a full pipe."""

    def fail(_chunk: bytes) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        stream(["sh", "-c", "yes | head -c 1000000"], on_stdout=fail, on_stderr=fail)


def test_a_timeout_ends_the_program_and_its_children() -> None:
    """Nothing of the group goes on."""
    with pytest.raises(ProgramTimeout, match=r"sh did not end within 0\.3 s"):
        run_captured(["sh", "-c", "sleep 8765 & sleep 8765"], timeout_s=0.3)
    wait_until(lambda: not processes_mentioning(["sleep\x008765"]), "the children to end")


def test_a_missing_program_is_said() -> None:
    """By name, also when the program's own PATH lacks it."""
    with pytest.raises(MissingProgram, match="nosuchprogram is not installed"):
        run_captured(["nosuchprogram"])
    with pytest.raises(MissingProgram):
        run_captured(["cat"], env={"PATH": "/nosuch"})


def test_the_directory_and_the_environment_are_those_given(tmp_path: Path) -> None:
    """Nothing of the caller's leaks in."""
    done = run_captured(["sh", "-c", 'pwd; echo "$A$HOME"'], cwd=tmp_path, env={"A": "1", "PATH": os.environ["PATH"]})
    assert done.stdout.decode().splitlines() == [str(tmp_path), "1"]
