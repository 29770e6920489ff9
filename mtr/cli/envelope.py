"""The one JSON envelope of every command that prints data with ``--json``.

On stdout, one object: ``{"mtr": VERSION, "kind": KIND, "ok": true, "data": DATA}``, where ``kind`` says what ``data``
is. A failure is ``{"mtr": …, "kind": …, "ok": false, "error": {"code", "message", "detail", "hint",
"exit_status"}}``, and stands on stderr for people as well; where a part is known nevertheless, ``data`` is that. New
keys may come; none changes its meaning.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mtr import __version__

if TYPE_CHECKING:
    from mtr.errors import MtrError


def print_data(kind: str, data: Any, failure: MtrError | None = None) -> None:
    """Print ``data``, which JSON takes, as what ``kind`` names; with a ``failure`` it is only a part."""
    if failure is not None:
        print_failure(kind, failure, data)
    else:
        _print({"mtr": __version__, "kind": kind, "ok": True, "data": data})


def print_failure(kind: str, error: MtrError, data: Any = None) -> None:
    """Print why there is no data, or only this ``data``."""
    fields = {name: getattr(error, name) for name in ("code", "message", "detail", "hint", "exit_status")}
    _print({"mtr": __version__, "kind": kind, "ok": False, "error": fields} | ({} if data is None else {"data": data}))


def _print(envelope: dict[str, Any]) -> None:
    json.dump(envelope, sys.stdout, indent=2)
    sys.stdout.write("\n")
