"""Logs that fail on purpose, and one that keeps what it is given in memory."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from snowbus.bus.event import ProducerRecord, TopicPartition
from snowbus.bus.log.interface import (
    Committed,
    GroupReader,
    Log,
    LogOptions,
    Metadata,
    Offsets,
    Place,
    Reader,
    TopicDetails,
    TopicInfo,
)


class FakeLog(Log):
    """Keeps what is appended, by topic; `on_append` and `on_topics` may raise, or wait, before it does."""

    def __init__(self, *, partitions: int = 1) -> None:
        self.url = "fake:"
        self.options = LogOptions(partitions=partitions)
        self.records: dict[str, list[ProducerRecord]] = {}
        self.appends = 0
        self.asked = 0
        self.on_append: Callable[[str, Sequence[ProducerRecord]], Any] | None = None
        self.on_topics: Callable[[], Any] | None = None

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        self.appends += 1
        if self.on_append is not None:
            told = self.on_append(topic, records)
            if asyncio.iscoroutine(told):
                await told
        kept = self.records.setdefault(topic, [])
        kept.extend(records)
        return [(0, len(kept) - len(records) + position) for position in range(len(records))]

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        await self._ask()
        for topic in topics:
            self.records.setdefault(topic, [])
        return [TopicInfo(topic, self.options.partitions) for topic in topics]

    async def topics(self) -> list[TopicInfo]:
        await self._ask()
        return [TopicInfo(topic, self.options.partitions) for topic in sorted(self.records)]

    async def _ask(self) -> None:
        self.asked += 1
        if self.on_topics is not None:
            told = self.on_topics()
            if asyncio.iscoroutine(told):
                await told

    async def read(self, offsets: Offsets) -> Reader:
        raise NotImplementedError

    async def join(self, topics: Collection[str], **_: Any) -> GroupReader:
        raise NotImplementedError

    async def partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, 0)]

    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        return {TopicPartition(topic, 0): 0}

    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        return {TopicPartition(topic, 0): len(self.records.get(topic, []))}

    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        raise NotImplementedError

    async def timestamps(self, places: Collection[Place]) -> dict[Place, int]:
        raise NotImplementedError

    async def describe_topics(self, topics: Collection[str]) -> dict[str, TopicDetails]:
        return dict.fromkeys(topics, TopicDetails())

    async def groups(self) -> list[str]:
        return []

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:  # noqa: ARG002 - it has no groups
        return {}

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass


async def hang(*_: Any) -> None:
    """Never return."""
    await asyncio.Event().wait()
