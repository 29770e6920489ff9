"""Whoever takes part in a sync is killed at a random moment: no command starts on half a tree, the next run mends all.

``MTR_KILL_ROUNDS`` says how many kills, 60 unless told; each test is ten of them, and its number the seed. What each
round did is printed as a line of JSON: pytest shows it when a test fails, and with -rP for all of them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab.kills import LASTING, ROLES, RSYNC_ROLES, kill_role, list_left, list_remote
from tests.lab.processes import end_tree, processes_mentioning, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.home import Home

ROUNDS_EACH = 10
SEEDS = range(-(-int(os.environ.get("MTR_KILL_ROUNDS", "60")) // ROUNDS_EACH))

VIEW = r"""
v=$(cat set/*.txt set/*/*.txt | sort -u | tr '\n' ' '
  for f in big/*; do [ ! -f "$f" ] || { head -c 7 "$f"; tail -c 7 "$f"; }; done | tr '\n' ' '
  ls -lR set big 2>/dev/null | awk 'NF >= 9 { print substr($1, 1, 10), $5, $NF }' | cksum)
[ -z "$2" ] || printf '%s %s\n' "$1" "$v" >>"$2"
printf '%s\n' "$v"
"""
"""What the command sees: every number in the files, and names, sizes and modes; also kept in a file beside the tree,
since a command that nobody hears any more must not start on half a tree either."""

TYPICAL_S = {"payload": 0.15, "tar": 0.2, "rsync": 0.6}
"""How long a run takes that nobody disturbs: a first guess, corrected by those that ended before the kill."""

LOGIN_S = 0.3
TRANSPORTS = ("payload", "payload", "tar", "tar", "rsync")
NAMES = [f"set/{n:02}.txt" for n in range(12)] + [f"set/deep/{n}.txt" for n in range(4)]


def edit(project: Path, number: int, transport: str, choice: random.Random) -> None:
    """Write the set of round ``number`` here: some files come, some go, each says the number, modes change."""
    for name in NAMES:
        path = project / name
        if choice.random() < 0.15 and name != NAMES[0]:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number:06}\n")
        path.chmod(choice.choice((0o644, 0o600, 0o755)))
    big = project / "big"
    if choice.random() < 0.4:
        shutil.rmtree(big, ignore_errors=True)
    sizes = {
        "payload": [],
        "tar": [choice.randint(300_000, 3_000_000)],
        "rsync": [20_000_000 // (count := choice.randint(1, 4))] * count,
    }
    for place, size in enumerate(sizes[transport]):
        big.mkdir(exist_ok=True)
        mark = f"{number:06}\n".encode()
        (big / f"{place}.bin").write_bytes(mark + choice.randbytes(size) + mark)


def view(root: Path) -> str:
    """Return what the command must print."""
    done = subprocess.run(["sh", "-c", VIEW, "view", "", ""], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def look_at(root: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of every file below ``root``, and its directories; without mtr's and git's."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name.split("/", maxsplit=1)[0] not in {".mtr", ".git"}:
            is_file = path.is_file()
            found[name] = (stat.S_IMODE(path.lstat().st_mode) if is_file else -1, path.read_bytes() if is_file else b"")
    return found


def list_leftovers(remote: Path) -> list[str]:
    """Return what a run that has gone left in mtr's directory there."""
    kinds = ("in.*", "busy.*", "cur.*", "theirs.*", "plan.*", "partial", "first")
    return sorted(path.name for kind in kinds for path in (remote / ".mtr").glob(kind))


class Siege:
    """One project, edited, synced, killed and synced again, round after round."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.choice = random.Random(seed)
        self.project = home.make_project(f"siege{seed}")
        self.remote = home.remote(self.project)
        self.typical_s = dict(TYPICAL_S)
        self.history: list[dict[str, object]] = []

    def run_round(self, number: int) -> None:
        """Edit, start, kill one, look at what was seen, run again, compare."""
        choice = self.choice
        transport = choice.choice(TRANSPORTS)
        role = choice.choice(ROLES + RSYNC_ROLES if transport == "rsync" else ROLES)
        is_sync, is_cold = choice.random() < 0.2, choice.random() < 0.1
        self.history.append({"round": number, "transport": transport, "role": role, "sync": is_sync, "cold": is_cold})
        note = self.history[-1]
        edit(self.project, number, transport, choice)
        expected = view(self.project)
        if is_cold:
            for pid in self.home.masters():
                end_tree(pid)
        out = self._run_and_kill(self._words(number, "cut", is_sync=is_sync), note)
        heard = note["status"] == 0 and not is_sync
        is_own = role == "tool" and heard and out.split()[:-2] == expected.split()[:-2]
        # A tool of the command's own may have been hit: then its sum is of nothing, and the files are still those.
        assert out == expected or is_own or (not heard and expected.startswith(out)), note
        self._run_again(number, expected, note)
        wait_until(lambda: not list_left(self.home), "the server's side of both runs to end")
        self._check_seen(number, expected, counts={1} if heard else {0} if is_sync else {0, 1})
        note["fine"] = True

    def _words(self, number: int, which: str, *, is_sync: bool = False) -> list[str]:
        return ["sync"] if is_sync else ["sh", "-c", VIEW, "view", f"{number}.{which}", "../seen"]

    def _run_and_kill(self, words: list[str], note: dict[str, object]) -> str:
        choice, kind = self.choice, str(note["transport"])
        most_s = self.typical_s[kind] + (LOGIN_S if note["cold"] or note["round"] == 1 else 0)
        # What comes and goes is waited for, so looking begins early.
        lasts = note["role"] in LASTING
        after_s = choice.uniform(0, most_s * (1 if lasts else 0.6))
        then_s = 0.0 if lasts else choice.choice((0.0, choice.uniform(0, most_s / 4)))
        started_s = time.monotonic()
        run = self.home.popen_mtr(words, self.project)
        killed = kill_role(str(note["role"]), self.home, run, choice, after_s=after_s, then_s=then_s)
        out, err = (stream.decode() for stream in run.communicate(timeout=60))
        took_s = time.monotonic() - started_s
        if not killed and not note["cold"] and note["round"] != 1:
            self.typical_s[kind] += (took_s - self.typical_s[kind]) / 3
        note |= {"after_s": round(after_s, 3), "then_s": round(then_s, 3), "took_s": round(took_s, 3)}
        note |= {"killed": killed, "status": run.returncode, "out": out, "err": err}
        assert "Traceback" not in err
        return out

    def _run_again(self, number: int, expected: str, note: dict[str, object]) -> None:
        started_s = time.monotonic()
        done = self.home.run_mtr(self._words(number, "next"), self.project)
        note |= {"again_s": round(time.monotonic() - started_s, 3), "again_err": done.stderr.decode()}
        note["again"] = (done.returncode, done.stdout.decode())
        assert note["again"] == (0, expected)
        assert look_at(self.remote) == look_at(self.project)
        note["left"] = list_leftovers(self.remote)
        assert not note["left"]

    def _check_seen(self, number: int, expected: str, *, counts: set[int]) -> None:
        """Whoever heard it or not: each command ran at most once, and on this round's tree."""
        lines = [line.partition(" ") for line in (self.remote.parent / "seen").read_text().splitlines()]
        seen = [(tag, shown) for tag, _, shown in lines if tag.startswith(f"{number}.")]
        assert {tuple(shown.split()[:-2]) for _, shown in seen} == {tuple(expected.split()[:-2])}
        tags = [tag for tag, _ in seen]
        assert tags.count(f"{number}.next") == 1
        assert tags.count(f"{number}.cut") in counts


@pytest.fixture
def siege_home(home: Home) -> Iterator[Home]:
    """A home of which nothing is left here, whoever was killed, and then nothing on the server."""
    yield home
    for pid in processes_mentioning([str(home.dir)]):
        end_tree(pid)
    wait_until(lambda: not list_remote(home), "the server's side of every connection to end")


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_syncs(siege_home: Home, seed: int) -> None:
    """One of a run is killed: what ran saw one tree, the present one; the next run ends with equal trees."""
    siege = Siege(siege_home, seed)
    try:
        for number in range(1, ROUNDS_EACH + 1):
            siege.run_round(number)
    finally:
        print(*(json.dumps({"seed": seed, **note}) for note in siege.history), sep="\n")  # noqa: T201
        print("left:", list_left(siege_home))  # noqa: T201
