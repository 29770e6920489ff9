"""The server, and its way over stdio: stdout is the protocol's alone, stdin is for nobody but it.

While it serves, descriptor 0 is /dev/null and 1 is stderr, for whatever this process or a child of it writes or reads;
the SDK has private copies for the protocol. It ends when the client closes stdin, whatever its threads still wait for.
"""

from __future__ import annotations

import _signal
import gc
import os
import sys
from typing import TYPE_CHECKING

import anyio

from mtr import __version__
from mtr.errors import ProjectError
from mtr.mcp.arguments import Server
from mtr.mcp.desk import Desk
from mtr.mcp.prompts import add_prompts
from mtr.mcp.reads import add_reads
from mtr.mcp.tools import build_tools
from mtr.mcp.words import INSTRUCTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mtr.agent.agent import Agent


def build_server(desk: Desk) -> Server:
    """Return the server with all that it offers."""
    server = Server(
        "mtr",
        title="mtr: edit here, run there",
        description="Commands on remote servers over SSH, on the files of the local project.",
        instructions=INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        tools=build_tools(desk),
    )
    add_reads(server, desk)
    add_prompts(server)
    return server


def open_desk(directory: str | None, server: str | None, environ: Mapping[str, str]) -> Desk:
    """Return a desk whose agent works in ``directory``, with ``server`` as the default.

    Raises:
        ProjectError: there is no such directory. Nothing would be configured there, and commands would run here.
    """
    if directory is not None and not os.path.isdir(directory):
        raise ProjectError(f"{directory} is not a directory", hint="mtr -C DIR mcp, with a directory that is there")

    def open_agent() -> Agent:
        from mtr.agent.agent import Agent
        from mtr.voice import Voice

        return Agent(directory, environ, server=server, say=Voice().say)

    return Desk(open_agent)


def serve_stdio(desk: Desk) -> int:
    """Serve until the client closes stdin; return the exit status."""
    server = build_server(desk)
    prepare_to_stay(desk.close)
    anyio.run(server.run_stdio_async)
    # The SDK has given 1 back, and whatever was printed to it by Python is not flushed yet.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  the process ends with it
    desk.close()
    return 0


def prepare_to_stay(close: Callable[[], None]) -> None:
    """Be a process that stays: collect its garbage, and end at once on a signal, after ``close``.

    Signals are no exceptions here: those would go through an event loop that waits for threads.
    """

    def end(signum: int, _frame: object) -> None:
        try:
            close()
        finally:
            os._exit(128 + signum)

    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        if _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, end)
    # What is loaded by now stays; a warm run has put off collecting for good.
    gc.freeze()
    gc.set_threshold(2_000, 10, 10)
