"""What doctor.sh says, recorded from servers and made up by liars; and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtr.doctor.check import Finding, Skipped
from mtr.doctor.facts import ServerFacts, parse_facts
from mtr.doctor.verdicts import Verdicts

DEBIAN = """\
Welcome to the cluster
mtr-doctor clock 1

mtr-doctor start 1
mtr-doctor clock 1795287167.294517741
mtr-doctor system Linux 6.1.0-18-amd64
mtr-doctor user dev 1000
mtr-doctor shell /bin/bash
mtr-doctor payload LC_MTR
mtr-doctor installer apt-get
mtr-doctor rsync rsync  version 3.2.7  protocol version 31
mtr-doctor gpus 8
mtr-doctor linger no
mtr-doctor kills no
mtr-doctor nearest /data/my codes
mtr-doctor place missing
mtr-doctor written yes
mtr-doctor blocks /dev/nvme 0n1p2 264212084 25061116  81329796      24% /data/my codes
mtr-doctor inodes /dev/nvme 0n1p2   16777216 476138 16301078    3% /data/my codes
mtr-doctor end 1
"""
BUSYBOX = """\
mtr-doctor start 1
mtr-doctor clock 1795287167.
mtr-doctor system Linux 5.10.0
mtr-doctor user root 0
mtr-doctor shell /bin/ash
mtr-doctor missing base64
mtr-doctor installer apk
mtr-doctor nearest /home/dev
mtr-doctor place there
mtr-doctor refused mkdir: can't create directory '/home/dev/.mtr-doctor.1': No space left on device
mtr-doctor blocks overlay 1000 1000 0 100% /
mtr-doctor inodes overlay 0 0 0 - /
mtr-doctor end 1
"""
MACOS = """\
mtr-doctor start 1
mtr-doctor clock 1795287167.N
mtr-doctor system Darwin 23.4.0
mtr-doctor user dev 501
mtr-doctor shell /bin/zsh
mtr-doctor rsync openrsync: protocol version 29
mtr-doctor nearest /Users/dev
mtr-doctor place missing
mtr-doctor written yes
mtr-doctor blocks /dev/disk3s5 482797652 265921748 189291796 59% /System/Volumes/Data
mtr-doctor inodes /dev/disk3s5 965595304 531843496 378583592 59% 3302480 1892917960 0% /System/Volumes/Data
mtr-doctor end 1
"""


def parse(text: str) -> ServerFacts:
    """Return the facts of a text that has some."""
    facts = parse_facts(text)
    assert facts is not None
    return facts


def test_debian() -> None:
    """All that can be said, behind what an rc file prints; names of file systems may hold blanks."""
    assert parse(DEBIAN) == ServerFacts(
        clock_s=1795287167.294517741, clock_grain_s=0.0, system="Linux 6.1.0-18-amd64", user="dev", shell="/bin/bash",
        payload="LC_MTR", installer="apt-get", rsync="rsync  version 3.2.7  protocol version 31", gpus=8, lingers=False,
        kills_processes=False, nearest="/data/my codes", is_written=True, free_bytes=81329796 * 1024,
        free_inodes=16301078,
    )  # fmt: skip


def test_busybox() -> None:
    """A clock of whole seconds; a file system without a number of inodes has no limit of them."""
    facts = parse(BUSYBOX)
    assert (facts.clock_s, facts.clock_grain_s) == (1795287167.5, 0.5)
    assert (facts.missing, facts.is_root, facts.is_there, facts.is_written) == (("base64",), True, True, False)
    assert (facts.free_bytes, facts.free_inodes) == (0, None)


def test_macos() -> None:
    """Its df -i has more columns, and means other ones: nothing is taken for inodes that are not."""
    facts = parse(MACOS)
    assert (facts.clock_s, facts.free_bytes, facts.lingers) == (1795287167.5, 189291796 * 1024, None)
    assert facts.free_inodes in (None, 1892917960)


@pytest.mark.parametrize(
    "text", ["", "mtr-doctor start 1\n", "mtr-doctor end 1\n", "hello\n", DEBIAN.replace("end 1", "")]
)
def test_an_answer_that_is_cut(text: str) -> None:
    """Half of it is none."""
    assert parse_facts(text) is None


@pytest.mark.parametrize(
    "line",
    [
        "clock now", "clock 1795287167.12", "clock -1795287167", "user a b c", "user x", "missing tar; rm -rf /",
        "missing TAR", "gpus many", "gpus 1000", "linger maybe", "installer curl", "written no", "place here",
        "payload PATH", "shell \x1b[2J", "system " + "x" * 401, "unknown 1", "", "rsync",
    ],
)  # fmt: skip
def test_what_does_not_look_as_it_must_is_dropped(line: str) -> None:
    """As if it had not been said."""
    assert parse(f"mtr-doctor start 1\nmtr-doctor {line}\nmtr-doctor end 1\n") == ServerFacts()


@given(st.lists(st.tuples(st.sampled_from([*DEBIAN.split(), *MACOS.split()]), st.text(max_size=30)), max_size=30))
def test_garbage_is_never_a_fault(words: list[tuple[str, str]]) -> None:
    """Whatever a server says, it is read or dropped, and the findings can be made."""
    lines = "".join(f"mtr-doctor {word} {text}\n" for word, text in words)
    facts = parse(f"mtr-doctor start 1\n{lines}mtr-doctor end 1\n")
    for _, look in Verdicts("lab", "~/proj", facts, 0.0, 1.0).list_checks():
        try:
            assert look().state in ("ok", "warn", "fail")
        except Skipped:
            pass


def tell(check: str, **facts: object) -> Finding:
    """Return what is made of ``facts``, asked for at 100 s and come at 101 s."""
    verdicts = Verdicts("lab", "~/proj", ServerFacts(**facts), 100.0, 101.0)  # type: ignore[arg-type]
    return dict(verdicts.list_checks())[check]()


@pytest.mark.parametrize(
    ("clock_s", "grain_s", "state"),
    [(100.5, 0.0, "ok"), (102.9, 0.0, "ok"), (103.1, 0.0, "warn"), (103.4, 0.5, "ok"), (97.9, 0.0, "warn")],
)
def test_a_clock_is_off_only_beyond_what_is_not_known(clock_s: float, grain_s: float, state: str) -> None:
    """Half of the round trip, and the grain of the clock there, are in doubt."""
    assert tell("clock", clock_s=clock_s, clock_grain_s=grain_s).state == state


@pytest.mark.parametrize(
    ("lingers", "kills", "state", "words"),
    [
        (None, None, "ok", "no systemd"),
        (True, True, "ok", "lingering is on"),
        (False, False, "ok", "KillUserProcesses=no"),
        (False, True, "warn", "are ended"),
        (False, None, "warn", "may be ended"),
    ],
)
def test_what_outlives_the_connection(lingers: bool | None, kills: bool | None, state: str, words: str) -> None:
    """By lingering, by the setting of logind, or for want of systemd."""
    finding = tell("logout", lingers=lingers, kills_processes=kills)
    assert (finding.state, words in finding.found) == (state, True)
    assert ("loginctl enable-linger" in finding.remedy) == (state == "warn")


@pytest.mark.parametrize(
    ("free", "inodes", "state"),
    [
        (5e9, None, "ok"),
        (5e9, 50_000, "ok"),
        (5e8, None, "warn"),
        (5e9, 5_000, "warn"),
        (0, None, "fail"),
        (5e9, 3, "fail"),
    ],
)
def test_little_space(free: float, inodes: int | None, state: str) -> None:
    """Bytes and inodes count alike."""
    assert tell("disk", free_bytes=int(free), free_inodes=inodes, nearest="/data").state == state


def test_remedies_quote_what_the_server_says() -> None:
    """A directory's name is a word of the command that looks at it, however it is called."""
    finding = tell("directory", nearest="/a; rm -rf ~", refused="no")
    assert "'\"'\"'/a; rm -rf ~'\"'\"'" in finding.remedy


def test_an_installer_that_is_not_known() -> None:
    """Then the program is named, and no command made up."""
    assert tell("rsync").remedy == "install rsync there"
    assert tell("rsync", installer="dnf").remedy == "mtr -s lab --no-sync 'sudo dnf install -y rsync'"
