"""The newest bytes of a stream: nothing lost within the bound, offsets that never move back."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtr.streams.buffer import InvalidRequest, StreamingBuffer
from tests.lab.processes import wait_until

writes = st.lists(st.binary(max_size=40), max_size=30)
sizes = st.integers(1, 64)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def fill(size: int, parts: list[bytes]) -> tuple[StreamingBuffer, bytes]:
    """Return a buffer with ``parts`` written, and all of them."""
    buffer = StreamingBuffer(size)
    for part in parts:
        buffer.write(part)
    return buffer, b"".join(parts)


@given(sizes, writes)
def test_the_newest_bytes_stay(size: int, parts: list[bytes]) -> None:
    """Exactly max_buffer_size of them, however they were written; what is gone is told."""
    buffer, data = fill(size, parts)
    piece = buffer.read(0)
    gone = max(0, len(data) - size)
    assert (piece.data, piece.start, piece.first, piece.length) == (data[gone:], gone, gone, len(data))
    output = buffer.get_output()
    assert (output["truncated"], output["truncated_bytes"], output["length"]) == (gone > 0, gone, len(data))
    assert buffer.kept_bytes == len(data) - gone


@given(sizes, writes, st.integers(0, 1300), st.none() | st.integers(0, 80))
def test_an_offset_reads_what_stands_there(size: int, parts: list[bytes], offset: int, limit: int | None) -> None:
    """Or the oldest that is kept; beyond the end there is nothing, and the next offset is the end."""
    buffer, data = fill(size, parts)
    piece = buffer.read(offset, limit)
    start = min(max(offset, len(data) - size, 0), len(data))
    assert piece.start == start
    assert piece.data == data[start:][: len(data) if limit is None else limit]
    assert piece.next_offset == start + len(piece.data)


@given(sizes, writes, st.lists(st.integers(0, 20), min_size=1))
def test_reading_on_from_the_next_offset_loses_nothing(size: int, parts: list[bytes], limits: list[int]) -> None:
    """A reader that keeps up has every byte, in order; the length never goes down."""
    buffer, seen, offset, length = StreamingBuffer(size), b"", 0, 0
    for part in parts:
        for at in range(0, len(part), size):
            buffer.write(part[at : at + size])
            piece = buffer.read(offset)
            assert (piece.start, piece.length >= length) == (offset, True)
            seen, offset, length = seen + piece.data, piece.next_offset, piece.length
    assert seen == b"".join(parts)


@given(texts, st.lists(st.integers(1, 7), min_size=1), st.integers(1, 9))
def test_text_is_never_cut_within_a_character(text: str, cuts: list[int], limit: int) -> None:
    """Whatever the writes and the limits of reads: the pieces are the text, and all of them are exact."""
    buffer, data, seen, offset = StreamingBuffer(), text.encode(), "", 0
    for turn in range(len(data)):
        if not data:
            break
        size = cuts[turn % len(cuts)]
        buffer.write(data[:size])
        data = data[size:]
        piece = buffer.read_text(offset, limit + 3)
        assert piece.is_exact
        seen, offset = seen + piece.text, piece.next_offset
    buffer.close()
    seen += buffer.read_text(offset).text
    assert seen == text


@given(texts, st.integers(1, 20))
def test_a_front_that_is_gone_within_a_character_is_skipped(text: str, size: int) -> None:
    """And told: the data begin behind it."""
    buffer, data = fill(size, [text.encode()])
    buffer.close()
    output = buffer.get_output()
    assert "\ufffd" not in str(output["data"]) or "\ufffd" in text
    start = int(str(output["offset"]))
    assert data[start:].decode() == output["data"] == buffer.get_all()
    assert 0 <= start - max(0, len(data) - size) <= 3


def test_what_is_no_text_is_told() -> None:
    """U+FFFD stands for it, and the bytes can still be had exactly."""
    buffer, data = fill(100, [b"a\xff\xfeb"])
    piece = buffer.read_text(0)
    assert (piece.text, piece.is_exact, piece.next_offset) == ("a\ufffd\ufffdb", False, 4)
    assert buffer.read(0).data == data


def test_an_unfinished_character_waits_for_its_rest_or_the_end() -> None:
    """The length counts it at once, the next offset and the whole length when it is all there."""
    buffer, _ = fill(100, ["aé".encode()[:-1]])
    output = buffer.get_output()
    assert (output["data"], output["length"], output["next_offset"], buffer.whole_length) == ("a", 2, 1, 1)
    buffer.write("é".encode()[-1:])
    assert (buffer.get_output(1)["data"], buffer.whole_length) == ("é", 3)
    buffer.write(b"\xc3")
    buffer.close()
    assert (buffer.get_output(3)["data"], buffer.whole_length) == ("\ufffd", 4)


@pytest.mark.parametrize("asked", [{"offset": -1}, {"offset": 0, "limit_bytes": -1}])
def test_a_negative_offset_is_an_error(asked: dict[str, int]) -> None:
    """It means nothing here: offsets count from the beginning."""
    with pytest.raises(InvalidRequest, match="negative"):
        StreamingBuffer().read(**asked)


@pytest.mark.parametrize("size", [0, -1, (1 << 30) + 1])
def test_a_size_that_makes_no_sense_is_an_error(size: int) -> None:
    """Before anything is reserved."""
    with pytest.raises(InvalidRequest, match="max_buffer_size"):
        StreamingBuffer(size)


def test_an_offset_beyond_the_end_is_set_right() -> None:
    """A reader that has lost its place goes on from the end."""
    buffer, _ = fill(4, [b"abcdef"])
    piece = buffer.read(99)
    assert (piece.start, piece.data, piece.next_offset) == (6, b"", 6)


def test_a_closed_buffer_is_read_but_not_written() -> None:
    """Nobody waits for it."""
    buffer, _ = fill(4, [b"ab"])
    buffer.close()
    assert (buffer.is_closed, buffer.get_all(), buffer.wait(2, 0)) == (True, "ab", True)
    with pytest.raises(ValueError, match="closed"):
        buffer.write(b"c")


def test_a_discarded_buffer_holds_nothing() -> None:
    """All of it counts as gone."""
    buffer, _ = fill(4, [b"ab"])
    buffer.discard()
    piece = buffer.read(0)
    assert (piece.start, piece.first, piece.data, piece.length, buffer.kept_bytes) == (2, 2, b"", 2, 0)


def test_a_wait_ends_with_the_first_byte_behind_the_offset() -> None:
    """Or with the end of the stream, or of the time."""
    buffer, _ = fill(100, [b"ab"])
    assert buffer.wait(1, 0)
    assert not buffer.wait(2, 0.01)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(buffer.wait(2, 60)))
    thread.start()
    buffer.write(b"")
    assert not found
    buffer.write(b"c")
    thread.join()
    closing = threading.Thread(target=lambda: found.append(buffer.wait(3, 60)))
    closing.start()
    buffer.close()
    closing.join()
    assert found == [True, True]


def test_ten_thousand_tiny_writes() -> None:
    """Arrive in order, and cost no more memory than their bytes."""
    buffer = StreamingBuffer(4096)
    for number in range(10_000):
        buffer.write(b"%d\n" % number)
    everything = "".join(f"{number}\n" for number in range(10_000))
    assert buffer.get_all() == everything[-4096:]
    assert buffer.length == len(everything)


@settings(max_examples=5, deadline=None)
@given(st.integers(200, 5000))
def test_threads_that_write_and_read_at_once_lose_nothing(size: int) -> None:
    """Each write stands in one piece, each writer's in their order; each reader that keeps up has all of it."""
    buffer, writers, turns = StreamingBuffer(1 << 20), 4, size // 10
    seen = [bytearray() for _ in range(3)]

    def write(name: int) -> None:
        for turn in range(turns):
            buffer.write(b"<%d:%d>" % (name, turn))

    def read(into: bytearray) -> None:
        while buffer.wait(len(into), 60):
            piece = buffer.read(len(into), 777)
            into += piece.data
            if piece.is_last:
                return

    readers = [threading.Thread(target=read, args=(into,)) for into in seen]
    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    for thread in (*readers, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    buffer.close()
    for thread in readers:
        thread.join()
    assert seen[0] == seen[1] == seen[2]
    found = [part.split(b":") for part in bytes(seen[0]).strip(b"<>").split(b"><")]
    for name in range(writers):
        assert [int(turn) for who, turn in found if int(who) == name] == list(range(turns))


def test_two_buffers_can_be_waited_for_together() -> None:
    """They share what tells of a change."""
    changed = threading.Condition()
    out, err = StreamingBuffer(10, changed=changed), StreamingBuffer(10, changed=changed)
    woken = threading.Event()

    def wait() -> None:
        with changed:
            changed.wait_for(lambda: out.length or err.length, 60)
            woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0)
    err.write(b"x")
    wait_until(woken.is_set, "the reader of both")
    thread.join()
