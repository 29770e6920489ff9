"""Everything that mtr reads from outside: a value or an error of mtr's, within bounded time, whatever the bytes are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS

SOON_S = 10.0
"""Far above what any of these takes, and far below what a pattern takes that tries everything."""


def run_target(target: str, data: bytes) -> None:
    """Feed ``data`` to ``target``, which must be done soon."""
    started_s = time.monotonic()
    TARGETS[target](data)
    assert time.monotonic() - started_s < SOON_S


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """Something right with parts of it cut out, repeated, replaced or overwritten, or nothing right at all."""
    data = draw(st.sampled_from(seeds) | st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        start, size = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        piece = data[start : start + size]
        new = draw(
            st.sampled_from([b"", piece * 2, piece * 50, b"\0", b"\xff\xff", b"\n", b"9" * 5000])
            | st.binary(max_size=8)
        )
        data = data[:start] + new + data[start + size :]
    return data


@pytest.mark.parametrize("target", TARGETS)
@settings(settings.get_profile("fuzz"))
@given(data=st.data())
def test_any_bytes_are_a_value_or_an_error_of_mtrs(target: str, data: st.DataObject) -> None:
    """Nothing that comes from a file, a server, a program or a socket makes mtr fall over or wait."""
    run_target(target, data.draw(damaged(SEEDS[target])))


@pytest.mark.parametrize(("target", "seed"), [(target, seed) for target, seeds in SEEDS.items() for seed in seeds])
def test_every_beginning_of_what_is_right(target: str, seed: bytes) -> None:
    """Cut off anywhere."""
    for end in range(len(seed) + 1):
        run_target(target, seed[:end])
