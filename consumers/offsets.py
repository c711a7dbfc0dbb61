"""Where the records of each partition stand: in flight, waiting for a retry, done or dead; and what may be committed.

A consumer finishes records in any order. What it commits for a partition is the offset of the first record that is not
finished, and beside it which offsets after that are done already (`done_ranges.py` is how that is written), so that
whoever reads on handles none of those again.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import TopicPartition

from .done_ranges import DoneRanges, joined

_COMPACT_ABOVE = 1_000
_NOTHING: Mapping[TopicPartition, int] = {}


class Position(NamedTuple):
    """What a commit of a partition says: the next offset to read, and the ranges of offsets done after it."""

    offset: int
    done: DoneRanges = ()

    def has_done(self, offset: int) -> bool:
        """Whether the record at an offset is done."""
        if offset < self.offset:
            return True
        after = bisect_right(self.done, offset, key=itemgetter(0))
        return after > 0 and offset < self.done[after - 1][1]

    def with_done(self, other: "Position") -> "Position":
        """What is done by this position or by another."""
        (_, offset), *done = joined((0, self.offset), (0, other.offset), *self.done, *other.done)
        return Position(offset, tuple(done))


class Snapshot(NamedTuple):
    """What may be committed, and how many finished records each position covers that none before it did."""

    positions: dict[TopicPartition, Position]
    finished: dict[TopicPartition, int]


class PartitionState(NamedTuple):
    """How many records of a partition are in flight and how many wait for a retry, and when the first is due."""

    in_flight: int
    waiting: int
    retry_at: float | None


class OffsetTracker:
    """Tracks the records of the partitions that are assigned.

    Records are `read`, then `start`ed; they are in flight until `retry` puts one off, or until `finish`: when
    they are done with, or dead and their dead letters durable. What is never started, such as a record that a filter
    rejects, is finished just the same. What is said of a partition that is not assigned, or of a record that is not in
    the state for it, changes nothing: the partition went away meanwhile.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}
        self.exposed = 0
        """How many records would be handled again if the process were killed now: in flight, or finished and not
        covered by a commit, or left out of one.
        """
        self.untold = 0
        """How many of them there was no room for in the commits."""

    def assign(self, partition: TopicPartition, position: Position, *, in_flight: Collection[int] = ()) -> None:
        """Track a partition from where it is committed. Offsets of it that are still in flight here, from before a
        rebalance that brought it back, stay in flight.
        """
        self.revoke([partition])
        self._partitions[partition] = _Partition(position, in_flight)
        self.exposed += len(in_flight)

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions."""
        for partition in partitions:
            if (state := self._partitions.pop(partition, None)) is not None:
                self._forget(state)

    @property
    def assigned(self) -> frozenset[TopicPartition]:
        """The partitions that are tracked."""
        return frozenset(self._partitions)

    def read(self, partition: TopicPartition, offsets: Sequence[int]) -> Sequence[int]:
        """Records have been read; which of them are still to be handled. Offsets rise and may have gaps.

        A first one below one already read means that the log goes on from there (it was cut): what was known of the
        partition is forgotten. Raises NotAssignedError.
        """
        state = self._partitions.get(partition)
        if state is None:
            raise NotAssignedError(f"{partition.topic}/{partition.partition} is not tracked")
        if offsets and offsets[0] < state.next:
            self._forget(state)
            state = self._partitions[partition] = _Partition(Position(offsets[0]), ())
        return state.read(offsets)

    def untouched(self, partition: TopicPartition, offset: int) -> int:
        """How many offsets before this one have been neither read nor done."""
        state = self._partitions.get(partition)
        return state.untouched(offset) if state is not None else 0

    def start(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """Records are handed to the handler."""
        if (state := self._partitions.get(partition)) is not None:
            before = len(state.in_flight)
            state.start(offsets)
            self.exposed += len(state.in_flight) - before

    def retry(self, partition: TopicPartition, offset: int, at: float) -> None:
        """A record in flight is put off until `at`, in the caller's clock."""
        state = self._partitions.get(partition)
        if state is not None and offset in state.in_flight:
            state.in_flight.discard(offset)
            state.retry_at[offset] = at
            self.exposed -= 1

    def finish(self, partition: TopicPartition, offsets: Collection[int]) -> None:
        """Records are done with."""
        if (state := self._partitions.get(partition)) is not None:
            state.finish(offsets)

    def position(self, partition: TopicPartition) -> Position | None:
        """What may be committed for a partition; None when it is not assigned."""
        state = self._partitions.get(partition)
        return state.position() if state is not None else None

    def retry_at(self, partition: TopicPartition, offset: int) -> float | None:
        """Until when a record is put off; None when it is not."""
        state = self._partitions.get(partition)
        return state.retry_at.get(offset) if state is not None else None

    def state(self, partition: TopicPartition) -> PartitionState:
        """How a partition stands; all zero when it is not assigned."""
        state = self._partitions.get(partition)
        if state is None:
            return PartitionState(0, 0, None)
        return PartitionState(len(state.in_flight), len(state.retry_at), min(state.retry_at.values(), default=None))

    def in_flight(self, partition: TopicPartition) -> int:
        """How many records of a partition are in flight."""
        state = self._partitions.get(partition)
        return len(state.in_flight) if state is not None else 0

    def unfinished(self, partition: TopicPartition) -> int:
        """How many records of a partition are read and not finished."""
        state = self._partitions.get(partition)
        return len(state.unfinished) if state is not None else 0

    def committable(self, partitions: Iterable[TopicPartition] = ()) -> Snapshot:
        """What may be committed and has not been yet; and of `partitions`, what may be, all the same.

        A snapshot is to be told as `committed` or `not_committed` before the next one is taken.
        """
        always = frozenset(partitions)
        positions: dict[TopicPartition, Position] = {}
        finished: dict[TopicPartition, int] = {}
        for partition, state in self._partitions.items():
            if state.changed or partition in always:
                state.changed = False
                positions[partition] = state.position()
                finished[partition] = state.unconfirmed
        return Snapshot(positions, finished)

    def committed(self, snapshot: Snapshot, untold: Mapping[TopicPartition, int] = _NOTHING) -> None:
        """These positions have been committed, less so many records that are done and of which there is no word."""
        for partition, finished in snapshot.finished.items():
            if (state := self._partitions.get(partition)) is not None:
                confirmed = min(finished, state.unconfirmed)
                more = untold.get(partition, 0) - state.untold
                state.unconfirmed -= confirmed
                state.untold += more
                self.untold += more
                self.exposed += more - confirmed

    def not_committed(self, snapshot: Snapshot) -> None:
        """These positions have not been committed; they are committable again."""
        for partition in snapshot.positions:
            if (state := self._partitions.get(partition)) is not None:
                state.changed = True

    def _forget(self, state: "_Partition") -> None:
        self.exposed -= state.exposed
        self.untold -= state.untold


class _Partition:
    """One partition: what is read and not finished, in order, and what was done before it came here."""

    def __init__(self, position: Position, in_flight: Collection[int]) -> None:
        self.in_flight: set[int] = set(in_flight)
        self.retry_at: dict[int, float] = {}
        self.unfinished: set[int] = set()
        self.unconfirmed = 0
        self.untold = 0
        self.changed = False
        self.next = position.offset
        self._in_order: deque[int] = deque()
        self._high = position.offset  # one more than the highest offset that is read and done
        self._done_ahead = position.done  # what is done beyond what is read

    @property
    def exposed(self) -> int:
        return len(self.in_flight) + self.unconfirmed + self.untold

    def read(self, offsets: Sequence[int]) -> Sequence[int]:
        if offsets:
            self.next = offsets[-1] + 1
        if self._done_ahead:
            count = len(offsets)
            offsets = [offset for offset in offsets if not self._is_done(offset)]
            self.changed |= len(offsets) < count
        self.unfinished.update(offsets)
        self._in_order.extend(offsets)
        if self.in_flight.isdisjoint(offsets) and self.retry_at.keys().isdisjoint(offsets):
            return offsets
        return [offset for offset in offsets if offset not in self.in_flight and offset not in self.retry_at]

    def untouched(self, offset: int) -> int:
        if offset <= self.next:
            return 0
        done = sum(max(0, min(stop, offset) - max(first, self.next)) for first, stop in self._done_ahead)
        return offset - self.next - done

    def start(self, offsets: Collection[int]) -> None:
        in_flight, unfinished, retry_at = self.in_flight, self.unfinished, self.retry_at
        for offset in offsets:
            if offset in unfinished or offset in retry_at:
                in_flight.add(offset)
            if retry_at:
                retry_at.pop(offset, None)

    def finish(self, offsets: Collection[int]) -> None:
        in_flight, unfinished = self.in_flight, self.unfinished
        for offset in offsets:
            if offset in in_flight:
                in_flight.remove(offset)
                self.unconfirmed += 1
                if offset >= self.next:
                    self._done_ahead = joined(*self._done_ahead, (offset, offset + 1))
                    self.changed = True
            if offset in unfinished:
                unfinished.remove(offset)
                self.changed = True
                if self.retry_at:
                    self.retry_at.pop(offset, None)
                if offset >= self._high:
                    self._high = offset + 1

    def position(self) -> Position:
        self._tidy()
        offset = self._in_order[0] if self._in_order else self.next
        return Position(offset, tuple(self._done_after(offset)))

    def _tidy(self) -> None:
        """Forget the order of what is finished, at the front and where it is most of all."""
        while self._in_order and self._in_order[0] not in self.unfinished:
            self._in_order.popleft()
        if len(self._in_order) > 2 * len(self.unfinished) + _COMPACT_ABOVE:
            self._in_order = deque(each for each in self._in_order if each in self.unfinished)

    def _is_done(self, offset: int) -> bool:
        """Whether a record that is read now was done before; ranges that end before it are of no more use."""
        while self._done_ahead and self._done_ahead[0][1] <= offset:
            self._high = self._done_ahead[0][1]
            self._done_ahead = self._done_ahead[1:]
        if not self._done_ahead or self._done_ahead[0][0] > offset:
            return False
        self._high = offset + 1
        return True

    def _done_after(self, offset: int) -> Iterator[tuple[int, int]]:
        start = offset
        for hole in self._in_order:
            if hole >= self._high:
                break
            if hole in self.unfinished:
                if hole > start:
                    yield (start, hole)
                start = hole + 1
        if self._in_order and self._high > start:
            yield (start, self._high)
        for first, stop in self._done_ahead:
            if stop > self.next:
                yield (max(first, self.next), stop)
