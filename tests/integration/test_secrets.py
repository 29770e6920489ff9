"""A password is nowhere but where it is typed: no argv, no environment, no log, no file, no error, on every engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import processes_mentioning
from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

WAYS: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "askpass": ({"MTR_PASSWORD_HELPER": "askpass"}, {}),
    "sshpass": ({"MTR_PASSWORD_HELPER": "sshpass"}, {}),
    "pexpect": ({"MTR_PASSWORD_HELPER": "pexpect"}, {}),
    "sftp": ({}, {"sync": "sftp"}),
    "paramiko": ({}, {"client": "paramiko"}),
}
WRONG = "wr0ng-and-secret"


class Watch:
    """Looks at every process as long as the block runs; ``seen`` are those of ``home`` that show ``secret``.

    Other tests, at the same time, may have a variable of theirs with the same password in it.
    """

    def __init__(self, home: Home, secret: str) -> None:
        self._places = [str(home.dir), str(home.server.dir)]
        self._secret = secret
        self._over = threading.Event()
        self.seen: dict[int, str] = {}
        self.looks = 0

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._over.is_set():
            ours = processes_mentioning(self._places)
            self.seen |= {pid: shown for pid, shown in processes_mentioning([self._secret]).items() if pid in ours}
            self.looks += 1

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[dict[str, str], dict[str, object]]:
    """One way in which a password reaches the server."""
    return WAYS[request.param]


def assert_nowhere(secret: str, *places: Path) -> None:
    """No file below ``places`` holds ``secret``, but for the configuration that it was written into."""
    files = [path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if secret.encode() in path.read_bytes() and path.parent.name != ".mtr"] == []
    assert files


def test_a_password_shows_nowhere(home: Home, way: tuple[dict[str, str], dict[str, object]]) -> None:
    """During the login and after it; in what is said, in mtr's own files, and on the server."""
    environ, keys = way
    project = home.make_project(user=PASSWORD_USER, **keys)
    with Watch(home, PASSWORD) as watch:
        said = home.run_mtr(["-v", "cat", "a.txt"], project, environ=environ)
        plan = home.run_mtr(["--dry-run", "true"], project, environ=environ)
        home.run_mtr(["down"], project)
        cold_plan = home.run_mtr(["--dry-run", "true"], project, environ=environ)
    assert said.stdout == b"one\n", said.stderr
    assert (watch.seen, watch.looks > 3) == ({}, True)
    for done in (said, plan, cold_plan):
        assert PASSWORD.encode() not in done.stdout + done.stderr
    assert_nowhere(PASSWORD, home.dir, home.server.home_of(PASSWORD_USER) / home.dir.name)


def test_a_wrong_password_shows_nowhere_either(home: Home, way: tuple[dict[str, str], dict[str, object]]) -> None:
    """Nor in the error, and it is tried once."""
    environ, keys = way
    project = home.make_project(user=PASSWORD_USER, **{**keys, "password": WRONG})
    failures = home.server.log.read_text().count("Failed password")
    with Watch(home, WRONG) as watch:
        done = home.run_mtr(["true"], project, environ=environ)
    assert done.returncode == 125
    assert watch.seen == {}
    assert WRONG.encode() not in done.stdout + done.stderr
    assert home.server.log.read_text().count("Failed password") == failures + 1
    assert_nowhere(WRONG, home.dir)
    assert not list(home.runtime.glob("*.json"))
