"""A reader of a Kafka log, which stands where it was put."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostics
from ..errors import LogClosedError, LogUnavailableError, NotAssignedError, SnowbusError, TopicNotFoundError
from ..event import Record, TopicPartition
from ..tasks import cancelled, to_its_end
from .interface import Assignment, Offsets, Reader
from .kafka_driver import Consumer, Driver
from .kafka_topic_watch import TopicWatch

if TYPE_CHECKING:
    from .schema_registry import SchemaRegistry

logger = Diagnostics(__name__)

_SILENCE_SECONDS = 3.0
_STUCK_SECONDS = 15.0
_PING_SECONDS = 1.0
_START_GRACE_SECONDS = 2.0
_FETCH_SECONDS = 1.0


class KafkaReader(Reader):
    """Reads from where it was put. Its consumer is started by the first poll, and replaced when it is broken."""

    def __init__(
        self,
        driver: Driver,
        offsets: Offsets,
        *,
        topic_ids: Mapping[str, str],
        registry: "SchemaRegistry | None",
        on_close: Callable[[Reader], None],
    ) -> None:
        self._driver = driver
        self._registry = registry
        self._unknown: set[int] = set()
        self._on_close = on_close
        self._next: dict[TopicPartition, int] = dict(offsets)
        self._paused: set[TopicPartition] = set()
        self._consumer: Consumer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._live: Consumer | None = None
        self._settled = True
        self._failure: SnowbusError | None = None
        self._topics = TopicWatch(driver, topic_ids)
        self._expecting_since = 0.0
        self._pinged = 0.0
        self._closed = False

    @property
    def assignment(self) -> Assignment:
        """See Reader.assignment."""
        return frozenset(self._next)

    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        """See Reader.poll."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._check_open()
            await self._check_topics()
            if not await self._schemas_known(deadline):
                return []
            fetched: dict[TopicPartition, list[Record]] = {}
            try:
                async with asyncio.timeout_at(deadline):
                    consumer = await self._started()
                    left = min(_FETCH_SECONDS, max(0.0, deadline - loop.time()))
                    fetched = await consumer.fetch(max_records=max_records, timeout=left)
            except TimeoutError:
                pass
            except TopicNotFoundError as error:
                await self._drop_consumer()
                raise LogUnavailableError(str(error)) from error
            except SnowbusError:
                await self._drop_consumer()
                raise
            if self._registry is not None and (unknown := self._registry.unknown(fetched)):
                self._unknown = unknown
                self._put_back(fetched)
                continue
            if records := self._accepted(fetched):
                return records if self._registry is None else self._registry.unframed(records)
            await self._check_alive()
            if loop.time() >= deadline:
                return []

    def position(self, partition: TopicPartition) -> int:
        """See Reader.position."""
        self._check_assigned([partition])
        return self._next[partition]

    def seek(self, offsets: Offsets) -> None:
        """See Reader.seek."""
        self._check_assigned(offsets)
        self._next.update(offsets)
        if self._live is not None:
            for partition, offset in offsets.items():
                self._live.seek(partition, offset)
        self._expect()

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See Reader.pause."""
        self._check_assigned(partitions)
        self._paused.update(partitions)
        if self._live is not None:
            self._live.pause(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See Reader.resume."""
        resumed = self._paused.intersection(partitions)
        self._paused -= resumed
        if self._live is not None:
            self._live.resume(resumed)
        self._expect()

    async def close(self) -> None:
        """See Reader.close."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._drop_consumer()
        finally:
            self._on_close(self)
            await self._topics.close()

    async def _start(self, consumer: Consumer) -> None:
        await consumer.follow(self._next)
        consumer.pause(self._paused)
        self._live = consumer

    def _new_consumer(self) -> Consumer:
        return Consumer(self._driver, group_id=None, on_revoked=nobody_asks, on_assigned=nobody_asks)

    async def _started(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._new_consumer()
            self._starting = asyncio.create_task(self._start(self._consumer), name="snowbus-log-reader")
            self._expect()
        if self._failure is not None:
            raise self._failure
        consumer, starting = self._consumer, self._starting
        if starting is not None:
            await asyncio.wait({starting})
            if starting.cancelled():
                raise LogClosedError("the reader was closed while it started")
            starting.result()
            self._starting = None
        return consumer

    async def _drop_consumer(self) -> None:
        """Stop the consumer; the next poll starts another one where we stand."""
        consumer, self._consumer, self._live = self._consumer, None, None
        starting, self._starting = self._starting, None
        self._failure = None
        await to_its_end(_stopped(consumer, starting))  # left half done, it would be a member of its group for ever

    def _accepted(self, fetched: dict[TopicPartition, list[Record]]) -> list[Record]:
        records: list[Record] = []
        for partition, found in fetched.items():
            if self._settled and partition in self._next:
                self._next[partition] = found[-1].offset + 1
                records += found
            else:  # fetched before we know where to begin, or while it is taken from us
                self._put_back({partition: found})
        return records

    def _put_back(self, fetched: dict[TopicPartition, list[Record]]) -> None:
        for partition, found in fetched.items():
            if self._consumer is not None:
                with contextlib.suppress(NotAssignedError):
                    self._consumer.seek(partition, found[0].offset)

    async def _schemas_known(self, deadline: float) -> bool:
        """Wait for the schemas that records are framed with; those stay on the log meanwhile. Raises LogError."""
        if self._registry is not None and self._unknown:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._registry.learn(self._unknown)
            except TimeoutError:
                return False
            self._unknown = set()
        return True

    async def _check_topics(self) -> None:
        """Begin anew in a topic that is another one by now. Raises LogUnavailableError while one is gone."""
        found = self._topics.look()
        if anew := self._topics.made_anew(found):
            logger.warning("a topic was deleted and made anew; it is read from its beginning", topics=sorted(anew))
            await self._begin_anew(anew)
        self._topics.ids |= found
        if gone := self._topics.gone:
            raise LogUnavailableError(f"Kafka has no topic {', '.join(sorted(gone))} any more")

    async def _begin_anew(self, topics: Collection[str]) -> None:
        await self._drop_consumer()
        self._next |= {partition: 0 for partition in self._next if partition.topic in topics}

    def _expect(self) -> None:
        """From now on a broker should answer."""
        self._expecting_since = time.time()

    async def _check_alive(self) -> None:
        """When no broker has answered for a while, ask for one. Raises LogUnavailableError."""
        expected = self._next.keys() - self._paused
        since = self._expecting_since
        reading = self._live is not None and self._settled
        if self._live is not None and reading:
            if not expected:
                return
            since = max(since, self._live.last_answer(expected))
        now = time.time()
        if now - since < _SILENCE_SECONDS or now - self._pinged < _PING_SECONDS:
            return
        self._pinged = now
        await self._driver.once(self._driver.ping)
        if reading and now - since > _STUCK_SECONDS:
            logger.warning("a reader is stuck; it starts again", seconds=round(now - since))
            await self._drop_consumer()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosedError("the reader is closed")

    def _check_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        missing = sorted(set(partitions) - self._next.keys())
        if missing:
            raise NotAssignedError(f"not assigned here: {', '.join(f'{topic}-{number}' for topic, number in missing)}")


async def _stopped(consumer: Consumer | None, starting: asyncio.Task[None] | None) -> None:
    if starting is not None:
        await asyncio.wait({starting}, timeout=_START_GRACE_SECONDS)
        await cancelled([starting])
    if consumer is not None:
        await consumer.stop()


async def nobody_asks(_: Assignment) -> None:
    """Nobody wants to know."""
