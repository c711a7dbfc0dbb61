"""Records as websocket messages: JSON text frames, made once and shared by all who get them.

A message with a cursor is a head (`{"type":…,"cursor":…,`) and a body, the rest: readers who stand elsewhere in other
partitions get the same body behind another head.
"""

import struct
from collections.abc import Mapping
from typing import Any

from snowbus.bus import json_text
from snowbus.bus.start import Gap
from snowbus.bus.tracker_protocol import timestamp_from_ms

_TEXT = 0x81  # RFC 6455, section 5.2: the whole of a text message
_HEAD = b'{"type":"%s","cursor":"%s",'
_HEAD_LENGTH = len(_HEAD) - len("%s%s")


def text_frame(message: bytes) -> bytes:
    """The frame that carries a text message from a server: not masked, not fragmented."""
    return frame_of(_TEXT, message)


def frame_of(first: int, data: bytes) -> bytes:
    """The frame that begins with this byte and carries these data (RFC 6455, section 5.2)."""
    length = len(data)
    if length < 126:
        return b"%c%c%s" % (first, length, data)
    if length < 65_536:
        return struct.pack("!BBH", first, 126, length) + data
    return struct.pack("!BBQ", first, 127, length) + data


def head_length(frame: bytes) -> int:
    """How many bytes of a frame stand before what it carries."""
    return {126: 4, 127: 10}.get(frame[1], 2)


def message_frame(kind: bytes, cursor: bytes, body: bytes) -> bytes:
    """The frame of a message with a cursor."""
    return text_frame(message_text(kind, cursor, body))


def message_text(kind: bytes, cursor: bytes, body: bytes) -> bytes:
    """A message with a cursor, as JSON."""
    return _HEAD % (kind, cursor) + body


def body_of(frame: bytes, kind: bytes, cursor: bytes) -> bytes:
    """The body of a frame that `message_frame` made of this kind and cursor."""
    return frame[head_length(frame) + _HEAD_LENGTH + len(kind) + len(cursor) :]


def json_frame(message: Mapping[str, Any]) -> bytes:
    """The frame of any message."""
    return text_frame(json_text.dump_bytes(message))


def event_frame(cursor: bytes, body: bytes) -> bytes:
    """The frame of an event, from the body of a Reading."""
    return message_frame(b"event", cursor, body)


def heartbeat_frame(cursor: bytes, *, now: int) -> bytes:
    """The frame of a heartbeat; `now` is in ms since 1970."""
    return message_frame(b"heartbeat", cursor, b'"time":"%s"}' % timestamp_from_ms(now).encode())


def gap_frame(cursor: bytes, gap: Gap) -> bytes:
    """The frame that says that records are missing."""
    return text_frame(gap_text(cursor, gap))


def gap_text(cursor: bytes, gap: Gap) -> bytes:
    """The message that says that records are missing, as JSON."""
    place = {"topic": gap.partition.topic, "partition": gap.partition.partition}
    message = {
        "from": {**place, "offset": gap.start},
        "to": {**place, "offset": gap.end},
        "count": gap.missing,
        "reason": gap.reason,
    }
    return message_text(b"gap", cursor, json_text.dump_bytes(message)[1:])
