"""Cursors: where in the log a stream stands, as text that can stand in a URL.

`snowbus.events~0.120~1.98` reads on at offset 120 of partition 0 and at offset 98 of partition 1 of `snowbus.events`;
a second topic would follow after `~~`. Kafka allows no `~` in a topic's name, so nothing needs escaping.
"""

import re

from .errors import CursorError
from .event import TopicPartition, is_topic_name
from .log.interface import Offsets

_POSITION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,17})")
_MAX_LENGTH = 100_000


def encode_cursor(positions: Offsets) -> str:
    """The cursor of a vector of positions: for each partition, the next offset to read."""
    return RunningCursor(positions).text.decode()


def decode_cursor(text: str) -> dict[TopicPartition, int]:
    """The positions that a cursor names. Raises CursorError."""
    if len(text) > _MAX_LENGTH:
        raise CursorError(f"a cursor has at most {_MAX_LENGTH} characters")
    positions: dict[TopicPartition, int] = {}
    for part in text.split("~~"):
        topic, *numbers = part.split("~")
        if not is_topic_name(topic) or not numbers:
            raise CursorError(f"not a cursor: {text[:100]!r}")
        for number in numbers:
            match = _POSITION.fullmatch(number)
            partition = TopicPartition(topic, int(match[1])) if match else None
            if match is None or partition is None or partition in positions:
                raise CursorError(f"not a cursor: {number[:40]!r} is not PARTITION.OFFSET, once for each partition")
            positions[partition] = int(match[2])
    return positions


class RunningCursor:
    """A vector of positions that moves on event by event, and its text, made from parts that are kept."""

    def __init__(self, positions: Offsets) -> None:
        self.replace(positions)

    def add(self, positions: Offsets) -> None:
        """Set several positions; partitions may be new."""
        self.replace({**self.positions, **positions})

    def replace(self, positions: Offsets) -> None:
        """Stand at these positions and no others."""
        self.positions: dict[TopicPartition, int] = dict(sorted(positions.items()))
        self._lead: dict[TopicPartition, bytes] = {}
        self._parts: dict[TopicPartition, bytes] = {}
        topic = ""
        for partition, offset in self.positions.items():
            name = b"" if partition.topic == topic else b"%s%s~" % (b"~" if topic else b"", partition.topic.encode())
            topic = partition.topic
            self._lead[partition] = b"%s%d." % (name, partition.partition)
            self._parts[partition] = b"%s%d" % (self._lead[partition], offset)

    def advance(self, partition: TopicPartition, offset: int) -> bytes:
        """Move one partition to its next offset; returns the text."""
        lead = self._lead.get(partition)
        if lead is None:
            self.add({partition: offset})
            return self.text
        self.positions[partition] = offset
        self._parts[partition] = b"%s%d" % (lead, offset)
        return b"~".join(self._parts.values())

    @property
    def text(self) -> bytes:
        """The cursor as text, in ASCII."""
        return b"~".join(self._parts.values())
