"""Measures the lag of a consumer's partitions now and then, for its metrics."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping

from snowbus.bus.consumer_metrics import ConsumerMetrics
from snowbus.bus.errors import LogError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Log

from .offsets import OffsetTracker, Position

_EVERY_SECONDS = 5.0


async def measure_lag(log: Log, tracker: OffsetTracker, counts: ConsumerMetrics, *, assigned: asyncio.Event) -> None:
    """Tell the lag of the partitions that are assigned, until cancelled; while the log is away it stays as it was."""
    await assigned.wait()
    while True:
        with contextlib.suppress(LogError, TimeoutError):
            async with asyncio.timeout(_EVERY_SECONDS):
                topics = sorted({partition.topic for partition in tracker.assigned})
                ends = {place: end for topic in topics for place, end in (await log.end_offsets(topic)).items()}
            positions = {place: tracker.position(place) for place in tracker.assigned}
            counts.tell_lag(lag_by_topic({place: each for place, each in positions.items() if each}, ends))
        await asyncio.sleep(_EVERY_SECONDS)


def lag_by_topic(positions: Mapping[TopicPartition, Position], ends: Mapping[TopicPartition, int]) -> Counter[str]:
    """How many records are not done, by topic, given where each partition stands and ends."""
    lag: Counter[str] = Counter()
    for place, (offset, done) in positions.items():
        lag[place.topic] += max(0, ends.get(place, offset) - offset - sum(end - start for start, end in done))
    return lag
