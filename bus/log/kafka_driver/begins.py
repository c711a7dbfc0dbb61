"""Finds where a group begins to read partitions that it has never committed."""

from collections.abc import Collection

from aiokafka import errors

from ...event import TopicPartition
from .driver import LATEST, Driver


async def begins_of(
    driver: Driver, topic: str, begin: int, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """The offsets to begin at, and to commit, for those of the partitions that are of the topic.

    From LATEST on, all partitions of the topic are in it: a new group commits every one of them at once, so that what
    another member has not committed yet is not taken for a partition that was added later.
    """
    offsets = await driver.list_offsets(topic, begin)
    wanted = {partition for partition in partitions if partition.topic == topic}
    if unknown := wanted - offsets.keys():  # they were added after the leaders were learnt, which are learnt again now
        raise errors.LeaderNotAvailableError(", ".join(f"{topic}-{number}" for _, number in sorted(unknown)))
    return offsets if begin == LATEST else {partition: offsets[partition] for partition in wanted}
