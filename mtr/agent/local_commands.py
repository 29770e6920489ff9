"""Commands on this machine: they end with the process that has started them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.agent.model import Listed, Look, Order, TokenUnknown, render_command
from mtr.policy import LOCAL
from mtr.streams.piece import FAR
from mtr.streams.service import CommandNotFound, RunCmdService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtr.streams.command import Look as LocalLook


class LocalCommands:
    """The commands of this process; ``directory`` is where they run, and what an order's own counts from."""

    def __init__(self, directory: str, *, max_running: int) -> None:
        self.name = LOCAL
        self._directory = directory
        self._service = RunCmdService(max_running=max_running)

    def start(self, order: Order) -> str:
        """Begin to start what is ordered; return its token at once.

        Raises:
            InvalidRequest: there is no such directory.
            TooManyCommands: as many run as may at once.
        """
        return self._service.start(
            order.command if isinstance(order.command, str) else list(order.command),
            timeout_s=order.timeout_s,
            working_directory=resolve_directory(self._directory, order.directory),
            use_pty=order.use_pty,
            has_input=order.keep_stdin,
            max_buffer_size=order.max_buffer_bytes,
        )

    def look(
        self, token: str, offsets: tuple[int, int], *, limit_bytes: int, wait_s: float, until_end: bool = False
    ) -> Look:
        """Tell how the command stands, and what it has printed behind ``offsets``.

        Waits for news up to ``wait_s``, ``until_end`` for its end alone.

        Raises:
            TokenUnknown: no command of this process has that token.
        """
        try:
            if until_end:
                self._service.look(token, FAR, FAR, 0, wait_s)
            found = self._service.look(token, *offsets, limit_bytes, 0 if until_end else wait_s)
        except CommandNotFound as error:
            raise _build_unknown(token) from error
        return _build_look(found)

    def send(self, token: str, data: bytes, *, end: bool) -> None:
        """Let the command read ``data``; with ``end``, there will be no more.

        Raises:
            TokenUnknown: no command of this process has that token.
            InvalidRequest: it has ended, or does not read.
        """
        try:
            self._service.send_input(token, data, end)
        except CommandNotFound as error:
            raise _build_unknown(token) from error

    def terminate(self, token: str) -> None:
        """End the command with all that it has started.

        Raises:
            TokenUnknown: no command of this process has that token.
        """
        try:
            self._service.terminate(token)
        except CommandNotFound as error:
            raise _build_unknown(token) from error

    def list(self) -> list[Listed]:
        """Return all that this process has started and not forgotten, the oldest first."""
        return [*self._list()]

    def _list(self) -> Iterator[Listed]:
        for known in self._service.list():
            command = render_command(known.command)
            yield Listed(
                known.token, LOCAL, known.status, command, known.exit_code, known.started_s, known.execution_time_s
            )

    def close(self) -> None:
        """End all of them."""
        self._service.close()


def resolve_directory(root: str, directory: str | None) -> str:
    """Return where a command here runs: ``directory``, from the project's ``root`` unless absolute or with ``~/``."""
    return os.path.join(root, os.path.expanduser(directory or ""))


def _build_unknown(token: str) -> TokenUnknown:
    hint = "commands on this machine end with the server that started them; list_commands() tells which there are"
    return TokenUnknown(f"no command on this machine has the token {token}", hint=hint)


def _build_look(found: LocalLook) -> Look:
    known = found.summary
    return Look(
        token=known.token,
        server=LOCAL,
        status=known.status,
        exit_code=known.exit_code,
        timeout_occurred=known.timeout_occurred,
        execution_time_s=known.execution_time_s,
        stdout=found.stdout,
        stderr=found.stderr,
        error=known.error or known.notice,
    )
