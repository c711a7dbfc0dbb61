"""A log in memory to which anything may happen: it goes away, loses its beginning, gets partitions, starts anew."""

# ruff: noqa: ARG002 - it has one topic and no groups

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from snowbus.bus.errors import LogUnavailableError, TopicNotFoundError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, Record, TopicPartition
from snowbus.bus.log.interface import (
    Assignment,
    Committed,
    GroupReader,
    Log,
    LogOptions,
    Metadata,
    Offsets,
    Reader,
    TopicInfo,
)


class MemoryLog(Log):
    """One topic. Everything raises LogUnavailableError while it is `away`."""

    def __init__(self, *, partitions: int = 2) -> None:
        self.url = "memory:"
        self.options = LogOptions(partitions=partitions)
        self.away = False
        self.reads = 0
        self.stored: dict[TopicPartition, list[Record]] = {}
        self.firsts: dict[TopicPartition, int] = {}
        self.changed = asyncio.Event()

    # What tests do to it

    def put(self, partition: int, record: ProducerRecord) -> Record:
        """Append to one partition."""
        place = TopicPartition(EVENTS_TOPIC, partition)
        offset = self.firsts[place] + len(self.stored[place])
        stored = Record(*place, offset, record.timestamp or 0, record.key, record.value, record.headers)
        self.stored[place].append(stored)
        self.wake()
        return stored

    def expire(self, partition: int, before: int) -> None:
        """Lose what lies before an offset."""
        place = TopicPartition(EVENTS_TOPIC, partition)
        lost = before - self.firsts[place]
        self.stored[place] = self.stored[place][lost:]
        self.firsts[place] = before

    def grow(self, partitions: int) -> None:
        """Have this many partitions."""
        for number in range(partitions):
            self.stored.setdefault(TopicPartition(EVENTS_TOPIC, number), [])
            self.firsts.setdefault(TopicPartition(EVENTS_TOPIC, number), 0)

    def begin_anew(self) -> None:
        """Be another log: empty, at offset 0."""
        for place in self.stored:
            self.stored[place] = []
            self.firsts[place] = 0

    def wake(self) -> None:
        """Let readers look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    def check(self) -> None:
        """Raises LogUnavailableError while it is away, TopicNotFoundError before there is a topic."""
        if self.away:
            raise LogUnavailableError("the log is away")
        if not self.stored:
            raise TopicNotFoundError(EVENTS_TOPIC)

    # What it is as a log

    async def append(self, topic: str, records: Sequence[ProducerRecord]) -> list[tuple[int, int]]:
        self.check()
        placed = []
        for record in records:
            partition = sum(record.key or b"") % len(self.stored)
            placed.append((partition, self.put(partition, record).offset))
        return placed

    async def read(self, offsets: Offsets) -> Reader:
        self.check()
        self.reads += 1
        return MemoryReader(self, offsets)

    async def join(self, topics: Collection[str], **_: Any) -> GroupReader:
        raise NotImplementedError

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        if not self.away:
            self.grow(max(self.options.partitions, len(self.stored)))
        return await self.topics()

    async def topics(self) -> list[TopicInfo]:
        self.check()
        return [TopicInfo(EVENTS_TOPIC, len(self.stored))]

    async def partitions(self, topic: str) -> list[TopicPartition]:
        self.check()
        return sorted(self.stored)

    async def beginning_offsets(self, topic: str) -> dict[TopicPartition, int]:
        self.check()
        return dict(self.firsts)

    async def end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        self.check()
        return {place: self.firsts[place] + len(records) for place, records in self.stored.items()}

    async def offsets_for_time(self, topic: str, timestamp: int) -> dict[TopicPartition, int]:
        ends = await self.end_offsets(topic)
        return {
            place: next((record.offset for record in records if record.timestamp >= timestamp), ends[place])
            for place, records in self.stored.items()
        }

    async def groups(self) -> list[str]:
        return []

    async def group_offsets(self, group_id: str) -> dict[TopicPartition, Committed]:
        return {}

    async def reset_group(self, group_id: str, offsets: Offsets, metadata: Metadata | None = None) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass


class MemoryReader(Reader):
    """Reads a MemoryLog."""

    def __init__(self, log: MemoryLog, offsets: Offsets) -> None:
        self._log = log
        self._next = dict(offsets)

    @property
    def assignment(self) -> Assignment:
        return frozenset(self._next)

    async def poll(self, *, max_records: int = 500, timeout: float = 1.0) -> list[Record]:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            self._log.check()
            changed = self._log.changed
            if found := self._take(max_records):
                await asyncio.sleep(0)
                return found
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                self._log.check()
                return []

    def _take(self, max_records: int) -> list[Record]:
        found: list[Record] = []
        for place, position in self._next.items():
            first, records = self._log.firsts[place], self._log.stored[place]
            start = position if first <= position <= first + len(records) else first
            taken = records[start - first : start - first + max_records - len(found)]
            found += taken
            if taken:
                self._next[place] = taken[-1].offset + 1
        return found

    def position(self, partition: TopicPartition) -> int:
        return self._next[partition]

    def seek(self, offsets: Offsets) -> None:
        self._next.update(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        raise NotImplementedError

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass
