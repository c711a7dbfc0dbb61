"""Reading the log for one reader who stands before the ring: records in the order of time, and what is missing."""

import heapq
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.log.interface import Log, Offsets, Reader
from snowbus.bus.start import Gap
from snowbus.bus.tasks import to_its_end

_MAX_RECORDS = 500
_POLL_SECONDS = 0.5


def by_time(records: Sequence[Record]) -> list[Record]:
    """Records of several partitions in the order of their times, each partition's in its own order."""
    partitions: dict[TopicPartition, list[Record]] = {}
    for record in records:
        partitions.setdefault(record.topic_partition, []).append(record)
    if len(partitions) == 1:
        return list(records)
    return list(heapq.merge(*partitions.values(), key=lambda record: record.timestamp))


class History:
    """Reads one topic from some positions on. What `next` gives must be used before it is called again."""

    def __init__(self, log: Log, topic: str, reader: Reader, positions: Offsets) -> None:
        self._log = log
        self._topic = topic
        self._reader = reader
        self._expected = dict(positions)

    @classmethod
    async def open(cls, log: Log, topic: str, positions: Offsets) -> Self:
        """Read from these positions on. Raises LogError."""
        return cls(log, topic, await log.read(positions), positions)

    async def next(self) -> list[Record | Gap]:
        """What comes next; nothing when nothing came for a while. Raises LogError."""
        records = by_time(await self._reader.poll(max_records=_MAX_RECORDS, timeout=_POLL_SECONDS))
        found: list[Record | Gap] = list(await self._expired(records))
        for record in records:
            partition = record.topic_partition
            expected = self._expected[partition]
            if record.offset < expected:
                found.append(Gap(partition, expected, record.offset, None, "log restarted"))
            found.append(record)
            self._expected[partition] = record.offset + 1
        return found

    def positions(self) -> dict[TopicPartition, int]:
        """Where the log is read on, once all that `next` gave is used; offsets that hold no record are passed."""
        return {
            partition: max(expected, self._reader.position(partition)) for partition, expected in self._expected.items()
        }

    def has_reached(self, ends: Offsets) -> bool:
        """Whether everything before these offsets has been given."""
        return all(position >= ends.get(place, 0) for place, position in self.positions().items())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_its_end(self._reader.close())

    async def _expired(self, records: Sequence[Record]) -> list[Gap]:
        """What retention took from under this reader: it shows as a jump, or as nothing where something was."""
        firsts: dict[TopicPartition, int] = {}
        for record in records:
            firsts.setdefault(record.topic_partition, record.offset)
        if records and not any(offset > self._expected[partition] for partition, offset in firsts.items()):
            return []
        gaps = []
        for partition, beginning in (await self._log.beginning_offsets(self._topic)).items():
            expected = self._expected.get(partition, beginning)
            # What another partition has may still be on its way to us, so silence tells only when all are silent.
            end = min(beginning, firsts.get(partition, expected)) if records else beginning
            if expected < end:
                gaps.append(Gap(partition, expected, end, end - expected, "expired"))
                self._expected[partition] = end
        return gaps
