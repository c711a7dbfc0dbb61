"""The log on Kafka: what users move to when they outgrow one machine."""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Self

from ..errors import GroupHasMembersError, LogAccessError, NotAssignedError, TopicNotFoundError
from ..event import EVENTS_TOPIC, ProducerRecord, TopicPartition
from .interface import (
    AutoOffsetReset,
    Committed,
    GroupReader,
    Log,
    LogOptions,
    Metadata,
    Offsets,
    OnAssigned,
    OnRevoked,
    Place,
    Reader,
    TopicDetails,
    TopicInfo,
    check_metadata,
    check_topic_names,
)
from .kafka_appends import Appends
from .kafka_driver import EARLIEST, LATEST, Driver, describe, timestamps
from .kafka_group_reader import KafkaGroupReader
from .kafka_reader import KafkaReader
from .kafka_tools import Tools
from .kafka_url import parse_url, without_password

if TYPE_CHECKING:
    from .schema_registry import SchemaRegistry

_NEW_TOPIC_SECONDS = 0.05


class KafkaLog(Log):
    """A log on a Kafka cluster, which may come and go: what needs it says LogUnavailableError while it is away."""

    def __init__(self, url: str, driver: Driver, options: LogOptions) -> None:
        self.url = url
        self.options = options
        self._driver = driver
        self._appends = Appends(driver, options)
        self._registry = _schema_registry(options) if options.schema_registry else None
        self._readers: set[Reader] = set()

    @classmethod
    async def open(cls, url: str, options: LogOptions) -> Self:
        """Make a log; nothing is asked of Kafka yet. Raises ConfigurationError."""
        servers, options = parse_url(url, options)
        return cls(without_password(url), Driver(servers, options), options)

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """See Log.append. Raises TopicNotFoundError too.

        What Kafka itself refuses, as when a topic's own limit is below `max_record_bytes`, it refuses alone: the
        others of its call are in `appended`.
        """
        if self._registry is not None:
            records = await self._registry.framed(topic, records)
        return await self._appends.append(topic, records)

    async def read(self, offsets: Offsets) -> Reader:
        """See Log.read."""
        topics = {partition.topic for partition in offsets}
        for topic in topics:
            await self.partitions(topic)
        topic_ids = await self._driver.call(self._driver.topic_ids, topics)
        reader = KafkaReader(
            self._driver, offsets, topic_ids=topic_ids, registry=self._registry, on_close=self._readers.discard
        )
        self._readers.add(reader)
        return reader

    async def join(
        self,
        topics: Collection[str],
        *,
        group_id: str,
        auto_offset_reset: AutoOffsetReset = "earliest",
        on_revoked: OnRevoked | None = None,
        on_assigned: OnAssigned | None = None,
    ) -> GroupReader:
        """See Log.join. The group is joined by the first poll; at each rebalance all partitions are revoked."""
        for topic in topics:
            await self.partitions(topic)
        reader = KafkaGroupReader(
            self._driver,
            sorted(topics),
            group_id=group_id,
            auto_offset_reset=auto_offset_reset,
            on_revoked=on_revoked,
            on_assigned=on_assigned,
            registry=self._registry,
            on_close=self._readers.discard,
        )
        self._readers.add(reader)
        return reader

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        """See Log.create_topics."""
        check_topic_names(topics)
        found = {topic.name: topic for topic in await self.topics()}
        if missing := sorted(set(topics) - found.keys()):
            await self._create(missing)
            for topic in missing:
                partitions = await self._partitions_of_new(topic)
                found[topic] = TopicInfo(topic, len(partitions), self._driver.ids.get(topic, ""))
        return [found[topic] for topic in sorted(set(topics))]

    async def _create(self, topics: Sequence[str]) -> None:
        """Create topics. Raises LogAccessError, with the lines that do it, when that is not ours to do."""
        tools = Tools(self._driver.servers, self.options)
        lines = "".join(f"\n  {tools.create(topic)}" for topic in topics)
        if self.options.create_topics == "never":
            raise LogAccessError(
                f"Kafka has no topic {', '.join(topics)}, which is not to be created (create_topics); to do so:{lines}"
            )
        try:
            await self._driver.call(self._driver.create_topics, topics)
        except LogAccessError:
            raise LogAccessError(
                f"Kafka shows no topic {', '.join(topics)}, and does not let us create it: either let our user "
                f"Describe what is there, or ask for:{lines}"
            ) from None

    async def _partitions_of_new(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic that has just been made, which brokers hear of one after the other."""
        deadline = time.monotonic() + self.options.append_timeout
        while True:
            try:
                return await self.partitions(topic)
            except TopicNotFoundError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_NEW_TOPIC_SECONDS)

    async def topics(self) -> list[TopicInfo]:
        """See Log.topics. Kafka's own topics are left out."""
        return await self._driver.call(self._driver.topics)

    async def describe_topics(self, topics: Collection[str]) -> dict[str, TopicDetails]:
        """See Log.describe_topics. Their size is not told."""
        return await self._driver.call(describe, self._driver, topics)

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """See Log.partitions."""
        leaders = await self._driver.call(self._driver.leaders, topic, topic=topic)
        return [TopicPartition(topic, partition) for partition in range(len(leaders))]

    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.beginning_offsets."""
        return await self._list_offsets(topic, EARLIEST)

    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.end_offsets."""
        return await self._list_offsets(topic, LATEST)

    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """See Log.offsets_for_time."""
        found = await self._list_offsets(topic, max(0, timestamp))
        ends = await self.end_offsets(topic)
        return {partition: ends[partition] if offset < 0 else offset for partition, offset in found.items()}

    async def timestamps(self, places: Collection[Place]) -> dict[Place, int]:
        """See Log.timestamps."""
        return await self._driver.call(timestamps, self._driver, places)

    async def groups(self) -> list[str]:
        """See Log.groups."""
        return await self._driver.call(self._driver.groups)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """See Log.group_offsets."""
        return await self._driver.call(self._driver.group_offsets, group_id)

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See Log.reset_group."""
        try:
            await self._driver.call(self._driver.commit_alone, group_id, offsets, check_metadata(metadata))
        except NotAssignedError:
            raise GroupHasMembersError(group_id) from None

    async def close(self) -> None:
        """See Log.close. Its readers are closed too."""
        await self._appends.close()
        for reader in list(self._readers):
            await reader.close()
        if self._registry is not None:
            await self._registry.close()
        await self._driver.close()

    async def check(self) -> None:
        """See Log.check."""
        await super().check()
        if self._registry is not None:
            await self._registry.check(EVENTS_TOPIC)

    async def _list_offsets(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        return await self._driver.call(self._driver.list_offsets, topic, timestamp, topic=topic)


def _schema_registry(options: LogOptions) -> "SchemaRegistry":
    from .schema_registry import SchemaRegistry  # noqa: PLC0415 - its HTTP client is slow to import

    return SchemaRegistry(options)
