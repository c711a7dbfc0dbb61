"""Checks events on their way to the log, and says where each belongs: with the others, or on `snowbus.bad`."""

from collections.abc import Mapping
from typing import NamedTuple

from snowbus.bus.acceptance import Accepted, Draft, check
from snowbus.bus.errors import RecordTooLargeError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.lookups import Lookups

from .bad_records import bad_record, invalid

_NOBODY: Mapping[str, str] = {}


class Placed(NamedTuple):
    """What is to be appended for an event, to which topic, and what was found of it."""

    topic: str
    record: ProducerRecord
    accepted: Accepted


class Checker:
    """Checks events of one producer; those that are invalid go to `snowbus.bad` where it `diverts` them."""

    def __init__(self, *, producer: str, diverts: bool, max_record_bytes: int) -> None:
        self._producer = producer
        self._diverts = diverts
        self._max_record_bytes = max_record_bytes

    def place(
        self,
        drafted: Draft,
        lookups: Lookups,
        *,
        now: int,
        source: Mapping[str, str] = _NOBODY,
        query: bytes = b"",
        traceparent: str = "",
    ) -> Placed:
        """Check an event that came `now` (ms since 1970). Raises RecordTooLargeError when the log takes no such one."""
        accepted = check(drafted, lookups, now=now, producer=self._producer, source=source, traceparent=traceparent)
        size, limit = accepted.record.size, self._max_record_bytes
        if size > limit:
            raise RecordTooLargeError(EVENTS_TOPIC, size=size, limit=limit)
        if accepted.errors and self._diverts:
            bad = invalid(drafted, accepted)
            record = bad_record(bad, source=source, query=query, received=now, max_bytes=limit)
            return Placed(BAD_TOPIC, record, accepted)
        return Placed(EVENTS_TOPIC, accepted.record, accepted)
