"""Where a subscription starts: positions in the log, and what is missing before them."""

import time

from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Log, Offsets

from .frames import Gap
from .subscription import Earliest, Last, Latest, Resume, Since, Start

Positions = dict[TopicPartition, int]

_FIRST_STEP_MS = 1_000
_BEYOND_ANY_TIME_MS = 1 << 42


async def find_start(log: Log, topic: str, start: Start) -> tuple[Positions, list[Gap]]:
    """The positions that a start means now. Raises LogError."""
    match start:
        case Latest():
            return await log.end_offsets(topic), []
        case Earliest():
            return await log.beginning_offsets(topic), []
        case Last(count):
            return await last_positions(log, topic, count), []
        case Since(timestamp):
            return await log.offsets_for_time(topic, timestamp), []
        case Resume(positions):
            return check_positions(positions, await log.beginning_offsets(topic), await log.end_offsets(topic))


def check_positions(positions: Offsets, beginnings: Offsets, ends: Offsets) -> tuple[Positions, list[Gap]]:
    """Positions that the log can be read from, and what is missing since those that were asked for.

    A partition that is not named is read from its beginning. A position beyond the end is one of an older log.
    """
    found = dict(beginnings)
    gaps = []
    for partition, position in sorted(positions.items()):
        beginning = beginnings.get(partition)
        if beginning is None or position > ends.get(partition, 0):
            gaps.append(Gap(partition, position, beginning or 0, None, "log restarted"))
        elif position < beginning:
            gaps.append(Gap(partition, position, beginning, beginning - position, "expired"))
        else:
            found[partition] = position
    return found, gaps


async def last_positions(log: Log, topic: str, count: int) -> Positions:
    """Where the last `count` records of all partitions together begin, by their time. Raises LogError."""
    beginnings, ends = await log.beginning_offsets(topic), await log.end_offsets(topic)

    def after(positions: Offsets) -> int:
        return sum(ends[partition] - min(position, ends[partition]) for partition, position in positions.items())

    if after(beginnings) <= count:
        return beginnings
    # `early` has at least `count` records at or after it, `late` fewer: close in on the millisecond where that changes.
    early, from_early = time.time_ns() // 1_000_000, ends
    late, from_late = _BEYOND_ANY_TIME_MS, ends
    step = _FIRST_STEP_MS
    while after(from_early) < count:
        late, from_late = early, from_early
        early, step = early - step, step * 4
        from_early = await log.offsets_for_time(topic, early) if early > 0 else beginnings
    while late - early > 1:
        middle = (early + late) // 2
        from_middle = await log.offsets_for_time(topic, middle)
        if after(from_middle) >= count:
            early, from_early = middle, from_middle
        else:
            late, from_late = middle, from_middle
    return _without_surplus(from_early, from_late, after(from_early) - count)


def _without_surplus(positions: Offsets, limits: Offsets, surplus: int) -> Positions:
    """Positions moved on by `surplus` records in all, none beyond its limit."""
    found = {}
    for partition, position in positions.items():
        skipped = max(0, min(surplus, limits.get(partition, position) - position))
        surplus -= skipped
        found[partition] = position + skipped
    return found
