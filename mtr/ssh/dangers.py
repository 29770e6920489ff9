"""What of a user's own ssh configuration works against mtr, or against them. Pure.

Reads ssh's own answer (``ssh -G``), so that blocks, includes and defaults have been decided by ssh itself.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def list_dangers(query: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line for each setting in ``query`` that is better mended."""

    def value(name: str) -> str:
        return query.get(name, [""])[0].lower()

    found = []
    if value("stricthostkeychecking") in ("no", "off", "false"):
        found.append("StrictHostKeyChecking no: a changed host key is not noticed in time; accept-new is as convenient")
    if value("userknownhostsfile") in ("/dev/null", "none"):
        found.append("UserKnownHostsFile /dev/null: no host key is remembered, so a changed one is never noticed")
    if value("serveraliveinterval") == "0":
        found.append("ServerAliveInterval 0: a line that has died is noticed late")
    if value("connecttimeout") in ("0", "none"):
        found.append("ConnectTimeout none: a server that is off is waited for, for minutes")
    return found
