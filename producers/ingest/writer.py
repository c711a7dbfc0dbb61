"""Puts what a request holds on the log: its events on `snowbus.events`, what was refused on `snowbus.bad`."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, get_args

from snowbus.bus.acceptance import Draft, draft, schemas_of, told_together
from snowbus.bus.errors import LogError, RecordTooLargeError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord, Validation
from snowbus.bus.iglu.resolver import Resolver
from snowbus.bus.log import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import Payload, dump_payload, utf8
from snowbus.bus.settings import Settings
from snowbus.bus.version import producer_name

from ..bad_records import Bad, bad_record
from ..checking import Checker
from .appends import Appends
from .reading import KEPT_BYTES, OverloadedError
from .requests import KEPT_APART, Kind, Refused, Understood
from .topics import Topics

_CHECKED_IN_A_ROW = 200
_PARAMETER_BYTES = 100
_INVALID_COUNTS = 10
"""As many events as one that is invalid: to say what is wrong takes longer than to see that all is well."""


class Sent(NamedTuple):
    """What the records of one request share: who sent it, when (ms since 1970), its query string, and its trace.

    `traceparents` are those of its events, when they belong to several traces.
    """

    source: Mapping[str, str]
    received: int
    query: bytes
    traceparent: str = ""
    traceparents: Sequence[str] = ()

    @property
    def added(self) -> int:
        """The bytes that each record has of them, and of the parameters in the query, what they take in memory."""
        parameters = (self.query.count(b"&") + 1) * _PARAMETER_BYTES if self.query else 0
        return sum(map(len, self.source.values())) + len(self.query) + parameters

    def traces_of(self, events: int) -> Sequence[str]:
        """The traceparent of each event; where some were refused nobody can tell whose is whose."""
        return self.traceparents if len(self.traceparents) == events else [self.traceparent] * events


class _Made(NamedTuple):
    """What the events of a request come to: records of those that go on, each with its payload, and of those that go to
    `snowbus.bad`.
    """

    records: list[ProducerRecord]
    payloads: list[Payload]
    diverted: list[ProducerRecord]
    oversized: list[Refused]


class Outcome(NamedTuple):
    """What became of a request: how many of its events are durable, and which were refused."""

    accepted: int
    refused: Sequence[Refused]


class Writer:
    """Checks and appends for all requests, of which no more wait for the log than the settings allow."""

    def __init__(self, log: Log, settings: Settings, metrics: Metrics, *, topics: Topics, resolver: Resolver) -> None:
        self._topics = topics
        self._resolver = resolver
        self._checker = Checker(
            producer=producer_name("ingest"),
            diverts=settings.on_invalid == "divert",
            max_record_bytes=settings.max_record_bytes,
        )
        self._appends = Appends(log, seconds=settings.append_timeout + 1.0)
        self._metrics = metrics
        self._max_record_bytes = settings.max_record_bytes
        self._max_events = settings.ingest_max_events
        self._max_pending = settings.ingest_max_pending
        self._max_pending_bytes = settings.ingest_max_pending_bytes
        self._pending = 0
        self._pending_bytes = 0
        self._validated = {each: metrics.ingest_validated.labels(each) for each in get_args(Validation)}
        metrics.ingest_pending.set_function(lambda: self._pending)

    def most_events(self, sent: Sent) -> int:
        """How many events one request may hold, as many as the settings allow, or as there is room for."""
        return max(1, min(self._max_events, self._max_pending_bytes // sent.added))

    async def write(self, understood: Understood, whole: bytes, *, sent: Sent) -> Outcome:
        """Write the events, and what was refused, of a request whose body (or query string) is `whole`.

        Raises OverloadedError, LogError; then none of the events counts as accepted, though some may be durable.
        """
        events = len(understood.payloads) + min(len(understood.refused), KEPT_APART)
        with self._room_for(len(whole) + events * sent.added):
            return await self._write(understood, whole, sent)

    async def write_bad(self, bad: Bad, kind: Kind, *, sent: Sent) -> None:
        """Write a whole request that was refused. Raises OverloadedError, LogError."""
        with self._room_for(len(bad.value) + sent.added):
            await self._write_bad(bad, kind, sent)

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._appends.close()
        await self._resolver.close()

    @contextmanager
    def _room_for(self, size: int) -> Iterator[None]:
        """A place among the requests that wait for the log, taken before their records are made."""
        if self._pending and (
            self._pending >= self._max_pending or self._pending_bytes + size > self._max_pending_bytes
        ):
            raise OverloadedError("too many requests wait for the log")
        self._pending += 1
        self._pending_bytes += size
        try:
            yield
        finally:
            self._pending -= 1
            self._pending_bytes -= size

    async def _write(self, understood: Understood, whole: bytes, sent: Sent) -> Outcome:
        made = await self._make_records(understood.payloads, sent)
        refused = [*understood.refused, *made.oversized]
        accepted = len(made.records) + len(made.diverted)
        # Refused ones first: if this fails the whole request comes again, and no good event is there twice for it.
        if not accepted:
            await self._write_bad(_together(refused, whole), refused[0].kind, sent)
            return Outcome(0, refused)
        if refused or made.diverted:
            set_aside = self._refused_records(refused, whole, sent) if refused else []
            await self._append(BAD_TOPIC, [*set_aside, *made.diverted])
            for each in refused:
                self._metrics.ingest_refused.labels(each.kind).inc()
        if made.records:
            try:
                await self._append(EVENTS_TOPIC, made.records)
            except RecordTooLargeError as error:
                oversized = _oversized(made, error)
                accepted -= len(oversized)
                await self._write_oversized(oversized, sent)
                refused += oversized
            self._metrics.ingest_events.inc(accepted - len(made.diverted))
        return Outcome(accepted, refused)

    async def _write_bad(self, bad: Bad, kind: Kind, sent: Sent) -> None:
        await self._append(BAD_TOPIC, [self._bad_record(bad, sent)])
        self._metrics.ingest_refused.labels(kind).inc()

    async def _make_records(self, payloads: Sequence[dict[str, str]], sent: Sent) -> _Made:
        drafts = await self._read(payloads)
        lookups = await self._resolver.look_up(schemas_of(drafts))
        made = _Made([], [], [], [])
        found: Counter[Validation] = Counter()
        in_a_row = 0
        for drafted, traceparent in zip(drafts, sent.traces_of(len(drafts)), strict=True):
            if in_a_row >= _CHECKED_IN_A_ROW:
                await asyncio.sleep(0)  # other requests' turn
                in_a_row = 0
            try:
                placed = self._checker.place(
                    drafted,
                    lookups,
                    now=sent.received,
                    source=sent.source,
                    query=sent.query,
                    traceparent=traceparent,
                )
            except RecordTooLargeError as error:
                made.oversized.append(_too_large(drafted.payload, error))
                continue
            in_a_row += _INVALID_COUNTS if placed.accepted.errors else 1
            found[placed.accepted.validation] += 1
            if placed.topic == EVENTS_TOPIC:
                made.records.append(placed.record)
                made.payloads.append(drafted.payload)
            else:
                made.diverted.append(placed.record)
        for validation, count in found.items():
            self._validated[validation].inc(count)
        return made

    async def _read(self, payloads: Sequence[dict[str, str]]) -> list[Draft]:
        drafts = []
        for position, payload in enumerate(payloads):
            if position and position % _CHECKED_IN_A_ROW == 0:
                await asyncio.sleep(0)  # other requests' turn
            drafts.append(draft(payload))
        return drafts

    async def _write_oversized(self, oversized: Sequence[Refused], sent: Sent) -> None:
        """Keep the first bytes of events of which the log takes less than the settings say, on either topic."""
        bads = [
            Bad(each.value[:KEPT_BYTES], each.sentence, truncated=len(each.value) > KEPT_BYTES, size=len(each.value))
            for each in oversized
        ]
        await self._append(BAD_TOPIC, [self._bad_record(bad, sent) for bad in bads])
        self._metrics.ingest_refused.labels("too_large").inc(len(bads))

    def _refused_records(self, refused: Sequence[Refused], whole: bytes, sent: Sent) -> list[ProducerRecord]:
        if len(refused) > KEPT_APART:
            return [self._bad_record(_together(refused, whole), sent)]
        return [self._bad_record(Bad(each.value, each.sentence), sent) for each in refused]

    def _bad_record(self, bad: Bad, sent: Sent) -> ProducerRecord:
        return bad_record(
            bad, source=sent.source, query=sent.query, received=sent.received, max_bytes=self._max_record_bytes
        )

    async def _append(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        try:
            if not self._topics.made:
                await self._topics.make()
            await self._appends.append(topic, records, partitions=self._topics.partitions(topic))
        except RecordTooLargeError:
            raise
        except LogError as error:
            self._topics.failed(error)
            raise
        else:
            self._topics.took()


def _together(refused: Sequence[Refused], whole: bytes) -> Bad:
    return Bad(whole, told_together([each.sentence for each in refused]))


def _oversized(made: _Made, error: RecordTooLargeError) -> list[Refused]:
    """The events that are not on the log after an append to it: they are too large, the others are there."""
    oversized = []
    for index, (record, payload) in enumerate(zip(made.records, made.payloads, strict=True)):
        if index not in error.appended:
            own = RecordTooLargeError(EVENTS_TOPIC, size=record.size, limit=error.limit)
            oversized.append(_too_large(payload, own))
    return oversized


def _too_large(payload: Payload, error: RecordTooLargeError) -> Refused:
    return Refused("too_large", str(error), "", utf8(dump_payload(payload)))
