"""Replays: which offsets a group is to handle once more, and what it must have committed to do so, and no others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from snowbus.bus.errors import CursorError, StartError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Committed
from snowbus.bus.start import Earliest, Last, Latest, Resume, Since, Start, parse_start

from .done_ranges import DoneRanges, joined
from .offsets import Position
from .progress import read_position, write_metadata

_OFFSET = re.compile(r"[0-9]{1,18}")
_OFFSETS = re.compile(r"[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*")


@dataclass(frozen=True, slots=True)
class OffsetByPartition:
    """An offset in each of some partitions; None stands for the only one that there is."""

    offsets: Mapping[int | None, int]


Bound = Start | OffsetByPartition
"""Where the range of a replay begins or ends."""


def parse_bound(text: str, *, now: int) -> Bound:
    """The bound that a text means `now` (ms since 1970): an offset, PARTITION:OFFSET for several, or what `parse_start`
    reads. Raises StartError.
    """
    if _OFFSET.fullmatch(text):
        return OffsetByPartition({None: int(text)})
    if _OFFSETS.fullmatch(text):
        offsets: dict[int | None, int] = {}
        for partition, _, offset in (pair.partition(":") for pair in text.split(",")):
            if int(partition) in offsets:
                raise StartError(f"{text[:100]!r} names partition {partition} twice")
            offsets[int(partition)] = int(offset)
        return OffsetByPartition(offsets)
    try:
        return parse_start(text, now=now)
    except CursorError:
        raise
    except StartError:
        raise StartError(
            f"{text[:100]!r} is none of earliest, a time (ISO, or 90s, 15m, 2h, 7d ago), OFFSET, "
            "PARTITION:OFFSET,PARTITION:OFFSET, a cursor and -N"
        ) from None


def is_backwards(start: Bound, stop: Bound) -> bool:
    """Whether a range ends before it begins, whatever there is on the log."""
    match start, stop:
        case OffsetByPartition(first), OffsetByPartition(last):
            return any(first[partition] > last[partition] for partition in first.keys() & last.keys())
        case Resume(begin), Resume(end):
            return any(begin[partition] > end[partition] for partition in begin.keys() & end.keys())
        case Since(begin), Since(end):
            return begin > end
        case Last(more), Last(fewer):
            return more < fewer
    return type(start) is not type(stop) and (isinstance(start, Latest) or isinstance(stop, Earliest))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionReplay:
    """The replay of the offsets of one partition from `start` on, before `stop`.

    `before` is what the group has done, `committed` what it is to commit. `again` counts the offsets in the range that
    are done; `besides`, those outside of it that must be handled again as well, because what a commit can say has its
    limit; `expired`, those that were asked for and are no longer there.
    """

    partition: TopicPartition
    start: int
    stop: int
    before: Position
    committed: Committed
    again: int
    besides: int = 0
    expired: int = 0


def replay_partition(
    partition: TopicPartition, committed: Committed, *, start: int, stop: int, beginning: int, end: int
) -> PartitionReplay:
    """The replay of a partition in which a group has committed something, and that has records from `beginning` on,
    before `end`.
    """
    before = _on_this_log(read_position(committed), beginning, end)
    expired = max(0, min(stop, beginning) - start)
    start, stop = max(start, beginning), min(stop, end)
    after = position_to_replay(before, start, stop)
    metadata = write_metadata(after, None)
    written = read_position(Committed(after.offset, metadata))
    return PartitionReplay(
        partition=partition,
        start=start,
        stop=max(start, stop),
        before=before,
        committed=Committed(after.offset, metadata),
        again=count_done(before, start, stop),
        besides=_count(after.done) - _count(written.done),
        expired=expired,
    )


def position_to_replay(before: Position, start: int, stop: int) -> Position:
    """The position of a group that has done what `before` says, but for the offsets from `start` on, before `stop`."""
    if start >= stop:
        return before
    done: list[tuple[int, int]] = []
    for first, last in ((0, before.offset), *before.done):
        done += ((first, min(last, start)), (max(first, stop), last))
    return _position(*done)


def count_done(position: Position, start: int, stop: int) -> int:
    """How many offsets from `start` on, before `stop`, are done."""
    return sum(max(0, min(last, stop) - max(first, start)) for first, last in ((0, position.offset), *position.done))


def _on_this_log(position: Position, beginning: int, end: int) -> Position:
    """What of a position is about the records that there are; one beyond the end is of an older log."""
    if position.offset > end:
        return Position(beginning)
    return _position((0, max(position.offset, beginning)), *position.done)


def _position(*done: tuple[int, int]) -> Position:
    """The position at which these ranges are done, which may be empty, touch or overlap."""
    (_, offset), *rest = joined((0, 0), *(each for each in done if each[0] < each[1]))
    return Position(offset, tuple(rest))


def _count(ranges: DoneRanges) -> int:
    return sum(last - first for first, last in ranges)
