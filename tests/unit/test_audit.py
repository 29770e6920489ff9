"""The audit log: every line whole, none lost, no secret in it, and no command that would not stand in it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mtr import audit
from mtr.audit import AuditFailed, AuditLog, open_audit
from mtr.policy import ALLOWED, CONFIRM, REFUSED, Verdict
from tests.lab.disk import small_disk
from tests.unit.config.workplace import Workplace

GO = Verdict(ALLOWED, argv=("python", "train.py"))
CHECKOUT = Path(__file__).resolve().parents[2]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def collect(folder: Path, name: str = "audit.log") -> list[dict[str, Any]]:
    """Return the lines of the log and of all that it was renamed to."""
    return [entry for path in folder.iterdir() if path.name.startswith(name) for entry in read(path)]


class Heard(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


def build(path: Path, *, is_required: bool = True) -> tuple[AuditLog, Heard]:
    heard = Heard()
    return AuditLog(str(path), is_required=is_required, say=heard), heard


def test_what_was_asked_and_how_it_ended_stand_there(tmp_path: Path) -> None:
    """Time, client, tool, server, words, verdict and reason; then status and duration, by the token."""
    log, heard = build(tmp_path / "audit.log")
    log.judged(GO, tool="run_command", server="gpu-01", client="editor 1.2", token="t-1")
    log.judged(Verdict(REFUSED, text="rm x", reason="no", rule="policy.deny"), tool="run_command")
    log.ended("t-1", exit_status=0, duration_s=1.23456, timed_out=True)
    first, second, third = read(tmp_path / "audit.log")
    assert first["time"].endswith("Z")
    shown = {key: first[key] for key in ("event", "pid", "client", "tool", "server", "argv", "outcome", "token")}
    assert shown == {
        "event": "judged", "pid": os.getpid(), "client": "editor 1.2", "tool": "run_command", "server": "gpu-01",
        "argv": ["python", "train.py"], "outcome": "allowed", "token": "t-1",
    }  # fmt: skip
    assert (second["text"], second["outcome"], second["reason"], second["rule"]) == (
        "rm x",
        "refused",
        "no",
        "policy.deny",
    )
    assert (third["event"], third["token"], third["exit"], third["duration_s"]) == ("ended", "t-1", 0, 1.235)
    assert third["timed_out"] is True
    assert heard == []


def test_no_secret_stands_in_it(tmp_path: Path) -> None:
    """Masked by its look, as in mtr's other logs: in an argv, in a text, in what else is noted."""
    log, _ = build(tmp_path / "audit.log")
    for verdict in (
        Verdict(
            ALLOWED, argv=("x", "--token", "planted", "--api-key=planted", "HF_TOKEN=planted", "https://a:planted@h/")
        ),
        Verdict(CONFIRM, text="HF_TOKEN=planted curl -H 'Authorization: Bearer planted' --password planted"),
    ):
        log.judged(verdict, tool="run_command", server="s", path="https://me:planted@h/x")
    log.ended("t", exit_status=None, duration_s=0, reason="--password=planted")
    text = (tmp_path / "audit.log").read_text()
    assert (text.count("planted"), text.count("\n")) == (0, 3)


def test_lines_are_lines_whatever_stands_in_them(tmp_path: Path) -> None:
    """Newlines, escapes, half characters and what is too long."""
    log, _ = build(tmp_path / "audit.log")
    log.judged(Verdict(ALLOWED, argv=("a\nb", "\x1b[2J\u2028", "\udc80", "x" * 100_000)), tool="t", client='"}\n{')
    (entry,) = read(tmp_path / "audit.log")
    assert (entry["argv"][:3], entry["client"]) == (["a\nb", "\x1b[2J\u2028", "\udc80"], '"}\n{')
    assert entry["argv"][3].endswith("(100000 characters)")
    assert (tmp_path / "audit.log").read_bytes().isascii()


def test_it_is_for_its_user_alone(tmp_path: Path) -> None:
    """Whatever the umask and whatever it was."""
    path = tmp_path / "audit.log"
    path.write_text("")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        build(path)[0].judged(GO, tool="t")
        build(tmp_path / "new")[0].judged(GO, tool="t")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, tmp_path / "new")] == [0o600, 0o600]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "nowhere"])
def test_what_is_no_file_is_not_written(tmp_path: Path, kind: str) -> None:
    """With a policy nothing runs then, and the error names the file."""
    path = tmp_path / "audit.log"
    (tmp_path / "other").write_text("")
    if kind == "link":
        path.symlink_to("other")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = tmp_path / "missing" / "audit.log"
    log, _ = build(path)
    with pytest.raises(AuditFailed) as caught:
        log.judged(GO, tool="t")
    assert str(path) in caught.value.hint
    assert (tmp_path / "other").read_text() == ""


def test_without_a_policy_it_is_said_once(tmp_path: Path) -> None:
    """And what was asked for goes on."""
    log, heard = build(tmp_path / "missing" / "audit.log", is_required=False)
    for _ in range(3):
        log.judged(GO, tool="t")
        log.ended("t", exit_status=0, duration_s=1)
    assert len(heard) == 1
    assert "missing/audit.log: No such file or directory" in heard[0]


def test_a_full_disk_stops_what_would_run_and_loses_no_line(tmp_path: Path) -> None:
    """A refusal needs no room; the line that did not fit whole is closed, and the next ones are whole."""
    with small_disk(tmp_path / "disk") as disk:
        path = disk.path / "audit.log"
        log, heard = build(path)
        log.judged(GO, tool="before")
        disk.fill()
        with pytest.raises(AuditFailed, match="No space left on device"):
            write_until_full(log)
        log.judged(Verdict(REFUSED, reason="no"), tool="t" * 5_000)
        log.ended("t" * 5_000, exit_status=0, duration_s=1)
        assert len(heard) == 1
        (disk.path / ".filler").unlink()
        log.judged(GO, tool="after")
        lines = path.read_bytes().splitlines()
    torn = [line for line in lines if not is_whole(line)]
    assert len(torn) <= 1, torn
    assert [json.loads(line)["tool"] for line in (lines[0], lines[-1])] == ["before", "after"]


def write_until_full(log: AuditLog) -> None:
    for _ in range(10_000):
        log.judged(GO, tool="x" * 100)


def is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_read_only_disk_stops_what_would_run(tmp_path: Path) -> None:
    """As a full one."""
    with small_disk(tmp_path / "disk") as disk:
        log, _ = build(disk.path / "audit.log")
        log.judged(GO, tool="t")
        with disk.read_only(), pytest.raises(AuditFailed, match="Read-only file system"):
            log.judged(GO, tool="t")
        log.judged(GO, tool="t")
        assert len(read(disk.path / "audit.log")) == 2


def test_what_was_torn_is_one_line(tmp_path: Path) -> None:
    """A crash in the middle of a line costs that line alone."""
    path = tmp_path / "audit.log"
    path.write_text('{"time": "x"}\n{"time": "2026')
    build(path)[0].judged(GO, tool="after")
    lines = path.read_text().splitlines()
    assert (len(lines), json.loads(lines[2])["tool"]) == (3, "after")


WRITER = """
import sys
from mtr import audit
from mtr.policy import ALLOWED, Verdict
audit.MAX_BYTES = 20_000
log = audit.AuditLog(sys.argv[1], is_required=True, say=print)
for number in range(400):
    log.judged(Verdict(ALLOWED, argv=("x",)), tool=f"{sys.argv[2]}.{number}", note="y" * (number % 200))
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each line is there once and whole, through all renamings, and each file keeps to its size."""
    path = tmp_path / "audit.log"
    argv = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*argv, name], cwd=CHECKOUT) for name in "abc"]
    assert [writer.wait(timeout=100) for writer in writers] == [0, 0, 0]
    tools = sorted(entry["tool"] for entry in collect(tmp_path))
    assert tools == sorted(f"{name}.{number}" for name in "abc" for number in range(400))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) > 5
    assert max(sizes) <= 20_000


def test_threads_share_one_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the commands of one server of tools do."""
    monkeypatch.setattr(audit, "MAX_BYTES", 5_000)
    log, _ = build(tmp_path / "audit.log")

    def write(name: str) -> None:
        for number in range(50):
            log.judged(GO, tool=f"{name}.{number}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({entry["tool"] for entry in collect(tmp_path)}) == 200


def test_renaming_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has the name already keeps it."""
    monkeypatch.setattr(audit, "MAX_BYTES", 1)
    monkeypatch.setattr(audit.time, "strftime", lambda *_: "same")
    log, _ = build(tmp_path / "audit.log")
    (tmp_path / "audit.log.same.1").write_text('{"tool": "kept"}\n')
    for number in range(3):
        log.judged(GO, tool=str(number))
    assert sorted(entry["tool"] for entry in collect(tmp_path)) == ["0", "1", "2", "kept"]


def test_the_log_lies_where_the_users_own_configuration_says(tmp_path: Path) -> None:
    """Else in the state directory; with any policy it has to be written."""
    place = Workplace(tmp_path)
    log = open_audit(place.load(), place.environ, say=print)
    assert (log.path, log.is_required) == (str(place.home / ".local/state/mtr/audit.log"), False)
    log = open_audit(place.load(user="policy: {audit_log: ~/agents.log}"), place.environ, say=print)
    assert (log.path, log.is_required) == (str(place.home / "agents.log"), True)
