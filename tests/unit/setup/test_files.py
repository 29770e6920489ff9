"""The files of a set-up: what goes in comes out of mtr's own loader, and .gitignore keeps what is personal out."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtr.config.load import load_config
from mtr.config.model import Secret
from mtr.config.project import find_project
from mtr.config.render import render_scalar
from mtr.config.select import select_server
from mtr.config.source import parse_source
from mtr.config.validate import ensure_valid, find_flaw
from mtr.setup.answers import PERSONAL, SHARED, Answers
from mtr.setup.draft import make_draft
from mtr.setup.files import extend_ignore, render_config, render_local
from mtr.setup.site import find_site
from tests.unit.config.workplace import Workplace

HOSTILE = [
    "# x",
    "a: b",
    "@x",
    "- x",
    "null",
    "yes",
    "1.10",
    "0x1",
    "~",
    "=",
    "<<",
    "'",
    '"',
    "\\",
    "é",
    "\u2028",
    "😀",
]
HOSTILE += [
    "{a}",
    "[x",
    "%x",
    "!x",
    "&x",
    "*x",
    "|",
    ">",
    "a #b",
    "a\tb",
    " x ",
    "--- x",
    "...",
    "\x85",
    "\ufeffx",
    "\u202ex",
]


def texts(key: str) -> st.SearchStrategy[str]:
    """Anything that the key takes, the hostile among it."""
    return (st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=80)).filter(lambda text: not find_flaw(key, text))


LOGINS = st.one_of(
    st.just({}),
    st.builds(lambda text: {"password": Secret(text)}, texts("password")),
    st.builds(lambda text: {"password_command": text}, texts("password_command")),
    st.builds(lambda text: {"password_env": text}, st.from_regex(r"[A-Z_]{1,9}", fullmatch=True)),
)
ANSWERS = st.builds(
    lambda login, **keys: Answers(**keys, **login),
    LOGINS,
    host=texts("host"),
    name=texts("name"),
    user=st.none() | texts("user"),
    port=st.none() | st.integers(1, 65535),
    remote_dir=st.none() | texts("remote_dir").filter(lambda text: "{branch}" not in text),
    python=st.none() | texts("python"),
    pre_cmd=st.none() | texts("pre_cmd"),
    key_filename=st.none() | texts("key_filename").map(lambda text: f"/keys/{text}"),
)


@settings(deadline=None)  # each example writes files, and the disk may be slow
@given(ANSWERS)
@example(Answers(host="a", name="x" * 255, pre_cmd="a\nb\n", remote_dir="/x " + "y" * 300))
def test_what_goes_in_comes_out(answers: Answers):
    """Every answer that passes its check is what a run reads, whatever characters are in it, and nothing more."""
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder).resolve())
        draft = make_draft(find_site(place.root, place.environ), answers, place.environ)
        draft.write(place.environ)
        config = load_config(find_project(place.root, place.environ), place.environ)
        server = select_server(config, None, place.environ)
        assert server == draft.server
        assert (server.name, server.hosts) == (answers.name, (answers.host,))
        for key in (*SHARED[1:], *PERSONAL):
            given = getattr(answers, key)
            assert getattr(server, key) == (Path(given) if key == "key_filename" and given else given), key


def test_a_dry_run_shows_no_password(place: Workplace):
    """It is the same whatever the password is, and shows that there is one."""
    found = find_site(place.root, place.environ)
    shown = {
        make_draft(found, Answers(host="h", name="n", password=Secret(text)), place.environ).render() for text in "ab"
    }
    assert len(shown) == 1
    assert 'password: "***"' in shown.pop()


@given(st.sampled_from(HOSTILE) | st.text())
def test_a_scalar_reads_back(text: str):
    """Any text that can be written as UTF-8 reads back as the same text, on one line."""
    if find_flaw("pre_cmd", text) or not text:
        return
    line = render_scalar(text)
    assert "\n" not in line
    source = parse_source(Path("x"), f"key: {line}\n".encode())
    assert source.data == {"key": text}


def test_nothing_personal_is_in_the_shared_file():
    """User, key and password stand in the personal file alone; without them there is none."""
    answers = Answers(host="h", name="n", user="u-secret", key_filename="~/k-secret", password=Secret("p-secret"))
    assert b"secret" not in render_config(answers, is_host_block=False)
    assert (render_local(answers) or b"").count(b"secret") == 3
    assert render_local(Answers(host="h", name="n", port=3)) is None


def test_the_comments_are_no_settings_that_are_wrong():
    """Every example in the comments is right once its marks are taken off."""
    text = render_config(Answers(host="h", name="n"), is_host_block=True).decode()
    lines = text[text.index("    # remote_dir") :].splitlines()
    bare = [line.replace("# ", "", 1) for line in lines if "# python:" not in line]
    ensure_valid(parse_source(Path("x"), "\n".join(["servers:", "  n:", *bare]).encode()))
    assert len(lines) > 8


CASES = {
    "none": (None, b"local.yaml\nlogs/\n"),
    "empty": (b"", b"local.yaml\nlogs/\n"),
    "no last newline": (b"x", b"x\nlocal.yaml\nlogs/\n"),
    "crlf": (b"x\r\ny", b"x\r\ny\r\nlocal.yaml\r\nlogs/\r\n"),
    "there": (b"/local.yaml\nlogs\n", None),
    "everything": (b"*\n", None),
    "half": (b"local.yaml\n", b"local.yaml\nlogs/\n"),
    "taken back": (b"*\n!local.y*\n", b"*\n!local.y*\nlocal.yaml\nlogs/\n"),
    "not text": (b"\xff\xfe\n", b"\xff\xfe\nlocal.yaml\nlogs/\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_ignore_file_becomes(case: str):
    """What is missing is added once, with the line endings that are there; what is ignored already stays."""
    before, after = CASES[case]
    assert extend_ignore(before) == after
    assert extend_ignore(after or before) is None


def test_git_agrees(place: Workplace):
    """git sees config.yaml and not local.yaml, even where a .gitignore above takes it back."""
    subprocess.run(["git", "init", "-q"], cwd=place.root, check=True)
    (place.root / ".gitignore").write_text("!.mtr/local.yaml\n")
    answers = Answers(host="h", name="n", user="me")
    make_draft(find_site(place.root, place.environ), answers, place.environ).write(place.environ)
    place.write(place.root / ".mtr/logs/x", "")
    argv = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=place.root, check=True, capture_output=True).stdout.split()
    assert listed == [b".gitignore", b".mtr/.gitignore", b".mtr/config.yaml"]
