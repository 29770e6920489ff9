"""Every command, program and configuration in the documents works as it stands there, in the order of its page."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.lab.documents import find_pages
from tests.lab.reader import Reader, looks_like, split_console, start_server

if TYPE_CHECKING:
    from tests.lab.documents import Block, Page

PAGES = [page for page in find_pages() if page.blocks]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_works(page: Page, lab_dirs: set[str]) -> None:
    """Somebody who does all that the page says, from top to bottom, sees what it shows."""
    with contextlib.ExitStack() as stack:
        reader: Reader | None = None
        for block in page.blocks:
            if reader is None or "setup" in block.how:
                reader = settle(stack, block, lab_dirs)
            if not block.reason:
                reader.do(block)


def settle(stack: contextlib.ExitStack, block: Block, lab_dirs: set[str]) -> Reader:
    """Return a new person, on a new server; both go when ``stack`` does."""
    server = start_server()
    stack.callback(server.close)
    reader = Reader(server, block.how.get("setup", "project"), block.page)
    stack.callback(reader.close)
    lab_dirs |= {str(server.dir), str(reader.dir)}
    return reader


def test_a_console_block_is_compared_with_what_came() -> None:
    """``...`` stands for anything in a line, and alone for any lines; everything else is exact."""
    assert split_console("$ a \\\n> b\nout\n$ c\n") == [("a \\\nb", "out\n"), ("c", "")]
    assert looks_like("took 3 ms\n", "took ... ms\n")
    assert looks_like("one\ntwo\nthree\n", "one\n...\nthree\n")
    assert looks_like("one\n", "...\none\n...\n")
    assert not looks_like("one\ntwo\n", "one\n")
    assert not looks_like("one two\n", "one\n")
    assert not looks_like("", "one\n")
