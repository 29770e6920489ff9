"""What an agent is answered: plain values for JSON, each capped, each cap named. Pure; knows nothing of the protocol.

Bytes become text where they are UTF-8, and no character is split between two reads. Where they are not, the text shows
them as well as it can, and the exact bytes stand beside it in base64; of what is hardly text at all, these alone.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mtr.errors import sanitize
from mtr.streams import text as streams_text
from mtr.streams.command import COMPLETED, NOT_FOUND, PENDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mtr.agent.files import FilePiece
    from mtr.agent.model import Listed, Look
    from mtr.errors import MtrError
    from mtr.status import Statuses
    from mtr.streams.piece import Piece

MAX_WAIT_S = 50.0
"""Clients cut a call at 60 s, and what it had found is lost with it."""

DEFAULT_BYTES = 32_768
MIN_BYTES = 16
MAX_BYTES = 1_048_576
MAX_SENT_BYTES = 65_536
DEFAULT_LISTED = 20

BINARY = 4
SHORT = 1_000
"""Characters that are shown whatever they are."""
MAX_LISTED = 200
MAX_COMMAND_CHARACTERS = 500
MAX_ERROR_CHARACTERS = 4_000

SPARED = frozenset(
    ("server", "stdout_start", "stderr_start", "stdout_truncated_bytes", "stderr_truncated_bytes", "hint")
)
"""What an answer leaves out where there is nothing in it: a model reads, and pays for, each answer of a long watch."""

HINTS = {
    "server-not-found": "list_servers tells the names; user@host works, too",
    "its stdin is empty": "run_command takes keep_stdin=true or use_pty=true for that: start it again",
    "it was started without, or its input is over": "run_command takes keep_stdin=true for that: start it again",
}
"""What to do next with these tools, by an error's code or its last words, where the error itself tells what to type."""


@dataclass(frozen=True, slots=True)
class Cut:
    """``text`` stands for the first ``used_bytes`` of some data; ``exact`` those in base64 where they are no UTF-8.

    ``text`` is empty where it is not ``SHORT``, and more than one character in ``BINARY`` could not be shown.
    """

    text: str
    used_bytes: int
    exact: str | None


def cut_text(data: bytes, *, is_end: bool) -> Cut:
    """Return ``data`` as text; an incomplete character at its end is left for the next read unless ``is_end``."""
    found = streams_text.cut_text(data, is_end=is_end)
    if found.is_exact:
        return Cut(found.text, found.used_bytes, None)
    is_binary = len(found.text) > SHORT and found.text.count("\ufffd") * BINARY > len(found.text)
    exact = base64.b64encode(data[: found.used_bytes]).decode()
    return Cut("" if is_binary else found.text, found.used_bytes, exact)


def cap_wait(wait_s: float) -> float:
    """Return how long a call really waits."""
    return min(wait_s, MAX_WAIT_S)


def cap_bytes(max_bytes: int) -> int:
    """Return how much a call really answers, of each stream."""
    return max(MIN_BYTES, min(max_bytes, MAX_BYTES))


def is_ended(look: Look) -> bool:
    """Tell whether the command prints no more."""
    return look.status == COMPLETED


def has_news(look: Look) -> bool:
    """Tell whether there is anything to tell: text, or the end. A part of a character alone is nothing yet."""
    return is_ended(look) or any(cut_text(piece.data, is_end=False).used_bytes for piece in (look.stdout, look.stderr))


def begin_whole(look: Look, offsets: tuple[int, int]) -> Look:
    """Return ``look`` without the rest of a character, where an output was asked for from its end (below 0)."""
    out, err = offsets
    return replace(look, stdout=_skip_torn(look.stdout, out), stderr=_skip_torn(look.stderr, err))


def _skip_torn(piece: Piece, offset: int) -> Piece:
    count = streams_text.count_torn(piece.data) if piece.start and offset < 0 else 0
    return replace(piece, start=piece.start + count, data=piece.data[count:])


def build_started(token: str, server: str, caps: Mapping[str, object]) -> dict[str, Any]:
    """Return the answer to a command that is being started."""
    from mtr.policy import LOCAL

    where = "this machine" if server == LOCAL else server
    message = (
        f"Being started on {where}. Next: query_command_status(token={token!r}, wait_s={MAX_WAIT_S:g}, "
        'wait_for="end"), and again with next_stdout_offset while it runs.'
    )
    return {"token": token, "status": PENDING, "message": message, "server": server, "caps": dict(caps)}


def build_status(look: Look, *, limit_bytes: int) -> dict[str, Any]:
    """Return how a command stands, and what it has printed behind the offsets that were asked for."""
    answer: dict[str, Any] = {
        "token": look.token,
        "status": look.status,
        "exit_code": look.exit_code,
        "execution_time": None if look.execution_time_s is None else round(look.execution_time_s, 3),
        "timeout_occurred": look.timeout_occurred,
        "server": look.server,
    }
    has_more = False
    for name, piece in (("stdout", look.stdout), ("stderr", look.stderr)):
        fields, is_all = _build_stream(name, piece, has_ended=is_ended(look))
        answer |= fields
        has_more = has_more or not is_all
    answer |= {"more": has_more, "error": look.error, "hint": look.hint or _advise(answer, has_more=has_more)}
    answer["caps"] = {"wait_s": MAX_WAIT_S, "max_bytes": limit_bytes, "max_bytes_at_most": MAX_BYTES}
    return answer


def _build_stream(name: str, piece: Piece, *, has_ended: bool) -> tuple[dict[str, Any], bool]:
    """Return the fields of one stream, and whether there is nothing more to read of it just now."""
    is_all = piece.start + len(piece.data) >= piece.length
    cut = cut_text(piece.data, is_end=has_ended and is_all)
    fields: dict[str, Any] = {
        name: cut.text,
        f"{name}_length": piece.length,
        f"{name}_truncated": piece.first > 0,
        f"{name}_truncated_bytes": piece.first,
        f"{name}_start": piece.start,
        f"next_{name}_offset": piece.start + cut.used_bytes,
    }
    if cut.exact is not None:
        fields[f"{name}_base64"] = cut.exact
    return fields, is_all


def _advise(answer: Mapping[str, Any], *, has_more: bool) -> str:
    offsets = f"stdout_offset={answer['next_stdout_offset']}, stderr_offset={answer['next_stderr_offset']}"
    if has_more:
        return f"there is more to read: query_command_status with {offsets}"
    if answer["status"] != COMPLETED:
        return f'it goes on: query_command_status with {offsets}, wait_s={MAX_WAIT_S:g}, wait_for="end"'
    if answer["timeout_occurred"]:
        return "its timeout has ended it, and what it had printed is kept; run_command takes a larger timeout"
    return ""


def build_unknown(token: str, words: str, *, limit_bytes: int) -> dict[str, Any]:
    """Return the answer to a token that no command has."""
    from mtr.agent.model import Look

    hint = (
        "list_commands tells which tokens there are; a job that was removed is there no more. One that was pending "
        "when mtr mcp ended may not have begun: ask once more, then start it again"
    )
    return build_status(Look(token, "", NOT_FOUND, error=words, hint=hint), limit_bytes=limit_bytes)


def build_list(
    listed: Iterable[Listed], failed: Mapping[str, MtrError], *, limit: int = MAX_LISTED, running: bool = False
) -> dict[str, Any]:
    """Return the newest commands first, and the servers that could not be asked; ``running``: none that has ended."""
    # A server that is there under two names tells each of its commands twice.
    rows = {(one.token, one.started_s, one.command): one for one in reversed([*listed])}
    found = [one for one in rows.values() if not running or one.status != COMPLETED]
    limit = min(limit, MAX_LISTED)
    shown = sorted(found, key=lambda one: one.started_s or 0.0, reverse=True)[:limit]
    return {
        "commands": [_build_listed(one) for one in shown],
        "total": len(found),
        "not_asked": [{"server": name, "error": render_failure(error)} for name, error in failed.items()],
        "caps": {"commands": limit, "characters_of_each_command": MAX_COMMAND_CHARACTERS},
    }


def _build_listed(one: Listed) -> dict[str, Any]:
    text = one.command
    return {
        "token": one.token,
        "server": one.server,
        "status": one.status,
        "command": text if len(text) <= MAX_COMMAND_CHARACTERS else f"{text[:MAX_COMMAND_CHARACTERS]}…",
        "exit_code": one.exit_code,
        "started_at": None if one.started_s is None else round(one.started_s, 3),
        "execution_time": None if one.execution_time_s is None else round(one.execution_time_s, 3),
    }


def build_servers(statuses: Statuses, default: str) -> dict[str, Any]:
    """Return the servers, and what is wrong with the configuration."""
    from mtr.policy import LOCAL

    rows = [
        {
            "name": row.name,
            "address": row.address,
            "state": row.state,
            "is_default": row.name == default,
            "remote_dir": row.remote_dir,
            "problem": row.problem,
        }
        for row in statuses.rows
    ]
    error = render_failure(statuses.error) if statuses.error is not None else ""
    hint = (
        "no server is configured: commands run on this machine. mtr init sets one up"
        if default == LOCAL and not rows
        else ""
    )
    told = {"servers": rows[:MAX_LISTED], "default": default, "error": error, "hint": hint}
    return spare(told | {"caps": {"servers": MAX_LISTED}})


def build_file(path: str, server: str, piece: FilePiece, *, limit_bytes: int) -> dict[str, Any]:
    """Return a piece of a file."""
    is_all = piece.offset + len(piece.data) >= piece.size_bytes
    cut = cut_text(piece.data, is_end=is_all)
    answer: dict[str, Any] = {"path": path, "server": server, "size": piece.size_bytes, "mode": piece.mode}
    answer |= {"text": cut.text, "offset": piece.offset, "next_offset": piece.offset + cut.used_bytes}
    answer |= {} if cut.exact is None else {"base64": cut.exact}
    hint = "" if is_all else f"get_file with offset={answer['next_offset']} reads on; save_to brings all of it here"
    return answer | {
        "more": not is_all,
        "hint": hint,
        "caps": {"max_bytes": limit_bytes, "max_bytes_at_most": MAX_BYTES},
    }


def render_failure(error: MtrError) -> str:
    """Return an error as a model reads it: what, where, the other side's own words, and what to do next."""
    detail = error.detail.strip()
    if len(detail) > MAX_ERROR_CHARACTERS:
        detail = f"[…] {detail[-MAX_ERROR_CHARACTERS:]}"
    # What was asked for stands in these, and may be of any length.
    message, hint = (
        text if len(text) <= MAX_ERROR_CHARACTERS else f"{text[:MAX_ERROR_CHARACTERS]} […]"
        for text in (error.message, _find_hint(error))
    )
    lines = [f"{message} [{error.code}]", detail, f"next: {hint}" if hint else ""]
    return sanitize("\n".join(line for line in lines if line))


def _find_hint(error: MtrError) -> str:
    found = [hint for mark, hint in HINTS.items() if error.code == mark or error.message.endswith(mark)]
    return found[0] if found else error.hint


def spare(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``answer`` without the fields that say nothing."""
    return {name: value for name, value in answer.items() if value or name not in SPARED}


def clean(value: Any) -> Any:
    """Return ``value`` with every text fit for JSON in UTF-8: what was no UTF-8 on a server shows as U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list) else value


def cut_tail(piece: Piece, name: str) -> str | bytes:
    """Return the end of a stream as text; what is no UTF-8 as the bytes that it is."""
    data = piece.data
    if piece.start > 0:
        data = data[streams_text.count_torn(data) :]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    left_out = piece.length - len(data)
    if left_out <= 0:
        return text
    return f"[{name}: the last {len(data)} of {piece.length} bytes; query_command_status reads the rest]\n{text}"
