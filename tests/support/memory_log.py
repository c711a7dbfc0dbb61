"""A log in memory to which anything may happen: it goes away, loses its beginning, gets partitions, starts anew."""

from collections.abc import Collection
from dataclasses import replace

from snowbus.bus.errors import LogUnavailableError
from snowbus.bus.event import EVENTS_TOPIC, ProducerRecord, Record, TopicPartition
from snowbus.bus.log import memory
from snowbus.bus.log.interface import LogOptions, Offsets, Reader, TopicInfo


class MemoryLog(memory.MemoryLog):
    """Everything raises LogUnavailableError while it is `away`. What tests do to it, they do to the events topic."""

    def __init__(self, *, partitions: int = 2) -> None:
        super().__init__(LogOptions(partitions=partitions))
        self.away = False
        self.reads = 0
        self.stored = self.store.records
        self.topic_id = 1

    def put(self, partition: int, record: ProducerRecord) -> Record:
        """Append to one partition."""
        stored = self.store.put(TopicPartition(EVENTS_TOPIC, partition), record, now=0)
        self.signal()
        return stored

    def expire(self, partition: int, before: int) -> None:
        """Lose what lies before an offset."""
        place = TopicPartition(EVENTS_TOPIC, partition)
        self.stored[place] = [record for record in self.stored[place] if record.offset >= before]
        self.store.firsts[place] = before

    def grow(self, partitions: int) -> None:
        """Have this many partitions."""
        self.store.grow(EVENTS_TOPIC, partitions)

    def begin_anew(self) -> None:
        """Be another log: empty, at offset 0."""
        for place in self.stored:
            self.stored[place] = []
            self.store.firsts[place] = 0
        self.topic_id += 1

    async def create_topics(self, topics: Collection[str]) -> list[TopicInfo]:
        return [replace(topic, id=str(self.topic_id)) for topic in await super().create_topics(topics)]

    async def read(self, offsets: Offsets) -> Reader:
        self.reads += 1
        return await super().read(offsets)

    def _check(self) -> None:
        super()._check()
        if self.away:
            raise LogUnavailableError("the log is away")
