"""The JSON Schema as it is given out: for editors, with what each setting is where no file sets it.

``schema.SCHEMA`` is the list of keys that exist, ``model.Server`` has what is built in; here they come together.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mtr.config.model import BUILT_IN_EXCLUDE, Server
from mtr.config.schema import SCHEMA, SERVER_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_ID = "urn:mtr:config"
"""What the schema is called wherever it is kept; a URN (RFC 8141), since nothing has to be fetched."""


def list_built_in() -> dict[str, Any]:
    """Return the settings of a server that have a value although no file sets them."""
    found = {field.name: field.default for field in fields(Server) if field.name in SERVER_KEYS}
    kept = {name: value for name, value in found.items() if isinstance(value, str | bool | int | tuple) and value != ()}
    return {**kept, "exclude": BUILT_IN_EXCLUDE}


def build_schema() -> dict[str, Any]:
    """Return the schema with its name and the defaults."""
    schema = {"$schema": SCHEMA["$schema"], "$id": SCHEMA_ID, **deepcopy(SCHEMA)}
    built_in = list_built_in()
    for properties in _list_properties(schema):
        for name, value in built_in.items():
            if name in properties:
                properties[name]["default"] = list(value) if isinstance(value, tuple) else value
    return schema


def _list_properties(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the properties of ``defaults`` and of a server."""
    top = schema["properties"]
    yield top["defaults"]["properties"]
    yield top["servers"]["additionalProperties"]["properties"]
