"""The signals of a job are those of a command that is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home


@pytest.mark.parametrize("more", [[], ["--pty"]])
def test_a_job_ignores_no_signal(home: Home, project: Path, more: list[str]) -> None:
    """What a shell starts with & ignores INT and QUIT, and Python would then never raise KeyboardInterrupt."""
    text = "import signal; print([n for n in (1, 2, 3, 13, 15) if signal.getsignal(n) is signal.SIG_IGN])"
    job = home.run_mtr(["-d", *more, "python3", "-c", text], project).stdout.decode().strip()
    assert home.run_mtr(["job", "wait", job], project).returncode == 0
    # Python itself ignores PIPE.
    assert home.run_mtr(["job", "logs", job], project).stdout.strip() == b"[13]"
