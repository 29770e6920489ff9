"""Why a project's directory on a server cannot be used: the scripts' statuses and words as errors. Pure."""

from __future__ import annotations

import re

from mtr.errors import RemoteDiskFull, RemoteNotWritable, SyncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mtr.errors import MtrError

MOST_LINES = 6

_DISK_FULL = re.compile(r"No space left on device|[Qq]uota exceeded")
_REFUSED = re.compile(r"Permission denied|Read-only file system|Operation not permitted|[Nn]ot a directory|File exists")


def explain_apply(words: str, label: str, remote_dir: str, server: str) -> MtrError:
    """Return the error for an ``apply.sh`` that failed, from the words of the programs that it ran."""
    # What the shell itself says begins with the name that mtr has given it.
    lines = [re.sub(r"^mtr-\w+: (line )?\d+: ", "", line) for line in words.splitlines()]
    # tar has a line for each file that does not fit.
    more = [f"… and {len(lines) - MOST_LINES:,} lines more"] if len(lines) > MOST_LINES else []
    words = "\n".join([*lines[:MOST_LINES], *more])
    if _DISK_FULL.search(words):
        hint = f"mtr -s {server} --no-sync df -h ."
        return RemoteDiskFull(f"no space left on {label} for {remote_dir}", detail=words, hint=hint)
    if _REFUSED.search(words):
        hint = "make what it names writable there, or choose another `remote_dir`"
        return RemoteNotWritable(f"{label}: cannot write to {remote_dir}", detail=words, hint=hint)
    return SyncError(f"{label}: the files did not get into {remote_dir}", detail=words, hint="run it again")
