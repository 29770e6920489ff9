"""Values as YAML text that reads back as the same value, whatever characters they hold. Pure."""

from __future__ import annotations

import json
import math
import re

_PLAIN = re.compile(r"[^\n]+\n\.\.\.\n\Z")
"""How the library writes a scalar alone that needs no quotes: one line, then the end of the document."""

MAX_PLAIN = 60


def render_scalar(value: str | int) -> str:
    """Return ``value`` on one line: plain where that reads back as the same text, else in double quotes."""
    import yaml

    if isinstance(value, int):
        return str(value)
    text: str = yaml.safe_dump(value, allow_unicode=True, width=math.inf)
    if len(value) <= MAX_PLAIN and _PLAIN.match(text):
        return text.partition("\n")[0]
    quoted: str = yaml.safe_dump(value, allow_unicode=True, width=math.inf, default_style='"')
    return quoted.rstrip("\n")


def render_value(value: object) -> str:
    """Return any value on one line, for people to read: lists and mappings in braces, long texts plain, too."""
    import yaml

    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("\n").removesuffix("\n...")
