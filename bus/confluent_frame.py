"""Confluent's framing of an event: a zero byte, the id that a schema registry gave the schema, the Avro record.

Source: Confluent's documentation of the Schema Registry, "Wire format". Inside Snowbus events are in single-object
encoding; they are framed on their way to Kafka, and the frame is taken off when they are read.
"""

import struct
from io import BytesIO
from typing import Any

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, to_parsing_canonical_form

from . import json_text
from .envelope import SCHEMA, SCHEMA_TEXT, SINGLE_OBJECT_PREFIX, write_fields

SCHEMA_IDS = 2**32
"""How many ids a frame has room for."""

_MAGIC = b"\0"
_FRAME = struct.Struct(">cI")
_EVENT_AT = len(SINGLE_OBJECT_PREFIX)
_CANONICAL = to_parsing_canonical_form(json_text.loads(SCHEMA_TEXT))
_CANNOT_BE_READ = (
    EOFError,
    IndexError,
    KeyError,
    SchemaParseException,
    SchemaResolutionError,
    TypeError,
    ValueError,
    struct.error,
)


def is_event(value: bytes) -> bool:
    """Whether a value is an event in single-object encoding, as all that we write are."""
    return value.startswith(SINGLE_OBJECT_PREFIX)


def framed(value: bytes, schema_id: int) -> bytes:
    """An event as Confluent's tools read it; any other value as it is."""
    return _FRAME.pack(_MAGIC, schema_id) + value[_EVENT_AT:] if is_event(value) else value


def schema_id_of(value: bytes) -> int | None:
    """The id in a frame; None for a value without one."""
    return int.from_bytes(value[1:5]) if value[:1] == _MAGIC and len(value) > _FRAME.size else None


class Writer:
    """Takes the frame off events that were written with one schema, which may be older or newer than ours."""

    def __init__(self, schema_text: str | None) -> None:
        """None is for a schema of another kind than Avro's. Raises ValueError for a text that is no Avro schema."""
        self._schema: Any = None
        self._is_ours = False
        if schema_text is None:
            return
        try:
            schema = json_text.loads(schema_text)
            self._schema = fastavro.parse_schema(schema)
            self._is_ours = to_parsing_canonical_form(schema) == _CANONICAL
        except _CANNOT_BE_READ as error:
            raise ValueError(f"not an Avro schema: {error}") from None

    def unframed(self, value: bytes) -> bytes:
        """The event in single-object encoding; the value as it is when there is none in it."""
        if self._is_ours:
            return SINGLE_OBJECT_PREFIX + value[_FRAME.size :]
        if self._schema is None:
            return value
        try:
            return write_fields(fastavro.schemaless_reader(BytesIO(value[_FRAME.size :]), self._schema, SCHEMA))
        except _CANNOT_BE_READ:
            return value
