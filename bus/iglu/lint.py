"""What is wrong with a schema as one of a registry: as a schema, in its place, and in what it calls itself; and what in
it has no effect.

Source: com.snowplowanalytics.self-desc/schema/jsonschema/1-0-0, the meta-schema of Snowplow's schemas.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jsonschema import Draft4Validator

from ..errors import SchemaError
from ..json_text import pointer
from .formats import FORMATS
from .schema import Schema, mistakes_of, read_schema, schemas_in
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
_ANNOTATIONS = ("$comment", "$supersededBy", "$supersedes", "examples", "self")
_KEYWORDS = frozenset((*Draft4Validator.META_SCHEMA["properties"], "$ref", *_ANNOTATIONS))
_BOUNDS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
)


class Findings(NamedTuple):
    """What is wrong with a schema, and what in it is probably not as it was meant."""

    problems: list[str]
    warnings: list[str]


def lint(text: bytes, uri: IgluUri | None) -> Findings:
    """Look at the text of a schema that stands where its `uri` belongs (None: anywhere)."""
    try:
        document = read_schema(text)
        problems = mistakes_of(document)
    except SchemaError as error:
        return Findings([error.reason], [])
    if not problems:
        problems += [*_of_use(document), *_in_bounds(document), *_in_required(document)]
    problems += _in_self(document.get("self"), uri)
    if document.get("$schema") != META_SCHEMA:
        problems.append(f"$schema: must be {META_SCHEMA}")
    return Findings(problems, [*_in_keywords(document), *_in_formats(document)])


def _of_use(document: dict[str, Any]) -> Iterator[str]:
    """Why a schema cannot be used, though it is one."""
    try:
        Schema(document)
    except SchemaError as error:
        yield error.reason


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
        for name in schema.get("required", ()):
            if name not in schema.get("properties", {}):
                yield f"{_where(path)}: requires {name!r}, which is no property, and no other is allowed"


def _in_bounds(document: dict[str, Any]) -> Iterator[str]:
    """Bounds between which there is nothing: no value could ever be valid."""
    for path, schema in schemas_in(document):
        for least, most in _BOUNDS:
            if least not in schema or most not in schema:
                continue
            if schema[least] > schema[most]:
                yield f"{_where(path)}: {least} {schema[least]} is above {most} {schema[most]}, and nothing fits"
        is_open = schema.get("exclusiveMinimum") or schema.get("exclusiveMaximum")
        if is_open and "minimum" in schema and schema["minimum"] == schema.get("maximum"):
            yield f"{_where(path)}: minimum and maximum are {schema['minimum']}, which is excluded, and nothing fits"


def _in_keywords(document: dict[str, Any]) -> Iterator[str]:
    """Keywords that are none: they are ignored."""
    for path, schema in schemas_in(document):
        for name in schema:
            if name not in _KEYWORDS:
                meant = _meant(name, _KEYWORDS)
                yield f"{pointer([*path, name])}: draft-04 does not know it, and it has no effect{meant}"


def _in_formats(document: dict[str, Any]) -> Iterator[str]:
    """Formats that nothing checks."""
    for path, schema in schemas_in(document):
        name = schema.get("format")
        if isinstance(name, str) and name not in FORMATS:
            meant = _meant(name, FORMATS) or f"; those are {', '.join(FORMATS)}"
            yield f"{pointer([*path, 'format'])}: {name!r} is no format that is checked{meant}"


def _where(path: Iterable[str | int]) -> str:
    return pointer(path) or "the whole"


def _meant(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""
