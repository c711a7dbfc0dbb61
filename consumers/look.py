"""Looks at all groups at once: asks the log each thing once, side by side, and for the ages no longer than it may."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace

from snowbus.bus.clock import now_ms
from snowbus.bus.errors import LogError, LogUnavailableError
from snowbus.bus.event import DELIVERIES_TOPIC, TopicPartition
from snowbus.bus.log.interface import Log, Place
from snowbus.bus.side_by_side import side_by_side

from .collector_status import LATELY_SECONDS
from .receipts import Report, read_report
from .status import Look, oldest_places

Offsets = dict[TopicPartition, int]

_PLACES_AT_ONCE = 200
_MOST_REPORTS = 2000  # of a partition


async def look(log: Log, groups: Collection[str], *, within: float = 3.0) -> Look:
    """How these groups stand. The age of records, and what is reported of collectors, stay unknown where the log does
    not tell them in so many seconds.

    Raises LogUnavailableError when the log tells nothing at all.
    """
    found = await side_by_side(log.group_offsets, groups)
    committed = dict(zip(groups, found, strict=True))
    at = now_ms()
    # Where topics end is asked after what is committed in them, so that no group is ahead of its topic.
    topics = sorted({partition.topic for partitions in found for partition in partitions})
    offsets = await side_by_side(lambda topic: _offsets(log, topic), topics)
    silent = {topic: told for topic, told in zip(topics, offsets, strict=True) if isinstance(told, LogError)}
    away = [error for error in silent.values() if isinstance(error, LogUnavailableError)]
    if away and len(away) == len(topics):
        raise away[0]
    known = [told for told in offsets if not isinstance(told, LogError)]
    seen = Look(
        at=at,
        committed=committed,
        beginnings={place: offset for beginnings, _ in known for place, offset in beginnings.items()},
        ends={place: offset for _, ends in known for place, offset in ends.items()},
        silent_topics={topic: str(error) for topic, error in silent.items()},
    )
    timestamps, reports = await asyncio.gather(
        _timestamps(log, oldest_places(seen), seconds=within), _reports(log, set(groups), at=at, seconds=within)
    )
    return replace(seen, timestamps=timestamps, reports=reports)


async def _offsets(log: Log, topic: str) -> tuple[Offsets, Offsets] | LogError:
    """Where a topic begins and ends, or why the log does not tell: it is gone, without a leader, or not for us."""
    try:
        return await log.beginning_offsets(topic), await log.end_offsets(topic)
    except LogError as error:
        return error


async def _timestamps(log: Log, places: Iterable[Place], *, seconds: float) -> dict[Place, int]:
    found: dict[Place, int] = {}
    try:
        async with asyncio.timeout(seconds):
            wanted = sorted(places)
            for begin in range(0, len(wanted), _PLACES_AT_ONCE):
                found |= await log.timestamps(wanted[begin : begin + _PLACES_AT_ONCE])
    except (TimeoutError, LogError):
        pass  # unknown is better than late
    return found


async def _reports(log: Log, groups: Collection[str], *, at: int, seconds: float) -> list[Report]:
    """What was reported of the deliveries of these groups lately, or last, in the order of each group's reports."""
    found = []
    try:
        async with asyncio.timeout(seconds):
            ends = await log.end_offsets(DELIVERIES_TOPIC)
            beginnings = await log.beginning_offsets(DELIVERIES_TOPIC)
            lately = await log.offsets_for_time(DELIVERIES_TOPIC, at - round(1000 * LATELY_SECONDS))
            starts = {
                place: max(beginnings[place], end - _MOST_REPORTS, min(lately[place], end - 1))
                for place, end in ends.items()
                if beginnings[place] < end
            }
            async with await log.read(starts) as reader:
                while any(reader.position(place) < ends[place] for place in starts):
                    found += [report for record in await reader.poll() if (report := read_report(record))]
    except (TimeoutError, LogError):
        pass  # as above
    return [report for report in found if report.group in groups]
