"""The start that clients make, ``mtr [-s NAME] [-C DIR] mcp``: without click, which takes time to load."""

from __future__ import annotations

from mtr.command_line import OPTIONS, Invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TAKEN = frozenset(("server", "directory", "verbose", "log_file", "enable_log", "log_level", "check_update"))


def start(invocation: Invocation, environ: Mapping[str, str]) -> int | None:
    """Serve over stdio where just that is asked for; None where click is to say what else it is."""
    plain = Invocation()
    others = {option.name for option in OPTIONS} - TAKEN
    if invocation.words != ["mcp"] or any(getattr(invocation, name) != getattr(plain, name) for name in others):
        return None
    from mtr.mcp.extra import ensure_sdk

    ensure_sdk()
    from mtr.mcp.serving import open_desk, serve_stdio

    return serve_stdio(open_desk(invocation.directory, invocation.server, environ))
