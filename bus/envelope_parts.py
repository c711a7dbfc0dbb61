"""Reads of an event on the log only what a forwarder needs, twice as fast as all of it.

Source: Apache Avro specification, "Binary encoding": a number is zig-zag in groups of seven bits, the lowest first; a
string is its length and its bytes; a map is blocks, each the number of its entries and these, up to an empty one.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .envelope import SINGLE_OBJECT_PREFIX, decode_event

_PREFIX_LENGTH = len(SINGLE_OBJECT_PREFIX)


class Parts(NamedTuple):
    """Of an Event its `ingest_tstamp`, its `payload` in UTF-8, and what was wanted of its `source`."""

    ingest_tstamp: int
    payload: bytes
    source: Mapping[str, str]


def read_parts(value: bytes, wanted: frozenset[bytes]) -> Parts:
    """The parts of the event in a record's value, with those entries of its source whose names are `wanted`.

    Raises EnvelopeError when there is none.
    """
    if value[:_PREFIX_LENGTH] == SINGLE_OBJECT_PREFIX:
        try:
            return _read(value, wanted)
        except (IndexError, ValueError):
            pass
    event = decode_event(value)  # it knows older schemas and other framings, and says what is wrong
    return Parts(
        event.ingest_tstamp,
        event.payload.encode(),
        {name: text for name, text in event.source.items() if name.encode() in wanted},
    )


def _read(value: bytes, wanted: frozenset[bytes]) -> Parts:
    """Raises IndexError or ValueError where the value is not as we write it."""
    length, at = _number(value, _PREFIX_LENGTH)
    tstamp, at = _number(value, at + length)
    length, at = _number(value, at)
    payload = value[at : at + length]
    at += length
    source: dict[str, str] = {}
    while count := value[at]:
        if count > 126 or count & 1:  # more than we ever write, or with the block's size before it
            raise ValueError
        at += 1
        for _ in range(count >> 1):
            length = value[at] >> 1  # the names that we know are short
            name = value[at + 1 : at + 1 + length]
            at += 1 + length
            length = value[at]
            if length < 128:
                length, at = length >> 1, at + 1
            else:
                length, at = _number(value, at)
            if name in wanted:
                source[name.decode()] = value[at : at + length].decode()
            at += length
    return Parts(tstamp, payload, source)


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
