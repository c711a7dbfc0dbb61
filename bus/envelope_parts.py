"""Reads of an event on the log only what a forwarder needs, three times as fast as all of it.

Source: Apache Avro specification, "Binary encoding": a number is zig-zag in groups of seven bits, the lowest first; a
string is its length and its bytes.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro

from .envelope import SINGLE_OBJECT_PREFIX, decode_event, encode_event
from .errors import EnvelopeError

_PREFIX_LENGTH = len(SINGLE_OBJECT_PREFIX)
# Where a number of six bytes and one of two are positive, and end there.
_SIGNS_AND_SIZES = 0x8180_8080_8080_8180
_AS_USUAL = 0x8080_8080_8000_8000
_SOURCE = fastavro.parse_schema({"type": "map", "values": "string"})


def read_parts(value: bytes) -> tuple[int, bytes, bytes]:
    """Of the event in a record: its `ingest_tstamp`, its `payload` in UTF-8, and what follows, for `read_source`.

    Raises EnvelopeError when there is none.
    """
    if value[:_PREFIX_LENGTH] != SINGLE_OBJECT_PREFIX:
        value = encode_event(decode_event(value))  # it knows older schemas and other framings, and says what is wrong
    try:
        # All numbers at once where each has as many bytes as usual: twice as fast as one after the other.
        id_length = value[_PREFIX_LENGTH]
        at = _PREFIX_LENGTH + 9 + (id_length >> 1)
        numbers = value[at - 8 : at]
        if not id_length & 0x81 and int.from_bytes(numbers) & _SIGNS_AND_SIZES == _AS_USUAL:
            t0, t1, t2, t3, t4, t5, n0, n1 = numbers
            tstamp = (
                t0 & 127 | (t1 & 127) << 7 | (t2 & 127) << 14 | (t3 & 127) << 21 | (t4 & 127) << 28 | t5 << 35
            ) >> 1
            length = (n0 & 127 | n1 << 7) >> 1
        else:
            length, at = _number(value, _PREFIX_LENGTH)
            tstamp, at = _number(value, at + length)
            length, at = _number(value, at)
    except IndexError:
        raise EnvelopeError("not an event: it ends too early") from None
    end = at + length
    if length < 0 or end >= len(value):
        raise EnvelopeError("not an event: its payload ends too early")
    return tstamp, value[at:end], value[end:]


def read_source(rest: bytes) -> Mapping[str, str]:
    """Who sent an event, as in Event, from what `read_parts` left of it. Raises EnvelopeError when it is damaged."""
    try:
        source: Any = fastavro.schemaless_reader(BytesIO(rest), _SOURCE, None)
    except (EOFError, ValueError, IndexError, struct.error) as error:
        raise EnvelopeError(f"not an event: {str(error) or 'it ends too early'}") from None
    return source  # type: ignore[no-any-return]


def _number(value: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends. Raises IndexError."""
    byte = value[at]
    number, shift = byte & 0x7F, 7
    while byte > 0x7F:
        at += 1
        byte = value[at]
        number |= (byte & 0x7F) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), at + 1
