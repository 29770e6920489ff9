"""Real input: mtr's own checkout on a server, and some of its own unit tests run there through mtr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.home import Home

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_mtrs_own_checkout_works_on_a_server_twice(home: Home) -> None:
    """No configuration: the checkout syncs to a directory of its own, and pytest there ends with 0, twice."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/config", "tests/unit/sync"]
    destination = f"bash@127.0.0.1:{home.server.port}"
    del home.environ["PYTHONPATH"]
    for _ in range(2):
        done = home.run_mtr(["-s", destination, *command], CHECKOUT, timeout_s=400)
        assert done.returncode == 0, done.stdout.decode()[-3000:] + done.stderr.decode()[-2000:]
        assert b" passed" in done.stdout
    (copy,) = (home.server.home_of("bash") / "mtr").glob(f"{CHECKOUT.name}-*")
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, check=True, text=True)
    for name in listed.stdout.splitlines():
        assert (copy / name).read_bytes() == (CHECKOUT / name).read_bytes(), name
    assert not (copy / ".venv").exists()
    assert not (copy / ".git").exists()
