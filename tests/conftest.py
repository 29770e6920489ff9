"""Fixtures of every test: isolation from the real user, the lab's server and home, and the check at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.faults import Fault, render_table
from tests.lab.home import Home
from tests.lab.kills import list_outliving
from tests.lab.processes import processes_mentioning, wait_until
from tests.lab.sshd import SshServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Started by nohup or with &, the tests inherit ignored signals, and so would everything that they start.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL)

_LAB_DIRS: set[str] = set()
"""Every directory that this process's lab has made; none may be left, nor a process that mentions one."""

_STRAY = Path(f"/tmp/mtr-{os.getuid()}")
"""Where mtr would put its sockets if a test forgot to say where."""

_STRAY_BEFORE = _STRAY.exists()


@pytest.fixture(scope="session")
def runtime_base() -> Iterator[Path]:
    """A short directory for sockets: pytest's own paths are too long for one."""
    path = Path(tempfile.mkdtemp(prefix="mtr-lab-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, runtime_base: Path) -> None:
    """No test reads or writes what belongs to the user who runs it."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("MTR_", "XDG_", "SSH_", "GIT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime_base))
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))


@pytest.fixture(scope="session")
def lab_dirs() -> set[str]:
    """The set to which tests add the directories of servers and homes that they make themselves."""
    return _LAB_DIRS


@pytest.fixture(scope="session")
def server() -> Iterator[SshServer]:
    """One sshd for everything that does not need one of its own."""
    with SshServer() as started:
        _LAB_DIRS.add(str(started.dir))
        yield started


@pytest.fixture
def make_server(server: SshServer) -> Iterator[Callable[..., SshServer]]:
    """Start further servers, with lines of their own in sshd_config; they accept the same client key."""
    made: list[SshServer] = []

    def make(*lines: str, accept_env: str = "LANG LC_*") -> SshServer:
        made.append(SshServer(lines=lines, key_from=server, accept_env=accept_env).start())
        _LAB_DIRS.add(str(made[-1].dir))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def home(server: SshServer) -> Iterator[Home]:
    """A person who types mtr, with a home of their own."""
    made = Home(server)
    _LAB_DIRS.add(str(made.dir))
    yield made
    made.close()


@pytest.fixture
def project(home: Home) -> Path:
    """A project of that person, configured for the user ``bash`` of the lab's server."""
    return home.make_project()


@pytest.fixture
def fault(home: Home, project: Path, record_property: Callable[[str, object], None]) -> Iterator[Fault]:
    """A fault to be injected; its row stands in the table at the end of the tests with MTR_FAULT_TABLE set."""
    made = Fault(home, project)
    yield made
    assert made.injected, "a row says what was injected"
    record_property("fault", {name: getattr(made, name) for name in ("injected", "saw", "took_s", "left")})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of faults where it is asked for."""
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    ended = sorted((report for report in reports if report.when == "teardown"), key=lambda report: report.nodeid)
    rows = [value for report in ended for name, value in report.user_properties if name == "fault"]
    if rows and os.environ.get("MTR_FAULT_TABLE"):
        terminalreporter.write(f"\n{render_table(rows)}")


@pytest.fixture
def make_project(home: Home, make_server: Callable[..., SshServer]) -> Callable[..., Path]:
    """Make a project whose server has lines of its own in sshd_config; it becomes the person's server."""

    def make(*lines: str, user: str = "bash") -> Path:
        home.use_server(make_server(*lines))
        return home.make_project(f"proj-{home.server.port}", user)

    return make


@pytest.fixture
def nothing_of_a_run_left(home: Home) -> Iterator[None]:
    """After the test: no run has a process or a file left on the person's server, nor a file here."""
    patterns = ("home/*/.mtr-*", "home/*/*/*/.mtr/busy.*", "home/*/*/*/.mtr/in.*")
    others = {path for pattern in patterns for path in home.server.dir.glob(pattern)}
    """Of tests before, whose runs nobody has followed."""
    yield
    wait_until(lambda: not list_outliving(home), f"the end of {list_outliving(home)}")
    left = [path for pattern in patterns for path in home.server.dir.glob(pattern) if path not in others]
    left += [path for path in home.runtime.glob("*") if path.name.startswith(("run.", "ask."))]
    assert not left, left


@pytest.fixture(scope="session", autouse=True)
def _nothing_left() -> Iterator[None]:
    """After the tests: no ssh, sshd or rsync process, no socket and no temporary file is left."""
    yield
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not processes_mentioning(_LAB_DIRS), "every process of the lab to end", 10)
    assert processes_mentioning(_LAB_DIRS) == {}
    left = [path for path in _LAB_DIRS if Path(path).exists()]
    assert not left, f"directories left: {left}"
    assert not _STRAY.exists() or _STRAY_BEFORE, f"{_STRAY}: mtr ran outside the lab"
