"""Which offsets may be committed: everything before the first record that is not finished, in whatever order records
finish.
"""

from collections import deque
from collections.abc import Collection

from snowbus.bus.errors import NotAssignedError
from snowbus.bus.event import TopicPartition
from snowbus.bus.log.interface import Offsets


class OffsetTracker:
    """Keeps, for each assigned partition, which records are in flight and which are done.

    A record is in flight from `start` to `finish`. What may be committed for a partition, as the next offset to read,
    is the first offset in flight, or the one after the last record when none is.
    """

    def __init__(self) -> None:
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Track these partitions from nothing; what was known of them is forgotten."""
        for partition in partitions:
            self._partitions[partition] = _Partition()

    def revoke(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these partitions."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def start(self, partition: TopicPartition, offset: int) -> None:
        """A record has been read. Offsets rise and may have gaps.

        An offset at or below one already read means that the log goes on from there (it was cut, or the group was
        reset): what was in flight is forgotten. Raises NotAssignedError.
        """
        state = self._partitions.get(partition)
        if state is None:
            raise NotAssignedError(f"{partition.topic}/{partition.partition} is not tracked")
        state.start(offset)

    def finish(self, partition: TopicPartition, offset: int) -> None:
        """A record is done with. One that is not in flight (its partition went away meanwhile) changes nothing."""
        state = self._partitions.get(partition)
        if state is not None:
            state.finish(offset)

    def in_flight(self, partition: TopicPartition) -> int:
        """How many records of a partition are in flight."""
        state = self._partitions.get(partition)
        return len(state.unfinished) if state is not None else 0

    def committable(self) -> dict[TopicPartition, int]:
        """What may be committed and has not been yet."""
        return {
            partition: offset
            for partition, state in self._partitions.items()
            if (offset := state.next_offset()) is not None and offset != state.committed
        }

    def committed(self, offsets: Offsets) -> None:
        """These offsets have been committed."""
        for partition, offset in offsets.items():
            state = self._partitions.get(partition)
            if state is not None:
                state.committed = offset


class _Partition:
    """One partition: the offsets read and not done, and, in order, those not committable yet."""

    def __init__(self) -> None:
        self.unfinished: set[int] = set()
        self.committed: int | None = None
        self._in_order: deque[int] = deque()
        self._end: int | None = None

    def start(self, offset: int) -> None:
        if self._end is not None and offset < self._end:
            self.unfinished.clear()
            self._in_order.clear()
        self.unfinished.add(offset)
        self._in_order.append(offset)
        self._end = offset + 1

    def finish(self, offset: int) -> None:
        self.unfinished.discard(offset)
        while self._in_order and self._in_order[0] not in self.unfinished:
            self._in_order.popleft()

    def next_offset(self) -> int | None:
        return self._in_order[0] if self._in_order else self._end
