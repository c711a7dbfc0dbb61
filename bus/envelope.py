"""The event on the log: Avro in single-object encoding, and the headers that let a reader filter without decoding.

Source: Apache Avro specification, "Single-object encoding": C3 01, the CRC-64-AVRO fingerprint of the schema in little
endian, the record.
"""

import struct
from dataclasses import asdict
from io import BytesIO
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from snowbus.schemas import read_text

from . import json_text
from .canonical import Decoded, event_schema, event_type, schema_of
from .errors import EnvelopeError
from .event import Event, FieldError, Headers, ProducerRecord
from .payload import Payload, event_key, utf8

_MARKER = b"\xc3\x01"
_PREFIX_LENGTH = 10
SCHEMA_TEXT = read_text("avro/event.avsc")
_SCHEMA_JSON = json_text.loads(SCHEMA_TEXT)
SCHEMA_NAME = f"{_SCHEMA_JSON['namespace']}.{_SCHEMA_JSON['name']}"
SCHEMA = fastavro.parse_schema(_SCHEMA_JSON)
# fastavro writes the fingerprint's bytes in little endian already.
SINGLE_OBJECT_PREFIX = _MARKER + bytes.fromhex(fingerprint(to_parsing_canonical_form(_SCHEMA_JSON), "CRC-64-AVRO"))
_WRITER_SCHEMAS = {SINGLE_OBJECT_PREFIX: SCHEMA}
"""Every schema that events on a log may have been written with; the older ones join when the schema evolves."""


def encode_event(event: Event) -> bytes:
    """The bytes of an event on the log. Lone surrogates outside the payload become question marks."""
    try:
        return write_fields(_as_avro(event))
    except UnicodeEncodeError:
        return write_fields(json_text.map_strings(_as_avro(event), json_text.without_surrogates))


def decode_event(value: bytes) -> Event:
    """The event in a record's value. Raises EnvelopeError when there is none."""
    schema = _WRITER_SCHEMAS.get(value[:_PREFIX_LENGTH])
    if schema is None and value[:1] == b"\0":
        raise EnvelopeError(
            f"not an event that we can read: it is framed with schema {value[1:5].hex()} (hexadecimal) of a schema "
            "registry, which is no schema of events, or kafka_schema_registry is not set"
        )
    if schema is None:
        raise EnvelopeError(f"not an event: it begins with {value[:_PREFIX_LENGTH].hex()}, no schema that we know")
    stream = BytesIO(value)
    stream.seek(_PREFIX_LENGTH)
    try:
        fields: Any = fastavro.schemaless_reader(stream, schema, SCHEMA)
    except (EOFError, ValueError, IndexError, KeyError, struct.error) as error:
        raise EnvelopeError(f"not an event: {str(error) or 'it ends too early'}") from None
    errors = fields.pop("errors")
    return Event(**fields, errors=tuple(FieldError(**error) for error in errors) if errors else ())


def event_headers(event: Event, payload: Payload, decoded: Decoded | None = None) -> Headers:
    """The headers of an event's record: `event_id, app_id, event, schema, valid`; what is unknown is absent."""
    headers = [("event_id", utf8(event.event_id)), ("event", event_type(payload).encode())]
    if payload.get("aid"):
        headers.append(("app_id", utf8(payload["aid"])))
    schema = schema_of(payload, decoded) if decoded else event_schema(payload)
    if schema is not None:
        headers.append(("schema", str(schema).encode()))
    if event.validation != "unchecked":
        headers.append(("valid", b"true" if event.validation == "valid" else b"false"))
    return tuple(headers)


def event_record(event: Event, payload: Payload, decoded: Decoded | None = None) -> ProducerRecord:
    """The record that carries an event: keyed by its user, stamped with the time it was accepted.

    Where the payload is `decoded` already, it is not decoded again.
    """
    headers = event_headers(event, payload, decoded)
    return ProducerRecord(event_key(payload), encode_event(event), headers, event.ingest_tstamp)


def _as_avro(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "ingest_tstamp": event.ingest_tstamp,
        "payload": event.payload,
        "source": event.source,
        "producer": event.producer,
        "validation": event.validation,
        "errors": [asdict(error) for error in event.errors] if event.errors else [],
    }


def write_fields(fields: Any) -> bytes:
    """The bytes of an event's Avro record. Raises what fastavro raises when it is none."""
    out = BytesIO()
    out.write(SINGLE_OBJECT_PREFIX)
    fastavro.schemaless_writer(out, SCHEMA, fields)
    return out.getvalue()
