"""A schema, made ready to check data with: checked itself, bounded, and compiled.

Source: JSON Schema draft-04, which Snowplow's schemas are written in.
"""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft4Validator

from .. import json_text
from ..errors import JsonError, SchemaError, SchemaLimitError
from ..json_text import pointer
from .engine import engine_for
from .explain import explain
from .lookups import Problem
from .words import got_of
from .written_out import MAX_WRITTEN_OUT, size_written_out

MAX_BYTES = 500_000
MAX_DEPTH = 100
_MAX_PATTERN_CHARACTERS = 2_000
_META_SCHEMA = Draft4Validator(Draft4Validator.META_SCHEMA)
_MAPS_OF_SCHEMAS = ("definitions", "properties", "patternProperties", "dependencies")
_LISTS_OF_SCHEMAS = ("allOf", "anyOf", "oneOf")
_SCHEMAS = ("additionalItems", "additionalProperties", "items", "not")


class Schema:
    """A schema that data can be checked with; `document` is what it says."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Make it ready. Raises SchemaError when it cannot be used, SchemaLimitError when only we cannot use it."""
        _check(document)
        self.document = document
        try:
            self._is_valid = engine_for(document)
        except ValueError as error:
            raise SchemaLimitError(_first_line(error)) from None

    def problems(self, data: Any) -> list[Problem]:
        """What is wrong with data; nothing when it is as the schema wants it."""
        try:
            return [] if self._is_valid(data) else explain(self.document, data)
        except UnicodeEncodeError:
            return self.problems(json_text.map_strings(data, json_text.without_surrogates))
        except (ValueError, RecursionError):
            return [Problem("", "data that is nested less deep", got_of(data))]


def read_schema(text: bytes) -> dict[str, Any]:
    """The document in the text of a schema. Raises SchemaError."""
    if len(text) > MAX_BYTES:
        raise SchemaLimitError(f"it is larger than {MAX_BYTES:,} bytes")
    try:
        document = json_text.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SchemaError(f"not UTF-8, at byte {error.start}") from None
    except JsonError as error:
        raise SchemaError(str(error)) from None
    if not isinstance(document, dict):
        raise SchemaError(f"it is {got_of(document)}, not an object")
    return document


def compile_schema(text: bytes) -> Schema:
    """The schema in a text. Raises SchemaError."""
    return Schema(read_schema(text))


def mistakes_of(document: dict[str, Any]) -> list[str]:
    """Everything for which a document is no schema of draft-04, with where. Raises SchemaLimitError."""
    if _is_deep(document):
        raise SchemaLimitError(f"it is nested deeper than {MAX_DEPTH}")
    errors = sorted(_META_SCHEMA.iter_errors(document), key=lambda each: list(map(str, each.path)))
    return [f"{pointer(error.absolute_path) or 'the whole'}: {error.message[:300]}" for error in errors]


def _check(document: dict[str, Any]) -> None:
    """Raise SchemaError for what is no schema of draft-04, SchemaLimitError for one beyond our bounds."""
    if mistakes := mistakes_of(document):
        raise SchemaError(mistakes[0])
    for path, schema in schemas_in(document):
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise SchemaLimitError(
                f"{pointer(path)}/$ref: {reference[:200]!r} is in another document; nothing is fetched"
            )
        for pattern in (schema.get("pattern", ""), *schema.get("patternProperties", ())):
            if len(pattern) > _MAX_PATTERN_CHARACTERS:
                raise SchemaLimitError(
                    f"{pointer(path)}: a pattern is longer than {_MAX_PATTERN_CHARACTERS:,} characters"
                )
    if size_written_out(document) > MAX_WRITTEN_OUT:
        raise SchemaLimitError(f"with each $ref written out it holds more than {MAX_WRITTEN_OUT:,} schemas")


def schemas_in(schema: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Every schema in a schema, itself included, with where it stands."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name in _MAPS_OF_SCHEMAS:
        for key, each in _items(schema.get(name)):
            yield from schemas_in(each, (*path, name, key))
    for name in (*_LISTS_OF_SCHEMAS, "items"):
        if isinstance(schema.get(name), list):
            for position, each in enumerate(schema[name]):
                yield from schemas_in(each, (*path, name, position))
    for name in _SCHEMAS:
        yield from schemas_in(schema.get(name), (*path, name))


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _is_deep(document: Any) -> bool:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def _first_line(error: ValueError) -> str:
    return str(error).partition("\n")[0][:300]
