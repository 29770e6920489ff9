"""Where on a command line the cursor stands: what is before it, and what kind of word is being typed. Pure.

Shells that split the line themselves give its words; bash, which splits at ``:`` and ``=`` as well, gives the line.
"""

from __future__ import annotations

from mtr.aliases import split_words
from mtr.command_line import BY_FLAG, OWN_WORDS, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = "\0"


class Cursor:
    """What stands before the cursor.

    ``current`` is the word being typed, so far. ``option`` is what it is the argument of, and ``attached`` how much of
    ``current`` is the option itself (``--server=``). ``words`` are the command or verb and what follows it, without
    ``current``; ``forced`` says that they can be no verb.
    """

    def __init__(self, current: str) -> None:
        self.current = current
        self.option: Option | None = None
        self.attached = 0
        self.words: list[str] = []
        self.forced = False
        self.server: str | None = None
        self.directory: str | None = None

    @property
    def verb(self) -> str:
        """The own word in whose arguments the cursor stands, "" for none."""
        return self.words[0] if self.words and not self.forced and self.words[0] in OWN_WORDS else ""


def split_line(line: str) -> tuple[list[str], str]:
    """Return the words of ``line`` up to the cursor, and the quote that is open there.

    The words are without quotes; the last one is being typed, and is "" behind a blank.
    """
    for quote in ("", "'", '"'):
        words = split_words(line + _MARK + quote)
        if words:
            return [*words[:-1], words[-1].rstrip(_MARK)], quote
    return [""], ""


def quote_for_bash(word: str, line: str, current: str, quote: str) -> str:
    """Return ``word`` as it is to stand in place of ``current`` at the end of ``line``; "" where it cannot.

    bash itself leaves ``$`` in the name of a file as it is, and a server may choose such names.
    """
    if not quote:
        return "".join(c if c in _SAFE or not c.isascii() else f"\\{c}" for c in word)
    at = len(line) - len(current) - 1
    # A quote that begins within a word, or what is escaped in it, would have to be taken apart first.
    if line[at:] != quote + current or line[at - 1 : at].strip():
        return ""
    if quote == "'":
        return "" if "'" in word else word
    # Within double quotes nothing hides ! from the history.
    return "" if "!" in word else "".join(f"\\{c}" if c in '"$`\\' else c for c in word)


_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-,%^")


def count_kept(line: str, current: str, breaks: str) -> int:
    """Return how many characters of ``current`` readline keeps: it replaces only what follows a break in a word."""
    if not line.endswith(current):
        return 0  # quoted: then its breaks are none
    return max(current.rfind(character) for character in breaks) + 1 if breaks else 0


def find_cursor(words: Sequence[str]) -> Cursor:
    """Return where the cursor stands behind ``words``, the name of the command first, the unfinished word last."""
    name, *typed = words if len(words) > 1 else [*words, ""]
    prefix = f"{COMMAND}-"
    if name.startswith(prefix) and name != prefix:
        typed = ["-s", name.removeprefix(prefix), *typed]
    cursor = Cursor(typed.pop())
    rest = _skip_options(cursor, typed)
    if rest[:2] == ["job", "start"] and not cursor.forced:
        rest = ["run", *rest[2:]]
    if rest[:1] == ["run"] and not cursor.forced:
        rest = _skip_options(cursor, rest[1:])
        cursor.forced = bool(rest) or cursor.forced
    cursor.words = rest
    if not rest and not cursor.option:
        _find_attached(cursor)
    return cursor


COMMAND = "mtr"


def _skip_options(cursor: Cursor, typed: list[str]) -> list[str]:
    """Return what follows the options in front, and note what they say."""
    left = typed[::-1]
    while left and left[-1].startswith("-") and left[-1] != "-":
        word = left.pop()
        if word == "--":
            cursor.forced = True
            break
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if flag not in BY_FLAG and not word.startswith("--"):
            flag, equals, value = word[:2], "=", word[2:]
        option = BY_FLAG.get(flag)
        if option is None or not option.metavar:
            continue
        if not equals:
            if not left:
                cursor.option = option
                break
            value = left.pop()
        if option.name in ("server", "directory"):
            setattr(cursor, option.name, value)
    return left[::-1]


def _find_attached(cursor: Cursor) -> None:
    """Note the option whose argument is typed in the same word."""
    current = cursor.current
    flag, equals, _ = current.partition("=")
    if current.startswith("--") and equals:
        length = len(flag) + 1
    elif current.startswith("-") and len(current) > 2 and not current.startswith("--"):
        flag, length = current[:2], 2
    else:
        return
    option = BY_FLAG.get(flag)
    if option is not None and option.metavar and not cursor.forced and current not in BY_FLAG:
        cursor.option, cursor.attached = option, length
