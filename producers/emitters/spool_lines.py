"""The bytes of a spool's segment: a header that says where reading goes on, and a line for each event.

    snowbus-spool 1 0000000000000042 5c8d9e1f
    0b6f3a77 1764360000000 {"e":"pv","eid":"…"}

A line has a checksum of what follows it, when the event was tracked (and, behind a semicolon, where in its trace), and
its payload. So `cut -d' ' -f3-` makes of a segment what `snowbus publish` reads.
"""

from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from snowbus.bus.errors import PayloadError
from snowbus.bus.json_text import dump_bytes
from snowbus.bus.payload import load_payload
from snowbus.bus.traceparent import traceparent_of

from .tracked import Tracked

_MAGIC = b"snowbus-spool 1 "
HEADER_BYTES = len(_MAGIC) + 16 + 1 + 8 + 1


class Line(NamedTuple):
    """A line: where it ends, and the event in it, None where it is damaged."""

    end: int
    text: bytes
    event: Tracked | None


def header(position: int) -> bytes:
    """The header of a segment whose reading goes on at a position."""
    digits = b"%016d" % position
    return b"%s%s %08x\n" % (_MAGIC, digits, crc32(digits))


def position_in(head: bytes, *, end: int) -> int:
    """Where reading goes on in a segment of `end` bytes: at its first line, when its header does not say so well."""
    digits = head[len(_MAGIC) : len(_MAGIC) + 16]
    if digits.isdigit() and head == header(int(digits)) and HEADER_BYTES <= int(digits) <= end:
        return int(digits)
    return HEADER_BYTES


def line_of(event: Tracked) -> bytes:
    """The line of an event."""
    at = b"%d;%s" % (event.at, event.traceparent.encode()) if event.traceparent else b"%d" % event.at
    body = b"%s %s" % (at, dump_bytes(event.payload))
    return b"%08x %s\n" % (crc32(body), body)


def lines_in(data: bytes, *, start: int, count: int) -> Iterator[Line]:
    """The first whole lines, `count` at most, of a part of a segment that begins at `start`."""
    begin = 0
    while count and (newline := data.find(b"\n", begin)) >= 0:
        text = data[begin:newline]
        begin = newline + 1
        count -= 1
        yield Line(start + begin, text, _event_in(text))


def _event_in(text: bytes) -> Tracked | None:
    # Where a disk or somebody has cut a file that was written on there are zeros, which no line of ours has.
    checksum, _, body = text.rpartition(b"\0")[2].partition(b" ")
    if checksum != b"%08x" % crc32(body):
        return None
    when, _, payload = body.partition(b" ")
    at, _, traceparent = when.partition(b";")
    try:
        return Tracked(int(at), load_payload(payload), traceparent_of(traceparent))
    except (PayloadError, ValueError):
        return None
