"""``apply.sh`` as a server runs it, under every shell that may stand behind /bin/sh; no connection is needed."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from mtr.scripts import load_script
from mtr.sync.archive import write_archive
from mtr.sync.delivery import inside, look_at
from mtr.sync.plan import Plan, render_plan
from tests.unit.shells import POSIX_SHELLS, run_shell

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


class Side:
    """A project here, its directory there, and pushes from one to the other by tar."""

    def __init__(self, place: Path, shell: list[str]) -> None:
        self.here, self.there, self.shell = place / "here", place / "there", shell
        for root in (self.here, self.there / ".mtr"):
            root.mkdir(parents=True)
        self.token = "t0"
        (self.there / ".mtr" / "t.t0").touch()
        self.count = 0

    def write(self, root: Path, **files: str) -> None:
        for name, text in files.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def push(self, *upload: bytes, delete: tuple[bytes, ...] = (), lines: int = 1000) -> subprocess.CompletedProcess:  # type: ignore[type-arg]
        """Bring ``upload`` and ``delete``; on success the next push builds on it."""
        self.count += 1
        run, new = f"run{self.count}", f"t{self.count}"
        with inside(str(self.here)):
            entries = tuple(entry for path in upload if (entry := look_at(path)))
        plan = Plan(self.here, "", entries, delete)
        data = b"".join(write_archive(entries, str(self.here), (), lambda sent: render_plan(plan, sent)))
        words = ["tar", str(self.there), run, new, self.token, "me", "c", str(lines)]
        argv = [*self.shell, "-c", load_script("remote/apply.sh"), f"mtr-{run}", *words]
        done = run_shell(argv, self.here, stdin=gzip.compress(data))
        if done.returncode == 0:
            self.token = new
        return done

    def read_trash(self) -> dict[str, str]:
        top = self.there / ".mtr" / "trash"
        return {
            "/".join(path.relative_to(top).parts[1:]): path.read_text() for path in top.rglob("*") if path.is_file()
        }

    def list_own(self) -> list[str]:
        return sorted(path.name for path in (self.there / ".mtr").iterdir())


@pytest.fixture(params=sorted(POSIX_SHELLS))
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """A project and each shell in turn."""
    return Side(tmp_path, POSIX_SHELLS[request.param])


def test_theirs_is_kept_in_many_directories(side: Side) -> None:
    """The record is parted by directory; what was put there is replaced, what was changed there goes to the trash."""
    names = [f"d{number}__{name}" for number in range(6) for name in ("a", "b c")]
    side.write(side.here, **dict.fromkeys(names, "one"), top="one", gone="one", d1__gone="one")
    paths = [os.fsencode(name.replace("__", "/")) for name in (*names, "top", "gone", "d1__gone")]
    assert side.push(*paths).returncode == 0
    side.write(side.there, d3__a="theirs", d1__gone="theirs", stray="x")
    side.write(side.here, **dict.fromkeys(names, "two"))
    done = side.push(*paths[:-3], delete=(b"gone", b"d1/gone"))
    assert done.returncode == 0, done.stderr
    assert b"mtr-trash 2\nmtr-done\n" in done.stdout
    assert done.stderr == b""
    assert side.read_trash() == {"d3/a": "theirs", "gone": "one", "d1/gone": "theirs"}
    assert {path.read_text() for path in side.there.glob("d*/*")} == {"two"}
    assert side.list_own() == ["put.me", f"t.{side.token}", "trash"]
    assert len((side.there / ".mtr" / "put.me").read_text().splitlines()) == 27


def test_a_long_record_is_made_short(side: Side) -> None:
    """Only what says how something is that stands there stays in it, and it still counts."""
    side.write(side.here, a="1", b="1", c__d="1", e__f="1")
    paths = [b"a", b"b", b"c/d", b"e/f"]
    assert side.push(*paths).returncode == 0
    for text in ("22", "333"):
        side.write(side.here, a=text, b=text, c__d=text, e__f=text)
        assert side.push(*paths, lines=5).returncode == 0
    lines = (side.there / ".mtr" / "put.me").read_text().splitlines()
    assert sorted(line.partition("|")[2] for line in lines) == ["./a", "./b", "./c/d", "./e/f"]
    side.write(side.here, a="4444")
    assert side.push(b"a").stdout == b"\nmtr-done\n"


@pytest.mark.parametrize("delete", [(), (b"d/deep/old",)])
def test_a_link_on_the_way_goes_to_the_trash(side: Side, delete: tuple[bytes, ...]) -> None:
    """It leaves with 4 and a token that nobody knows, so that all is compared; behind the link nothing has changed."""
    side.write(side.here, d__deep__new="1", d__deep__old="1")
    assert side.push(b"d/deep/new", b"d/deep/old").returncode == 0
    outside = side.there.parent / "outside"
    (side.there / "d").rename(outside)
    (side.there / "d").symlink_to(outside)
    side.write(side.here, d__deep__new="2")
    done = side.push(b"d/deep/new", delete=delete)
    assert (done.returncode, done.stderr) == (4, b"")
    assert b"mtr-trash 1" in done.stdout
    assert (side.there / "d/deep/new").read_text() == "2"
    assert not (side.there / "d").is_symlink()
    assert [(outside / "deep" / name).read_text() for name in ("new", "old")] == ["1", "1"]
    assert "t.lrun2" in side.list_own()


def test_a_lock_that_was_taken_away_stops_the_push(side: Side) -> None:
    """Somebody took it for dead while the files were arriving: nothing is put into place."""
    side.write(side.here, a="1")
    script = load_script("remote/apply.sh").replace("tar xpf -)", "tar xpf -) && mv .mtr/busy.run1 .mtr/t.other")
    words = ["tar", str(side.there), "run1", "t1", "t0", "me", "c", "1000"]
    with inside(str(side.here)):
        entry = look_at(b"a")
    assert entry
    plan = Plan(side.here, "", (entry,))
    data = b"".join(write_archive([entry], str(side.here), (), lambda sent: render_plan(plan, sent)))
    done = run_shell([*side.shell, "-c", script, "mtr-run1", *words], side.here, stdin=gzip.compress(data))
    assert done.returncode == 4
    assert not (side.there / "a").exists()
    assert [name for name in side.list_own() if name.startswith("t.")] == ["t.other"]
