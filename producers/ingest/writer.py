"""Puts what a request holds on the log: its events on `snowbus.events`, what was refused on `snowbus.bad`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from snowbus.bus.acceptance import accept
from snowbus.bus.errors import LogError, RecordTooLargeError
from snowbus.bus.event import BAD_TOPIC, EVENTS_TOPIC, ProducerRecord
from snowbus.bus.log import Log
from snowbus.bus.metrics import Metrics
from snowbus.bus.payload import dump_payload
from snowbus.bus.settings import Settings
from snowbus.bus.version import producer_name

from .appends import Appends
from .bad_records import Bad, bad_record
from .reading import KEPT_BYTES, OverloadedError
from .requests import Kind, Refused, Understood
from .topics import Topics

_ENCODED_IN_A_ROW = 200
_KEPT_APART = 1_000
"""Of one request, the refused events that get a record each; when there are more, they share one."""


class Sent(NamedTuple):
    """What the records of one request share: who sent it, when (ms since 1970), and its query string."""

    source: Mapping[str, str]
    received: int
    query: bytes


class Outcome(NamedTuple):
    """What became of a request: how many of its events are durable, and which were refused."""

    accepted: int
    refused: Sequence[Refused]


class Writer:
    """Appends for all requests, of which no more wait for the log than the settings allow."""

    def __init__(self, log: Log, settings: Settings, metrics: Metrics, *, topics: Topics) -> None:
        self._topics = topics
        self._appends = Appends(log, seconds=settings.append_timeout + 1.0)
        self._metrics = metrics
        self._max_record_bytes = settings.max_record_bytes
        self._max_pending = settings.ingest_max_pending
        self._max_pending_bytes = settings.ingest_max_pending_bytes
        self._pending = 0
        self._pending_bytes = 0
        self._producer = producer_name("ingest")
        metrics.ingest_pending.set_function(lambda: self._pending)

    async def write(self, understood: Understood, whole: bytes, *, sent: Sent) -> Outcome:
        """Write the events, and what was refused, of a request whose body (or query string) is `whole`.

        Raises OverloadedError, LogError; then none of the events counts as accepted, though some may be durable.
        """
        records, oversized = await self._event_records(understood.payloads, sent)
        refused = [*understood.refused, *oversized]
        # Refused ones first: if this fails the whole request comes again, and no good event is there twice for it.
        if not records:
            await self.write_bad(Bad(whole, _reasons(refused)), refused[0].kind, sent=sent)
            return Outcome(0, refused)
        if refused:
            await self._append(BAD_TOPIC, self._refused_records(refused, whole, sent))
            for each in refused:
                self._metrics.ingest_refused.labels(each.kind).inc()
        try:
            await self._append(EVENTS_TOPIC, records)
        except RecordTooLargeError as error:
            return await self._write_oversized(understood, whole, sent=sent, error=error)
        self._metrics.ingest_events.inc(len(records))
        return Outcome(len(records), refused)

    async def write_bad(self, bad: Bad, kind: Kind, *, sent: Sent) -> None:
        """Write a whole request that was refused. Raises OverloadedError, LogError."""
        await self._append(BAD_TOPIC, [self._bad_record(bad, sent)])
        self._metrics.ingest_refused.labels(kind).inc()

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._appends.close()

    async def _event_records(
        self, payloads: Sequence[dict[str, str]], sent: Sent
    ) -> tuple[list[ProducerRecord], list[Refused]]:
        records = []
        oversized = []
        for position, payload in enumerate(payloads):
            if position and position % _ENCODED_IN_A_ROW == 0:
                await asyncio.sleep(0)  # other requests' turn
            record = accept(payload, now=sent.received, producer=self._producer, source=sent.source)
            size = record.size
            if size > self._max_record_bytes:
                reason = f"an event of {size} bytes is larger than the {self._max_record_bytes} that the log takes"
                oversized.append(Refused("too_large", reason, "", dump_payload(payload).encode()))
            else:
                records.append(record)
        return records, oversized

    async def _write_oversized(
        self, understood: Understood, whole: bytes, *, sent: Sent, error: RecordTooLargeError
    ) -> Outcome:
        """The log takes less than the settings say: nothing of this request is on it."""
        refused = Refused("too_large", str(error), "", whole)
        first = whole[:KEPT_BYTES]
        bad = Bad(first, refused.reason, truncated=len(first) < len(whole), size=len(whole))
        await self.write_bad(bad, refused.kind, sent=sent)
        return Outcome(0, [refused] * len(understood.payloads))

    def _refused_records(self, refused: Sequence[Refused], whole: bytes, sent: Sent) -> list[ProducerRecord]:
        if len(refused) > _KEPT_APART:
            return [self._bad_record(Bad(whole, _reasons(refused)), sent)]
        return [self._bad_record(Bad(each.value, each.sentence), sent) for each in refused]

    def _bad_record(self, bad: Bad, sent: Sent) -> ProducerRecord:
        return bad_record(
            bad, source=sent.source, query=sent.query, received=sent.received, max_bytes=self._max_record_bytes
        )

    async def _append(self, topic: str, records: Sequence[ProducerRecord]) -> None:
        size = sum(len(record.value) for record in records)
        if self._pending and (
            self._pending >= self._max_pending or self._pending_bytes + size > self._max_pending_bytes
        ):
            raise OverloadedError("too many requests wait for the log")
        self._pending += 1
        self._pending_bytes += size
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
        finally:
            self._pending -= 1
            self._pending_bytes -= size


def _reasons(refused: Sequence[Refused]) -> str:
    """The first reasons of several, in one sentence."""
    told = "; ".join(each.sentence for each in refused[:3])
    return f"{told}; and {len(refused) - 3} more" if len(refused) > 3 else told
