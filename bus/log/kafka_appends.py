"""Appends to Kafka: gathers what several tasks append into one batch for each partition, and sends one after another.

A partition has one batch under way. What arrives meanwhile makes the next one, so batches grow with the load, and a
batch that has to be sent again keeps its place. Nothing stays longer than the time that its caller waits for it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence

from ..clock import now_ms
from ..diagnostics import Diagnostics
from ..errors import (
    LogClosedError,
    LogUnavailableError,
    RecordRefusedError,
    RecordTooLargeError,
    SnowbusError,
    TopicNotFoundError,
    log_error,
)
from ..event import ProducerRecord, TopicPartition
from ..tasks import cancelled
from .interface import LogOptions
from .kafka_calls import Call, Slot, take
from .kafka_driver import METADATA_SECONDS, Driver, ProducerId, pack
from .kafka_errors import BatchRefusedError, SequenceLostError
from .partitioner import partition_of

logger = Diagnostics(__name__)

_BATCH_RECORDS = 5000
_RETRY_SECONDS = 0.1
_GATHER_SECONDS = 0.005
"""What arrives while a batch is under way makes the next one, so long after it at the soonest: each request costs
Kafka, and all who read, as much as dozens of records.
"""
_SEQUENCE_END = 2**31


class Appends:
    """All appends of one log."""

    def __init__(self, driver: Driver, options: LogOptions) -> None:
        self._driver = driver
        self._options = options
        self._routes: dict[str, _Route] = {}
        self._calls: dict[Call, None] = {}  # in the order of their deadlines
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """See Log.append."""
        if self._closed:
            raise LogClosedError("the log is closed")
        limit = self._options.max_record_bytes
        sizes = [record.size for record in records]
        if not sizes:
            return []
        if max(sizes) > limit:
            raise RecordTooLargeError(topic, size=max(sizes), limit=limit)
        route = self._routes.get(topic)
        if route is None:
            route = self._routes[topic] = _Route(self._driver, topic)
        call = self._new_call(len(sizes))
        route.add(call, records, sizes)
        try:
            return await call.future
        except TopicNotFoundError:
            route.ask_again()
            raise
        finally:
            del self._calls[call]
            if call.missing:
                route.forget()
            del call  # it has the error, whose traceback has this frame and the records

    async def close(self) -> None:
        """Finish what is being appended; each call ends within its own time."""
        self._closed = True
        if self._calls:
            await asyncio.wait([call.future for call in self._calls])
        await asyncio.gather(*(route.close() for route in self._routes.values()))
        if self._alarm is not None:
            self._alarm.cancel()

    def _new_call(self, count: int) -> Call:
        loop = asyncio.get_running_loop()
        call = Call(count, loop.time() + self._options.append_timeout)
        self._calls[call] = None
        if self._alarm is None:  # one for all calls: a timer each costs a third of a small append
            self._alarm = loop.call_at(call.deadline, self._give_up)
        return call

    def _give_up(self) -> None:
        """Fail the calls whose time is over, and look again when that of the next one is."""
        loop = asyncio.get_running_loop()
        now, self._alarm = loop.time(), None
        for call in self._calls:
            if call.deadline > now:
                self._alarm = loop.call_at(call.deadline, self._give_up)
                break
            reason = f": {why}" if (why := self._driver.why_slow) else ""
            call.fail(LogUnavailableError(f"not durable within {self._options.append_timeout:g} s{reason}"))


class _Route:
    """The way of records to the partitions of one topic, and the order in which they took it."""

    def __init__(self, driver: Driver, topic: str) -> None:
        self._driver = driver
        self._topic = topic
        self._lanes: list[_Lane] = []
        self._partitions = 0  # fewer than lanes, when the topic was made anew with fewer
        self._unsorted: deque[tuple[Call, Sequence[ProducerRecord], Sequence[int]]] = deque()
        self._ask_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    def add(self, call: Call, records: Sequence[ProducerRecord], sizes: Sequence[int]) -> None:
        """Send records on their way, behind those that were added before."""
        if time.monotonic() >= self._ask_at and self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name=f"snowbus-log-topic-{self._topic}")
        if self._lanes and not self._unsorted:
            self._sort(call, records, sizes)
        else:
            self._unsorted.append((call, records, sizes))

    def ask_again(self) -> None:
        """Ask for the partitions at the next append: they may have changed."""
        self._ask_at = 0.0

    def forget(self) -> None:
        """Let go of the records at the heads of the queues whose callers have gone."""
        while self._unsorted and self._unsorted[0][0].future.done():
            self._unsorted.popleft()
        for lane in self._lanes:
            lane.forget()

    async def close(self) -> None:
        tasks = [lane.task for lane in self._lanes]
        if self._asking is not None:
            tasks.append(self._asking)
        await cancelled(tasks)

    def _sort(self, call: Call, records: Sequence[ProducerRecord], sizes: Sequence[int]) -> None:
        count = self._partitions
        for index, (record, size) in enumerate(zip(records, sizes, strict=True)):
            self._lanes[partition_of(record.key, count)].add((call, index, record, size))

    async def _ask(self) -> None:
        """Learn how many partitions there are, then sort what waits for that; on until nothing waits."""
        try:
            while True:
                try:
                    leaders = await self._driver.call(self._driver.leaders, self._topic, topic=self._topic)
                except LogUnavailableError:
                    if not self._unsorted:
                        return
                except SnowbusError as error:
                    while self._unsorted:
                        self._unsorted.popleft()[0].fail(error)
                    return
                else:
                    break
            self._ask_at = time.monotonic() + METADATA_SECONDS
            self._partitions = len(leaders)
            for partition in range(len(self._lanes), len(leaders)):
                self._lanes.append(_Lane(self._driver, TopicPartition(self._topic, partition)))
            while self._unsorted:
                self._sort(*self._unsorted.popleft())
        finally:
            self._asking = None


class _Lane:
    """The records on their way to one partition, and the task that sends them."""

    def __init__(self, driver: Driver, partition: TopicPartition) -> None:
        self._driver = driver
        self._partition = partition
        self._waiting: deque[Slot] = deque()
        self._arrived = asyncio.Event()
        self._at_most = _BATCH_RECORDS
        self._producer: ProducerId | None = None
        self._sequence = 0
        self.task = asyncio.create_task(self._run(), name=f"snowbus-log-{partition.topic}-{partition.partition}")

    def add(self, slot: Slot) -> None:
        """Send a record, behind those that were added before."""
        self._waiting.append(slot)
        self._arrived.set()

    def forget(self) -> None:
        """Let go of the records at the head of the queue whose callers have gone."""
        while self._waiting and self._waiting[0][0].future.done():
            self._waiting.popleft()

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._driver.permitted(self._partition)
            batch = take(self._waiting, at_most=self._at_most)
            if batch:
                began = time.monotonic()
                await self._append(batch)
                if self._waiting and (rest := began + _GATHER_SECONDS - time.monotonic()) > 0:
                    await asyncio.sleep(rest)

    async def _append(self, batch: list[Slot]) -> None:
        """Append a batch, until it is durable, refused, or its last caller has gone."""
        try:
            async with asyncio.timeout_at(batch[-1][0].deadline):
                offset = await self._send(batch)
        except TimeoutError:  # it may become durable yet: what follows must not count on either
            self._producer = None
        except BatchRefusedError as error:
            self._producer = None
            self._refused(batch, error)
        except SnowbusError as error:
            self._producer = None
            _fail(batch, error)
        except Exception as error:  # what follows must not wait for ever for a task that has ended
            self._producer = None
            logger.exception("an append failed unexpectedly", topic=self._partition.topic)
            _fail(batch, log_error("the append failed unexpectedly", error))
        else:
            self._at_most = _BATCH_RECORDS
            for position, (call, index, _, _) in enumerate(batch, offset):
                call.place(index, self._partition.partition, position)

    async def _send(self, batch: list[Slot]) -> int:
        packed = b""
        while True:
            try:
                if self._producer is None:
                    self._producer = await self._driver.once(self._driver.new_producer)
                    self._sequence, packed = 0, b""
                if not packed:
                    packed = self._pack(batch, self._producer)
                offset = await self._driver.once(
                    self._driver.produce, self._partition, packed, topic=self._partition.topic
                )
            except SequenceLostError:
                self._producer = None
            except LogUnavailableError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._sequence = (self._sequence + len(batch)) % _SEQUENCE_END
                return offset

    def _pack(self, batch: Iterable[Slot], producer: ProducerId) -> bytes:
        records = (record for _, _, record, _ in batch)
        return pack(records, producer, sequence=self._sequence, now=now_ms())

    def _refused(self, batch: list[Slot], error: BatchRefusedError) -> None:
        """Try halves, until the record that Kafka does not take stands alone; the others go on."""
        if len(batch) > 1:
            self._at_most = len(batch) // 2
            self._waiting.extendleft(reversed(batch))
            return
        self._at_most = _BATCH_RECORDS
        call, _, _, size = batch[0]
        topic = self._partition.topic
        if error.too_large:
            call.refuse(RecordTooLargeError(topic, size=size, limit=None))
        else:
            call.refuse(RecordRefusedError(topic, f"topic {topic} does not take a record: {error}"))


def _fail(batch: Iterable[Slot], error: SnowbusError) -> None:
    for call, *_ in batch:
        call.fail(error)
