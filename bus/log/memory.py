"""The log in memory: for tests, and for what need not outlive its process. It has groups and all that a log has."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Self
from uuid import uuid4
from weakref import WeakValueDictionary

from ..clock import now_ms
from ..errors import ConfigurationError, GroupHasMembersError, LogClosedError
from ..event import ProducerRecord, Record, TopicPartition
from .embedded_reader import EmbeddedGroupReader, EmbeddedReader
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
    check_records,
    check_topic_names,
)
from .memory_store import Store

_named: WeakValueDictionary[str, Store] = WeakValueDictionary()


def named_store(name: str) -> Store:
    """What the logs at `memory:NAME` in this process share; it is there as long as anyone holds it."""
    return _named.setdefault(name, Store())


class MemoryLog(Log):
    """A log in the memory of one process and one event loop. It keeps everything that is appended.

    It waits by the event loop's clock alone, so that it works where that clock is a test's own; records without a
    timestamp get the machine's time.
    """

    def __init__(self, options: LogOptions | None = None, *, store: Store | None = None, url: str = "memory:") -> None:
        self.url = url
        self.options = options or LogOptions()
        self.store = store or Store()
        self._members: set[MemoryGroupReader] = set()
        self._closed = False

    @classmethod
    async def open(cls, url: str, options: LogOptions, *, create: bool = True) -> Self:
        """A log of one's own (`memory:`), or the one of that name in this process. Raises ConfigurationError."""
        name = url.removeprefix("memory:").lstrip("/")
        if not create and name not in _named:
            raise ConfigurationError(f"there is no log at {url}")
        return cls(options, store=named_store(name) if name else None, url=url)

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        """See Log.append."""
        self._check()
        self.store.partitions(topic)
        check_records(topic, records, self.options.max_record_bytes)
        await asyncio.sleep(0)  # as on every log, others have their turn
        return self.store.append(topic, records, now=now_ms())

    async def read(self, offsets: Offsets) -> Reader:
        """See Log.read."""
        for topic in {partition.topic for partition in offsets}:
            await self.partitions(topic)
        return EmbeddedReader(self, offsets)

    async def join(
        self,
        topics: Collection[str],
        *,
        group_id: str,
        auto_offset_reset: AutoOffsetReset = "earliest",
        on_revoked: OnRevoked | None = None,
        on_assigned: OnAssigned | None = None,
    ) -> GroupReader:
        """See Log.join."""
        for topic in topics:
            await self.partitions(topic)
        reader = MemoryGroupReader(
            self,
            sorted(topics),
            group_id=group_id,
            from_latest=auto_offset_reset == "latest",
            on_revoked=on_revoked,
            on_assigned=on_assigned,
        )
        self._members.add(reader)
        return reader

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        """See Log.create_topics."""
        self._check()
        check_topic_names(topics)
        for topic in topics:
            if topic not in self.store.topics:
                self.store.grow(topic, self.options.partitions)
        return [TopicInfo(topic, self.store.topics[topic]) for topic in sorted(set(topics))]

    async def topics(self) -> list[TopicInfo]:
        """See Log.topics."""
        self._check()
        return [TopicInfo(*topic) for topic in sorted(self.store.topics.items())]

    async def describe_topics(self, topics: Collection[str]) -> dict[str, TopicDetails]:
        """See Log.describe_topics."""
        self._check()
        return {
            topic: TopicDetails(
                replication_factor=1, size=self.store.size(topic), retention_seconds=0.0, retention_bytes=0
            )
            for topic in topics
            if topic in self.store.topics
        }

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """See Log.partitions."""
        self._check()
        return self.store.partitions(topic)

    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.beginning_offsets."""
        return {place: self.store.firsts[place] for place in await self.partitions(topic)}

    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        """See Log.end_offsets."""
        return {place: self.store.end(place) for place in await self.partitions(topic)}

    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        """See Log.offsets_for_time."""
        return {place: self.store.offset_for_time(place, timestamp) for place in await self.partitions(topic)}

    async def timestamps(self, places: Collection[Place]) -> dict[Place, int]:
        """See Log.timestamps."""
        for topic in {partition.topic for partition, _ in places}:
            await self.partitions(topic)
        found = {place: self.store.timestamp(*place) for place in places}
        return {place: timestamp for place, timestamp in found.items() if timestamp is not None}

    async def groups(self) -> list[str]:
        """See Log.groups."""
        self._check()
        return sorted(name for name, group in self.store.groups.items() if group.members or group.committed)

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        """See Log.group_offsets."""
        self._check()
        return dict(sorted(self.store.groups[group_id].committed.items()))

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See Log.reset_group."""
        self._check()
        group, texts = self.store.groups[group_id], check_metadata(metadata)
        if group.members:
            raise GroupHasMembersError(group_id)
        group.set_commits(offsets, texts)

    async def close(self) -> None:
        """See Log.close. Its members of groups are closed too; what a named log holds stays."""
        if self._closed:
            return
        for member in list(self._members):
            await member.close()
        self._closed = True
        self.signal()

    # What the readers stand on

    def next_change(self) -> asyncio.Future[None]:
        """A future that is done when something may have been appended. Take it before reading."""
        self._check()
        return self.store.changed.next()

    def signal(self) -> None:
        """Wake everyone who waits for a change."""
        self.store.changed.give()

    async def take(self, positions: Sequence[tuple[TopicPartition, int]], max_records: int) -> list[Record]:
        """Records from these positions on, those of the first one first."""
        self._check()
        await asyncio.sleep(0)  # a loop that polls leaves others their turn
        return self.store.read(positions, max_records=max_records)

    def forget(self, member: "MemoryGroupReader") -> None:
        """A member has been closed."""
        self._members.discard(member)

    def _check(self) -> None:
        if self._closed:
            raise LogClosedError(f"{self.url} is closed")


class MemoryGroupReader(EmbeddedGroupReader):
    """A member of a group, which shares the partitions out with others of this process as soon as they come or go."""

    def __init__(
        self,
        log: MemoryLog,
        topics: Collection[str],
        *,
        group_id: str,
        from_latest: bool,
        on_revoked: OnRevoked | None,
        on_assigned: OnAssigned | None,
    ) -> None:
        super().__init__(log, group_id=group_id, on_revoked=on_revoked, on_assigned=on_assigned)
        self._memory = log
        self._group = log.store.groups[group_id]
        self._member_id = str(uuid4())
        self._from_latest = from_latest
        self._group.members[self._member_id] = topics
        self._group.changed.give()

    async def commit(self, offsets: Offsets, metadata: Metadata | None = None) -> None:
        """See GroupReader.commit."""
        await asyncio.sleep(0)
        self._group.commit(offsets, check_metadata(metadata), member=self._member_id)

    async def _stay_member(self) -> None:
        store, group = self._memory.store, self._group
        while True:
            changed = group.changed.next()
            if leaving := store.surplus(group, self._member_id):
                await self._revoke(leaving)
                group.release(leaving)
            gained = store.claim(group, self._member_id, from_latest=self._from_latest)
            if not await self._take_over(gained):
                group.release(gained)
            await asyncio.wait({changed})

    async def _leave(self) -> None:
        self._group.leave(self._member_id)
        self._memory.forget(self)
