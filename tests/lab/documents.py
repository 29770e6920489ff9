"""The documents as values: pages, their blocks of code, headings, links and what stands in backticks. Pure.

What a block is for stands in front of it, in a comment that nobody sees on the page::

    <!-- test: KEY=VALUE … -->     how it is run; the keys are those of :class:`tests.lab.reader.Reader`
    <!-- not run: REASON -->       why it is not

The language of a block says what becomes of it: ``sh`` and its kin are run, ``console`` is run and its output
compared, ``python`` is run, ``yaml`` is a configuration of mtr and checked as one, ``json`` is parsed, and ``text`` is
only looked at.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHECKOUT = Path(__file__).resolve().parents[2]

SHELLS = ("sh", "zsh", "fish")
RUN = (*SHELLS, "console", "python")
LANGUAGES = (*RUN, "yaml", "json", "text")

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}) *(?P<language>\S*) *$")
_COMMENT = re.compile(r"^ *<!-- (?P<kind>test|not run): (?P<text>.*) -->$")
_HEADING = re.compile(r"^(#+) (.+?) *$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its text, how it is run, or why it is not."""

    page: Path
    line: int
    language: str
    text: str
    how: Mapping[str, str]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One document."""

    path: Path

    @property
    def name(self) -> str:
        """Return its path as the tests name it."""
        return str(self.path.relative_to(CHECKOUT))

    @cached_property
    def blocks(self) -> list[Block]:
        """Return the blocks in their order."""
        return list(_find_blocks(self.path))

    @cached_property
    def prose(self) -> str:
        """Return the text between the blocks."""
        lines, inside = [], ""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            fence = _FENCE.match(line)
            if fence and (not inside or line.strip() == inside):
                inside = "" if inside else fence["fence"]
            elif not inside:
                lines.append(line)
        return "\n".join(lines)

    @property
    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as code hosts make them."""
        return {make_anchor(found[2]) for line in self.prose.splitlines() if (found := _HEADING.match(line))}

    @property
    def links(self) -> list[str]:
        """Return where the links lead."""
        return _LINK.findall(self.prose)

    @property
    def spans(self) -> list[str]:
        """Return what stands in backticks, in the prose."""
        return _SPAN.findall(self.prose)


def find_pages() -> list[Page]:
    """Return every page that is for users: the READMEs, docs/, and those of the examples."""
    found = [*CHECKOUT.glob("README*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("examples/**/*.md")]
    return [Page(path) for path in sorted(found)]


def make_anchor(heading: str) -> str:
    """Return the anchor of a heading: lower case, without punctuation, hyphens for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _find_blocks(path: Path) -> Iterator[Block]:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment: re.Match[str] | None = None
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            found = _COMMENT.match(lines[number])
            comment = found or (comment if not lines[number].strip() else None)
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == fence["fence"])
        text = "".join(f"{line.removeprefix(fence['indent'])}\n" for line in lines[number + 1 : end])
        how = _parse_how(comment["text"]) if comment and comment["kind"] == "test" else {}
        reason = comment["text"] if comment and comment["kind"] == "not run" else ""
        yield Block(path, number + 1, fence["language"], text, how, reason)
        comment, number = None, end + 1


def _parse_how(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in shlex.split(text))}
