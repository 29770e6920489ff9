"""YAML as plain data: positions, what stays text, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mtr.config.source import MAX_BYTES, load_source, parse_source
from mtr.config.validate import ensure_valid
from mtr.errors import ConfigError

FILE = Path("/p/.mtr/config.yaml")

SAMPLE = "# comment\nservers:\n  gpu: {host: a, port: 22}\n  é: {env: {N: 1.10, D: 2024-01-01, T: 12:30:00}}\n"


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Once with libyaml, once as on a machine without it."""
    if request.param == "SafeLoader":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    return request.param


def parse(text: str | bytes):
    return parse_source(FILE, text if isinstance(text, bytes) else text.encode())


def refuse(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.message


def test_positions_of_keys_and_values(loader: str):
    """Every key and every value has its line and column, counted from 1 in characters."""
    source = parse(SAMPLE)
    assert source.data["servers"]["gpu"] == {"host": "a", "port": 22}
    assert str(source.keys[("servers", "gpu", "port")]) == f"{FILE}:3:18"
    assert str(source.values[("servers", "gpu", "port")]) == f"{FILE}:3:24"
    assert str(source.values[("servers", "é", "env", "N")]) == f"{FILE}:4:16"


def test_numbers_keep_their_spelling_and_dates_stay_text(loader: str):
    """A number remembers how it was written; dates and base-60 numbers are text, as in YAML 1.2."""
    source = parse(SAMPLE)
    assert source.data["servers"]["é"]["env"] == {"N": 1.1, "D": "2024-01-01", "T": "12:30:00"}
    assert source.texts[("servers", "é", "env", "N")] == "1.10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1\nb: c", ":2:2: "),
        ("a: 1\n---\nb: 2", ":2:1: but found another document"),
        ("a: *nowhere", ":1:4: found undefined alias"),
        ("\ta: 1", ":1:1: "),
        (b"a: 1\nb: \xff", ":2:4: not UTF-8"),
        ("é: 1\nb: \x01", ":2:4: a character that YAML does not allow, U+0001"),
        ("a: b\0", ":1:5: a character that YAML does not allow, U+0000"),
        ("a: &a [*a]", ":1:"),
        ("a: &a {<<: *a}", ":1:"),
        ("[" * 100_000, ":1:33: nested too deep"),
        ("- " * 100_000, ":1:65: nested too deep"),
    ],
)
def test_what_is_no_yaml_is_an_error_with_its_place(loader: str, text: str | bytes, expected: str):
    """A file that cannot be read as YAML names file, line, column and reason."""
    assert refuse(text).startswith(f"{FILE}{expected}")


@pytest.mark.parametrize("kind", ["lists", "merges"])
def test_anchors_that_multiply_end_at_once(loader: str, kind: str):
    """Nested anchors that stand for billions of values are refused, not followed."""
    if kind == "lists":
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    else:
        lines = ["a0: &a0 {x: 1}"]
        lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    assert "more than 20,000 values" in refuse("\n".join(lines))


def problems_of(text: str) -> list[str]:
    return [str(problem).removeprefix(f"{FILE}:") for problem in parse(text).problems]


def test_keys_that_stand_twice_are_named(loader: str):
    """The second of two equal keys is a problem, and tells where the first is."""
    assert problems_of("servers:\n  a: {}\n  a: {}\n") == ["3:3: servers.a: stands twice; the first is in line 2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1: x", '1:1: the key 1 reads as a number; write "1"'),
        ("on: x", '1:1: the key on reads as true or false; write "on"'),
        ("env:\n  ~: x", '2:3: env: the key ~ reads as nothing; write "~"'),
        ("[a]: x", "1:1: a key must be text, not a list or a mapping"),
        ("a: !!python/name:os.system x", "1:4: a: the tag !!python/name:os.system has no meaning here"),
        ("a: !!set {x}", "1:4: a: the tag !!set has no meaning here"),
        ("a: {<<: 1}", "1:9: a.'<<': must name a mapping, or a list of mappings"),
    ],
)
def test_what_configuration_has_no_use_for(loader: str, text: str, expected: str):
    """Keys that are no text, and tags, are problems with a way out."""
    assert problems_of(text) == [expected]


def test_anchors_and_merge_keys_work(loader: str):
    """Own keys win over merged ones, earlier mappings over later ones; positions are where a value was written."""
    source = parse("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  z: 3\n  <<: [*a, *b]\nd: *a\n")
    assert source.data["c"] == {"z": 3, "x": 1, "y": 1}
    assert source.data["d"] == {"x": 1, "y": 1}
    assert str(source.values[("c", "y")]) == f"{FILE}:1:17"
    assert source.problems == []


def test_files_that_cannot_be_read(tmp_path: Path):
    """A missing file is no file; a directory, a FIFO and a huge file are errors, and nothing hangs."""
    assert load_source(tmp_path / "none" / "config.yaml") is None
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, reason in (("", "not a regular file"), ("fifo", "not a regular file"), ("huge", "larger than")):
        with pytest.raises(ConfigError, match=reason):
            load_source(tmp_path / name)


def test_a_byte_order_mark_is_no_content():
    """A file from an editor that writes a byte order mark reads like any other."""
    assert parse(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def check(data: bytes) -> None:
    complaint = f"{FILE}:"
    try:
        ensure_valid(parse_source(FILE, data))
    except ConfigError as error:
        complaint = error.message
    assert complaint.startswith(f"{FILE}:")


YAML_PIECES = [
    *"[]{}:,-&*!|>%@`'\"#?~ \n\t",
    "a", "<<: ", "*a", "&a ", "servers:\n  ", "gpu: ", "defaults: ", "env: ", "host: ", "port: ", "yes", "1", "0x1",
    "!!int ", "!!null ", "!x ", "---\n", "...\n", "\\", "\x85", "\u2028", "é", "\U0001f600", '"\\ud800"',
]  # fmt: skip


@given(st.lists(st.sampled_from(YAML_PIECES), max_size=25).map("".join))
def test_near_yaml_raises_nothing_but_config_errors(text: str):
    """Whatever is put together from YAML's own signs is either configuration or an error with a place."""
    check(text.encode())


@given(st.binary(max_size=60))
def test_any_bytes_raise_nothing_but_config_errors(data: bytes):
    """Any bytes at all are either configuration or an error with a place."""
    check(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["servers", "defaults", "env", "ssh_options", "exclude", "host", "remote_dir", "x", "on"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_raises_nothing_but_config_errors(value: object):
    """Any value in any place, however nested, is either configuration or an error with a place."""
    check(yaml.safe_dump(value, allow_unicode=True).encode())
