"""What is wrong with a configuration file, in words: the schema's verdicts, and what no schema can say.

Values never stand in a message, since any of them may be a password in the wrong place; keys and YAML's own
reading of a value (a number, true or false) do.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from mtr.aliases import find_flaw as find_alias_flaw
from mtr.config.policy import find_flaws as find_policy_flaws
from mtr.config.remote_dir import find_template_flaw
from mtr.config.schema import HOST_PATTERN, PASSWORD_KEYS, POLICY_KEYS, SCHEMA, SERVER_KEYS, SHARED_KEYS, USER_PATTERN
from mtr.config.source import Problem, Source, build_config_error, is_encodable, render_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema.exceptions import ValidationError

    from mtr.config.model import KeyPath, Position

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping of keys to values",
    "array": "a list",
}


def ensure_valid(source: Source, *, is_own: bool = False) -> None:
    """Check a file against the schema; ``is_own`` says that it is the user's own, whose aliases may do anything.

    Raises:
        ConfigError: with every problem of the file, one per line, in their order there.
    """
    if problems := find_problems(source, is_own=is_own):
        raise build_config_error(problems)


def find_problems(source: Source, *, is_own: bool) -> list[Problem]:
    """Return everything that is wrong in a file; ``is_own`` as in :func:`ensure_valid`."""
    problems = [*source.problems, *_find_schema_problems(source), *_find_further_problems(source, is_own=is_own)]
    # The library walks sets; the order of the file makes it the anchor's own place that is named first.
    ranks = {path: rank for rank, path in enumerate(source.values)}
    return sorted(problems, key=lambda p: ranks.get(p.path, 0))


def find_flaw(key: str, value: object) -> str | None:
    """Return why ``value`` cannot be what a server has under ``key``, or None; ``name`` is the server's own name."""
    from jsonschema import Draft202012Validator

    if isinstance(value, str) and not is_encodable(value):
        return "is not text in UTF-8"
    schema = SCHEMA["properties"]["servers"]["propertyNames"] if key == "name" else SERVER_KEYS[key]
    error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    if error is not None:
        return _explain_value(error)
    return find_template_flaw(value) if key == "remote_dir" and isinstance(value, str) else None


def _find_schema_problems(source: Source) -> Iterator[Problem]:
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(SCHEMA).iter_errors(source.data):
        yield from _explain(error, source)


def _explain(error: ValidationError, source: Source) -> Iterable[Problem]:
    """Return what an error of the library means here: mostly one problem, for unknown keys one each."""
    path: KeyPath = tuple(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    if "propertyNames" in error.absolute_schema_path:
        return [_at_key(source, (*path, str(instance)), schema["patternErrorMessage"])]
    if error.validator == "additionalProperties":
        unknown = [key for key in instance if key not in schema["properties"]]
        return [_at_key(source, (*path, k), _explain_unknown(k, path, schema["properties"])) for k in unknown]
    if error.validator == "not":
        pair: Any = error.validator_value
        later = max(pair["required"], key=lambda key: _order(source.keys[(*path, key)]))
        return [_at_key(source, (*path, later), f"only one of {', '.join(PASSWORD_KEYS)} may be set")]
    return [Problem(source.values[path], path, _explain_value(error))]


def _order(position: Position) -> tuple[int, int]:
    return position.line, position.column


def _at_key(source: Source, path: KeyPath, reason: str) -> Problem:
    return Problem(source.keys[path], path, reason)


def _explain_unknown(key: str, path: KeyPath, known: Iterable[str]) -> str:
    if close := find_close(key, known):
        return f"unknown key; did you mean '{close}'?"
    if not path and key in SHARED_KEYS:
        return "unknown key here; it belongs under `defaults`, or under one of `servers`"
    if key in SERVER_KEYS:
        return "unknown key here; it belongs under one of `servers`"
    if key in POLICY_KEYS and not path:
        return "unknown key here; it belongs under `policy`"
    return f"unknown key; known here: {', '.join(known)}"


def find_close(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that ``word`` was probably meant to be."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def _explain_value(error: ValidationError) -> str:
    value: Any = error.validator_value
    schema: Any = error.schema
    if error.validator == "type":
        return _explain_type(error.instance, [value] if isinstance(value, str) else value)
    if error.validator == "enum":
        close = find_close(str(error.instance), value)
        return f"must be one of {', '.join(value)}" + (f"; did you mean '{close}'?" if close else "")
    if error.validator in ("minimum", "maximum"):
        return f"must be from {schema['minimum']} to {schema['maximum']}"
    if error.validator == "minItems":
        return "must not be empty"
    return str(schema["patternErrorMessage"])


def _explain_type(instance: object, wanted: list[str]) -> str:
    words = " or ".join(_TYPES[kind] for kind in wanted if kind != "null")
    reason = f"must be {words}, and this is {render_kind(instance)}"
    if "string" in wanted and isinstance(instance, bool | int | float):
        reason += "; put it in quotes"
    return reason


def _find_further_problems(source: Source, *, is_own: bool) -> Iterator[Problem]:
    """Find what the schema cannot say: templates of ``remote_dir``, twins that differ in case, aliases, policy."""
    yield from _find_odd_aliases(source, is_own=is_own)
    for at, reason in find_policy_flaws(source.data, is_own=is_own):
        yield Problem(source.values[at], at, reason)
    for path, section in list_sections(source.data):
        remote_dir = section.get("remote_dir")
        if isinstance(remote_dir, str) and (flaw := find_template_flaw(remote_dir)):
            at = (*path, "remote_dir")
            yield Problem(source.values[at], at, flaw)
        options = section.get("ssh_options")
        if isinstance(options, dict):
            yield from _find_twins(source, (*path, "ssh_options"), options)
            yield from _find_odd_names(source, (*path, "ssh_options"), options)


def _find_odd_aliases(source: Source, *, is_own: bool) -> Iterator[Problem]:
    aliases = source.data.get("aliases") if isinstance(source.data, dict) else None
    for name, text in aliases.items() if isinstance(aliases, dict) else ():
        if isinstance(text, str) and (flaw := find_alias_flaw(str(name), text, is_own=is_own)):
            yield _at_key(source, ("aliases", name), flaw)


def _find_twins(source: Source, path: KeyPath, options: Iterable[str]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name in options:
        if (first := seen.setdefault(name.lower(), name)) is not name:
            yield _at_key(source, (*path, name), f"is the same option as {first}")


_NAMING = {"hostname": HOST_PATTERN, "proxyjump": HOST_PATTERN, "hostkeyalias": HOST_PATTERN, "user": USER_PATTERN}
"""Options that ssh puts into the text of a command: its own to a jump host, the user's ProxyCommand and Match exec."""


def _find_odd_names(source: Source, path: KeyPath, options: dict[str, object]) -> Iterator[Problem]:
    for name, value in options.items():
        pattern = _NAMING.get(name.lower(), "")
        is_option = name.lower() == "proxyjump" and re.search("[@,/]-", str(value))
        if is_option or not re.search(pattern, str(value)):
            at = (*path, name)
            yield Problem(source.values[at], at, "holds characters that no destination has")


def list_sections(data: object) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Return ``defaults`` and each server of a file that need not be valid, with the way there."""
    top = data if isinstance(data, dict) else {}
    if isinstance(top.get("defaults"), dict):
        yield ("defaults",), top["defaults"]
    servers = top.get("servers")
    for name, server in servers.items() if isinstance(servers, dict) else ():
        if isinstance(server, dict):
            yield ("servers", name), server
