"""Checks the events that `snowbus publish` reads, and puts them on the log."""

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from snowbus.bus.acceptance import Draft, schemas_of
from snowbus.bus.clock import now_ms
from snowbus.bus.errors import RecordTooLargeError, SnowbusError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.log import Log
from snowbus.bus.version import producer_name
from snowbus.producers.checking import Checker

from .event_files import Item
from .terminal import printable


class Counts(NamedTuple):
    """How many events were published, put on `snowbus.bad` instead, and refused."""

    published: int = 0
    diverted: int = 0
    refused: int = 0

    def plus(self, more: "Counts") -> "Counts":
        """These and more."""
        return Counts(*(one + other for one, other in zip(self, more, strict=True)))

    def __str__(self) -> str:
        named = self._asdict().items()
        return ", ".join(f"{count} {word}" for word, count in named if count or word == "published")


class Publisher:
    """Publishes to one log; `diverts` says whether invalid events go to `snowbus.bad`."""

    def __init__(self, log: Log, resolver: Resolver, *, diverts: bool) -> None:
        self._log = log
        self._resolver = resolver
        self._checker = Checker(
            producer=producer_name("publish"), diverts=diverts, max_record_bytes=log.options.max_record_bytes
        )
        self._topics = [EVENTS_TOPIC, BAD_TOPIC] if diverts else [EVENTS_TOPIC]

    async def create_topics(self) -> None:
        """Make the topics that events go to. Raises LogError."""
        await self._log.create_topics(self._topics)

    async def publish(self, items: Iterable[Item], *, tells: bool = False) -> Counts:
        """Publish events; stderr names those that are refused, and, if it `tells`, says what is invalid.

        Raises LogError.
        """
        drafts, refused = _read(items)
        lookups = await self._resolver.look_up(schemas_of(drafted for _, drafted in drafts))
        now = now_ms()
        records: dict[str, list[tuple[str, ProducerRecord]]] = {BAD_TOPIC: [], EVENTS_TOPIC: []}
        for place, drafted in drafts:
            try:
                placed = self._checker.place(drafted, lookups, now=now)
            except RecordTooLargeError as error:
                refused += 1
                _say_refused(place, error)
                continue
            records[placed.topic].append((place, placed.record))
            if tells:
                for problem in placed.accepted.errors:
                    print(f"the event is invalid: {printable(problem.sentence)}", file=sys.stderr)
        bad, good = [await self._append(topic, those) for topic, those in records.items()]
        return Counts(good, bad, refused + sum(map(len, records.values())) - good - bad)

    async def _append(self, topic: str, records: Sequence[tuple[str, ProducerRecord]]) -> int:
        """Append records, and return how many; stderr names those that the topic is too small for."""
        if not records:
            return 0
        try:
            await self._log.append(topic, [record for _, record in records])
        except RecordTooLargeError as error:
            for index, (place, record) in enumerate(records):
                if index not in error.appended:
                    _say_refused(place, RecordTooLargeError(topic, size=record.size, limit=error.limit))
            return len(error.appended)
        return len(records)


def _read(items: Iterable[Item]) -> tuple[list[tuple[str, Draft]], int]:
    """The events of items, with their places, and how many were refused."""
    drafts = []
    refused = 0
    for item in items:
        for read in item.events:
            if isinstance(read.event, SnowbusError):
                refused += 1
                _say_refused(item.place, read.event, where=read.where)
            else:
                drafts.append((item.place, read.event))
    return drafts, refused


def _say_refused(place: str, error: SnowbusError, *, where: str = "") -> None:
    print(": ".join([place, *([where] if where else []), str(error)]), file=sys.stderr)
