"""Makes our records directly of the batches that a consumer has fetched.

aiokafka makes a record of its own of each, in Python, and hands them over one by one, which costs more than all that it
does before. This stands in for its Fetcher.fetched_records and its PartitionRecords, with the same care for what was
taken away, paused or sought meanwhile; as our consumer does, it reads what is uncommitted too.
"""

# ruff: noqa: SLF001 - what aiokafka does not offer is done here, and nowhere else

from typing import Any

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords

from ...errors import LogUnavailableError
from ...event import Record, TopicPartition

_new = tuple.__new__  # Record's own takes twice the time


def fetched(fetcher: Fetcher, max_records: int) -> dict[TopicPartition, list[Record]]:
    """What a fetcher has got already. Raises aiokafka's errors, and LogUnavailableError."""
    found: dict[TopicPartition, list[Record]] = {}
    for place, result in list(fetcher._records.items()):
        if isinstance(result, FetchError):
            if found:
                break
            del fetcher._records[place]
            fetcher._notify(fetcher._wait_consume_future)
            result.check_raise()
        partition = TopicPartition(*place)
        if records := _take(partition, result, max_records):
            found[partition] = records
            max_records -= len(records)
        if not result.has_more():
            del fetcher._records[place]
            fetcher._notify(fetcher._wait_consume_future)
        if not max_records:
            break
    return found


class FetchedRecords:
    """The records of one partition that came with one answer, from `next_fetch_offset` on.

    `batches` are aiokafka's MemoryRecords. A batch is unpacked when its first record is asked for.
    """

    def __init__(self, partition: TopicPartition, batches: Any, *, fetch_offset: int) -> None:
        self.next_fetch_offset = fetch_offset
        self._partition = partition
        self._batches = batches
        self._unpacked: list[Record] = []
        self._taken = 0
        self._behind = fetch_offset

    def take(self, limit: int) -> list[Record]:
        """The next records, at most so many; fewer mean that these were the last. Raises LogUnavailableError."""
        taken: list[Record] = []
        while True:
            some = self._unpacked[self._taken : self._taken + limit - len(taken)]
            taken += some
            self._taken += len(some)
            if self._taken < len(self._unpacked):
                self.next_fetch_offset = some[-1].offset + 1
                return taken
            # What was removed from the end of a batch (compaction), and what is not for readers, is passed here.
            self.next_fetch_offset = self._behind
            if len(taken) == limit or not self._batches.has_next():
                return taken
            self._unpack(self._batches.next_batch())

    def _unpack(self, batch: Any) -> None:
        topic, number = self._partition
        if not batch.validate_crc():
            raise LogUnavailableError(f"Kafka: a batch of {topic}-{number} came damaged")
        self._taken = 0
        self._behind = batch.next_offset
        if batch.is_control_batch:
            self._unpacked = []
            return
        found = [
            _new(
                Record,
                (topic, number, each.offset, each.timestamp, each.key, each.value or b"", tuple(each.headers)),
            )
            for each in batch
        ]
        if found and found[0].offset < self.next_fetch_offset:
            found = [record for record in found if record.offset >= self.next_fetch_offset]
        self._unpacked = found


def _take(partition: TopicPartition, result: FetchResult, limit: int) -> list[Record]:
    """Records of a fetch, unless its partition has gone, is paused, or was sought away from."""
    if not result.has_more() or not result.check_assignment(KafkaPartition(*partition)):
        return []
    records = result._partition_records
    if isinstance(records, PartitionRecords):
        records._records_iterator = None  # a cycle, which would keep the answer for long
        records = FetchedRecords(partition, records._records, fetch_offset=records.next_fetch_offset)
        result._partition_records = records
    taken: list[Record] = records.take(limit)
    result._update_position()
    if len(taken) < limit:
        result._partition_records = None
    return taken
