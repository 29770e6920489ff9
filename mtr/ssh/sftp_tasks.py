"""What a task of SFTP waits for: all the replies to what it has asked, or the first of them while others are under way.

On a long line a file that is asked for in batches waits a round trip for each; one that asks ahead keeps the line full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtr.ssh.sftp import Reply, Task


class Ahead(list[bytes]):
    """Requests of a task that goes on once the first ``wanted`` replies to all that it has asked for are there."""

    def __init__(self, requests: Iterable[bytes], wanted: int) -> None:
        super().__init__(requests)
        self.wanted = wanted


class Running:
    """A task, and the replies to what it has asked for; it waits for the first ``_wanted`` of those it has not had."""

    __slots__ = ("_had", "_has_begun", "_replies", "_wanted", "missing", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.missing = 0
        self._has_begun = False
        self._replies: list[Reply | None] = []
        self._wanted = 0
        self._had = 0

    def advance(self) -> list[bytes]:
        """Hand the task what it has waited for; return what it asks for next.

        Raises:
            StopIteration: it is done; what it has asked for and not taken, nobody waits for.
        """
        if not self._has_begun:
            self._has_begun = True
            return next(self.task)
        replies = [reply for reply in self._replies[: self._wanted] if reply is not None]
        del self._replies[: self._wanted]
        self._had += self._wanted
        self._wanted = 0
        return self.task.send(replies)

    def expect(self, requests: list[bytes]) -> range:
        """Note that ``requests`` are under way, and return the numbers of their replies."""
        first = self._had + len(self._replies)
        self._replies += [None] * len(requests)
        self._wanted = len(self._replies)
        if isinstance(requests, Ahead):
            self._wanted = min(requests.wanted, self._wanted)
        self.missing = self._replies[: self._wanted].count(None)
        return range(first, first + len(requests))

    def take(self, number: int, reply: Reply) -> bool:
        """Take the reply of that number; tell whether the task can go on."""
        at = number - self._had
        self._replies[at] = reply
        self.missing -= at < self._wanted
        return at < self._wanted and not self.missing
