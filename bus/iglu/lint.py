"""What is wrong with a schema as one of a registry: as a schema, in its place, and in what it calls itself.

Source: com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0, the meta-schema of Snowplow's schemas.
"""

import re
from collections.abc import Iterator
from typing import Any

from ..errors import SchemaError
from .schema import Schema, read_schema, schemas_in
from .uri import IgluUri

META_SCHEMA = "http://iglucentral.com/schemas/com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0#"
_SELF = {
    "vendor": re.compile(r"[a-zA-Z0-9_.-]+"),
    "name": re.compile(r"[a-zA-Z0-9_-]+"),
    "format": re.compile(r"jsonschema"),
    "version": re.compile(r"[1-9][0-9]*-(0|[1-9][0-9]*)-(0|[1-9][0-9]*)"),
}
_EXPECTED = {
    "vendor": "letters, digits, and . _ -",
    "name": "letters, digits, and _ -",
    "format": "jsonschema",
    "version": "a SchemaVer, such as 1-0-0",
}


def problems_of(text: bytes, uri: IgluUri | None) -> list[str]:
    """What is wrong with the text of a schema that stands where its `uri` belongs (None: anywhere)."""
    try:
        document = read_schema(text)
    except SchemaError as error:
        return [error.reason]
    problems = []
    try:
        Schema(document)
    except SchemaError as error:
        problems.append(error.reason)
    problems += _in_self(document.get("self"), uri)
    if document.get("$schema") != META_SCHEMA:
        problems.append(f"$schema: must be {META_SCHEMA}")
    if not problems:
        problems += _in_required(document)
    return problems


def _in_self(described: Any, uri: IgluUri | None) -> Iterator[str]:
    """What is wrong with what a schema calls itself."""
    if not isinstance(described, dict):
        yield "self: must be an object with vendor, name, format and version"
        return
    for name, pattern in _SELF.items():
        value = described.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield f"self.{name}: must be {_EXPECTED[name]}, not {value!r}"
        elif uri is not None and value != getattr(uri, name):
            yield f"self.{name}: is {value!r}, but its path says {getattr(uri, name)!r}"
    if unknown := sorted(described.keys() - _SELF.keys()):
        yield f"self.{unknown[0]}: unknown; it has vendor, name, format and version"


def _in_required(document: dict[str, Any]) -> Iterator[str]:
    """Properties that are required and cannot be there: no data could ever be valid."""
    for path, schema in schemas_in(document):
        if schema.get("additionalProperties") is not False or "patternProperties" in schema:
            continue
        where = "".join(f"/{part}" for part in path) or "the whole"
        for name in schema.get("required", ()):
            if name not in schema.get("properties", {}):
                yield f"{where}: requires {name!r}, which is no property, and no other is allowed"
