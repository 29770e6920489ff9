"""The notice of a newer version: asked of a real index in the background, told at a terminal, once a day."""

from __future__ import annotations

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pexpect
import pytest

from mtr import __version__
from mtr.update import NEVER, find_upgrade, is_newer, load_note, parse_answer
from tests.lab.processes import processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home

NEWEST = "97.1.0"


class Index:
    """A package index on 127.0.0.1 (the Simple Repository API) that knows one project; ``asked`` are its requests."""

    def __init__(self) -> None:
        asked: list[str] = []
        gate = threading.Event()
        gate.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                gate.wait(30)
                names = [f"mtremote-{version}-py3-none-any.whl" for version in ("0.0.9", NEWEST, "98.0rc1")]
                page = "".join(f'<a href="{name}">{name}</a><br>' for name in names).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        self.asked, self.gate = asked, gate
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(home: Home) -> Iterator[Index]:
    """The index that this person's pip is configured for."""
    made = Index()
    del home.environ["MTR_DISABLE_UPDATE_CHECK"]
    home.environ |= {"PIP_INDEX_URL": made.url, "PIP_CONFIG_FILE": "/dev/null"}
    yield made
    made.close()
    wait_until(lambda: not list_asking(home), "the process that asks to end", 30)


def list_asking(home: Home) -> dict[int, str]:
    """Return the processes that ask the index for this person."""
    return {pid: argv for pid, argv in processes_mentioning([str(home.dir)]).items() if "mtr.update" in argv}


def note(home: Home) -> Path:
    return home.home / ".state" / "mtr" / "update"


def see(home: Home, project: Path, *args: str) -> str:
    """Type mtr at a terminal and return what it shows."""
    child = home.spawn_mtr([*args, "echo", "done"], project)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return str(child.before.decode())


def test_a_newer_version_is_told_once_a_day(home: Home, project: Path, index: Index) -> None:
    """The first run has it asked and says nothing; the next says it, after the command's output; the third does not."""
    assert "is out" not in see(home, project)
    wait_until(lambda: load_note(str(note(home)))[1] == NEWEST, "the answer", 30)
    told = see(home, project, "--no-sync")
    assert told.startswith(f"done\r\nmtr: mtr {NEWEST} is out, this is {__version__}: ")
    assert "pip install -U mtremote" in told
    assert "is out" not in see(home, project, "--no-sync")
    assert index.asked == ["/simple/mtremote/"]
    asked_s, newest, _ = load_note(str(note(home)))
    note(home).write_text(f"{asked_s}\n{newest}\n{int(time.time()) - 86_500}\n")
    assert "is out" in see(home, project, "--no-sync")
    assert note(home).stat().st_mode & 0o777 == 0o600


def test_nobody_waits_for_the_index(home: Home, project: Path, index: Index) -> None:
    """It hangs, and the run has ended; several runs ask once; whoever asks has none of their streams."""
    index.gate.clear()
    see(home, project)
    wait_until(lambda: bool(index.asked), "the question", 30)
    see(home, project)
    assert len(list_asking(home)) <= 1
    assert len(index.asked) == 1


@pytest.mark.parametrize("how", ["batch", "stdout", "option", "quiet", "variable"])
def test_it_is_never_asked_for_where_nobody_wants_it(home: Home, project: Path, index: Index, how: str) -> None:
    """Batch, --no-check-update, -q, MTR_DISABLE_UPDATE_CHECK: neither asked nor told."""
    home.run_mtr(["true"], project)
    state = note(home)
    state.write_text(f"1\n{NEWEST}\n0\n")
    if how == "batch":
        done = home.run_mtr(["true"], project)
        assert (done.stdout, done.stderr) == (b"", b"")
    elif how == "stdout":
        line = f"{sys.executable} -m mtr true >/dev/null"
        child = pexpect.spawn("sh", ["-c", line], cwd=str(project), env=home.environ, timeout=30)
        child.expect(pexpect.EOF)
        child.close()
        assert child.before == b""
    else:
        home.environ |= {"MTR_DISABLE_UPDATE_CHECK": "1"} if how == "variable" else {}
        args = {"option": ["--no-check-update"], "quiet": ["-q"], "variable": []}[how]
        assert see(home, project, *args) == "done\r\n"
    assert state.read_text() == f"1\n{NEWEST}\n0\n"
    assert (index.asked, list_asking(home)) == ([], {})


def test_a_project_cannot_have_its_own_code_run_for_it(home: Home, project: Path, index: Index) -> None:
    """A ``pip`` or an ``mtr`` in the directory of the run is not what asks."""
    for name in ("pip", "mtr"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text(f"open({str(home.dir / 'caught')!r}, 'w')\n")
        (project / name / "__main__.py").write_text("")
    argv = [sys.executable, "-P", "-m", "mtr", "echo", "done"]
    child = pexpect.spawn(argv[0], argv[1:], cwd=str(project), env=home.environ, timeout=30)
    child.expect(pexpect.EOF)
    child.close()
    wait_until(lambda: load_note(str(note(home)))[1] == NEWEST, "the answer", 30)
    assert not (home.dir / "caught").exists()
    assert index.asked


def test_a_note_that_is_broken_counts_as_none(tmp_path: Path) -> None:
    """Half a file, another's format, words where numbers belong, an escape sequence for a version."""
    for text in ("", "1\n", "x\n1.0\n2\n", "1\n1.0\n2\n3\n", "\xff"):
        (tmp_path / "update").write_text(text, encoding="latin-1")
        assert load_note(str(tmp_path / "update")) == NEVER
    (tmp_path / "update").write_text("5\n1.\x1b[31m\n6\n")
    assert load_note(str(tmp_path / "update")) == (5, "", 6)
    assert load_note(str(tmp_path / "nowhere")) == NEVER


def test_versions() -> None:
    """Releases by their numbers; a preview, or what is no version, is newer than nothing."""
    assert is_newer("0.10.0", "0.9.9")
    assert is_newer("1.0.1", "1.0")
    assert not is_newer("0.9", "0.10")
    assert not is_newer("2.0rc1", "1.0")
    assert not is_newer("", "1.0")
    assert parse_answer("mtremote (1.2.3)\nAvailable versions: 1.2.3, 1.0\n") == "1.2.3"
    assert parse_answer("ERROR: no\n") == parse_answer("other (1.2)\n") == parse_answer("") == ""


def test_the_way_to_upgrade_is_that_of_the_installation() -> None:
    """pipx and uv have commands of their own; elsewhere it is this Python's pip."""
    assert find_upgrade("/home/a/.local/share/pipx/venvs/mtremote") == "pipx upgrade mtremote"
    assert find_upgrade("/home/a/.local/share/uv/tools/mtremote") == "uv tool upgrade mtremote"
    assert find_upgrade("/usr").endswith("-m pip install -U mtremote")
