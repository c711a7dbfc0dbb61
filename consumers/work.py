"""The work of one consumer in one process: the records that are read and not done with, and the workers that wait."""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from snowbus.bus.backoff import wait_before_retry
from snowbus.bus.consumer_metrics import ConsumerMetrics
from snowbus.bus.diagnostics import Diagnostics
from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import Record as BusRecord
from snowbus.bus.event import TopicPartition
from snowbus.bus.sparingly import SparingDiagnostics

from .adaptive import Adaptive, Limit
from .alarm import Alarm
from .breaker import Breaker, Outage
from .declare import Consumer
from .intake import Intake
from .intents import Hold, Retry
from .key_order import KeyOrder
from .offsets import OffsetTracker, Position
from .record import Record

_LEAST_WAIT = 0.01  # seconds; who asks for none, again and again, must not keep all else waiting


class _Before(NamedTuple):
    """What a record had been through when its partition left."""

    attempt: int
    failures: int
    until: float


class Call(NamedTuple):
    """One call of the handler: since when it is under way, and what was away when it began."""

    since: float
    outage: Outage | None


class Work:
    """Takes in what is read, gives workers what may be handled, and keeps the tracker of offsets.

    Times are in the event loop's clock. `on_finished` is called when something can be committed, `on_full` when
    nothing is given because `max_in_flight` records are in hand or finished and not committed, `on_released` whenever
    a worker has put so many records down, `on_short` when so many more workers would find something to take, and
    `on_trouble` with the reason when a record could not be handled.
    """

    def __init__(self, consumer: Consumer[..., object], counts: ConsumerMetrics) -> None:
        self.tracker = OffsetTracker()
        self.counts = counts
        self.diagnostics = SparingDiagnostics(Diagnostics(__name__))
        self.on_finished: Callable[[], None] = lambda: None
        self.on_full: Callable[[], None] = lambda: None
        self.on_released: Callable[[int], None] = lambda _: None
        self.on_short: Callable[[int], None] = lambda _: None
        self.on_trouble: Callable[[TopicPartition, str], None] = lambda *_: None
        self.closed = False
        self.breaker = Breaker()
        self._limit = Limit(consumer.concurrency) if isinstance(consumer.concurrency, Adaptive) else None
        self._in_use = 0
        self._probe: list[Record] | None = None
        self._consumer = consumer
        self._loop = asyncio.get_running_loop()
        self._order = KeyOrder()
        self._idle: list[asyncio.Future[None]] = []
        self._alarm = Alarm(self._loop, self.wake)
        self._gathering_until = 0.0
        self._assignments: dict[TopicPartition, int] = {}
        self._assigned_count = 0
        self._before: dict[tuple[TopicPartition, int], _Before] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._intake = Intake(consumer)

    # What comes in

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions that are ours, and not about to leave."""
        return frozenset(self._assignments)

    @property
    def strays(self) -> set[Record]:
        """What is there again, and is of a topic that the consumer does not read."""
        return self._intake.strays

    def arrive(self, partition: TopicPartition, position: Position, *, calling: Iterable[Record] = ()) -> None:
        """A partition is ours from this position on. Records of it that a handler is being called with, from before a
        rebalance that brought it back, go on.
        """
        self._assigned_count += 1
        self._assignments[partition] = self._assigned_count
        self._bytes[partition] = 0
        going_on = [record for record in calling if record.place == partition]
        for record in going_on:
            record.assignment = self._assigned_count
        self.tracker.assign(partition, position, in_flight={record.at for record in going_on})

    def leave(self, partitions: Collection[TopicPartition]) -> None:
        """Partitions are going: give nothing more of them, and remember which records have been tried."""
        for record in self._order:
            if record.place in partitions and record.attempt:
                self._remember(record, self.tracker.retry_at(record.place, record.at) or 0.0)
        for partition in partitions:
            self._assignments.pop(partition, None)
        self._order.forget(partitions)
        self._intake.forget(partitions)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Partitions are gone."""
        self.tracker.revoke(partitions)
        for partition in partitions:
            self._bytes.pop(partition, None)
        self._before = {place: known for place, known in self._before.items() if place[0] not in partitions}

    def offer(self, partition: TopicPartition, records: Iterable[BusRecord]) -> None:
        """Take in what was read of a partition; what is not for this consumer is finished.

        Raises NotAssignedError when the partition is not ours: nobody would handle what is dropped here.
        """
        assignment = self._assignments.get(partition)
        if assignment is None:
            raise NotAssignedError(f"{partition.topic}-{partition.partition} was read, and this consumer never got it")
        wanted: list[Record] = []
        rejected: list[int] = []
        size = 0
        for raw in self._unhandled(partition, records):
            record = self._intake.record(raw, partition)
            if record is None:
                rejected.append(raw.offset)
                continue
            record.assignment = assignment
            if not self._consumer.ordered:
                record.order_key = (partition, raw.offset)
            size += len(raw.value)
            if self._before and (before := self._before.pop((partition, raw.offset), None)) is not None:
                record.attempt, record.failures = before.attempt, before.failures
                self._order.offer(wanted)
                wanted = []
                self._order.offer_later(record, before.until)
                continue
            wanted.append(record)
        self._order.offer(wanted)
        self._bytes[partition] += size
        if rejected:
            self.tracker.finish(partition, rejected)
            self.counts.add("filtered", len(rejected))
            self.on_finished()
        self.wake()

    def _unhandled(self, partition: TopicPartition, records: Iterable[BusRecord]) -> list[BusRecord]:
        """Which of what was read is not done with, nor in hand."""
        found = list(records)
        unhandled = self.tracker.read(partition, [raw.offset for raw in found])
        if len(unhandled) == len(found):
            return found
        offsets = set(unhandled)
        return [raw for raw in found if raw.offset in offsets]

    def buffered(self, partition: TopicPartition) -> tuple[int, int, int]:
        """How many records of a partition are read and neither finished nor in flight, how many others wait for a retry
        or behind one, and the bytes of all values that are not finished.
        """
        kept, tracker = self._order.kept(partition), self.tracker
        ahead = tracker.unfinished(partition) - tracker.in_flight(partition) - kept
        return ahead, kept, self._bytes.get(partition, 0)

    # What goes out

    async def take(self) -> list[Record]:
        """The next record, or batch, to handle; waits until there is one."""
        while not (records := self._take()):
            future: asyncio.Future[None] = self._loop.create_future()
            self._idle.append(future)
            await future
        return records

    def wake(self) -> None:
        """Let workers that wait look for something to take: as many as may find it, and one at least."""
        self._order.due(self._loop.time())
        there = len(self._order)
        wanted = max(1, there)
        while self._idle and wanted:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
                wanted -= 1
        if there and wanted:
            self.on_short(wanted)

    def holds(self, records: Iterable[Record]) -> bool:
        """Whether the partitions of these records are still ours, as they were when the records were read."""
        assignments = self._assignments
        for record in records:  # noqa: SIM110 - for one record, `all` costs three times as much
            if assignments.get(record.place) != record.assignment:
                return False
        return True

    def start(self, records: Sequence[Record]) -> Call:
        """The handler is about to be called with these records."""
        for record in records:
            if record.attempt:
                record.forget_views()
            record.attempt += 1
        for partition, offsets in _offsets(records):
            self.tracker.start(partition, offsets)
        return Call(self._loop.time(), self.breaker.outage)

    def end(self, call: Call, *, error: BaseException | None) -> None:
        """A call is over, and raised this."""
        now = self._loop.time()
        seconds = now - call.since
        self.counts.observe(seconds)
        if self._limit is not None:
            overloaded = isinstance(error, Hold | TimeoutError) or (isinstance(error, Retry) and error.overloaded)
            self._limit.ended(seconds, in_use=self._in_use, overloaded=overloaded, now=now)
        if not isinstance(error, Hold) and self.breaker.close(call.outage):
            self.wake()

    def finish(self, records: Sequence[Record], how: str) -> None:
        """Records are done with: handled, skipped, known or dead."""
        for partition, offsets in _offsets(records):
            self.tracker.finish(partition, offsets)
        for record in records:
            place = record.place
            if self._assignments.get(place) == record.assignment:
                self._bytes[place] -= len(record.raw.value)
        self.counts.add(how, len(records))
        self.on_finished()

    def put_off(
        self, records: Sequence[Record], wait: float, *, reason: str, failed: bool, behind: Sequence[Record] = ()
    ) -> None:
        """Records are to be handled again, after so many seconds; those `behind` were taken with them and wait for
        their keys.
        """
        self.counts.add("failed" if failed else "retried", len(records))
        for record in records:
            record.failures += failed
        self._put_back(records, self._loop.time() + max(wait, _LEAST_WAIT), reason=reason, behind=behind)

    def hold(
        self, records: Sequence[Record], wait: float | None, *, call: Call, reason: str, behind: Sequence[Record]
    ) -> None:
        """Nothing can be handled for so many seconds, by our own backoff when None: neither these records, nor those
        `behind` that were taken with them, nor any other.
        """
        self.counts.add("held", len(records))
        seconds = wait
        if seconds is None:
            consumer = self._consumer
            seconds = wait_before_retry(
                self.breaker.failures + 1,
                consumer.backoff,
                maximum=consumer.backoff_max,
                draw=random.random(),  # noqa: S311 - no secret
            )
        until = self.breaker.trip(call.outage, reason, wait=seconds, asked=wait is not None, now=self._loop.time())
        self._put_back(records, until, reason=reason, behind=behind)

    def _put_back(self, records: Sequence[Record], until: float, *, reason: str, behind: Sequence[Record]) -> None:
        self.on_trouble(records[0].place, reason)
        for record in records:
            self.tracker.retry(record.place, record.at, until)
            if not self.holds([record]):
                self._remember(record, until)
        self._order.put_off([record for record in (*records, *behind) if self.holds([record])], until)
        self._alarm.set(until)

    def release(self, records: Sequence[Record]) -> None:
        """A worker has put down what it took; what it did not finish or put off comes again with its partition."""
        self._order.release(records)
        self._in_use -= 1
        if records is self._probe:
            self._probe = None
            self.breaker.end_probe()
        if self._idle and self._order:
            future = self._idle.pop()
            if not future.done():
                future.set_result(None)
        self.on_released(len(records))

    def timestamps(self) -> Iterator[int]:
        """The timestamps, in ms since 1970, of the first of the records that wait, key by key."""
        return (record.timestamp for record in self._order.heads())

    def _take(self) -> list[Record]:
        if self.closed:
            return []
        now = self._loop.time()
        if (next_due := self._order.due(now)) is not None:
            self._alarm.set(next_due)
        if not self._order or not self._may_call(now):
            return []
        room = self._consumer.max_in_flight - self.tracker.exposed
        if room <= 0:
            self.on_full()
            return self._take_again() if self.tracker.untold else []
        wanted = self._consumer.batch or 1
        if self._consumer.batch_wait and len(self._order) < wanted and self._gather(now):
            return []
        self._gathering_until = 0.0
        return self._taken(self._order.take(min(wanted, room), max_bytes=self._consumer.batch_bytes))

    def _take_again(self) -> list[Record]:
        """What was put off, where commits have no room for all that is done behind it: only it can make some."""
        return self._taken(self._order.take_again())

    def _taken(self, records: list[Record]) -> list[Record]:
        if records:
            self._in_use += 1
            if self.breaker.begin_probe():
                self._probe = records
        return records

    def _may_call(self, now: float) -> bool:
        """Whether neither an outage nor the number of calls under way forbids one more."""
        if self._limit is not None and self._in_use >= self._limit.now:
            return False
        wait = self.breaker.wait(now)
        if wait:
            self._alarm.set(now + wait)
        return wait == 0.0

    def _gather(self, now: float) -> bool:
        """Whether a batch that is not full should wait for more."""
        if not self._gathering_until:
            self._gathering_until = now + self._consumer.batch_wait
        if now >= self._gathering_until:
            return False
        self._alarm.set(self._gathering_until)
        return True

    def close(self) -> None:
        """Give nothing more."""
        self.closed = True
        self._alarm.cancel()

    def _remember(self, record: Record, until: float) -> None:
        self._before[record.place, record.at] = _Before(record.attempt, record.failures, until)


def _offsets(records: Sequence[Record]) -> Iterable[tuple[TopicPartition, Sequence[int]]]:
    """The offsets of records, by partition."""
    if len(records) == 1:
        return ((records[0].place, (records[0].at,)),)
    offsets: dict[TopicPartition, list[int]] = {}
    for record in records:
        place = record.place
        if place in offsets:
            offsets[place].append(record.at)
        else:
            offsets[place] = [record.at]
    return offsets.items()
