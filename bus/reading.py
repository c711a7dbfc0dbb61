"""Reads stretches of a log to their ends, and single records from where they stand."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from itertools import groupby
from operator import attrgetter

from .diagnostics import Diagnostics
from .event import Record, TopicPartition
from .log.interface import Log, Offsets, Place, Reader

logger = Diagnostics(__name__)

Told = Callable[[int, int], None]
"""Is told, again and again, how many offsets have been read, and of how many."""

_PLACE = attrgetter("topic", "partition")
_MAX_RECORDS = 1_000
_POLL_SECONDS = 1.0
_PATIENCE_POLLS = 10


def _nobody(_: int, __: int) -> None:
    """Is told, and does nothing."""


async def read_stretch(
    log: Log, starts: Offsets, ends: Offsets, *, told: Told = _nobody
) -> AsyncGenerator[list[Record]]:
    """The records of these partitions from `starts` on and before `ends`, as they come: each time some of one
    partition, in its order. What has expired is left out. Raises LogError.
    """
    left = {partition for partition, start in starts.items() if start < ends[partition]}
    positions = {partition: starts[partition] for partition in left}
    total = sum(ends[partition] - start for partition, start in positions.items())
    told(0, total)
    if not left:
        return
    silence = 0
    async with await log.read(dict(positions)) as reader:
        while left:
            records = await reader.poll(max_records=_MAX_RECORDS, timeout=_POLL_SECONDS)
            runs: defaultdict[TopicPartition, list[Record]] = defaultdict(list)
            for place, run in groupby(records, key=_PLACE):
                runs[TopicPartition(*place)] += run
            for partition, found in runs.items():
                positions[partition] = min(found[-1].offset + 1, ends[partition])
            silence = 0 if records else silence + 1
            if silence:
                await _skip_expired(log, positions, ends)
            over = {partition for partition in left if positions[partition] >= ends[partition]}
            if silence >= _PATIENCE_POLLS:
                _say_what_is_left(left - over, positions, ends)
                over = set(left)
            left -= over
            reader.pause(over)
            for partition, found in runs.items():
                if wanted := _between(found, starts[partition], ends[partition]):
                    yield wanted
            told(total - sum(ends[partition] - positions[partition] for partition in left), total)


async def read_places(log: Log, places: Iterable[Place]) -> dict[Place, Record]:
    """The records that stand at these partitions and offsets, without those where nothing stands. Raises LogError."""
    offsets: defaultdict[TopicPartition, set[int]] = defaultdict(set)
    for partition, offset in places:
        offsets[partition].add(offset)
    found: dict[Place, Record] = {}
    there = {topic.name for topic in await log.topics()}
    for topic in {partition.topic for partition in offsets} & there:
        beginnings, ends = await log.beginning_offsets(topic), await log.end_offsets(topic)
        for partition, beginning in beginnings.items():
            if wanted := {offset for offset in offsets[partition] if beginning <= offset < ends[partition]}:
                async with await log.read({partition: min(wanted)}) as reader:
                    await _read_into(found, reader, partition, wanted)
    return found


async def _read_into(found: dict[Place, Record], reader: Reader, partition: TopicPartition, wanted: set[int]) -> None:
    left = sorted(wanted, reverse=True)
    silence = 0
    while left and silence < _PATIENCE_POLLS:
        records = await reader.poll(max_records=_MAX_RECORDS, timeout=_POLL_SECONDS)
        silence = 0 if records else silence + 1
        for record in records:
            if record.offset in wanted:
                found[partition, record.offset] = record
        while records and left and left[-1] <= records[-1].offset:
            left.pop()
        if left and left[-1] > reader.position(partition):
            reader.seek({partition: left[-1]})


async def _skip_expired(log: Log, positions: dict[TopicPartition, int], ends: Offsets) -> None:
    """Pass what has expired since the reading began: nothing will come of it."""
    for topic in {partition.topic for partition in positions}:
        beginnings = await log.beginning_offsets(topic)
        for partition, position in list(positions.items()):
            positions[partition] = min(max(position, beginnings.get(partition, 0)), ends[partition])


def _between(records: list[Record], start: int, end: int) -> list[Record]:
    """Those of a partition's records that are in the stretch, as nearly always all are."""
    if start <= records[0].offset and records[-1].offset < end:
        return records
    return [record for record in records if start <= record.offset < end]


def _say_what_is_left(left: Collection[TopicPartition], positions: Offsets, ends: Offsets) -> None:
    for partition in sorted(left):
        logger.warning(
            "nothing can be read at the end of a partition",
            topic=partition.topic,
            partition=partition.partition,
            offset=positions[partition],
            end_offset=ends[partition],
        )
