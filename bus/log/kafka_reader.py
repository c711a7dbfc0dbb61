"""Readers of a Kafka log: one that stands where it was put, and one that is a member of a group."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostics
from ..errors import (
    LogClosedError,
    LogUnavailableError,
    NotAssignedError,
    SnowbusError,
    TopicNotFoundError,
    log_error,
)
from ..event import Record, TopicPartition
from ..tasks import cancelled, to_its_end
from .interface import (
    Assignment,
    AutoOffsetReset,
    Committed,
    GroupReader,
    Metadata,
    Offsets,
    OnAssigned,
    OnRevoked,
    Reader,
    check_metadata,
)
from .kafka_driver import EARLIEST, LATEST, Consumer, Driver, begins_of, tagged
from .kafka_topic_watch import TopicWatch

if TYPE_CHECKING:
    from .schema_registry import SchemaRegistry

logger = Diagnostics(__name__)

_SILENCE_SECONDS = 3.0
_STUCK_SECONDS = 15.0
_PING_SECONDS = 1.0
_START_GRACE_SECONDS = 2.0
_FETCH_SECONDS = 1.0
_AGAIN_SECONDS = 0.1


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
        return Consumer(self._driver, group_id=None, on_revoked=_nothing, on_assigned=_nothing)

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


class KafkaGroupReader(KafkaReader, GroupReader):
    """A member of a group. aiokafka gives all partitions up at each rebalance, and tells what comes back."""

    def __init__(
        self,
        driver: Driver,
        topics: Collection[str],
        *,
        group_id: str,
        auto_offset_reset: AutoOffsetReset,
        on_revoked: OnRevoked | None,
        on_assigned: OnAssigned | None,
        registry: "SchemaRegistry | None",
        on_close: Callable[[Reader], None],
    ) -> None:
        super().__init__(driver, {}, topic_ids=dict.fromkeys(topics, ""), registry=registry, on_close=on_close)
        self._subscribed = topics
        self._anew: set[str] = set()
        self._group_id = group_id
        self._begin = LATEST if auto_offset_reset == "latest" else EARLIEST
        self._on_revoked = on_revoked or _nothing
        self._on_assigned = on_assigned or _nothing
        self._one_at_a_time = asyncio.Lock()
        self._settled = False

    async def commit(self, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See GroupReader.commit."""
        self._check_assigned(offsets)
        texts = check_metadata(metadata)
        if offsets and self._consumer is not None:
            await self._commit_with(self._consumer, offsets, texts)

    async def committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Committed]:
        """See GroupReader.committed."""
        everything = await self._driver.call(self._driver.group_offsets, self._group_id)
        return {partition: everything[partition] for partition in partitions if partition in everything}

    async def _commit_with(self, consumer: Consumer, offsets: Offsets, metadata: Metadata) -> None:
        texts = tagged(offsets, metadata, self._topics.ids)
        await consumer.commit(offsets, texts, timeout=self._driver.options.append_timeout)

    async def _start(self, consumer: Consumer) -> None:
        await consumer.subscribe(self._subscribed)

    def _new_consumer(self) -> Consumer:
        return Consumer(self._driver, group_id=self._group_id, on_revoked=self._give_up, on_assigned=self._take_over)

    async def _drop_consumer(self) -> None:
        try:
            await self._give_up(self.assignment)
        finally:
            await super()._drop_consumer()

    async def _begin_anew(self, topics: Collection[str]) -> None:
        await self._drop_consumer()
        self._anew.update(topics)

    async def _give_up(self, _: Assignment) -> None:
        async with self._one_at_a_time:
            self._settled = False
            if self._next:
                try:
                    await self._on_revoked(self.assignment)
                except Exception:
                    logger.exception("on_revoked failed; the partitions are given up", group_id=self._group_id)
            self._next.clear()
            self._paused.clear()
            self._live = None

    async def _take_over(self, partitions: Assignment) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        consumer.pause(partitions)
        try:
            starts = await self._starts(partitions)
        except SnowbusError as error:
            self._failure = error
            return
        async with self._one_at_a_time:
            if consumer is not self._consumer or self._closed:
                return
            self._live = consumer
            self._next.update(starts)
            self.seek(starts)
            anew = frozenset(partition for partition in partitions if partition.topic in self._anew)
            try:
                for gained in (
                    [partitions - anew, anew] if anew else [partitions]
                ):  # of old ones nothing counts any more
                    await self._on_assigned(gained)
            except Exception as error:
                logger.exception("on_assigned failed; the partitions are given up", group_id=self._group_id)
                self._failure = log_error("on_assigned failed", error)
                return
            self._anew.clear()
            consumer.resume(partitions - self._paused)
            self._settled = True
            self._expect()

    async def _starts(self, partitions: Assignment) -> dict[TopicPartition, int]:
        """Where to begin; what the group has never committed is committed there."""
        while not self._closed:
            try:
                return await self._look_up(partitions)
            except LogUnavailableError as error:
                logger.debug("no positions yet", group_id=self._group_id, reason=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
        return {}

    async def _look_up(self, partitions: Assignment) -> dict[TopicPartition, int]:
        topic_ids = await self._driver.call(self._driver.topic_ids, self._subscribed)
        if self._topics.made_anew(topic_ids):  # the assignment may be of the old one's partitions: we shall join again
            raise LogUnavailableError("a topic was made anew")
        self._topics.ids |= topic_ids
        committed = await self._driver.call(self._driver.group_offsets, self._group_id)
        missing = partitions - committed.keys()
        begins: dict[TopicPartition, int] = {}
        for topic in {partition.topic for partition in missing}:
            # In a topic that the group has read before, they were added since, and nothing of them may be passed over.
            known = topic in self._anew or any(partition.topic == topic for partition in committed)
            begin = EARLIEST if known else self._begin
            begins |= await self._driver.call(begins_of, self._driver, topic, begin, missing, topic=topic)
        if begins and self._consumer is not None:
            with contextlib.suppress(NotAssignedError):  # there is another rebalance; whoever gets them commits
                await self._commit_with(self._consumer, begins, {})
        return {place: committed[place].offset if place in committed else begins[place] for place in partitions}


async def _stopped(consumer: Consumer | None, starting: asyncio.Task[None] | None) -> None:
    if starting is not None:
        await asyncio.wait({starting}, timeout=_START_GRACE_SECONDS)
        await cancelled([starting])
    if consumer is not None:
        await consumer.stop()


async def _nothing(_: Assignment) -> None:
    """Nobody wants to know."""
