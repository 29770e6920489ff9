"""What a delivery deletes on the server, and what it does not forget."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mtr.errors import ProjectError
from mtr.sync.delivery import Delivery, inside
from mtr.sync.manifest import Tree
from mtr.sync.plan import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("mode", "deleted"), [("tracked", [b"gone"]), ("never", [])])
def test_what_has_come_back_meanwhile_is_not_forgotten(tmp_path: Path, mode: str, deleted: list[bytes]) -> None:
    """Gone when it was compared, back now: it is on the server still, and counts as changed next time."""
    project = Project(str(tmp_path), "~/x", (), client="c", delete=mode, engine="auto")
    tree, started_ns = Tree(), time.time_ns()
    (tmp_path / "ignored").write_text("old")
    os.utime(tmp_path / "ignored", (1, 1))
    old_ns = (tmp_path / "ignored").stat().st_ctime_ns
    (tmp_path / "back").write_text("new")
    with inside(str(tmp_path)):
        delivery = Delivery(project, None, None)  # type: ignore[arg-type]
        assert delivery._choose_deletes(tree, [b"back", b"gone"], started_ns) == deleted
        assert tree.paths == ([b"back"] if mode == "tracked" else [])
        # What a rule leaves out was there all the time.
        assert delivery._choose_deletes(Tree(), [b"ignored"], old_ns + 10**9) == []
        if mode == "tracked":
            assert tree.compare().changed == [0]


def test_two_threads_are_never_in_each_others_directory(tmp_path: Path) -> None:
    """Whatever their turns, each finds its own files, and the process is where it was: a lost file would be deleted."""
    before, wrong = os.getcwd(), []
    roots = [tmp_path / name for name in "abcd"]
    for root in roots:
        root.mkdir()
        (root / root.name).touch()

    def look(root: Path) -> None:
        for _ in range(300):
            with inside(str(root)), inside(str(root)):
                if os.listdir(".") != [root.name]:
                    wrong.append(root)

    threads = [threading.Thread(target=look, args=(root,)) for root in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert os.getcwd() == before


def test_a_root_that_is_gone_keeps_no_other_thread_out(tmp_path: Path) -> None:
    """The error comes, and the next one may enter."""
    with pytest.raises(ProjectError), inside(str(tmp_path / "gone")):
        pass
    entered = threading.Event()

    def enter() -> None:
        with inside(str(tmp_path)):
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    assert entered.wait(60)
    thread.join()
