"""What one filter wants of the ring, decided once for all readers who have it."""

from collections import Counter

from snowbus.bus.event import TopicPartition
from snowbus.bus.filters import Filter

from .deflate import Context
from .frames import Reading
from .masking import Mask
from .ring import Entry, Ring

_UNKNOWN, _UNWANTED, _WANTED = 0, 1, 2


class Channel:
    """What one filter wants of the ring; shared by all readers with that filter and that mask."""

    def __init__(self, wanted: Filter, mask: Mask | None, capacity: int) -> None:
        self.filter = wanted
        self.mask = mask
        self.readers = 0
        self.context: Context | None = None
        """The compressor for its readers who have had everything, when they have all been sent the same."""
        self._counts: Counter[TopicPartition] | None = None
        self.reset(capacity)

    def reset(self, capacity: int) -> None:
        """Forget every verdict: the ring is another one."""
        self._verdicts = bytearray(capacity) if self.filter else None
        self.context = None

    def judge(self, sequence: int, entry: Entry) -> None:
        """Decide on a new entry, while its reading is at hand."""
        if self._verdicts is not None:
            self._verdicts[sequence % len(self._verdicts)] = self._verdict(entry)
        if self._counts is not None and entry.record is not None and self.wants(sequence, entry):
            self._counts[entry.partition] += 1

    def count(self, ring: Ring, start: int) -> Counter[TopicPartition]:
        """How many events it wanted before `start`, by partition, in the way that `owed` counts. `start` must not lie
        before what the ring has; all that is in the ring must have been judged.
        """
        if self._counts is None:
            self._counts = Counter()
        counts = self._counts.copy()
        counts.subtract(self.wanted(ring, start))
        return counts

    def owed(self, before: Counter[TopicPartition]) -> Counter[TopicPartition]:
        """How many events it wanted, by partition, since that count; those that have left the ring included."""
        owed = Counter(self._counts)
        owed.subtract(before)
        return +owed

    def wanted(self, ring: Ring, start: int) -> Counter[TopicPartition]:
        """How many events of the ring it wants from `start` on, by partition."""
        entries = enumerate(ring.read(start, ring.end - start), start)
        return Counter(
            entry.partition for sequence, entry in entries if entry.record is not None and self.wants(sequence, entry)
        )

    def wants(self, sequence: int, entry: Entry) -> bool:
        """Whether the filter lets an entry of the ring through."""
        if self._verdicts is None:
            return True
        place = sequence % len(self._verdicts)
        if self._verdicts[place] == _UNKNOWN:
            self._verdicts[place] = self._verdict(entry)
        return self._verdicts[place] == _WANTED

    def _verdict(self, entry: Entry) -> int:
        if entry.record is None:
            return _WANTED
        reading = entry.reading or Reading(entry.record)
        return _WANTED if self.filter.matches(reading.candidate) else _UNWANTED
