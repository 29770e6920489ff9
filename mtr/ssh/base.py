"""What a connection is for those who stand on it, whether ssh or paramiko carries it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from mtr.errors import EXIT_FAILURE
from mtr.ssh.diagnosis import build_prepare_error, build_refusal
from mtr.ssh.gate import new_run_id
from mtr.ssh.journal import entered
from mtr.ssh.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.config.model import Server
    from mtr.process.captured import Captured
    from mtr.ssh.gate import Command
    from mtr.ssh.outcome import Ended


class BaseConnection(Line):
    """One server: scripts, commands and transfers there."""

    server: Server

    @abstractmethod
    def ensure_alive(self) -> None:
        """Make sure that the server answers now."""

    @abstractmethod
    def recover(self, line: Line, ended: Ended, failures: int) -> None:
        """Let ``line`` go on where a session of it did not open: see :class:`Line`.

        Raises:
            ConnectError: it cannot.
        """

    @abstractmethod
    def build_opening_argvs(self) -> list[list[str]]:
        """Return the argv that opens the connection, as ``--dry-run`` shows it; [] where none is to be started."""

    @abstractmethod
    def exec_command_stream(
        self, command: Command, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None]
    ) -> int:
        """Run ``command`` through the gate, handing over its output as it comes; return its status.

        The callbacks run on threads of their own and get bytes, cut anywhere.
        """

    def ensure_remote_dir(self, remote_dir: str, *, anew: bool = False) -> bool:
        """Make ``remote_dir`` with its parents, and see that it can be written; tell whether it was looked at.

        Raises:
            SyncError: it cannot be made or written.
        """
        found = self.run_script("remote/list.sh", [remote_dir, new_run_id(), "", "", "none"])
        if found.status != 0:
            words = found.stderr.decode(errors="replace")
            raise build_prepare_error(found.status, self.label, remote_dir, words)
        return not anew

    def run(self, command: Command, *, stdin: bytes = b"", timeout_s: float | None = None) -> Captured:
        """Run ``command`` through the gate and return its status and output, for scripts and notebooks.

        Raises:
            GateRefused: the gate did not start it.
        """
        call = self.prepare_call(command)
        with entered(self.environ, self.facts.address, call.run_id, call.program) as entry:
            found = self.run_captured(
                call.remote_command, extra=call.environ, stdin=stdin, timeout_s=timeout_s, limit_bytes=None
            )
            entry.settle()
        if found.status == EXIT_FAILURE and (words := self.load_refusal(command.run_id)):
            raise build_refusal(self.server_name, command, words)
        return found
