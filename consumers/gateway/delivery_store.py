"""What became of recent events on their way to the collectors: for each group and partition, ranges of offsets with
what was told of them.

Pure and bounded: when there are more ranges than it may hold, those of the lowest offsets are forgotten.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from snowbus.bus.event import TopicPartition

from ..collector_status import by_collector, lately
from ..receipts import CollectorState, OffsetRange, Receipt, Report

MOST_STEPS = 8
"""What is kept of an event's story: its first step and the latest ones."""

_MOST_GROUPS = 100
_MOST_COLLECTORS = 20
_MOST_MEMBERS = 256
_ERROR_CHARACTERS = 200
_FIRST = attrgetter("first")
_LAST = attrgetter("last")


class Step(NamedTuple):
    """What one report, made at `time` (ms since 1970), told of events."""

    status: str
    attempts: int
    http_status: int | None
    error: str
    time: int


Story = tuple[Step, ...]


class Told(NamedTuple):
    """Offsets from `first` to `last`, both included, and what was told of each of them, in order."""

    first: int
    last: int
    story: Story


class Lane(NamedTuple):
    """One partition as one group delivers it."""

    group: str
    partition: TopicPartition


class Group:
    """What a group told last: when (ms since 1970), how its collectors stand (as told by the member to whom one stands
    worst), and what it has committed.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.collectors: tuple[CollectorState, ...] = ()
        self._told: list[Report] = []
        self.committed: dict[TopicPartition, int] = {}

    def hear(self, report: Report) -> None:
        """Take what a member tells of the collectors."""
        if report.collectors:
            self._told = lately([*self._told, report.model_copy(update={"receipts": ()})])[-_MOST_MEMBERS:]
            self.collectors = tuple(told[0] for told in by_collector(self._told).values())[:_MOST_COLLECTORS]


class DeliveryStore:
    """Reports about one topic, put together; at most `max_ranges` ranges of offsets.

    `heard` is the time of the last report, in ms since 1970.
    """

    def __init__(self, topic: str, *, max_ranges: int) -> None:
        self._topic = topic
        self._max_ranges = max_ranges
        self.clear()

    def clear(self) -> None:
        """Forget everything, as when the topic begins anew."""
        self.heard = 0
        self.groups: dict[str, Group] = {}
        self._lanes: dict[Lane, list[Told]] = {}
        self._size = 0

    def __len__(self) -> int:
        """How many ranges it holds."""
        return self._size

    def add(self, report: Report) -> None:
        """Take what a report tells; of other topics than ours it is passed over."""
        group = self._group(report.group)
        self.heard = group.heard = report.time
        group.hear(report)
        for receipt in report.receipts:
            if receipt.topic != self._topic or not (ranges := in_order(receipt.offsets)):
                continue
            lane = Lane(report.group, TopicPartition(receipt.topic, receipt.partition))
            told = self._lanes.setdefault(lane, [])
            self._size -= len(told)
            _tell(told, ranges, step_of(receipt, report.time))
            self._size += len(told)
        self._forget()

    def commit(self, group_id: str, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Take what a group has committed, for each partition the next offset to read; returns what has changed."""
        group = self._group(group_id)
        known = group.committed
        group.committed = {partition: offset for partition, offset in offsets.items() if partition.topic == self._topic}
        return {partition: offset for partition, offset in group.committed.items() if known.get(partition) != offset}

    def lanes(self) -> list[Lane]:
        """The lanes that something is held of, in order."""
        return sorted(self._lanes)

    def told(self, lane: Lane, start: int = 0) -> list[Told]:
        """What was told of a lane's offsets, in order, from the range on that holds or follows `start`."""
        told = self._lanes.get(lane, [])
        return told[bisect_left(told, start, key=_LAST) :]

    def _group(self, name: str) -> Group:
        group = self.groups.get(name)
        if group is None:
            if len(self.groups) >= _MOST_GROUPS:
                self._drop_group(min(self.groups, key=lambda known: self.groups[known].heard))
            group = self.groups[name] = Group()
        return group

    def _drop_group(self, name: str) -> None:
        del self.groups[name]
        for lane in [lane for lane in self._lanes if lane.group == name]:
            self._size -= len(self._lanes.pop(lane))

    def _forget(self) -> None:
        while (over := self._size - self._max_ranges) > 0:
            lane, told = max(self._lanes.items(), key=lambda item: len(item[1]))
            gone = min(over, len(told))
            del told[:gone]
            self._size -= gone
            if not told:
                del self._lanes[lane]


def step_of(receipt: Receipt, time: int) -> Step:
    """What a receipt in a report of this time (ms since 1970) tells."""
    return Step(receipt.status, receipt.attempts, receipt.http_status, receipt.error[:_ERROR_CHARACTERS], time)


def in_order(offsets: Iterable[OffsetRange]) -> list[OffsetRange]:
    """Ranges in order, none touching another; what is no range of offsets is left out."""
    ranges: list[OffsetRange] = []
    for first, last in sorted(offsets):
        if first < 0 or last < first:
            continue
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        else:
            ranges.append((first, last))
    return ranges


def _tell(told: list[Told], ranges: Sequence[OffsetRange], step: Step) -> None:
    """Add a step to the stories of ranges that are in order."""
    start = bisect_left(told, ranges[0][0] - 1, key=_LAST)  # a neighbour may turn out to have the same story
    stop = bisect_right(told, ranges[-1][1] + 1, key=_FIRST)
    told[start:stop] = _joined(_overlaid(told[start:stop], ranges, step))


def _overlaid(told: list[Told], ranges: Sequence[OffsetRange], step: Step) -> Iterator[Told]:
    rest = told[::-1]
    for first, last in ranges:
        at = first
        while rest and rest[-1].first <= last:
            piece = rest.pop()
            if piece.first < first:
                yield Told(piece.first, min(piece.last, first - 1), piece.story)
            if piece.last < first:
                continue
            begin, end = max(piece.first, first), min(piece.last, last)
            if at < begin:
                yield Told(at, begin - 1, (step,))
            yield Told(begin, end, _and_then(piece.story, step))
            if piece.last > last:
                rest.append(Told(last + 1, piece.last, piece.story))
            at = end + 1
        if at <= last:
            yield Told(at, last, (step,))
    yield from reversed(rest)


def _and_then(story: Story, step: Step) -> Story:
    before = story[-1]
    if step.status == "retrying" and before[:4] == step[:4]:
        return story  # a report that came twice; an end that comes twice may be a second delivery
    if len(story) < MOST_STEPS:
        return (*story, step)
    return (story[0], *story[2 - MOST_STEPS :], step)


def _joined(told: Iterable[Told]) -> list[Told]:
    """Neighbours with one story as one."""
    joined: list[Told] = []
    for piece in told:
        if joined and joined[-1].last + 1 == piece.first and joined[-1].story == piece.story:
            joined[-1] = joined[-1]._replace(last=piece.last)
        else:
            joined.append(piece)
    return joined
