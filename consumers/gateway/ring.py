"""The latest records, in the order in which they were read from the log, for all who follow it live.

Pure and bounded, by count and by bytes. Each entry has a sequence number, and the cursor of a reader who has had
everything up to it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from snowbus.bus.cursor import RunningCursor
from snowbus.bus.event import Record, TopicPartition
from snowbus.bus.log.interface import Offsets
from snowbus.bus.start import Gap

from ..reading import Reading

ENTRY_OVERHEAD = 600
"""Bytes that an entry costs beside its key, value, headers, cursor and frame: Python's objects, about."""


class Entry:
    """One record, or what stands in its place when records are missing; frames are made when somebody needs them."""

    __slots__ = ("cursor", "frame", "gap", "masked_frame", "offset", "partition", "reading", "record", "size")

    def __init__(
        self, partition: TopicPartition, offset: int, record: Record | None, cursor: bytes, gap: Gap | None = None
    ) -> None:
        self.partition = partition
        self.offset = offset
        self.record = record
        self.gap = gap
        self.cursor = cursor
        self.frame: bytes | None = None
        self.masked_frame: bytes | None = None
        self.reading: Reading | None = None
        self.size = ENTRY_OVERHEAD + len(cursor)


_DROPPED = Entry(TopicPartition("", 0), 0, None, b"")
"""Stands where an entry was, until the list is cut, so that its bytes are free at once."""


class Seat(NamedTuple):
    """Where a reader goes on in the ring: at `sequence`, skipping what lies before `positions`.

    `ahead` are the partitions in which the reader has had more than the ring had at that point.
    """

    sequence: int
    positions: dict[TopicPartition, int]
    ahead: dict[TopicPartition, int]


class Ring:
    """Entries from sequence number `oldest` up to `end`, which is the next one's."""

    def __init__(self, positions: Offsets, *, max_entries: int, max_bytes: int) -> None:
        self.capacity = max_entries
        self.bytes = 0
        self.cursor = RunningCursor(positions)
        self._oldest_positions = dict(positions)
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._dropped = 0  # of the list's beginning
        self._dropped_time = 0
        self._base = 0  # the sequence number of the list's first place

    @property
    def oldest(self) -> int:
        """The sequence number of the oldest entry there is, or `end`."""
        return self._base + self._dropped

    @property
    def end(self) -> int:
        """The sequence number that the next entry will have."""
        return self._base + len(self._entries)

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """For each partition, the next offset after the newest entry."""
        return self.cursor.positions

    def append(self, record: Record) -> Entry:
        """Take the next record."""
        partition = record.topic_partition
        entry = Entry(partition, record.offset, record, self.cursor.advance(partition, record.offset + 1))
        headers = sum(len(name) + len(value) for name, value in record.headers)
        self._push(entry, len(record.value) + len(record.key or b"") + headers)
        return entry

    def append_gap(self, gap: Gap) -> None:
        """Take, instead of records that are missing, that they are."""
        cursor = self.cursor.advance(gap.partition, gap.end)
        self._push(Entry(gap.partition, gap.end - 1, None, cursor, gap), 0)

    def add_partitions(self, positions: Offsets) -> None:
        """Take partitions that the topic has got, and where their first records are read."""
        self.cursor.add(positions)
        self._oldest_positions.update(positions)

    def keep(self, entry: Entry, frame: bytes, *, masked: bool = False) -> None:
        """Keep a frame with its entry; the next append makes room for it."""
        if masked:
            entry.masked_frame = frame
        else:
            entry.frame = frame
        entry.size += len(frame)
        self.bytes += len(frame)

    def read(self, sequence: int, count: int) -> list[Entry]:
        """Up to `count` entries from a sequence number on, which must not lie before `oldest`."""
        start = sequence - self._base
        return self._entries[start : start + count]

    def cursor_at(self, sequence: int) -> bytes:
        """The cursor of a reader who has had all before a sequence number, which must not lie before `oldest`."""
        if sequence > self.oldest:
            return self._entries[sequence - 1 - self._base].cursor
        return RunningCursor(self._oldest_positions).text

    def seat(self, positions: Offsets) -> Seat | None:
        """Where a reader goes on who has had everything before `positions`; None when the ring begins after that.

        A partition that `positions` does not name is read from its beginning.
        """
        if any(positions.get(partition, 0) < oldest for partition, oldest in self._oldest_positions.items()):
            return None
        reached = dict(self.positions)
        missing = {partition for partition, newest in reached.items() if positions.get(partition, 0) < newest}
        place = len(self._entries)
        while missing and place > self._dropped:
            entry = self._entries[place - 1]
            wanted = positions.get(entry.partition, 0)
            if entry.offset <= wanted:
                missing.discard(entry.partition)
            if entry.offset < wanted and not missing:
                break
            place -= 1
            reached[entry.partition] = entry.offset
        ahead = {partition: offset for partition, offset in positions.items() if offset > reached.get(partition, 0)}
        return Seat(self._base + place, {**reached, **ahead}, ahead)

    def last_positions(self, count: int) -> dict[TopicPartition, int] | None:
        """Where the newest `count` records by their time begin; None when the ring may lack some of them."""
        entries = [entry for entry in self._entries[self._dropped :] if entry.record is not None]
        if len(entries) < count:
            return None
        newest = sorted(entries, key=_time)[-count:]
        if _time(newest[0]) < self._dropped_time:
            return None
        positions = dict(self.positions)
        for entry in newest:
            positions[entry.partition] = min(positions[entry.partition], entry.offset)
        return positions

    def _push(self, entry: Entry, size: int) -> None:
        entry.size += size
        self._entries.append(entry)
        self.bytes += entry.size
        while self.end - self.oldest > 1 and (self.end - self.oldest > self.capacity or self.bytes > self._max_bytes):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        entry = self._entries[self._dropped]
        self._entries[self._dropped] = _DROPPED
        self._oldest_positions[entry.partition] = entry.offset + 1
        self._dropped_time = max(self._dropped_time, _time(entry))
        self.bytes -= entry.size
        self._dropped += 1
        if self._dropped > 1000 and self._dropped * 2 > len(self._entries):
            del self._entries[: self._dropped]
            self._base += self._dropped
            self._dropped = 0


def _time(entry: Entry) -> int:
    return entry.record.timestamp if entry.record is not None else 0
