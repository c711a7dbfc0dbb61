"""A reader of a Kafka log that is a member of a group."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostics
from ..errors import LogUnavailableError, NotAssignedError, SnowbusError, log_error
from ..event import TopicPartition
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
from .kafka_reader import KafkaReader, nobody_asks

if TYPE_CHECKING:
    from .schema_registry import SchemaRegistry

logger = Diagnostics(__name__)

_AGAIN_SECONDS = 0.1


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
        self._on_revoked = on_revoked or nobody_asks
        self._on_assigned = on_assigned or nobody_asks
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
                for gained in [partitions - anew, anew] if anew else [partitions]:  # of those nothing counts any more
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
