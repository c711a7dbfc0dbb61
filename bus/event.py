"""The values that travel: an event, and the records that carry it on the log."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, NamedTuple

Headers = tuple[tuple[str, bytes], ...]
Validation = Literal["unchecked", "valid", "invalid"]

EVENTS_TOPIC = "snowbus.events"
BAD_TOPIC = "snowbus.bad"
DEAD_TOPIC = "snowbus.dead"
DELIVERIES_TOPIC = "snowbus.deliveries"
RETRY_TOPIC = "snowbus.retry"

_TOPIC_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")  # Kafka's rule

_SHOWN = 120


def is_topic_name(text: str) -> bool:
    """Whether a topic can have that name, on any log."""
    return _TOPIC_NAME.fullmatch(text) is not None


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class ProducerRecord(NamedTuple):
    """A record on its way to the log; `timestamp` is in ms since 1970, and now when None."""

    key: bytes | None
    value: bytes
    headers: Headers = ()
    timestamp: int | None = None

    @property
    def size(self) -> int:
        """What it counts, in bytes, against the largest record that a log takes."""
        size = len(self.value)
        if self.key:
            size += len(self.key)
        for name, value in self.headers:
            size += len(name) + len(value)
        return size


class Record(NamedTuple):
    """A record as it stands on the log; `timestamp` is in ms since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: Headers

    @property
    def topic_partition(self) -> TopicPartition:
        """Where the record stands, less the offset."""
        return TopicPartition(self.topic, self.partition)

    def header(self, name: str) -> bytes | None:
        """The first header of that name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why an event is invalid: what `field`, at what JSON `path` below it, should have been, and was.

    `schema_path` is the JSON pointer of what the `schema` says there, or an empty string.
    """

    field: str
    schema: str
    path: str
    expected: str
    got: str
    schema_path: str = ""

    @property
    def sentence(self) -> str:
        """The same in words, on one line."""
        place, got = f"{self.field}{self.path}", self.got[:_SHOWN]
        told = f"expected {self.expected}, got {got if got.isprintable() else repr(got)}"
        return f"{place}: {told}" if place else told


ERROR_MEMBERS = tuple(each.name for each in fields(FieldError))


@dataclass(frozen=True, slots=True)
class Event:
    """One Snowplow event, with who sent it and what was found when it was checked.

    `payload` is the JSON text of the tracker-protocol parameters, a flat object of strings, as it was sent.
    `ingest_tstamp` is in ms since 1970. `source` has the keys named in `schemas/avro/event.avsc`.
    """

    event_id: str
    ingest_tstamp: int
    payload: str
    source: Mapping[str, str] = field(default_factory=dict)
    producer: str = ""
    validation: Validation = "unchecked"
    errors: tuple[FieldError, ...] = ()
