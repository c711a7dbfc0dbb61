"""What one filter wants of the ring, decided once for all readers who have it."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress

from snowbus.bus.event import TopicPartition
from snowbus.bus.filters import Filter

from .deflate import Context
from .frames import Reading
from .masking import Mask
from .ring import Entry, Ring

_WANTED, _UNKNOWN = b"\1", 2  # verdicts are 0, 1 or not known


class Channel:
    """What one filter wants of the ring; shared by all readers with that filter and that mask, who all inflate or who
    all do not.
    """

    def __init__(self, wanted: Filter, mask: Mask | None, capacity: int, *, deflates: bool) -> None:
        self.filter = wanted
        self.mask = mask
        self.deflates = deflates
        self.readers = 0
        self.context: Context | None = None
        """The compressor for its readers who have had everything, when they have all been sent the same."""
        self._counts: Counter[TopicPartition] | None = None
        self.reset(capacity)

    def reset(self, capacity: int) -> None:
        """Forget every verdict: the ring is another one."""
        self._capacity = capacity
        self.verdicts = bytearray([_UNKNOWN]) * capacity if self.filter else None
        """Of the entry with each sequence number, modulo the ring's capacity, when there is a filter."""
        self.context = None

    def judge(self, sequence: int, entry: Entry) -> None:
        """Decide on one entry."""
        if self.verdicts is not None:
            self.verdicts[sequence % self._capacity] = self._verdict(entry)

    def wants(self, sequence: int, entry: Entry) -> bool:
        """Whether the filter lets an entry of the ring through."""
        return bool(self.wanted(sequence, [entry])[0])

    def wanted(self, sequence: int, entries: Sequence[Entry]) -> Sequence[int]:
        """For each of these entries, from a sequence number on, whether the filter lets it through."""
        if self.verdicts is None:
            return _WANTED * len(entries)
        start = sequence % self._capacity
        found = self.verdicts[start : start + len(entries)]
        found += self.verdicts[: len(entries) - len(found)]
        while (place := found.find(_UNKNOWN)) >= 0:
            found[place] = self._verdict(entries[place])
            self.verdicts[(start + place) % self._capacity] = found[place]
        return found

    def counts(self, ring: Ring, start: int) -> Counter[TopicPartition]:
        """How many events of the ring it wants from `start` on, by partition."""
        entries = ring.read(start, ring.end - start)
        wanted = compress(entries, self.wanted(start, entries))
        return Counter(entry.partition for entry in wanted if entry.record is not None)

    def count_before(self, ring: Ring, start: int) -> Counter[TopicPartition]:
        """How many events it wanted before `start`, which the ring must still have, by partition, as `owed` counts."""
        if self._counts is None:
            self._counts = Counter()
        before = self._counts.copy()
        before.subtract(self.counts(ring, start))
        return before

    @property
    def is_counting(self) -> bool:
        """Whether `count` is to be told of each new entry."""
        return self._counts is not None

    def count(self, sequence: int, entry: Entry) -> None:
        """Count a new entry."""
        if self._counts is not None and entry.record is not None and self.wants(sequence, entry):
            self._counts[entry.partition] += 1

    def owed(self, before: Counter[TopicPartition]) -> Counter[TopicPartition]:
        """How many events it wanted, by partition, since that count; those that have left the ring included."""
        owed = Counter(self._counts)
        owed.subtract(before)
        return +owed

    def _verdict(self, entry: Entry) -> bool:
        if entry.record is None:
            return True
        reading = entry.reading or Reading(entry.record)
        return self.filter.check(reading.candidate)
