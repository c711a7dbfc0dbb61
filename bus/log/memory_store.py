"""What a log in memory holds: the records of each partition, and for each group its members, claims and commits."""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from operator import attrgetter

from ..errors import NotAssignedError, TopicNotFoundError
from ..event import ProducerRecord, Record, TopicPartition
from .interface import Assignment, Committed, Metadata, Offsets
from .partitioner import partition_of
from .quotas import quotas

_OFFSET = attrgetter("offset")


class Signal:
    """Wakes everyone who waits for the next change."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """A future that is done with the next change. Take it before looking."""
        if self._next is None or self._next.get_loop().is_closed():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def give(self) -> None:
        """Something has changed."""
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.set_result(None)


class Group:
    """The members of a group by what they want to read, who has claimed what, and what has been committed."""

    def __init__(self) -> None:
        self.members: dict[str, Collection[str]] = {}
        self.owners: dict[TopicPartition, str] = {}
        self.committed: dict[TopicPartition, Committed] = {}
        self.changed = Signal()

    def release(self, partitions: Collection[TopicPartition]) -> None:
        """Give up claims, so that other members can have them."""
        for partition in partitions:
            self.owners.pop(partition, None)
        self.changed.give()

    def leave(self, member: str) -> None:
        """End a membership, with its claims."""
        self.members.pop(member, None)
        self.release([partition for partition, owner in self.owners.items() if owner == member])

    def commit(self, offsets: Offsets, metadata: Metadata, *, member: str) -> None:
        """Commit offsets of partitions that the member has claimed. Raises NotAssignedError, and then commits none."""
        if lost := sorted(partition for partition in offsets if self.owners.get(partition) != member):
            raise NotAssignedError(f"{', '.join(f'{topic}-{number}' for topic, number in lost)}: not this member's")
        self.set_commits(offsets, metadata)

    def set_commits(self, offsets: Offsets, metadata: Metadata) -> None:
        """Store committed offsets, whoever asks."""
        for partition, offset in offsets.items():
            self.committed[partition] = Committed(offset, metadata.get(partition, ""))


class Store:
    """Topics with their partitions, and groups."""

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.records: dict[TopicPartition, list[Record]] = {}
        self.firsts: dict[TopicPartition, int] = {}
        self.groups: defaultdict[str, Group] = defaultdict(Group)
        self.changed = Signal()

    def grow(self, topic: str, partitions: int) -> None:
        """Have a topic with this many partitions, if it had fewer."""
        self.topics[topic] = max(partitions, self.topics.get(topic, 0))
        for place in self.partitions(topic):
            self.records.setdefault(place, [])
            self.firsts.setdefault(place, 0)
        for group in self.groups.values():
            group.changed.give()

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic, in order. Raises TopicNotFoundError."""
        if topic not in self.topics:
            raise TopicNotFoundError(topic)
        return [TopicPartition(topic, number) for number in range(self.topics[topic])]

    def end(self, place: TopicPartition) -> int:
        """The offset that the next record of a partition will have."""
        records = self.records[place]
        return records[-1].offset + 1 if records else self.firsts[place]

    def size(self, topic: str) -> int:
        """The bytes of a topic's records."""
        return sum(
            ProducerRecord(record.key, record.value, record.headers).size
            for place in self.partitions(topic)
            for record in self.records[place]
        )

    def append(self, topic: str, records: Sequence[ProducerRecord], *, now: int) -> list[tuple[int, int]]:
        """Append records, stamped `now` (ms) where they have no time; returns each one's (partition, offset)."""
        places = self.partitions(topic)
        placed = []
        for record in records:
            place = places[partition_of(record.key, len(places))]
            placed.append((place.partition, self.put(place, record, now=now).offset))
        self.changed.give()
        return placed

    def put(self, place: TopicPartition, record: ProducerRecord, *, now: int) -> Record:
        """Append one record to a partition, and tell nobody."""
        timestamp = now if record.timestamp is None else record.timestamp
        stored = Record(*place, self.end(place), timestamp, record.key, record.value, record.headers)
        self.records[place].append(stored)
        return stored

    def read(self, positions: Sequence[tuple[TopicPartition, int]], *, max_records: int) -> list[Record]:
        """Records from these positions on, partition by partition, until there are enough.

        A position that has expired or lies beyond the end counts as the earliest one.
        """
        found: list[Record] = []
        for place, position in positions:
            records = self.records[place]
            known = self.firsts[place] <= position <= self.end(place)
            start = bisect_left(records, position, key=_OFFSET) if known else 0
            found += records[start : start + max_records - len(found)]
        return found

    def offset_for_time(self, place: TopicPartition, timestamp: int) -> int:
        """The offset of the first record at or after a time in ms; the end offset when there is none."""
        later = (record.offset for record in self.records[place] if record.timestamp >= timestamp)
        return next(later, self.end(place))

    def timestamp(self, place: TopicPartition, offset: int) -> int | None:
        """The timestamp of the first record at or after an offset that has not expired; None where there is none."""
        records = self.records.get(place, [])
        position = bisect_left(records, offset, key=_OFFSET)
        return records[position].timestamp if position < len(records) and offset >= self.firsts[place] else None

    def surplus(self, group: Group, member: str) -> Assignment:
        """What a member has claimed beyond its share."""
        return frozenset(
            place
            for topic in group.members[member]
            for place in self._held(group, topic, member)[self._share(group, topic, member) :]
        )

    def claim(self, group: Group, member: str, *, from_latest: bool) -> dict[TopicPartition, int]:
        """Claim what is free up to the member's share; returns where the reading of each begins, which is committed."""
        begins = {}
        for topic in group.members[member]:
            wanted = self._share(group, topic, member) - len(self._held(group, topic, member))
            free = [place for place in self.partitions(topic) if place not in group.owners]
            for place in free[: max(0, wanted)]:
                group.owners[place] = member
                start = Committed(self.end(place) if from_latest else self.firsts[place])
                begins[place] = group.committed.setdefault(place, start).offset
        return begins

    def _held(self, group: Group, topic: str, member: str) -> list[TopicPartition]:
        return [place for place in self.partitions(topic) if group.owners.get(place) == member]

    def _share(self, group: Group, topic: str, member: str) -> int:
        counts = Counter(owner for place, owner in group.owners.items() if place.topic == topic)
        held = {each: counts[each] for each, topics in group.members.items() if topic in topics}
        return quotas(held, len(self.partitions(topic)))[member]
