"""Replays: finds what a group is to handle once more, and moves it back, or puts copies on the topic of retries.

A group without members is moved back to the first record of a range, with what it has done beyond the range beside the
offset. While a group runs it commits for itself; then what a filter lets through is copied for it.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing

from snowbus.bus.errors import RecordTooLargeError, SnowbusError
from snowbus.bus.event import RETRY_TOPIC, Record, TopicPartition
from snowbus.bus.filters import Filter
from snowbus.bus.log.interface import Log
from snowbus.bus.reading import Told, read_stretch
from snowbus.bus.start import Positions, Resume, find_start

from .reading import Reading
from .replay_ranges import Bound, OffsetByPartition, PartitionReplay, replay_partition
from .retries import retry_record
from .retry_topic import RetryTopic


class ReplayError(SnowbusError):
    """A replay that cannot be; says what can."""


class UnknownGroupError(ReplayError):
    """A group that has committed nothing, so that it has nothing to handle once more."""

    def __init__(self, group: str, known: Sequence[str]) -> None:
        there = f"groups are {', '.join(known)}" if known else "there are no groups yet"
        super().__init__(f"group {group!r} has committed nothing on this log; {there}")
        self.group = group
        self.known = known


async def plan_replay(
    log: Log, group: str, *, topics: Collection[str] = (), start: Bound, stop: Bound | None = None
) -> list[PartitionReplay]:
    """The replay of a range of some topics, or of all that the group has committed something in: for each partition
    that it has. Raises ReplayError, also for a range that ends before it begins in each partition, and LogError.
    """
    committed = await log.group_offsets(group)
    read = sorted({partition.topic for partition in committed} - {RETRY_TOPIC})
    if not read:
        raise UnknownGroupError(group, await log.groups())
    replays: list[PartitionReplay] = []
    lengths: list[int] = []
    for topic in _topics(group, read, topics, (start, stop)):
        beginnings, ends = await log.beginning_offsets(topic), await log.end_offsets(topic)
        starts = await _positions(log, topic, start, beginnings)
        stops = ends if stop is None else await _positions(log, topic, stop, beginnings)
        for partition in sorted(starts.keys() & stops.keys()):
            if starts[partition] > ends[partition]:
                raise ReplayError(
                    f"offset {starts[partition]} is beyond the end of {topic}/{partition.partition}, which is "
                    f"{ends[partition]}"
                )
            lengths.append(stops[partition] - starts[partition])
            if partition in committed:
                replays.append(
                    replay_partition(
                        partition,
                        committed[partition],
                        start=starts[partition],
                        stop=stops[partition],
                        beginning=beginnings[partition],
                        end=ends[partition],
                    )
                )
    if lengths and min(lengths) < 0 and max(lengths) <= 0:
        raise ReplayError("the range ends before it begins, in each partition")
    return replays


async def move_back(log: Log, group: str, replays: Sequence[PartitionReplay]) -> None:
    """Commit for the group what makes it handle the ranges once more. Raises GroupHasMembersError, LogError."""
    moved = {replay.partition: replay.committed for replay in replays if replay.again}
    await log.reset_group(
        group,
        {partition: committed.offset for partition, committed in moved.items()},
        {partition: committed.metadata for partition, committed in moved.items()},
    )


class FilteredReplay:
    """Puts a copy of each record that a filter lets through on the topic of retries, for one group.

    `copied` counts those that have one, `unhandled` those that need none, as the group has still to handle them;
    `positions` is up to where all is done, in each partition.
    """

    def __init__(self, log: Log, group: str, replays: Sequence[PartitionReplay], wanted: Filter) -> None:
        self.copied = 0
        self.unhandled = 0
        self.refused = 0
        self.positions: Positions = {replay.partition: replay.start for replay in replays}
        self._log = log
        self._group = group
        self._replays = {replay.partition: replay for replay in replays}
        self._filter = wanted

    async def run(
        self,
        *,
        dry_run: bool,
        told: Told,
        on_refused: Callable[[Record, RecordTooLargeError], None],
        is_over: Callable[[], bool],
    ) -> bool:
        """Go through the ranges; returns whether it came to their ends, or `is_over` said to end before. `on_refused`
        is told whose copies are too large.

        Raises LogError; then copies from `positions` on may have been made.
        """
        topic = RetryTopic(self._log)
        if not dry_run:
            await topic.prepare(self._group)
        stops = {partition: replay.stop for partition, replay in self._replays.items()}
        async with aclosing(read_stretch(self._log, dict(self.positions), stops, told=told)) as batches:
            async for records in batches:
                partition = records[0].topic_partition
                matching = [record for record in records if self._filter.matches(Reading(record).candidate)]
                before = self._replays[partition].before
                wanted = [record for record in matching if before.has_done(record.offset)]
                errors = [] if dry_run else await self._copy(wanted, topic)
                for record, error in errors:
                    on_refused(record, error)
                self.copied += len(wanted) - len(errors)
                self.refused += len(errors)
                self.unhandled += len(matching) - len(wanted)
                self.positions[partition] = records[-1].offset + 1
                if is_over():
                    return False
        return True

    async def _copy(self, records: Sequence[Record], topic: RetryTopic) -> list[tuple[Record, RecordTooLargeError]]:
        """Copy records; returns those whose copies are too large."""
        errors = await topic.append([retry_record(record, group=self._group) for record in records])
        return [(record, error) for record, error in zip(records, errors, strict=True) if error is not None]


def _topics(
    group: str, read: Sequence[str], asked: Collection[str], bounds: tuple[Bound, Bound | None]
) -> Sequence[str]:
    """The topics of a replay. Raises ReplayError when the group does not read one, or it is not clear which."""
    if RETRY_TOPIC in asked:
        raise ReplayError(f"{RETRY_TOPIC} has copies for groups; replay the topics that they are of")
    named = {partition.topic for bound in bounds if isinstance(bound, Resume) for partition in bound.positions}
    if unknown := sorted({*asked, *named} - {*read}):
        raise ReplayError(f"group {group!r} has committed nothing in {unknown[0]}; it has in {', '.join(read)}")
    wanted = [topic for topic in read if (not asked or topic in asked) and (not named or topic in named)]
    if len(wanted) > 1 and any(isinstance(bound, OffsetByPartition) for bound in bounds):
        raise ReplayError(f"group {group!r} reads {', '.join(wanted)}; say with --topic which one the offsets are of")
    return wanted


async def _positions(log: Log, topic: str, bound: Bound, beginnings: Positions) -> Positions:
    """Where a bound is in a topic; of offsets, only in the partitions that they name."""
    if isinstance(bound, Resume):
        # What came after the cursor was made is in a partition that it does not name, too.
        found = {partition: offset for partition, offset in bound.positions.items() if partition.topic == topic}
        return {**beginnings, **_known(topic, found, beginnings)}
    if not isinstance(bound, OffsetByPartition):
        return (await find_start(log, topic, bound))[0]
    if None in bound.offsets and len(beginnings) > 1:
        raise ReplayError(
            f"{topic} has {len(beginnings)} partitions; write the offset in each as PARTITION:OFFSET,PARTITION:OFFSET"
        )
    found = {TopicPartition(topic, number or 0): offset for number, offset in bound.offsets.items()}
    return _known(topic, found, beginnings)


def _known(topic: str, positions: Positions, beginnings: Positions) -> Positions:
    if unknown := sorted(positions.keys() - beginnings.keys()):
        raise ReplayError(f"{topic} has no partition {unknown[0].partition}; it has {len(beginnings)}")
    return positions
